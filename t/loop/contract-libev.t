# The shipped acceptance tests on the native loop, backend libev, with each of its methods.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
BEGIN { limit_descriptors() }
use Test2::V0;

use EventLoop::Fork::Loop;
use EventLoop::Fork::Test::Loop;

my @methods = methods_of('libev') or skip_all 'libev was not built';
for my $method (@methods) {
    my $before = nothing_left();
    subtest $method => sub {
        my $new = sub { EventLoop::Fork::Loop->new(backend => 'libev', method => $method) };
        is([ $new->()->backend, $new->()->method ], [ 'libev', $method ], 'the loop is on backend and method');
        run_tests($new);
    };
    nothing_left($before) if $method ne $methods[0];    # the first loop of a process opens what all of them share
}

done_testing;
