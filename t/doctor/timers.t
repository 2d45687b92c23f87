# Timers of the process that a child does not inherit.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use Test2::V0;

finds(
    warning => 'timers', qr/\Aa timer of alarm, or setitimer runs, [0-9.]+ s to go\z/, 'alarm 1000',
    name    => 'alarm',
    without => 'alarm 1000; alarm 0',
);
finds(
    warning => 'timers', qr/\Aa timer of setitimer \(ITIMER_PROF\) runs/,
    'require Time::HiRes; Time::HiRes::setitimer(Time::HiRes::ITIMER_PROF(), 1000)',
    name    => 'a profiler',
    without => 'require Time::HiRes',
);

done_testing;
