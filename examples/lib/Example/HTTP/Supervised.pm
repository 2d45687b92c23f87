package Example::HTTP::Supervised;

# Example::HTTP::Worker under EventLoop::Fork::Supervisor: from what the supervisor gives a worker to a server, and back.

use strict;
use warnings;

use Example::HTTP::Limits;
use Example::HTTP::Listener;
use Example::HTTP::Worker;

# The code of a worker. The options are those of Example::HTTP::Worker, as handler.
sub code {
    my (%option) = @_;
    return sub {
        my ($worker) = @_;
        my $server = Example::HTTP::Worker->new(
            loop       => $worker->loop,
            listeners  => [ map { Example::HTTP::Listener->from_socket($_) } $worker->listeners ],
            limit      => { Example::HTTP::Limits::default() },
            on_request => sub { $worker->request_started },
            on_answer  => sub { $worker->request_done },
            %option,
        );
        $worker->on_stop(sub { $server->drain });
        $server->start;
        $worker->ready;
        return $server->run;
    };
}

1;
