# END blocks of the program are named; those of perl's own modules and of this distribution are not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use Test2::V0;

finds(
    note    => 'end', qr/\Aan END block: -e line \d+\z/, 'END { print STDERR "" }',
    without => 'require File::Temp; require EventLoop::Fork::Supervisor',
);

done_testing;
