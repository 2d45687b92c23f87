# What a child may do to its parent, and back, on a loop of EV that is not the default one: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(ev-dynamic));
