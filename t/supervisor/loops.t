# The supervisor on the loops of others; its workers get one of the same kind.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ForkTest qw(has_module);
use SupervisorTest;
use Test2::V0;

my @FAMILIES = (
    [ 'EventLoop::Fork::Loop', 'EventLoop::Fork::Loop', sub { EventLoop::Fork::Loop->new } ],
    [ 'IO::Async::Loop::Libev',    'IO::Async', sub { require IO::Async::Loop::Libev;    IO::Async::Loop::Libev->new } ],
    [ 'IO::Async::Loop::Libevent', 'IO::Async', sub { require IO::Async::Loop::Libevent; IO::Async::Loop::Libevent->new } ],
    [ 'IO::Async::Loop::Poll',     'IO::Async', sub { require IO::Async::Loop::Poll;     IO::Async::Loop::Poll->new } ],
    [ 'IO::Async::Loop::Epoll',    'IO::Async', sub { require IO::Async::Loop::Epoll;    IO::Async::Loop::Epoll->new } ],
    [ 'EV',                        'EV',        sub { require EV;                        'EV' } ],
    [ 'AnyEvent',                  'AnyEvent',  sub { require AnyEvent;                  'AnyEvent' } ],
    [ 'Mojo::IOLoop',              'Mojolicious', sub { require Mojo::IOLoop;            Mojo::IOLoop->singleton } ],
);

# Once around: start, a death, a reload, TERM while nothing else happens.
for my $family (@FAMILIES) {
    my ($name, $module, $loop_of) = @$family;
    (my $needed = $name) =~ s/\AMojo::IOLoop\z/Mojolicious/;
    SKIP: {
        skip "$name is not installed here" unless has_module($needed);
        subtest $name => sub {
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
        };
    }
}

done_testing;
