# A server watches TERM and starts a program for a job. TERM to that program had no effect, because the loop had blocked
# the signal and whoever it forks inherits that: the job could only be killed.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
my ($source, $patience) = @ARGV;
my $loop = eval $source or die;
$loop->watch_signal(TERM => sub { });

# A job in Perl, and one that is another program. Each says when it runs.
my @jobs = (
    perl    => sub { my ($out) = @_; syswrite $out, 'x'; sleep 60; 0 },
    program => sub { my ($out) = @_; open STDOUT, '>&', $out; exec 'sh', '-c', 'echo x; exec sleep 60' },
);
while (my ($name, $code) = splice @jobs, 0, 2) {
    pipe my $reader, my $writer or die "pipe: $!";
    my $status;
    my $pid = $loop->fork(code => sub { alarm 60; $code->($writer) }, on_exit => sub { $status = $_[1] });
    close $writer;
    sysread $reader, my $byte, 1;
    kill TERM => $pid;
    my $timer = $loop->watch_time(after => $patience, code => sub { kill KILL => $pid });
    wait_until($loop, sub { defined $status });
    $loop->unwatch_time($timer);
    print "$name: ", $status & 127, "\n";
}
EOP

every_loop_says('TERM stops the jobs', "perl: 15\nprogram: 15\n", $program, BOUND);

control 'with IO::Async::Loop::Epoll they have to be killed', ['IO::Async::Loop::Epoll'], qr/\Aperl: 9\nprogram: 9\n\z/,
    $program, 'use IO::Async::Loop::Epoll; IO::Async::Loop::Epoll->new', 0.3;

done_testing;
