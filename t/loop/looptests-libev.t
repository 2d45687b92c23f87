# Every suite of IO::Async::LoopTests on IO::Async::Loop::Libev, with each method of libev.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;

run_ioasync_looptests('libev');
