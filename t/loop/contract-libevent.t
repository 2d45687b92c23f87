# The shipped acceptance tests on the native loop, backend libevent, with each of its methods.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
BEGIN { limit_descriptors() }
use Test2::V0;

use EventLoop::Fork::Loop;
use EventLoop::Fork::Test::Loop;

my @methods = methods_of('libevent') or skip_all 'libevent was not built';
for my $method (@methods) {
    my $before = nothing_left();
    subtest $method => sub {
        my $new = sub { EventLoop::Fork::Loop->new(backend => 'libevent', method => $method) };
        is([ $new->()->backend, $new->()->method ], [ 'libevent', $method ], 'the loop is on backend and method');
        run_tests($new);
    };
    nothing_left($before) if $method ne $methods[0];    # the first loop of a process opens what all of them share
}

done_testing;
