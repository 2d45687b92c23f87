# Nobody reads the log any more: the supervisor goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use POSIX ();
use SupervisorTest;
use Test2::V0;

pipe my $log, my $log_writer or die "pipe: $!";
my $pid = fork // die "fork: $!";
if (!$pid) {
    close $log;
    open STDERR, '>&', $log_writer or POSIX::_exit(98);
    close $log_writer;
    require EventLoop::Fork::Supervisor;
    alarm SupervisorTest::BOUND;
    my $supervisor = EventLoop::Fork::Supervisor->new(
        workers => 1,
        worker  => \&SupervisorTest::serve,
    );
    POSIX::_exit($supervisor->run);
}
close $log_writer;
my $line = '';
$line = readline $log until $line =~ /ready after/ || eof $log;
like($line, qr/worker 0 .* ready after/, 'the log is read');
close $log;
kill TERM => $pid;
waitpid $pid, 0;
is($?, 0, 'a log without readers kills no supervisor');

done_testing;
