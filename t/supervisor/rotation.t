# Workers are replaced by requests, memory and age: the new one first, one at a time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use SupervisorTest;
use Test2::V0;

# Serves requests of its own making.
sub busy {
    my ($worker) = @_;
    my $loop = $worker->loop;
    my $next;
    $next = sub { $worker->request_started; $worker->request_done; $loop->watch_time(after => 0.001, code => $next) };
    $next->();
    $worker->ready;
    $loop->run;
    return 0;
}

sub most_pairs {
    my ($workers, @events) = @_;
    my ($alive, $most)     = (0, 0);
    for my $event (@events) {
        $alive++       if $event->{event} eq 'worker_started';
        $alive--       if $event->{event} eq 'worker_exited';
        $most = $alive if $alive > $most;
    }
    return $most - $workers;
}

subtest 'by requests' => sub {
    my $supervisor = SupervisorTest->start(
        workers => 3, max_requests => 20, max_requests_jitter => 30, min_lifetime => 0,
        worker  => \&busy
    );
    my @draining = $supervisor->wait_for_count(worker_draining => 6);
    is([ map { $_->{cause} } @draining ], [ ('max requests') x 6 ], 'the cause is told');
    my @events = $supervisor->events;
    is(most_pairs(3, @events), 1, 'one replacement at a time');
    my $first = 0;
    is(
        [ grep { $first ||= $_->{ready} == 3; $first && $_->{ready} < 3 } @events ], [],
        'once ready, never fewer than three'
    );
    is([ grep { $_->{event} eq 'worker_exited' && $_->{reason} ne 'exit 0' } @events ], [], 'each left by itself');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'by age' => sub {
    my $supervisor = SupervisorTest->start(
        workers => 2, max_lifetime => 0.1, min_lifetime => 0,
        worker  => \&SupervisorTest::serve,
    );
    my @draining = $supervisor->wait_for_count(worker_draining => 4);
    is([ map { $_->{cause} } @draining ], [ ('max lifetime') x 4 ], 'the cause is told');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'by memory' => sub {
    my $supervisor = SupervisorTest->start(
        workers           => 1,
        max_rss           => '100M',
        min_lifetime      => 0,
        heartbeat_timeout => 2,        # memory is looked at as often as heartbeats are
        worker            => sub {
            my ($worker) = @_;
            my $leak = $worker->generation == 1 ? 'x' x 200_000_000 : '';
            $worker->ready;
            $worker->loop->run;
            return length $leak ? 0 : 1;
        },
    );
    my $draining = $supervisor->wait_for('worker_draining');
    is($draining->{cause}, 'max rss', 'the cause is told');
    is($supervisor->finish, 0, 'exit code');
    }
    if -r "/proc/$$/statm";

subtest 'not before min_lifetime' => sub {
    my $supervisor = SupervisorTest->start(workers => 1, max_requests => 1, min_lifetime => 1.5, worker => \&busy);
    my $ready      = $supervisor->wait_for('worker_ready');
    my $draining   = $supervisor->wait_for('worker_draining');
    cmp_ok($draining->{time} - $ready->{time}, '>=', 1.4, 'served as long as that');
    is($supervisor->finish, 0, 'exit code');
};

done_testing;
