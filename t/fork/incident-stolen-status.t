# A program with a loop starts a tool in the background and asks for its status later. The loop had reaped it on the way:
# the status was gone, and the program took the job for failed.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
use POSIX ();
my $loop = eval $ARGV[0] or die;
pipe my $gate, my $door or die "pipe: $!";
my $ended = 0;
$loop->fork(code => sub { alarm 60; close $door; sysread $gate, my $byte, 1; 0 }, on_exit => sub { $ended++ });

my $tool = fork;
die "fork: $!" unless defined $tool;
POSIX::_exit(3) if !$tool;
open my $from, '-|', 'sh', '-c', 'exit 4' or die "open: $!";
readline $from;

close $door;
wait_until($loop, sub { $ended });
$loop->loop_once(0.05) for 1 .. 2;
print 'tool ', waitpid($tool, 0) == $tool ? $? >> 8 : 'unknown', "\n";
close $from;
print 'pipe ', $? == -1 ? 'unknown' : $? >> 8, "\n";
EOP

every_loop_says('every status is there', "tool 3\npipe 4\n", $program);

control 'with IO::Async::Loop::Poll they are gone', ['IO::Async::Loop::Poll'], qr/unknown/, $program,
    'use IO::Async::Loop::Poll; IO::Async::Loop::Poll->new';

done_testing;
