package Bench::Idle;

# What a supervisor costs while its workers wait for requests: how often it wakes up, and its memory.

use strict;
use warnings;

use Bench::Servers ();
use EventLoop::Fork::Scoreboard;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime sleep);

# For what is put off until a start is over.
use constant SETTLE_SECONDS => 2;

sub measure {
    my ($contestant, $seconds) = @_;
    my $workers = $contestant->{workers} || 1;
    my $server  = Bench::Servers->start($contestant, $workers);
    $server->answering;
    $server->wait_for_children($workers);
    my $result = _watch($server->pid, $seconds);
    $server->stop;
    return { %$result, workers => $workers };
}

# Nothing but a loop that waits, of the class that our supervisor takes.
sub bare_loop {
    my ($seconds) = @_;
    my $program = 'my $loop = EventLoop::Fork::Loop->new; $loop->watch_time(after => 3600, code => sub {});'
        . 'syswrite STDOUT, "."; $loop->run';
    my $pid = open my $pipe, '-|', Bench::Servers::perl(), '-MEventLoop::Fork::Loop', '-e', $program
        or die "cannot start $^X: $!\n";
    sysread $pipe, my $byte, 1 or die "no loop\n";
    my $result = eval { _watch($pid, $seconds) };
    my $error  = $@;
    kill KILL => $pid;
    close $pipe;
    die $error unless $result;
    return { %$result, workers => 0 };
}

sub _watch {
    my ($pid, $seconds) = @_;
    sleep SETTLE_SECONDS;
    my $began  = clock_gettime(CLOCK_MONOTONIC);
    my $before = _status($pid);
    sleep $seconds;
    my $after = _status($pid);
    my $took  = clock_gettime(CLOCK_MONOTONIC) - $began;
    my ($rss, $private) = EventLoop::Fork::Scoreboard::memory($pid);
    die "the memory of a process is not told here\n" unless defined $private;
    return {
        wakeups_per_second => ($after->{voluntary_ctxt_switches} - $before->{voluntary_ctxt_switches}) / $took,
        private_bytes      => $private,
        anonymous_bytes    => 1024 * $after->{RssAnon},
    };
}

sub _status {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/status" or die "/proc/$pid/status: $!\n";
    return { map { /\A(\w+):\s+(\d+)/ ? ($1 => $2) : () } readline $file };
}

1;
