# A PSGI application. Twiggy answers many requests at a time, on AnyEvent; --psgi answers one, by a handler of Plack's.
#
#     evfork run --server Twiggy examples/servers/hello.psgi --workers 4 --listen 127.0.0.1:5000
#     evfork run --psgi examples/servers/hello.psgi --workers 4 --listen 127.0.0.1:5000
#     curl http://127.0.0.1:5000/

use strict;
use warnings;

sub {
    my ($env)  = @_;
    my $worker = $env->{'eventloop_fork.worker'};
    my $text   = sprintf "hello from slot %d, generation %d\n", $worker->slot, $worker->generation;
    return [ 200, [ 'Content-Type' => 'text/plain', 'Content-Length' => length $text ], [$text] ];
};
