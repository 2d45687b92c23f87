# A handler that leaks: each request keeps 20 kB for ever. What rotation is for.
#   evfork run --workers 2 --max-requests 600 --max-requests-jitter 400 --listen 127.0.0.1:8080 examples/rotation/leaky.pl

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Spec;
use lib File::Spec->rel2abs('../lib', dirname(__FILE__));

use Example::HTTP::Supervised;

my @leaked;

Example::HTTP::Supervised::code(
    handler => sub {
        my ($request, $connection) = @_;
        push @leaked, 'x' x 20_000;
        return $connection->reply(200, [ 'Content-Type' => 'text/plain' ], scalar(@leaked) . " leaked\n");
    },
);
