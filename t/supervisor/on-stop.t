# A worker whose on_stop throws cannot stop as it wanted to. It ends at once and says why, on every loop.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use SupervisorTest;
use Test2::V0;

SupervisorTest::each_family(sub {
    my ($loop_of) = @_;
    my $supervisor = SupervisorTest->start(
        loop_of => $loop_of,
        workers => 1,
        worker  => sub {
            my ($worker) = @_;
            my $also = 0;
            $worker->loop;
            $worker->on_stop(sub { $also++; die "cannot stop\n" });
            $worker->on_stop(sub { die "was called $also\n" });
            $worker->ready;
            SupervisorTest::run_loop($worker);
            return 0;
        },
    );
    $supervisor->wait_for('worker_ready');
    is($supervisor->finish, 0, 'exit code of the supervisor');
    my ($exited) = grep { $_->{event} eq 'worker_exited' } $supervisor->events;
    is($exited->{reason}, 'exception: cannot stop', 'the worker was not killed, and the first exception is the reason');
});

done_testing;
