# The list of descriptors, with who opened each; and those that a program that is started would get.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use Test2::V0;

skip_all 'descriptors of a process are not told here' unless -d '/proc/self/fdinfo';

finds(
    note => 'descriptors',
    qr/\Athese descriptors stay open in programs that are started: \d+ \(pipe, \$reader at -e line \d+\)\z/,
    'local $^F = 100; pipe my $reader, my $writer or die $!; push @kept, $reader; close $writer',
    without => 'pipe my $reader, my $writer or die $!; push @kept, $reader, $writer',
);

my $report = examine(<<'CODE');
    require IO::Socket::UNIX;
    require File::Temp;
    pipe my $reader, my $writer or die $!;
    open my $null, '>', '/dev/null' or die $!;
    opendir my $folder, '/' or die $!;
    my $path     = File::Temp->newdir;
    my $listener = IO::Socket::UNIX->new(Local => "$path/s", Listen => 1) or die $!;
    my $socket   = IO::Socket::UNIX->new(Peer => "$path/s") or die $!;
    my $fd       = POSIX::open('/dev/null', POSIX::O_RDONLY());
    push @kept, $reader, $writer, $null, $folder, $path, $listener, $socket;
CODE
my %by_opener = map { ($_->{opened_by} // '') =~ /(\$?\w[\w:]*)/ ? ($1 => $_) : () } @{ $report->{descriptors} };
is($by_opener{'$reader'}{type}, 'pipe', 'a pipe');
is([ @{ $by_opener{'$null'} }{qw(type target cloexec)} ], [ 'device', '/dev/null', 1 ], 'a device');
like($by_opener{'$null'}{opened_by}, qr/\A\$null at -e line \d+\z/, 'and where it was opened');
my ($folder) = grep { $_->{target} eq '/' } @{ $report->{descriptors} };
is($folder->{type}, 'folder', 'a folder');
my @sockets = grep { $_->{type} eq 'socket' } @{ $report->{descriptors} };
is(scalar @sockets, 2, 'two sockets');
is([ grep { defined } map { $_->{peer} } @sockets ], [ match(qr{\Aunix:/.*/s\z}) ], 'one has a peer');
ok(
    scalar(
        grep { $_->{target} eq '/dev/null' && !defined $_->{opened_by} && $_->{fd} > 2 } @{ $report->{descriptors} }
    ),
    'one that perl does not know'
);

done_testing;
