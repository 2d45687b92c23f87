# Every suite of IO::Async::LoopTests on IO::Async::Loop::Libevent, with each method of libevent.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;

run_ioasync_looptests('libevent');
