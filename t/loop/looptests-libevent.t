# Every suite of IO::Async::LoopTests on IO::Async::Loop::Libevent, with each method of libevent.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
use Test2::V0;

for my $module (qw(IO::Async::LoopTests IO::Async::Timer::Countdown)) {
    skip_all "$module is not installed" unless eval "require $module; 1";
}
my @methods = methods_of('libevent') or skip_all 'libevent was not built';

my $before = nothing_left();
ioasync_looptests('libevent', @methods);
picks_class('libevent');
nothing_left($before);

done_testing;
