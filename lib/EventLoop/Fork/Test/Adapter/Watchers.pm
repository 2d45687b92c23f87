package EventLoop::Fork::Test::Adapter::Watchers;

# The adapter under test: it runs its loop for a while, or until something has come, and watches a pipe.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Adapter             ();
use EventLoop::Fork::Test::Loop::Helpers qw(EVENT_BOUND give now pipe_pair take);
use Exporter                             qw(import);

our @EXPORT = qw($adapter $bound QUIET new_adapter run_for wait_until watched_pipe works);

our $adapter;    # of the test under way

# Seconds. What is due must come within the bound; what must not come is given QUIET to do so.
our $bound = EVENT_BOUND;
use constant {
    QUIET => 0.1,
    STEP  => 0.02,
};

sub new_adapter { return EventLoop::Fork::Adapter::for_loop($_[0]) }

sub run_for {
    my ($seconds, $on) = @_;
    $on ||= $adapter;
    my $id = $on->watch_time($seconds, sub { $on->stop });
    $on->run;
    $on->unwatch_time($id);    # stopped by somebody else: it would stop the next run
    return;
}

# False: it did not come within the bound.
sub wait_until {
    my ($condition, $on) = @_;
    my $deadline = now() + $bound;
    until ($condition->()) {
        return 0 if now() > $deadline;
        run_for(STEP, $on);
    }
    return 1;
}

# A pipe that is watched: what came, and how to write and end it.
sub watched_pipe {
    my ($on) = @_;
    $on ||= $adapter;
    my ($reader, $writer) = pipe_pair();
    $reader->blocking(0);    # for a loop that calls back for nothing
    my %watched = (got => '', writer => $writer, reader => $reader);
    my $id      = $on->watch_io($reader, sub { $watched{got} .= take($reader); $watched{calls}++ });
    @watched{qw(id end)} = ($id, sub { $on->unwatch_io($id) });
    return \%watched;
}

# The loop that a child has works.
sub works {
    my ($on)  = @_;
    my $pipe  = watched_pipe($on);
    my $fired = 0;
    $on->watch_time(0.001, sub { $fired++ });
    give($pipe->{writer}, 'w');
    my $is_well = wait_until(sub { $pipe->{got} eq 'w' && $fired == 1 }, $on);
    $pipe->{end}->();
    return $is_well ? 'works' : "got '$pipe->{got}', timers $fired";
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Watchers - the adapter under test

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Adapter::Watchers;

    my $pipe = watched_pipe();
    give($pipe->{writer}, 'a');
    ok(wait_until(sub { $pipe->{got} eq 'a' }), 'it calls back');
    $pipe->{end}->();

=head1 DESCRIPTION

For the suites of L<EventLoop::Fork::Test::Adapter>. The functions that run a loop or watch a pipe take another adapter
than that of the test as their last argument, as in a child. All is exported by default.

=head1 VARIABLES

=head2 $adapter

The adapter of the test under way.

=head2 $bound

Seconds: what is due must come within them.

=head1 CONSTANTS

=head2 QUIET

Seconds in which what must not come has time to do so.

=head1 FUNCTIONS

=head2 new_adapter

An adapter for a loop.

=head2 run_for

Runs the loop for some seconds.

=head2 wait_until

Runs the loop until code returns true. False if it did not within the bound.

=head2 watched_pipe

A pipe that is watched, a hash: C<reader>, C<writer>, the C<id> of the watch, what C<got> out in how many C<calls>, and
code to C<end> the watch.

=head2 works

The word "works" if an adapter calls back for a pipe and a timer, else what it did.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
