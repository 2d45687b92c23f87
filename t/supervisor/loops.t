# The supervisor on the loops of others; its workers get one of the same kind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use SupervisorTest;
use Test2::V0;

# Once around: start, a death, a reload, TERM while nothing else happens.
SupervisorTest::each_family(sub {
    my ($loop_of) = @_;
    my $supervisor = SupervisorTest->start(
        loop_of => $loop_of,
        workers => 2,
        worker  => sub {
            my ($worker) = @_;
            my $loop = $worker->loop;
            $worker->on_stop(sub { EventLoop::Fork::Adapter::for_loop($loop)->stop });
            $worker->ready;
            EventLoop::Fork::Adapter::for_loop($loop)->run;
            return 0;
        },
    );
    my @ready = $supervisor->wait_for_count(worker_ready => 2);
    is(scalar @ready, 2, 'ready') or return;
    kill KILL => $ready[0]{pid};
    ok($supervisor->wait_for('worker_ready'), 'replaced');
    $supervisor->signal('HUP');
    ok($supervisor->wait_for('reloaded'), 'reloaded');
    is($supervisor->finish, 0, 'TERM: exit code 0');
    is([ grep { $_->{event} eq 'worker_killed' } $supervisor->events ], [], 'no worker had to be killed');
    ok($supervisor->is_gone, 'no process is left');
});

done_testing;
