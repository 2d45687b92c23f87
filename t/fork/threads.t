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
