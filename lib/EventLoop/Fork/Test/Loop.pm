package EventLoop::Fork::Test::Loop;

# The contract of a loop as tests: one for each promise, for any loop that speaks the interface. Knows nothing about
# backends; a loop comes out of the constructor it is given. Here is what runs them; each suite is a module.

use strict;
use warnings;

our $VERSION = '0.001';

use Carp                                  qw(croak);
use EventLoop::Fork::Test::Loop::Children qw(%children blocked);
use EventLoop::Fork::Test::Loop::Contract qw(suites tests_of);
use EventLoop::Fork::Test::Loop::Helpers  qw($seed TEST_BOUND descriptors diag ok);
use EventLoop::Fork::Test::Loop::Watchers qw($loop $new_loop new_loop);
use Exporter                              qw(import);
use POSIX                                 qw(WNOHANG);
use Scalar::Util                          qw(reftype);
use Test::More                            ();

# The suites, in their order.
use EventLoop::Fork::Test::Loop::Turn      ();
use EventLoop::Fork::Test::Loop::IO        ();
use EventLoop::Fork::Test::Loop::Timer     ();
use EventLoop::Fork::Test::Loop::Idle      ();
use EventLoop::Fork::Test::Loop::Signal    ();
use EventLoop::Fork::Test::Loop::Process   ();
use EventLoop::Fork::Test::Loop::Control   ();
use EventLoop::Fork::Test::Loop::Exception ();
use EventLoop::Fork::Test::Loop::Inherit   ();
use EventLoop::Fork::Test::Loop::Fork      ();

our @EXPORT    = qw(run_tests run_adapter_tests);
our @EXPORT_OK = qw(run_tests suites tests run_adapter_tests);

sub tests {
    my ($suite) = @_;
    my @tests = tests_of($suite) or croak "No suite '$suite'";
    return map { { name => $_->{name}, promise => $_->{promise} } } @tests;
}

# ---- What a test leaves ---------------------------------------------------------------------------------------------

my @watched_signals = qw(HUP INT TERM USR1 USR2 CHLD ALRM PIPE);

sub state_of_process {
    return {
        descriptors => descriptors(),
        mask        => join(' ', blocked()),
        handlers    =>
            join(' ', map { "$_=" . (defined $SIG{$_} && length $SIG{$_} ? $SIG{$_} : 'DEFAULT') } @watched_signals),
    };
}

sub nothing_left_ok {
    my ($before) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @left;
    for my $pid (sort { $a <=> $b } keys %children) {
        my $reaped = waitpid $pid, WNOHANG;
        next if $reaped < 0;
        push @left, "child $pid " . ($reaped ? 'unreaped' : 'running');
        if (!$reaped) {
            kill KILL => $pid;
            waitpid $pid, 0;
        }
    }
    %children = ();
    my $after = state_of_process();
    my ($open, $was_open) = ($after->{descriptors}, $before->{descriptors});
    if (keys %$open != keys %$was_open) {
        push @left,
            map { "descriptor $_ ($open->{$_})" } grep { !exists $was_open->{$_} } sort { $a <=> $b } keys %$open;
        push @left, map { "no descriptor $_ ($was_open->{$_})" }
            grep { !exists $open->{$_} } sort { $a <=> $b } keys %$was_open;
    }
    for my $what (qw(mask handlers)) {
        push @left, "$what '$after->{$what}' instead of '$before->{$what}'" if $after->{$what} ne $before->{$what};
    }
    return ok(!@left, 'no descriptor, child, handler or blocked signal is left') || diag(map { "left: $_\n" } @left);
}

# ---- Running --------------------------------------------------------------------------------------------------------

# %SIG handlers wait for the loop; this one does not.
sub start_watchdog {
    my ($name)  = @_;
    my $owner   = $$;
    my $give_up = sub {
        POSIX::_exit(255) if $$ != $owner;
        my $text = "# $name hangs: gave up after " . TEST_BOUND . " s\n";
        syswrite STDERR, $text;
        kill KILL => keys %children;
        POSIX::_exit(255);
    };
    my $action = POSIX::SigAction->new($give_up, POSIX::SigSet->new, 0);
    my $old    = POSIX::SigAction->new;
    POSIX::sigaction(POSIX::SIGALRM(), $action, $old);
    alarm TEST_BOUND;
    return $old;
}

sub stop_watchdog {
    my ($old) = @_;
    alarm 0;
    POSIX::sigaction(POSIX::SIGALRM(), $old);
    return;
}

sub run_one {
    my ($test) = @_;
    my $owner = $$;
    local $SIG{PIPE} = 'IGNORE';
    my $watchdog = start_watchdog($test->{name});
    my $before   = state_of_process();
    %children = ();
    my $done = eval {
        $loop = new_loop();
        $test->{code}->();
        1;
    };
    my $error = $@;
    if ($$ != $owner) {    # a child that lost its way must not go on with the tests of its parent
        syswrite STDERR, "# $test->{name}: a child left its test: $error\n";
        POSIX::_exit(98);
    }
    undef $loop;
    ok(0, 'no exception') || diag($error) unless $done;
    nothing_left_ok($before);
    stop_watchdog($watchdog);
    return;
}

# What a process keeps once it has used a loop is opened before anything is counted.
sub warm_up {
    $loop = new_loop();
    $loop->watch_signal(URG => sub { });
    $loop->loop_once(0);
    $loop->unwatch_signal('URG');
    undef $loop;
    return;
}

sub run_tests {
    my ($constructor, @arguments) = @_;
    croak 'run_tests needs code that makes a loop' unless (reftype($constructor) || '') eq 'CODE';
    croak 'run_tests is running' if $new_loop;
    my %options = map  { %$_ } grep { ref } @arguments;
    my @wanted  = grep { !ref } @arguments;
    @wanted = suites() unless @wanted;
    my %known = map { $_->{name} => 1 } map { tests_of($_) } suites();
    for my $suite (@wanted) { croak "No suite '$suite'" unless tests_of($suite) }
    my $skip = delete $options{skip} || {};
    my %only = map { $_ => 1 } @{ delete $options{only} || [] };
    for my $name (keys %$skip, keys %only) { croak "No test '$name'" unless $known{$name} }
    $seed = delete $options{seed};
    $seed = $ENV{EVENTLOOP_FORK_TEST_SEED}   unless defined $seed;
    $seed = (time ^ $$ << 8) % 2_147_483_648 unless defined $seed;
    my ($unknown) = sort keys %options;
    croak "Unknown option '$unknown'" if defined $unknown;

    $new_loop = $constructor;
    my $done = eval {
        warm_up();
        for my $suite (@wanted) {
            my @run = grep { !%only || $only{ $_->{name} } } tests_of($suite);
            run_suite($suite, $skip, @run) if @run;
        }
        1;
    };
    my $error = $@;
    undef $new_loop;
    die $error unless $done;
    return;
}

sub run_suite {
    my ($suite, $skip, @run) = @_;
    return Test::More::subtest(
        $suite => sub {
            Test::More::plan(tests => scalar @run);
            Test::More::note("EVENTLOOP_FORK_TEST_SEED=$seed") if grep { $_->{name} =~ /random|thousands/ } @run;
            for my $test (@run) {
                my $reason = $skip->{ $test->{name} };
                if (defined $reason) {
                SKIP: { Test::More::skip("$test->{name}: $reason", 1) }
                    next;
                }
                Test::More::subtest(
                    "$test->{name}: $test->{promise}" => sub { run_one($test); Test::More::done_testing() });
            }
        }
    );
}

# The other contract: how a fork deals with the loops of other people.
sub run_adapter_tests {
    require EventLoop::Fork::Test::Adapter;
    goto &EventLoop::Fork::Test::Adapter::run_adapter_tests;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop - acceptance tests for loops

=head1 SYNOPSIS

    use Test::More;
    use EventLoop::Fork::Loop;
    use EventLoop::Fork::Test::Loop;

    run_tests(sub { EventLoop::Fork::Loop->new(backend => 'poll') }, 'timer', 'idle');
    done_testing;

=head1 DESCRIPTION

What L<EventLoop::Fork::Loop> promises about a loop, each promise a test. It is for authors of backends and adapters,
and knows nothing of either: it gets code that makes a loop, and asks for no more than the interface. So the same tests
serve the native loop on each of its backends, L<IO::Async::Loop::Libev>, L<IO::Async::Loop::Libevent>, and whatever
class has these methods:

    watch_io  unwatch_io  watch_time  unwatch_time  watch_idle  unwatch_idle  later
    watch_signal  unwatch_signal  watch_process  unwatch_process
    loop_once  run  stop  is_running  time  fork  post_fork

It uses L<Test::More> and other modules of perl's own, nothing else. Most tests fork. Each waits for events and not for
time to pass, ends after a minute at the latest, ends its children, and looks at what it has left behind: descriptors,
children, handlers, blocked signals.

=head1 FUNCTIONS

=head2 run_tests

    run_tests($code);
    run_tests($code, 'io', 'timer');
    run_tests($code, 'io', { skip => { 'io.hangup' => 'the library does not tell' } });

Exported by default. Runs these suites, or all of them. Each suite is a subtest, and each test is a subtest in it. The
code is called with no argument, once for each test or more often, and returns a new loop that nobody else holds. Should
it be an L<IO::Async::Loop>, C<run_tests> makes IO::Async forget that there is one. The plan of the program is its own:
call C<done_testing> afterwards.

A hash after the code holds options:

=over 4

=item skip

A hash of names of tests, with reasons: these are skipped. For differences that are documented.

=item only

An array of names of tests: no others are run.

=item seed

Where the tests with random choices start, a number. The default is the environment variable
C<EVENTLOOP_FORK_TEST_SEED>, or another one each time. It is printed, so that a failure can be repeated.

=back

A name that does not exist is an exception.

The environment variable C<EVF_TEST_SLOW>, if it is true, allows ten times as long for everything, as under valgrind.

=head2 run_adapter_tests

    run_adapter_tests($code);

Exported by default. The tests of an adapter, for the loop that the code returns: see L<EventLoop::Fork::Test::Adapter>.

=head2 suites

    use EventLoop::Fork::Test::Loop qw(suites tests);

    my @names = suites();

Exported on request. The names of the suites.

=head2 tests

    print "$_->{name}: $_->{promise}\n" for tests('io');

Exported on request. What is in a suite: for each test a hash with its C<name>, which C<skip> and C<only> take, and with
the C<promise> that it keeps to.

=head1 SUITES

=head2 turn

What a callback may do, for every kind of watcher beside every other kind.

=over 4

=item turn.unwatch

An unwatched callback is not called, though it was ready in this turn.

=item turn.unwatch_before

An unwatched callback is not called, though it was ready before the turn.

=item turn.start

A watcher that is started in a turn is looked at in the next.

=item turn.restart

Unwatched and watched again in a turn, it is looked at in the next.

=item turn.free_itself

A callback may end its own watcher, and goes on to its end.

=item turn.nested

A callback may run a turn of its own: each event is delivered once.

=item turn.stop

A callback may stop the loop.

=item turn.fork

A callback may fork, and both processes go on.

=item turn.random

Random starts and stops in callbacks: nothing that was stopped is ever called.

=back

=head2 io

Descriptors.

=over 4

=item io.read

A readable descriptor calls on_read_ready, in a turn and only then.

=item io.write

A writable descriptor calls on_write_ready, a full one does not.

=item io.both

Read and write are watched apart, on one descriptor.

=item io.cancel_each_other

The read callback can cancel the write callback of its descriptor.

=item io.nonblocking

C<watch_io> makes the handle non-blocking.

=item io.spurious

Readiness that somebody else has used up does no harm.

=item io.reused

A number closed and reused in a turn never delivers the old event.

=item io.reused_without_unwatch

The same, when the old one is closed without unwatch_io.

=item io.reused_unwatched

The same, when nobody watches the new file.

=item io.closed

A descriptor closed while it is watched is dropped.

=item io.closed_by_both

The same, when its peer is closed, too.

=item io.closed_by_number

The same, when its number is closed under the handle.

=item io.closed_with_copy

The same, when the file stays open under another number.

=item io.reopened

A handle that was closed while it was watched can be opened and watched again.

=item io.unwatched_with_copy

Nor does a file spin that was unwatched, closed, and stays open elsewhere.

=item io.regular_file

A regular file is always ready, for reading and writing.

=item io.end_of_file

The end of a pipe or socket is readable.

=item io.hangup

A hang-up calls on_hangup.

=item io.hangup_with_data

Data that nobody reads neither is a hang-up nor makes the loop spin.

=item io.datagram_refused

An error that waits in a datagram socket is readable.

=item io.connect_refused

A connection that is refused is writable.

=item io.many

500 sockets: each event comes to its own callback.

=item io.freed

C<unwatch_io> lets go of the callback and of the handle.

=back

=head2 timer

Deadlines.

=over 4

=item timer.after

A timer fires once, and never early.

=item timer.prompt

A timer ends a longer wait.

=item timer.at

A timer "at" fires at that time of the wall clock.

=item timer.order

Equal deadlines fire in the order of their start.

=item timer.thousands

Thousands of timers fire in the order of their deadlines.

=item timer.unwatch

C<unwatch_time> prevents, and minds no id that is over.

=item timer.far

A deadline far away does not fire.

=item timer.freed

A timer lets go of its callback when it has fired or is unwatched.

=back

=head2 idle

What is put off to the next turn.

=over 4

=item idle.later

What is put off is called once, in the next turn, which does not wait.

=item idle.later_in_later

What is put off in such a callback comes in the turn after.

=item idle.order

In the order of their start.

=item idle.unwatch

C<unwatch_idle> prevents, and lets the loop wait.

=back

=head2 signal

Watched signals, and handlers in C<%SIG>.

=over 4

=item signal.watch

A watched signal calls back, in a turn and only then.

=item signal.merged

Deliveries between two turns are one call.

=item signal.in_callback

A signal that arrives in a callback is delivered in the next turn.

=item signal.visible

A watched signal is a code ref in %SIG.

=item signal.restored

C<unwatch_signal> restores what %SIG held.

=item signal.dance

A program that saves, ignores and restores %SIG around a fork loses nothing.

=item signal.replaced

A handler that somebody installs later is his.

=item signal.two_loops

Two loops may watch one signal.

=item signal.prompt

A watched signal ends a wait at once.

=item signal.handler_is_prompt

A %SIG handler of the program runs at once while the loop waits.

=item signal.none_lost

No watched signal gets lost between two turns.

=item signal.none_late

No %SIG handler waits until the loop has something to do.

=item signal.interrupted_wait

An interrupted wait is no error.

=item signal.not_blocked

A watched signal is blocked nowhere, in a program that is run neither.

=item signal.freed

C<unwatch_signal> lets go of the callback.

=back

=head2 process

Children. A loop on the core of EventLoop::Fork does it with process descriptors where the kernel has them.

=over 4

=item process.status

Tells the pid and the wait status, once.

=item process.ended_before

A child that has ended already is told of, too.

=item process.prompt

The end of a child ends a wait at once.

=item process.fifty

Fifty children, each with its own status.

=item process.stolen

A status that somebody else has taken is told as gone, and no error.

=item process.own_pids_only

Children that are not watched are left to their owners.

=item process.in_callback

A callback may run programs while watched children end.

=item process.unwatch

C<unwatch_process> leaves the child to its owner.

=item process.unwatch_in_turn

So it does when both have ended in the same turn.

=item process.respawn

A callback may fork and watch the next one.

=item process.sigchld_handler

A $SIG{CHLD} of the program stays, and runs.

=item process.sigchld_handler_later

Also when it is installed, or taken away, after watch_process.

=item process.sigchld_ignored

With $SIG{CHLD} ignored the end of a child is told, its status perhaps not.

=item process.no_descriptor

Without a free descriptor children are watched, too.

=item process.freed

The callback is let go when it was called or is unwatched.

=back

=head2 sigchld

The tests of L</process> once more, under this name, with SIGCHLD instead of process descriptors. Only a loop on the
core of EventLoop::Fork can be told to; for others each test is skipped.

=head2 control

Turns, C<run> and C<stop>, and the life of a loop.

=over 4

=item control.run

C<run> returns what stop was given.

=item control.stop_by_handler

A %SIG handler may stop the loop, at any moment.

=item control.nested_run

Runs may be nested, each with its own result.

=item control.is_running

C<is_running> is true inside of run.

=item control.idle_wait

An idle loop_once does not come back early.

=item control.no_wait

C<loop_once>(0) does not wait.

=item control.endless_wait

C<loop_once> without a timeout waits until something happens.

=item control.count

C<loop_once> returns the number of callbacks it called.

=item control.post_fork

C<post_fork> in the same process changes nothing.

=item control.undisturbed_variables

Callbacks leave $@ and $_ of the program alone.

=item control.two_loops

A callback of one loop may run another loop.

=item control.many_loops

Loops come and go without leaving anything.

=item control.destroyed

A loop that goes frees its callbacks and leaves the children.

=item control.destroyed_in_callback

A loop may go inside a callback of its own.

=back

=head2 exception

What leaves a callback other than by its end.

=over 4

=item exception.loop_once

An exception leaves loop_once, and the loop stays usable.

=item exception.run

An exception leaves run, and the loop stays usable.

=item exception.nested

An exception leaves nested runs one by one.

=item exception.others_are_delivered

What was ready beside it is delivered in the next turn.

=item exception.loop_control

"last", "next" and "goto" out of a callback do no harm.

=item exception.signal_handler

An exception of a %SIG handler leaves the wait.

=item exception.exit

Exit in a callback ends the process as it should.

=back

=head2 inherit

A child of a raw C<fork> has the loop of its parent, and may go on with it.

=over 4

=item inherit.goes_on

A child goes on with the watchers that it inherits.

=item inherit.new_watchers

A child may watch what it likes, its own children, too.

=item inherit.child_adds

A child that watches more, under numbers that are free in its parent disturbs nothing of its parent's.

=item inherit.child_destroys

A child that destroys its copy disturbs nothing of its parent's.

=item inherit.child_destroys_used

A child that uses and destroys its copy disturbs nothing of its parent's.

=item inherit.child_exits

A child that lives and exits disturbs nothing of its parent's.

=item inherit.child_post_fork

A child that calls post_fork disturbs nothing of its parent's.

=item inherit.child_replaces

A child that makes a loop of its own disturbs nothing of its parent's.

=item inherit.child_runs

A child that runs the loop disturbs nothing of its parent's.

=item inherit.child_unwatches

A child that unwatches all disturbs nothing of its parent's.

=item inherit.child_unwatches_unused

A child that unwatches a descriptor and closes it, and does no turn disturbs nothing of its parent's.

=item inherit.processes

Process watches of the parent are dropped in a child.

=item inherit.signals

Signals of a child come to the child alone.

=item inherit.pending

What was pending in the parent stays there.

=item inherit.daemon

A program that becomes a daemon goes on with its loop.

=item inherit.closed_descriptors

A child that has closed all descriptors goes on, and its files stay its own.

=item inherit.number_taken

A child that has closed a watched descriptor goes on, whoever gets its number.

=back

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

L<EventLoop::Fork::Loop>, L<IO::Async::LoopTests>

=cut
