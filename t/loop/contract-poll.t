# The shipped acceptance tests on the native loop, backend poll, with each of its methods.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
BEGIN { limit_descriptors() }

run_contract('poll');
