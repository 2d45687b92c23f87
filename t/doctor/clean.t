# A program without a fault has a clean bill, soon.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use ForkTest qw(BOUND run_program);
use Test2::V0;

my $report = examine(
    q{at_fork(name => 'good', map { $_ => sub { } } qw(prepare parent child)); push @kept, EventLoop::Fork::Loop->new});
is($report->{findings}, [], 'no finding');
is([ @$report{qw(worst exit_code forks stderr)} ], [ undef, 0, 2, '' ], 'nothing is said');
cmp_ok($report->{seconds}, '<', $ENV{EVF_TEST_SLOW} ? BOUND : 1, 'in less than a second');

my $result = run_program(<<'PROGRAM');
    use EventLoop::Fork;
    use POSIX ();
    POSIX::close($_) for 3 .. 300;
    alarm 0;
    sub fds { return join ' ', grep { -e "/proc/self/fd/$_" } 0 .. 40 }
    my $before = fds();
    $! = 5;
    $@ = 'mine';
    my $report = EventLoop::Fork->doctor(app => 'mine');
    my ($errno, $error) = ($! + 0, $@);
    print $report->as_text;
    print "the same descriptors\n" if fds() eq $before;
    print waitpid(-1, 0) == -1 ? "no child\n" : "a child\n";
    print "$errno $error ", defined $report->worst ? 'bad' : 'good', "\n";
PROGRAM
like(
    $result->{stdout}, qr/\Amine: a clean bill: nothing found that a fork would break \(2 forks, 0 hooks, \d+ ms\)\n/,
    'in words'
);
like($result->{stdout}, qr/^the same descriptors\nno child\n5 mine good\n\z/m, 'nothing is left, nothing is changed');
is($result->{stderr}, '', 'nothing else is said');

done_testing;
