# Every suite of IO::Async::LoopTests on IO::Async::Loop::Libev, with each method of libev.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
use Test2::V0;

for my $module (qw(IO::Async::LoopTests IO::Async::Timer::Countdown)) {
    skip_all "$module is not installed" unless eval "require $module; 1";
}
my @methods = methods_of('libev') or skip_all 'libev was not built';

my $before = nothing_left();
ioasync_looptests('libev', @methods);
picks_class('libev');
nothing_left($before);

done_testing;
