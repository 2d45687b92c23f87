# An HTTP server for `evfork run --workers 4 --listen 127.0.0.1:8080 examples/apps/http.pl`: what one worker does. The
# pages are those of Example::HTTP::Routes.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use lib File::Spec->rel2abs('../lib', dirname(__FILE__));

use Example::HTTP::Listener;
use Example::HTTP::Worker;

my %LIMIT = (
    graceful_timeout => 30,
    header_timeout   => 10,
    body_timeout     => 30,
    idle_timeout     => 60,
    write_timeout    => 30,
    header_limit     => 16_384,
    body_limit       => 1_048_576,
);

sub {
    my ($worker) = @_;
    my $server = Example::HTTP::Worker->new(
        loop       => $worker->loop,
        listeners  => [ map { Example::HTTP::Listener->from_socket($_) } $worker->listeners ],
        limit      => \%LIMIT,
        on_request => sub { $worker->request_started },
        on_answer  => sub { $worker->request_done },
    );
    $worker->on_stop(sub { $server->drain });
    $server->start;
    $worker->ready;
    return $server->run;
};
