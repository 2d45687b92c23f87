# The checks of t/isolation on ...
use strict;
use warnings;

use lib 't/lib';
use IsolationTest;

isolation_tests(qw(io-async-mojo));
