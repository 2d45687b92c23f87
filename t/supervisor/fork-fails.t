# The system refuses processes or descriptors for a while: the supervisor waits, and goes on when it can.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

# A failed fork is a failed fork, whatever the reason: a hook that refuses while a file is there.
subtest 'a fork that fails is tried again, later and later' => sub {
    my $folder     = File::Temp->newdir;
    my $full       = "$folder/full";
    my $supervisor = SupervisorTest->start(
        workers       => 2,
        respawn_delay => 0.01,
        before        => sub {
            require EventLoop::Fork;
            our $hook = EventLoop::Fork::at_fork(
                name       => 'limit',
                on_failure => 'cancel',
                prepare    => sub { die "no more processes\n" if -e $full },
            );
        },
        worker => \&SupervisorTest::serve,
    );
    my @ready = $supervisor->wait_for_count(worker_ready => 2);
    open my $file, '>', $full or die "$full: $!";
    kill KILL => $ready[0]{pid};
    my @delays = map  { $_->{elapsed} } $supervisor->wait_for_count(backoff => 4);
    my @failed = grep { $_->{event} eq 'spawn_failed' } $supervisor->events;
    cmp_ok(scalar @failed, '>=', 4, 'each delay is for one that failed');
    like($failed[0]{reason}, qr/no more processes/, 'the reason is told');
    cmp_ok($delays[3], '>', $delays[0], 'longer each time');
    is([ grep { $_->{event} =~ /breaker|halted/ } $supervisor->events ], [], 'that is no crash of a worker');
    unlink $full or die "$full: $!";
    is($supervisor->wait_for('worker_ready')->{slot}, $ready[0]{slot}, 'the slot is filled as soon as it can be');
    is($supervisor->finish, 0, 'exit code');
};

done_testing;
