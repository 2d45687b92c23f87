package EventLoop::Fork::Test::Loop::Helpers;

# What tests of loops use that is neither a loop nor a process: bounds, assertions, time, handles, random choices.

use strict;
use warnings;

our $VERSION = '0.001';

use Exporter    qw(import);
use POSIX       ();
use Socket      qw(AF_UNIX PF_UNSPEC SOCK_STREAM);
use Test::More  ();
use Time::HiRes ();

our @EXPORT =
    qw(EVENT_BOUND PROMPT_BOUND QUIET SLOW TEST_BOUND counting_code descriptors diag draw give is is_list now ok pair
    pair_on pause pipe_pair sentinel skip_rest start_draws take time_in_line);
our @EXPORT_OK = ('$seed');

# A memory checker makes all slow.
use constant SLOW => $ENV{EVF_TEST_SLOW} ? 1 : 0;

# Seconds. An event that is due must come within EVENT_BOUND, at once is less than PROMPT_BOUND, a test that takes
# longer than TEST_BOUND hangs. All are far beyond what a busy machine needs.
use constant {
    EVENT_BOUND  => SLOW ? 200 : 20,
    PROMPT_BOUND => SLOW ? 20  : 2,
    TEST_BOUND   => SLOW ? 600 : 60,
    QUIET        => 0.05,
};

# ---- Assertions -----------------------------------------------------------------------------------------------------

sub ok      { local $Test::Builder::Level = $Test::Builder::Level + 1; return Test::More::ok($_[0], $_[1]) }
sub is      { local $Test::Builder::Level = $Test::Builder::Level + 1; return Test::More::is($_[0], $_[1], $_[2]) }
sub diag    { return Test::More::diag(@_) }
sub is_list { local $Test::Builder::Level = $Test::Builder::Level + 1; return is("@{$_[0]}", "@{$_[1]}", $_[2]) }

# For the rest of a test; what it has watched goes with its loop.
sub skip_rest {
    my ($why) = @_;
SKIP: { Test::More::skip($why, 1) }
    return;
}

# ---- Time -----------------------------------------------------------------------------------------------------------

my $has_monotonic = defined eval { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) };

sub now { return $has_monotonic ? Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) : Time::HiRes::time() }

# For a process that must act while another one waits. Nothing depends on its being long enough.
sub pause { my ($seconds) = @_; return select undef, undef, undef, $seconds }

# Seconds that this process was ready to run and another one ran instead; 0 where the system does not tell. Without a
# perl handle: one that gets the number of a handle that was closed behind perl's back is never closed.
sub time_in_line {
    my $fd = POSIX::open('/proc/self/schedstat', POSIX::O_RDONLY());
    return 0 unless defined $fd;
    my $got = POSIX::read($fd, my $text, 100);
    POSIX::close($fd);
    my (undef, $nanoseconds) = $got ? split ' ', $text : ();
    return $nanoseconds ? $nanoseconds / 1e9 : 0;
}

# ---- Handles --------------------------------------------------------------------------------------------------------

sub pair {
    socketpair my $one, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "socketpair: $!";
    return ($one, $other);
}

sub pipe_pair {
    pipe my $reader, my $writer or die "pipe: $!";
    return ($reader, $writer);
}

sub give { my ($handle, $data) = @_; defined syswrite $handle, defined $data ? $data : 'x' or die "write: $!"; return }
sub take { my ($handle) = @_; sysread $handle, my $data, 4096; return defined $data ? $data : '' }

# A pair whose first end has just this number, which is free; the others that came up on the way are closed again.
sub pair_on {
    my ($fd) = @_;
    my @others;
    while (@others < 200) {
        my ($one, $other) = pair();
        return ($one, $other) if fileno $one == $fd;
        return ($other, $one) if fileno $other == $fd;
        push @others, $one, $other;
    }
    die "descriptor $fd did not become free";
}

# Number => what it is, as far as the system tells.
sub descriptors {
    if (opendir my $directory, '/proc/self/fd') {
        my @fds = grep { /\A[0-9]+\z/ } readdir $directory;
        closedir $directory;
        my %open;
        for my $fd (@fds) {
            my $what = readlink "/proc/self/fd/$fd";
            $open{$fd} = $what if defined $what;    # not the directory just closed
        }
        return \%open;
    }
    my %open;
    for my $fd (0 .. 1023) {
        my $copy = POSIX::dup($fd);
        next unless defined $copy;
        POSIX::close($copy);
        $open{$fd} = 'open';
    }
    return \%open;
}

# ---- Random choices -------------------------------------------------------------------------------------------------

our $seed;    # of the run under way: where its choices start
my $random_state;

sub start_draws { $random_state = $seed; return }

# Draws from 0 to $below - 1; the same sequence on every system.
sub draw {
    my ($below) = @_;
    $random_state = ($random_state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return int($random_state / 65_536) % $below;
}

# ---- Sentinels ------------------------------------------------------------------------------------------------------

# An object that says when it goes.
{
    package    # not for the index
        EventLoop::Fork::Test::Loop::Sentinel;
    sub new { my ($class, $gone) = @_; return bless { gone => $gone }, $class }
    sub DESTROY { my ($self) = @_; ${ $self->{gone} }++; return }
}

sub sentinel { my ($gone) = @_; return EventLoop::Fork::Test::Loop::Sentinel->new($gone) }

# Code that counts its calls, and that counts its end in $gone.
sub counting_code {
    my ($gone, $called) = @_;
    my $sentinel = sentinel($gone);
    return sub { $$called++ if $called; return $sentinel };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Helpers - what tests of loops have in common

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop::Helpers;

    my ($one, $other) = pair();
    give($other, 'x');
    is(take($one), 'x', 'it arrives');

=head1 DESCRIPTION

For L<EventLoop::Fork::Test::Loop> and L<EventLoop::Fork::Test::Adapter>. What is here knows no loop and starts no
process. All is exported by default, except for C<$seed>.

=head1 CONSTANTS

=head2 SLOW

True under a memory checker, which makes all slow: the environment variable C<EVF_TEST_SLOW>.

=head2 EVENT_BOUND

=head2 PROMPT_BOUND

=head2 TEST_BOUND

Seconds: within the first an event must come that is due, the second is more than "at once", and a test that takes
longer than the third hangs.

=head2 QUIET

Seconds in which what must not come has time to do so.

=head1 FUNCTIONS

=head2 ok

=head2 is

=head2 diag

Those of L<Test::More>.

=head2 is_list

Like C<is>, for two arrays of words.

=head2 skip_rest

Skips the rest of a test; the argument says why.

=head2 now

Seconds on a clock that nobody sets, where there is one.

=head2 pause

Sleeps for some seconds. Nothing may depend on its being long enough.

=head2 time_in_line

Seconds that this process was ready to run and another one ran instead; 0 where the system does not tell.

=head2 pair

=head2 pipe_pair

A pair of sockets; a pipe, the end to read from first.

=head2 pair_on

A pair of sockets, the first of them under this number, which is free.

=head2 give

=head2 take

Writes to a handle, C<x> by default; reads from one what is there.

=head2 descriptors

The open descriptors: a hash of their numbers, with what each is as far as the system tells.

=head2 start_draws

=head2 draw

Random choices: from C<$seed> on, the same ones each time; the next one, from 0 to one less than the argument.

=head2 sentinel

An object that adds to the scalar behind a reference when it goes.

=head2 counting_code

Code that does so. It counts its calls in a second scalar, if there is one.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop::Children>, L<EventLoop::Fork::Test::Loop::Watchers>

=cut
