package LimitTest;

# Limits of this process, which perl cannot set. Linux on 64 bits only.

use strict;
use warnings;

use Exporter qw(import);
use POSIX    ();

our @EXPORT_OK = qw(RLIMIT_NOFILE RLIMIT_NPROC can_limit set_limit);

use constant { RLIMIT_NPROC => 6, RLIMIT_NOFILE => 7 };

# prlimit, by the numbers of common architectures. 0 is this process.
my %PRLIMIT = (x86_64 => 302, aarch64 => 261, riscv64 => 261);
my $prlimit = $^O eq 'linux' && length pack('L!', 0) == 8 ? $PRLIMIT{ (POSIX::uname())[4] } : undef;

sub can_limit { return defined $prlimit }

# For the time being: the hard limit stays. What it was.
sub set_limit {
    my ($what, $soft) = @_;
    my $before = pack 'QQ', 0, 0;
    syscall($prlimit, 0, $what, 0, $before) == 0 or die "prlimit: $!";
    my ($old, $hard) = unpack 'QQ', $before;
    my $limits = pack 'QQ', $soft, $hard;
    syscall($prlimit, 0, $what, $limits, 0) == 0 or die "prlimit: $!";
    return $old;
}

1;
