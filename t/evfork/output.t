# Output that nobody reads is no error; output that is lost is one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use BoardTest;
use EvforkTest;
use Test2::V0;

my $path  = "$EvforkTest::folder/made-up.status";
my $board = BoardTest::fill(EventLoop::Fork::Scoreboard->new(path => $path, rows => 8));

# Exit code, and STDERR.
sub run_to {
    my ($handle, @arguments) = @_;
    my $err = File::Temp->new;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDOUT, '>&', $handle or POSIX::_exit(99);
        open STDERR, '>&', $err    or POSIX::_exit(99);
        $SIG{PIPE} = 'DEFAULT';
        exec EvforkTest::command(@arguments) or POSIX::_exit(99);
    }
    close $handle;
    my $exit_code = EvforkTest::end_in_words($pid);
    return ($exit_code, EvforkTest::slurp($err->filename));
}

for my $command (
    [ 'status', $path ], [ 'status', '--json', $path ], [ 'metrics', $path ], [ 'top', $path ], ['help'], ['--version'],
    [ 'top', '--batch', '--interval', '0.1', $path ]
    )
{
    pipe my $reader, my $writer or die "pipe: $!";
    close $reader;
    is([ run_to($writer, @$command) ], [ 0, '' ], "@$command: nobody reads it, and nothing is said");
}

SKIP: {
    skip 'no /dev/full here' unless -c '/dev/full';
    open my $full, '>', '/dev/full' or die "/dev/full: $!";
    my ($exit_code, $err) = run_to($full, 'status', $path);
    is($exit_code, 1, 'a full disk: exit code 1');
    like($err, qr/\Aevfork: cannot write: [^\n]+\n\z/, 'one line');
}

done_testing;
