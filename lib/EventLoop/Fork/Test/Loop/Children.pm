package EventLoop::Fork::Test::Loop::Children;

# The children of tests: raw forks with words to the parent, and children that end on command. Knows no loop.

use strict;
use warnings;

our $VERSION = '0.001';

use Errno                                qw(EINTR);
use EventLoop::Fork::Test::Loop::Helpers qw(EVENT_BOUND TEST_BOUND give now pause pipe_pair);
use Exporter                             qw(import);
use POSIX                                ();

our @EXPORT = qw(%children $report_fd blocked ended_child fork_here guarded in_child leave reap say_words wait_for_end
    waiting_child words_of);

our %children;     # pids forked by the test under way
our $report_fd;    # in a child: the descriptor of its words

# A raw fork. The parent gets (pid, handle to read the child's words from), the child (0, handle for its words).
sub fork_here {
    my ($reader, $writer) = pipe_pair();
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        close $reader;
        $report_fd = fileno $writer;
        $SIG{ALRM} = 'DEFAULT';
        alarm TEST_BOUND;
        return (0, $writer);
    }
    close $writer;
    $children{$pid} = 1;
    return ($pid, $reader);
}

sub say_words {
    my ($writer, @words) = @_;
    return give($writer, join '', map { "$_\n" } @words);
}

sub leave {
    my ($writer, @words) = @_;
    say_words($writer, @words) if @words;
    POSIX::_exit(0);
}

# Its words, and how it ended unless that was well.
sub words_of {
    my ($pid, $reader) = @_;
    my $text = '';
    while (1) {
        my $got = sysread $reader, $text, 65536, length $text;
        last if defined $got ? $got == 0 : $! != EINTR;
    }
    my @words  = split /\n/, $text;
    my $status = reap($pid);
    push @words, "(wait status $status)" if $status != 0;
    return @words;
}

sub reap {
    my ($pid) = @_;
    local $?;
    while (1) {
        my $reaped = waitpid $pid, 0;
        return $? if $reaped == $pid;
        return -1 if $reaped < 0 && $! != EINTR;
    }
}

# What the code returns in a child of a raw fork.
sub in_child (&) {
    my ($code) = @_;
    my ($pid, $handle) = fork_here();
    return words_of($pid, $handle) if $pid;
    my @words;
    eval { @words = $code->(); 1 } or @words = ("died: $@");
    leave($handle, @words);
}

# A child that ends, with this exit code or as this code says, when something is written to the handle.
sub waiting_child {
    my ($exit) = @_;
    my ($reader, $writer) = pipe_pair();
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for qw(ALRM HUP INT TERM USR1 USR2);
        alarm TEST_BOUND;
        close $writer;
        my $got;
        do { $got = sysread $reader, my $byte, 1 } until defined $got || $! != EINTR;
        POSIX::_exit(ref $exit ? $exit->() : $exit);
    }
    $children{$pid} = 1;
    return ($pid, $writer);
}

# A child that has ended and waits for somebody to take its status.
sub ended_child {
    my ($exit) = @_;
    my ($pid, $release) = waiting_child($exit);
    give($release);
    wait_for_end($pid);
    return $pid;
}

# Without taking the status. Where there is no /proc the child may still be on its way.
sub wait_for_end {
    my ($pid) = @_;
    my $deadline = now() + EVENT_BOUND;
    while (now() < $deadline) {
        open my $stat, '<', "/proc/$pid/stat" or return pause(0.05);
        my $line = <$stat>;
        return if !defined $line || $line =~ /\) [ZX]/;
        pause(0.001);
    }
    return;
}

# Ends this process should the code never return, even when the loop keeps %SIG handlers from running.
sub guarded {
    my ($code) = @_;
    my ($reader, $writer) = pipe_pair();
    my $parent = $$;
    my $pid    = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        close $writer;
        vec(my $wanted = '', fileno $reader, 1) = 1;
        my $ready = select $wanted, undef, undef, TEST_BOUND;
        kill KILL => $parent if $ready == 0;
        POSIX::_exit(0);
    }
    $children{$pid} = 1;
    my $done  = eval { $code->(); 1 };
    my $error = $@;
    give($writer);
    reap($pid);
    die $error unless $done;
    return;
}

sub blocked {
    my $now = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $now);
    return grep { $now->ismember($_) } 1 .. 31;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Children - the children of tests of loops

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop::Children;

    my ($pid, $handle) = fork_here();
    leave($handle, 'one', 'two') if !$pid;
    my @words = words_of($pid, $handle);

=head1 DESCRIPTION

For L<EventLoop::Fork::Test::Loop> and L<EventLoop::Fork::Test::Adapter>. What is here knows no loop. No child lives
longer than a test may. All is exported by default.

=head1 VARIABLES

=head2 %children

The pids that the test under way has forked; its end looks whether one is left.

=head2 $report_fd

In a child of C<fork_here>: the descriptor of its words.

=head1 FUNCTIONS

=head2 fork_here

A raw fork. The parent gets the pid and a handle to read the child's words from; the child gets 0 and a handle for
them.

=head2 say_words

=head2 leave

Writes words to that handle; C<leave> ends the child then.

=head2 words_of

The words of a child that ends, and how it ended unless that was well.

=head2 in_child

What a block returns in a child of a raw fork.

=head2 waiting_child

A child that ends when something is written to a handle: its pid and the handle. The argument is its exit code, or code
that returns one.

=head2 ended_child

The pid of a child that has ended, with the exit code in the argument, and waits for somebody to take its status.

=head2 wait_for_end

=head2 reap

Waits for the end of a child. The second one takes its status; it is -1 if somebody else has.

=head2 guarded

Runs code, and ends this process should the code never return.

=head2 blocked

The numbers of the signals that are blocked.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
