# Bytes that wait in memory at the fork.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use ForkTest qw(has_module);
use Test2::V0;

my $open = 'require File::Temp; my $file = File::Temp->new; push @kept, $file; print {$file} "twelve bytes";';
finds(
    note    => 'buffers', qr/\A12 bytes of output wait in a buffer of descriptor \d+ \(File::Temp/, $open,
    name    => 'output',
    without => "$open \$file->flush",
);

# A pipe that is full, and not to be waited for.
my $full = <<'CODE';
    require IO::Handle;
    pipe my $reader, my $writer or die $!;
    push @kept, $reader, $writer;
    $writer->blocking(0);
    1 while syswrite $writer, 'x' x 4096;
    print {$writer} 'late';
CODE
finds(
    warning => 'buffers',
    qr/\A4 bytes of output wait in a buffer of descriptor \d+ \(\$writer at -e line \d+\), which does not block\z/,
    $full,
    name    => 'output that is stuck',
    without => $full =~ s/print.*//r,
);

my $read = 'pipe my $reader, my $writer or die $!; push @kept, $reader, $writer; syswrite $writer, "a line\nmore";';
finds(
    warning => 'buffers', qr/\A4 bytes of input are read and not used: .*\$reader/, "$read readline \$reader",
    name    => 'input',
    without => "$read sysread \$reader, my \$bytes, 7",
);

SKIP: {
    skip 'FFI::Platypus, to call the C library, is not installed'  unless has_module('FFI::Platypus');
    skip 'what waits in buffers of C is told by the GNU C library' unless $^O eq 'linux';
    my $puts =
        q{require FFI::Platypus; FFI::Platypus->new(api => 1, lib => [undef])->function(puts => ['string'] => 'int')->call('C');};
    my $flush = q{FFI::Platypus->new(api => 1, lib => [undef])->function(fflush => ['opaque'] => 'int')->call(undef);};
    # Into a file of its own: the report goes where perl writes.
    my $away =
        q{open my $report_to, '>&', \*STDOUT or die $!; push @kept, $report_to; POSIX::dup2(POSIX::open('/dev/null', POSIX::O_WRONLY()), 1);};
    my $back = q{POSIX::dup2(fileno $report_to, 1);};
    finds(
        warning => 'buffers', qr/\A2 bytes wait in the buffer of C's stdout\z/, "$away $puts $back",
        name    => 'stdio',
        without => "$away $puts $flush $back",
    );
}

done_testing;
