# What has gone wrong elsewhere, one by one. The numbers are those of threads in other projects' trackers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

# benoitc/gunicorn 3220: a child that is not a worker ended with a code that means something for workers.
subtest 'children of others are nobody\'s business' => sub {
    my $supervisor = SupervisorTest->start(
        workers => 1,
        before  => sub {
            for my $code (2, 3) {
                my $pid = fork;
                POSIX::_exit($code) if defined $pid && !$pid;
            }
        },
        worker => \&SupervisorTest::serve,
    );
    ok($supervisor->wait_for('worker_ready'), 'a worker is ready');
    is([ grep { $_->{event} =~ /halted|exited/ } $supervisor->events ], [], 'nothing else has happened');
    is($supervisor->finish, 0, 'exit code');
};

# perl5 11789: a reaper made system() return -1.
subtest 'system() beside the supervisor keeps its status' => sub {
    my $folder     = File::Temp->newdir;
    my $log        = "$folder/log";
    my $supervisor = SupervisorTest->start(
        workers => 2,
        before  => sub {
            require EventLoop::Fork::Loop;
            our $loop = EventLoop::Fork::Loop->new;
            my $count = 0;
            my $again;
            $again = sub {
                my $status = system $^X, '-e', 'exit 7';
                print STDERR "status $status\n"                  if $status != 7 << 8;
                $loop->watch_time(after => 0.01, code => $again) if ++$count < 20;
            };
            $loop->watch_time(after => 0, code => $again);
        },
        loop_of => sub { our $loop },
        stderr  => $log,
        worker  => \&SupervisorTest::serve,
    );
    $supervisor->wait_for_count(worker_ready => 2);
    for (1 .. 5) {
        my ($victim) = $supervisor->workers;
        kill KILL => $victim;
        $supervisor->wait_for('worker_ready');
    }
    is($supervisor->finish, 0, 'exit code');
    open my $file, '<', $log or die "$log: $!";
    is([ grep { /status/ } <$file> ], [], 'each system() had its own');
};

# benoitc/gunicorn 1910: a signal between the fork and the worker's handlers was lost, or ran the parent's.
subtest 'TERM in the first moment of a worker is obeyed' => sub {
    for my $round (1 .. 10) {
        my $supervisor =
            SupervisorTest->start(workers => 2, graceful_timeout => 600, worker => \&SupervisorTest::serve);
        $supervisor->wait_for_count(worker_started => 2);
        is($supervisor->finish, 0, "round $round");
        is([ grep { $_->{event} eq 'worker_killed' } $supervisor->events ], [], 'nobody had to be killed');
    }
};

# PAGI::Server (U2): a TERM while the parent was still forking killed it and left the workers behind.
subtest 'TERM at any moment of the start ends everything' => sub {
    for my $round (1 .. 20) {
        my $supervisor = do {
            local $SIG{TERM} = 'IGNORE';    # until start is called
            SupervisorTest->start(workers => 5, worker => \&SupervisorTest::serve);
        };
        select undef, undef, undef, rand 0.15;    # the moment itself is what is tested
        $supervisor->signal('TERM');
        # One that came before start was ignored, as the test has it.
        $supervisor->signal('TERM')
            if $supervisor->wait_for(sub { $_[0]{event} =~ /\A(?:stopping|worker_ready)\z/ })->{event} ne 'stopping';
        is($supervisor->exit_code, 0, "round $round: exit code");
        ok($supervisor->is_gone, 'no process is left');
    }
};

# joyent, Hyperman: slots that were lost or used twice after TTOU and TTIN.
subtest 'numbers of slots are unique' => sub {
    my $supervisor = SupervisorTest->start(workers => 3, worker => \&SupervisorTest::serve);
    $supervisor->wait_for_count(worker_ready => 3);
    for my $signal (qw(TTOU TTIN TTIN TTOU TTIN)) {
        $supervisor->signal($signal);
        $supervisor->wait_for($signal eq 'TTIN' ? 'worker_ready' : 'worker_exited');
    }
    my %slots;
    for my $event ($supervisor->events) {
        $slots{ $event->{slot} } = $event->{pid} if $event->{event} eq 'worker_started';
        delete $slots{ $event->{slot} }          if $event->{event} eq 'worker_exited';
    }
    is([ sort keys %slots ], [ 0, 1, 2, 3 ], 'four workers, four numbers');
    is($supervisor->finish, 0, 'exit code');
};

# PAGI::Server (U12): later workers held what earlier ones were given, and the parent's epoll.
subtest 'workers hold no descriptor of their siblings' => sub {
    my $supervisor = SupervisorTest->start(
        workers => 4,
        worker  => sub {
            my ($worker) = @_;
            die 'holds ' . join(', ', sort map { readlink "/proc/$$/fd/$_" || () } 3 .. 100) . "\n";
        },
        crash_limit   => 4,
        respawn_delay => 0,
    );
    is($supervisor->exit_code, 2, 'has ended');
    my %held = map { $_->{reason} =~ /holds (.*)/ ? ($1 =~ s/\[[0-9]+\]//gr => 1) : () }
        grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is(scalar keys %held, 1, 'the first and the last one hold the same') or diag(join "\n", keys %held);
    unlike((keys %held)[0], qr/pidfd|eventpoll.*eventpoll/, 'and no process descriptor');
    }
    if -d "/proc/$$/fd";

done_testing;
