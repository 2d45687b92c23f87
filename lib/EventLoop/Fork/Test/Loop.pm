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

Each is a module, which lists its tests.

=over 4

=item L<turn|EventLoop::Fork::Test::Loop::Turn>

What a callback may do, for every kind of watcher beside every other kind.

=item L<io|EventLoop::Fork::Test::Loop::IO>

Descriptors.

=item L<timer|EventLoop::Fork::Test::Loop::Timer>

Deadlines.

=item L<idle|EventLoop::Fork::Test::Loop::Idle>

What is put off to the next turn.

=item L<signal|EventLoop::Fork::Test::Loop::Signal>

Watched signals, and handlers in C<%SIG>.

=item L<process|EventLoop::Fork::Test::Loop::Process>

Children. A loop on the core of EventLoop::Fork does it with process descriptors where the kernel has them.

=item sigchld

Those of C<process> once more, with SIGCHLD instead of process descriptors.

=item L<control|EventLoop::Fork::Test::Loop::Control>

Turns, C<run> and C<stop>, and the life of a loop.

=item L<exception|EventLoop::Fork::Test::Loop::Exception>

What leaves a callback other than by its end.

=item L<inherit|EventLoop::Fork::Test::Loop::Inherit>

A child of a raw C<fork> has the loop of its parent, and may go on with it.

=item L<fork|EventLoop::Fork::Test::Loop::Fork>

Forks through the loop.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Loop>, L<IO::Async::LoopTests>

=cut
