# What a child may do to its parent, and back, on IO::Async::Loop::Epoll: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(io-async-epoll));
