package EventLoop::Fork::Test::Loop::Fork;

# Forks through the loop.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use POSIX ();

# Forks through the loop and waits for on_exit: its arguments and what the child wrote to the handle it is given.
sub fork_by_loop {
    my ($code, %options)  = @_;
    my ($reader, $writer) = pipe_pair();
    my @ending;
    my $pid = $loop->fork(
        code => sub {
            alarm TEST_BOUND;
            close $reader;
            return $code->($writer);
        },
        on_exit => sub { @ending = @_ },
        %options,
    );
    $children{$pid} = 1;
    close $writer;
    return { pid => $pid, reader => $reader, ending => \@ending };
}

sub read_word { my ($child) = @_; sysread $child->{reader}, my $word, 4096; return defined $word ? $word : '' }

contract fork => exit_code => 'the value of code is the exit code, and on_exit is told' => sub {
    for my $exit (0, 3, 255) {
        my $child = fork_by_loop(sub { return $exit });
        ok(wait_until { @{ $child->{ending} } }, "exit $exit: on_exit is called");
        is_list($child->{ending}, [ $child->{pid}, $exit << 8 ], "exit $exit: with pid and status");
    }
    my $child = fork_by_loop(sub { open STDERR, '>', '/dev/null'; die "the reason\n" });
    ok(wait_until { @{ $child->{ending} } }, 'exception: on_exit is called');
    is_list($child->{ending}, [ $child->{pid}, 255 << 8 ], 'exception: the exit code is 255');
    $child = fork_by_loop(sub { exit 9 });
    ok(wait_until { @{ $child->{ending} } }, 'exit: on_exit is called');
    is_list($child->{ending}, [ $child->{pid}, 9 << 8 ], 'exit: with its exit code');
};

contract fork => signals => 'the child starts with default signals, none of them blocked' => sub {
    my $called = 0;
    local $SIG{USR2} = sub { $called++ };
    local $SIG{HUP}  = 'IGNORE';
    $loop->watch_signal(TERM => sub { $called++ });
    my $child = fork_by_loop(sub {
        my ($writer) = @_;
        my @words = map { "$_ " . (defined $SIG{$_} && length $SIG{$_} ? $SIG{$_} : 'DEFAULT') } qw(TERM USR2 HUP);
        say_words($writer, join ', ', @words, blocked());
        pause(TEST_BOUND);
        return 0;
    });
    is(read_word($child), "TERM DEFAULT, USR2 DEFAULT, HUP IGNORE\n", 'what %SIG holds');
    kill TERM => $child->{pid};
    ok(wait_until { @{ $child->{ending} } }, 'it ends');
    is_list($child->{ending}, [ $child->{pid}, POSIX::SIGTERM() ], 'by the default action');
    is($called, 0, 'no handler of the parent has run');
    $loop->unwatch_signal('TERM');
};

contract fork => own_loop => 'the child can make a loop, in which no watcher of the parent fires' => sub {
    my %seen;
    my $watched = watch_all(\%seen);
    $loop->watch_time(after => 0.001, code => sub { $seen{time}++ });
    $loop->later(sub { $seen{idle}++ });
    give($watched->{other});
    my $child = fork_by_loop(sub {
        my ($writer) = @_;
        my ($kid, $release) = waiting_child(4);
        my %mine;
        my $fresh = new_loop();
        $fresh->watch_process($kid => sub { $mine{process} = $_[1] >> 8 });
        $fresh->watch_time(after => 0.005, code => sub { $mine{time}++ });
        $fresh->watch_signal(USR1 => sub { $mine{signal}++ });
        kill USR1 => $$;
        give($release);
        wait_until { 3 == keys %mine } $fresh;
        $fresh->loop_once(0) for 1 .. 3;
        say_words($writer, join ' ', map({ "$_=$mine{$_}" } sort keys %mine), sort keys %seen);
        return 0;
    });
    is(read_word($child), "process=4 signal=1 time=1\n", 'in the child');
    ok(wait_until { @{ $child->{ending} } && $seen{time} && $seen{idle} && $seen{io} }, 'the parent goes on');
    is_list([ @seen{qw(time idle io)} ], [ 1, 1, 1 ], 'with each of its events once');
    give($watched->{release});
    ok(wait_until { $seen{process} }, 'and its other children');
    $loop->unwatch_io(handle => $watched->{one}, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
};

contract fork => undisturbed => 'the child disturbs nothing of its parent\'s' => sub {
    my %seen;
    my $watched = watch_all(\%seen);
    my ($reader, $writer) = pipe_pair();
    my $child = fork_by_loop(sub {
        my ($words) = @_;
        close $writer;
        eval { $loop->unwatch_io(handle => $watched->{one}, on_read_ready => 1) };
        eval { $loop->unwatch_signal('USR1') };
        eval { undef $loop };
        say_words($words, 'done');
        sysread $reader, my $byte, 1;
        return 0;
    });
    is(read_word($child), "done\n", 'the child has tried');
    all_seen_ok($watched, \%seen, 'meanwhile');
    give($writer);
    ok(wait_until { @{ $child->{ending} } }, 'the child ends');
};

contract fork => in_callback => 'a callback may fork through the loop' => sub {
    for my $kind (@kinds) {
        my ($child, $watcher);
        my $main = $$;
        $watcher = make_ready(
            $kind,
            sub {
                $watcher->{calm}->();
                $child ||= fork_by_loop(sub { return 6 });
            }
        );
        my $done = wait_until { $child && @{ $child->{ending} } };
        POSIX::_exit(99) if $$ != $main;
        ok($done, "$kind: on_exit is called");
        is_list($child->{ending}, [ $child->{pid}, 6 << 8 ], "$kind: with pid and status") if $done;
        stop_all_ready($watcher);
    }
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Fork - tests of a loop: forks through the loop

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'fork');

=head1 DESCRIPTION

The suite C<fork> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

=head2 fork

Forks through the loop.

=over 4

=item fork.exit_code

The value of code is the exit code, and on_exit is told.

=item fork.signals

The child starts with default signals, none of them blocked.

=item fork.own_loop

The child can make a loop, in which no watcher of the parent fires.

=item fork.undisturbed

The child disturbs nothing of its parent's.

=item fork.in_callback

A callback may fork through the loop.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
