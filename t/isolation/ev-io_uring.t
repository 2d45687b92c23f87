# What a child may do to its parent, and back, on EV on io_uring, where the kernel has it: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(ev-io_uring));
