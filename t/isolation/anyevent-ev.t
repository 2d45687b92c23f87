# What a child may do to its parent, and back, on AnyEvent on EV: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(anyevent-ev));
