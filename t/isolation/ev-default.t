# What a child may do to its parent, and back, on the default loop of EV: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(ev-default));
