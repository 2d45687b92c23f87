package EventLoop::Fork::Test::Loop::Watchers;

# The loop under test: its turns, and watchers of every kind on it.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Children qw(ended_child waiting_child);
use EventLoop::Fork::Test::Loop::Helpers;
use Exporter    qw(import);
use Time::HiRes ();

our @EXPORT =
    qw($loop @kinds all_seen_ok each_pair_of_kinds make_ready new_loop quiet_ok stop_all_ready turns wait_until
    watch_all);
our @EXPORT_OK = ('$new_loop');

our ($new_loop, $loop);    # of the run under way: its constructor, and the fresh loop of each test

sub new_loop {
    my $fresh = $new_loop->();
    no warnings 'once';
    undef $IO::Async::Loop::ONE_TRUE_LOOP;    # else it would outlive the test
    return $fresh;
}

# ---- Turns ----------------------------------------------------------------------------------------------------------

# Turns until the condition holds. False: it did not within the bound.
sub wait_until (&;$) {
    my ($condition, $on_loop) = @_;
    my $deadline = now() + EVENT_BOUND;
    until ($condition->()) {
        my $left = $deadline - now();
        return 0 if $left <= 0;
        ($on_loop || $loop)->loop_once($left > 0.25 ? 0.25 : $left);
    }
    return 1;
}

# Everything that is ready now is delivered; nothing is waited for.
sub turns {
    my ($count) = @_;
    $loop->loop_once(0) for 1 .. $count || 5;
    return;
}

# The loop waits, and waiting neither ends early again and again nor burns processor time. On a busy machine a loop that
# spins does not get much, so what counts is the time that it sleeps or runs.
sub quiet_ok {
    my ($name, $seconds) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $seconds ||= QUIET;
    my ($start, $cpu, $in_line, $count, $spent) = (now(), Time::HiRes::clock(), time_in_line(), 0, 0);
    do {
        $loop->loop_once($seconds - $spent);
        $count++;
        $spent = now() - $start - (time_in_line() - $in_line);
    } until $spent >= $seconds || $count > 100;
    $cpu = Time::HiRes::clock() - $cpu;
    return ok($count <= 10 && $cpu < $spent / 2, $name)
        || diag(sprintf '%d turns and %.3f s of processor time in %.3f s', $count, $cpu, $spent);
}

# ---- Watchers of every kind -----------------------------------------------------------------------------------------

our @kinds = qw(io timer idle signal process);

# A watcher that is ready by the next turn. Its stop ends it; its calm takes the reason to be ready away.
sub make_ready {
    my ($kind, $code, $signal) = @_;
    $signal ||= 'USR1';
    if ($kind eq 'io') {
        my ($one, $other) = pair();
        give($other);
        $loop->watch_io(handle => $one, on_read_ready => $code);
        return {
            stop => sub { $loop->unwatch_io(handle => $one, on_read_ready => 1) },
            calm => sub { take($one) },
            keep => $other,
        };
    }
    if ($kind eq 'timer') {
        my $id = $loop->watch_time(after => 0, code => $code);
        return { stop => sub { $loop->unwatch_time($id) }, calm => sub { } };
    }
    if ($kind eq 'idle') {
        my $id = $loop->watch_idle(when => 'later', code => $code);
        return { stop => sub { $loop->unwatch_idle($id) }, calm => sub { } };
    }
    if ($kind eq 'signal') {
        $loop->watch_signal($signal => $code);
        kill $signal => $$;
        return { stop => sub { $loop->unwatch_signal($signal) }, calm => sub { } };
    }
    if ($kind eq 'process') {
        my $pid = ended_child(5);
        $loop->watch_process($pid => $code);
        return { stop => sub { $loop->unwatch_process($pid) }, calm => sub { }, pid => $pid };
    }
    die "no kind $kind";
}

sub each_pair_of_kinds {
    my ($code) = @_;
    for my $one (@kinds) {
        $code->($one, $_) for @kinds;
    }
    return;
}

sub stop_all_ready {
    my (@watchers) = @_;
    for my $watcher (@watchers) {
        $watcher->{stop}->();
        waitpid $watcher->{pid}, 0 if $watcher->{pid};
    }
    return;
}

# Watchers of each kind, known to the kernel; what they see is counted in the hash. The handles keep them going.
sub watch_all {
    my ($seen) = @_;
    my ($one, $other)   = pair();
    my ($pid, $release) = waiting_child(7);
    $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $seen->{io}++ });
    $loop->watch_signal(USR1 => sub { $seen->{signal}++ });
    $loop->watch_process($pid => sub { $seen->{process} = $_[1] >> 8 });
    turns(2);
    return { one => $one, other => $other, pid => $pid, release => $release };
}

# They all work as if there had been no child.
sub all_seen_ok {
    my ($watched, $seen, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    quiet_ok("$name: nothing disturbs the loop");
    is_list([ keys %$seen ], [], "$name: nothing was called in the parent");
    $loop->watch_time(after => 0.001, code => sub { $seen->{time}++ });
    $loop->later(sub { $seen->{idle}++ });
    give($watched->{other});
    give($watched->{release});
    kill USR1 => $$;
    wait_until { 5 == keys %$seen };
    turns();
    is_list(
        [ map { "$_=$seen->{$_}" } sort keys %$seen ],
        [qw(idle=1 io=1 process=7 signal=1 time=1)],
        "$name: all watchers of the parent work"
    );
    $loop->unwatch_io(handle => $watched->{one}, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Watchers - the loop under test, and watchers of every kind

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop::Watchers;

    my $called = 0;
    $loop->watch_time(after => 0.01, code => sub { $called++ });
    wait_until { $called } or die 'the timer is late';

=head1 DESCRIPTION

For the suites of L<EventLoop::Fork::Test::Loop>. All is exported by default, except for C<$new_loop>.

=head1 VARIABLES

=head2 $loop

The loop under test, a new one for each test.

=head2 $new_loop

The code that makes loops, as long as tests run.

=head2 @kinds

The kinds of watchers: C<io timer idle signal process>.

=head1 FUNCTIONS

=head2 new_loop

Another loop, of which IO::Async does not know.

=head2 wait_until

Turns the loop, or the one after the block, until the block is true. False: it did not become so within the bound.

=head2 turns

Turns without waiting, 5 or as many as the argument says: everything that is ready now is delivered.

=head2 quiet_ok

A test: the loop waits, and waiting neither ends early again and again nor burns processor time.

=head2 make_ready

A watcher of a kind that is ready by the next turn and calls this code. A hash: C<stop> is code that ends it, C<calm>
code that takes the reason to be ready away.

=head2 stop_all_ready

Stops such watchers and takes the status of their children.

=head2 each_pair_of_kinds

Calls code with each kind beside each kind.

=head2 watch_all

Watchers of each kind that the kernel knows of. What they see is counted in the hash behind the argument.

=head2 all_seen_ok

A test: they all work as if there had been no child. The arguments are what C<watch_all> returned, that hash, and a
name.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
