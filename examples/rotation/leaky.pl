# A handler that leaks: each request keeps 20 kB for ever. What rotation is for.
#   evfork run --workers 2 --max-requests 600 --max-requests-jitter 400 --listen 127.0.0.1:8080 examples/rotation/leaky.pl

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use lib File::Spec->rel2abs('../lib', dirname(__FILE__));

use Example::HTTP::Listener;
use Example::HTTP::Worker;

my @leaked;

sub {
    my ($worker) = @_;
    my $server = Example::HTTP::Worker->new(
        loop      => $worker->loop,
        listeners => [ map { Example::HTTP::Listener->from_socket($_) } $worker->listeners ],
        limit     => {
            graceful_timeout => 30,
            header_timeout   => 10,
            body_timeout     => 30,
            idle_timeout     => 60,
            write_timeout    => 30,
            header_limit     => 16_384,
            body_limit       => 65_536,
        },
        handler => sub {
            my ($request, $connection) = @_;
            push @leaked, 'x' x 20_000;
            return $connection->reply(200, [ 'Content-Type' => 'text/plain' ], scalar(@leaked) . " leaked\n");
        },
        on_request => sub { $worker->request_started },
        on_answer  => sub { $worker->request_done },
    );
    $worker->on_stop(sub { $server->drain });
    $server->start;
    $worker->ready;
    return $server->run;
};
