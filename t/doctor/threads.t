# Threads alive at the fork are named with the library that they come from.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Config;
use DoctorTest;
use Test2::V0;

skip_all 'this perl has no threads'               unless $Config{useithreads};
skip_all 'threads of a process are not told here' unless -d '/proc/self/task';

my $found = finds(
    warning => 'threads', qr/\A1 thread of \S+ is alive at the fork: \d+ \(\S+\)\z/,
    <<'CODE',
        require threads;
        require Thread::Queue;
        my $queue = Thread::Queue->new;
        push @kept, $queue, threads->create(sub { $queue->dequeue });
        $kept[1]->detach;
        select undef, undef, undef, 0.01 until waits($kept[1]);
        sub waits {
            for my $file (grep { !m{/$$/} } glob '/proc/self/task/*/syscall') {
                open my $handle, '<', $file or next;
                return 1 if (readline($handle) // '') =~ /0x/;
            }
            return 0;
        }
CODE
    without => '',
);
SKIP: {
    skip 'under AddressSanitizer its library starts the threads' if ($ENV{LD_PRELOAD} // '') =~ /asan/;
    like($found->{library}, qr{/threads\.so\z}, 'the library');
}
is(scalar @{ $found->{threads} }, 1, 'its number');

finds_not(threads => <<'CODE', name => 'a thread that is stopped before the fork');
    require threads;
    require Thread::Queue;
    my $queue = Thread::Queue->new;
    my $thread;
    my $start = sub { $thread = threads->create(sub { $queue->dequeue }) };
    $start->();
    at_fork(prepare => sub { $queue->enqueue(1); $thread->join }, parent => $start);
    END { $queue->enqueue(1); $thread->join }
CODE

done_testing;
