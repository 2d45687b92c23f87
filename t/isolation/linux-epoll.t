# What a child may do to its parent, and back, on an epoll object whose owner no adapter knows: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(linux-epoll));
