# What a child may do to its parent, and back, on AnyEvent without any other loop: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(anyevent-perl));
