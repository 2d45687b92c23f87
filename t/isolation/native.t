# What a child may do to its parent, and back, on our loop, each backend: see ForkSafety.pod.
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(native-libev native-libevent native-poll));
