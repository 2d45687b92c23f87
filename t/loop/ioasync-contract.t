# The shipped acceptance tests on the IO::Async classes, with the best method of each.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
BEGIN { limit_descriptors() }
use Test2::V0;

use EventLoop::Fork::Loop;
use EventLoop::Fork::Test::Loop;

skip_all 'IO::Async is not installed' unless eval { require IO::Async::Loop; 1 };

for my $backend (qw(libev libevent)) {
    subtest $backend => sub {
        my ($method) = methods_of($backend) or skip_all "$backend was not built";
        my $class = 'IO::Async::Loop::' . ucfirst $backend;
        (my $file = "$class.pm") =~ s{::}{/}g;
        ok(require $file, "$class loads");
        is($class->new->method, $method, "$class is on $method");
        run_tests(sub { $class->new });
    };
}

done_testing;
