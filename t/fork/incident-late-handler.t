# A program limits a job by alarm and a handler in %SIG. The loop waited, and perl runs handlers only between its own
# operations: the handler came when the wait was over.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
use Time::HiRes qw(ualarm);
my $loop = eval $ARGV[0] or die;
pipe my $reader, my $writer or die "pipe: $!";
$loop->watch_io(handle => $reader, on_read_ready => sub { });
my $start = now();
my $took;
$SIG{ALRM} = sub { $took = now() - $start };
ualarm 100_000;
$loop->loop_once(BOUND);
print !defined $took ? 'never' : $took < BOUND / 2 ? 'in time' : 'late', "\n";
EOP

every_loop_says('the handler runs in time', "in time\n", $program);

control 'with EV it waits', ['EV'], qr/\Alate\n\z/, <<'EOP';
use strict;
use EV;
use ForkTest;
use Time::HiRes qw(ualarm);
my ($start, $took);
$SIG{ALRM} = sub { $took = now() - $start };
# On a busy machine the signal may come before the wait: then again.
for (1 .. 20) {
    $start = now();
    my $timer = EV::timer(1, 0, sub { EV::break() });
    ualarm 200_000;
    EV::run();
    last if $took >= 0.9;
}
print $took < 0.9 ? 'in time' : 'late', "\n";
EOP

done_testing;
