# Only the thread that forks exists in the child; locks of the others stay locked there. Said once, before it hurts.
use strict;
use warnings;

use lib 't/lib';
use Config;
use ForkTest;
use Test2::V0;

BEGIN { plan skip_all => 'this perl has no threads' unless $Config{useithreads} }
use threads;
use Thread::Queue;

use EventLoop::Fork::Loop;

my $loop = EventLoop::Fork::Loop->new;
my @warnings;
local $SIG{__WARN__} = sub { push @warnings, @_ };

sub fork_and_wait {
    my $status;
    $loop->fork(code => sub { 3 }, on_exit => sub { $status = $_[1] });
    $loop->loop_once until defined $status;
    return $status >> 8;
}

is fork_and_wait(), 3, 'one thread: a child';
is \@warnings, [], 'and no word of threads';

my $queue  = Thread::Queue->new;
my $thread = threads->create(sub {
    $queue->dequeue;
    return eval {
        $loop->later(sub { });
        1;
    } ? 'usable' : "$@";
});
is fork_and_wait(), 3, 'two threads: a child';
like \@warnings, [qr/\AEventLoop::Fork: fork with 2 threads; the child has only this one: \d+ \(\S+\) \d+ \(\S+\)\n\z/],
    'the number and the names are said';
is fork_and_wait(), 3, 'another child';
is scalar @warnings, 1, 'and nothing more';

$queue->enqueue(1);
like $thread->join, qr/later: the loop belongs to another thread/,
    'the copy of the loop in the thread is an empty shell';
is fork_and_wait(), 3, 'the loop itself goes on';
is scalar @warnings, 1, 'without the thread there is nothing to warn of';

# Whatever forks first, and that once.
my %forks = (
    'perl\'s fork'          => 'my $pid = fork; $pid or POSIX::_exit(0); waitpid $pid, 0',
    'an open of a copy'     => 'my $pid = open my $from, "-|"; $pid or POSIX::_exit(0); close $from',
    'fork of older code'    => 'my $pid = $early->(); $pid or POSIX::_exit(0); waitpid $pid, 0',
    'EventLoop::Fork->fork' => 'waitpid +EventLoop::Fork->fork(code => sub { 0 })->pid, 0',
    'IO::Async\'s fork'     => 'require IO::Async::Loop::Poll; EventLoop::Fork->import("-io_async");
        my $ended; my $loop = IO::Async::Loop::Poll->new; $loop->fork(code => sub { 0 }, on_exit => sub { $ended = 1 });
        $loop->loop_once until $ended',
);
delete $forks{'IO::Async\'s fork'} unless defined ForkTest::has_version('IO::Async::Loop');
for my $name (sort keys %forks) {
    my $result = run_program(<<"PROGRAM");
        my \$early;
        BEGIN { \$early = sub { return fork } }
        use threads;
        use Thread::Queue;
        use EventLoop::Fork;
        use POSIX ();
        my \$queue  = Thread::Queue->new;
        my \$thread = threads->create(sub { \$queue->dequeue });
        for (1 .. 2) { $forks{$name} }
        \$queue->enqueue(1);
        \$thread->join;
PROGRAM
    like $result->{stderr},
        qr/\AEventLoop::Fork: fork with 2 threads; the child has only this one: \d+ \(\S+\) \d+ \(\S+\)\n\z/,
        "$name: said once, with the names";
}

# A watchdog of ours is none of the program's.
{
    my $result = run_program(<<'PROGRAM');
        use EventLoop::Fork qw(at_fork);
        use POSIX ();
        at_fork(timeout => 60, child => sub { 1 });
        my $pid = fork;
        if (!$pid) { my $second = fork; $second or POSIX::_exit(0); waitpid $second, 0; POSIX::_exit(0) }
        waitpid $pid, 0;
PROGRAM
    is $result, { stdout => '', stderr => '', status => 0 }, 'a time limit of a hook leaves no thread to warn of';
}

# What is kept for the next child is memory of the interpreter that made it.
my $program = <<'PROGRAM';
    use threads;
    use EventLoop::Fork::Loop;
    sub status {
        my $own = EventLoop::Fork::Loop->new;
        my $status;
        $own->fork(code => sub { my @used = map { { number => $_ } } 1 .. 1000; 3 }, on_exit => sub { $status = $_[1] });
        $own->loop_once until defined $status;
        return $status;
    }
    my @memory;
    for my $round (1 .. 3) {
        print threads->create(\&status)->join, "\n";
        push @memory, map { [ 1 .. 50 ] } 1 .. 500;
        print status(), "\n";
    }
PROGRAM
is run_program($program)->{stdout}, "768\n" x 6, 'forks in threads that come and go, and one outside after each';

done_testing;
