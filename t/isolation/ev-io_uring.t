# What a child may do to its parent, and back, on EV on io_uring, where the kernel has it: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;
use Test2::V0;

skip_all 'EV 4.33 hangs on io_uring now and then, without a fork, too; EVF_TEST_IO_URING=1 runs these checks all the same'
    unless $ENV{EVF_TEST_IO_URING};

isolation_tests(qw(ev-io_uring));
