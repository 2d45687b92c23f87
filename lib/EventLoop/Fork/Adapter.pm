package EventLoop::Fork::Adapter;

# What the fork needs to know of a family of event loops: the base class of the adapters, the list of them, and which
# one serves a given loop. It never loads an event library that the program has not loaded or named. How any loop hears of
# signals and of processes is in Adapter/Signals.pm and Adapter/Processes.pm.

use strict;
use warnings;

our $VERSION = '0.001';

use parent qw(EventLoop::Fork::Adapter::Signals EventLoop::Fork::Adapter::Processes);

use EventLoop::Fork::Error;
use EventLoop::Fork::Loop ();
use Fcntl                 ();
use IO::Handle            ();
use POSIX                 ();
use Scalar::Util          qw(weaken);

# In the order of choice: a family comes before those that it may stand on.
my @FAMILIES = (
    [ IOAsync  => 'IO/Async/Loop.pm' ],
    [ Mojo     => 'Mojo/IOLoop.pm' ],
    [ AnyEvent => 'AnyEvent.pm' ],
    [ EV       => 'EV.pm' ],
);
my @registered;    # classes of other authors; asked first

# ---- The list of adapters -------------------------------------------------------------------------------------------

my @CONTRACT =
    qw(family is_loaded is_in_use accepts new renew rearm loop watch_io unwatch_io watch_time unwatch_time run
    stop loop_for_child);

sub contract { return @CONTRACT }

sub register {
    my ($class) = @_;
    my @missing = grep { !$class->can($_) } @CONTRACT;
    _refuse('EVF_EINVAL', 'register', $class, "'$class' lacks " . join(', ', @missing)) if @missing;
    push @registered, $class unless grep { $_ eq $class } @registered;
    return;
}

sub _refuse { return EventLoop::Fork::Loop::_throw(@_) }

sub _class {
    my ($name) = @_;
    my $class = "EventLoop::Fork::Adapter::$name";
    require "EventLoop/Fork/Adapter/$name.pm" unless $class->can('family');
    return $class;
}

# The adapters whose libraries this process has loaded, in the order of choice.
sub _loaded {
    return (
        (grep { $_->is_loaded } @registered),
        map { _class($_->[0]) } grep { exists $INC{ $_->[1] } } @FAMILIES
    );
}

sub _all {
    return (@registered, map { _class($_) } (map { $_->[0] } @FAMILIES), 'Native');
}

# ---- The choice -----------------------------------------------------------------------------------------------------

sub for_loop {
    my ($loop) = @_;
    return _in_use() unless defined $loop;
    for my $class (_all()) {
        return $class->new($loop) if $class->accepts($loop);
    }
    my $what = ref $loop || "'$loop'";
    return _refuse(
        'EVF_ENOTSUP', 'fork', $loop,
        "no adapter for a loop of $what; supported are "
            . join(', ', map { $_->family } _all())
            . '. Another one needs a class that keeps the contract in EventLoop::Fork::Adapter, '
            . 'and EventLoop::Fork::Adapter::register'
    );
}

my $has_reported;

# All that are loaded are safe in the child; this is only about where on_exit arrives.
sub _in_use {
    my @used     = grep { $_->is_in_use } _loaded();
    my %is_below = map  { $_ => 1 } map { $_->base_families } @used;
    my ($chosen, @others) = grep { !$is_below{ $_->family } } @used;
    return _class('Native')->new(undef) unless defined $chosen;
    if (@others && !$has_reported++) {
        warn 'EventLoop::Fork: several event loops are in use ('
            . join(', ', map { $_->family } $chosen, @others)
            . '); on_exit arrives through '
            . $chosen->family
            . ". Name another one with 'loop =>'\n";
    }
    return $chosen->new(undef);
}

# ---- Around a fork --------------------------------------------------------------------------------------------------

# In the parent. What a family stands on comes first, here and in the child.
sub _before_fork {
    my @state;
    for my $class (reverse _loaded()) {
        my $value;
        _attempt($class, 'before_fork', sub { $value = $class->before_fork });
        push @state, [ $class, $value ];
    }
    return @state ? \@state : undef;
}

# Set by those who let them in themselves, later: names of signals.
our @held_back;

# Names of the signals that loops have blocked for themselves, and that the child must not find blocked. The family that
# goes on in the child keeps its own.
sub _blocked {
    my ($state, $family) = @_;
    my %is_held = map { $_ => 1 } @held_back;
    my %is_kept = defined $family ? _kept($state, $family) : ();
    my %blocked;
    for (@{ $state || [] }) {
        my ($class, $value) = @$_;
        next if $is_kept{ $class->family } || ref $value ne 'HASH' || !$value->{blocked};
        $blocked{$_} = 1 for grep { !$is_held{$_} } @{ $value->{blocked} };
    }
    return sort keys %blocked;
}

# The family and those that it stands on.
sub _kept {
    my ($state, $family) = @_;
    my %is_kept = ($family => 1);
    for (reverse @{ $state || [] }) {
        my ($class) = @$_;
        next unless $is_kept{ $class->family };
        $is_kept{$_} = 1 for $class->base_families;
    }
    return %is_kept;
}

# In the child, with signals blocked. Throws nothing: a fork does not fail half-way.
sub _in_child {
    my ($state, $mode, $family) = @_;
    local ($@, $!, $?);
    $state ||= [ map { [ $_, undef ] } reverse _loaded() ];
    my %is_kept = defined $family ? _kept($state, $family) : ();
    for (@$state) {
        my ($class, $value) = @$_;
        if ($mode eq 'raw') {
            _attempt($class, 'rearm', sub { $class->rearm($value, 'raw') });
        }
        elsif ($is_kept{ $class->family }) {
            _attempt($class, 'rearm', sub { $class->rearm($value, 'keep') });
        }
        else {
            _attempt($class, 'renew', sub { $class->renew($value) });
        }
    }
    _attempt(__PACKAGE__, '_signals_in_child', sub { __PACKAGE__->_signals_in_child($mode, \%is_kept) });
    _attempt(__PACKAGE__, '_processes_in_child', sub { __PACKAGE__->_processes_in_child(\%is_kept) })
        if $mode ne 'raw';
    return;
}

sub _attempt {
    my ($class, $what, $code) = @_;
    local $@;
    local $SIG{__DIE__};
    return 1 if eval { $code->(); 1 };
    my $error = "$@";
    $error .= "\n" unless $error =~ /\n\z/;
    print STDERR "EventLoop::Fork: $class->$what (pid $$): $error";
    return 0;
}

# ---- What adapters share --------------------------------------------------------------------------------------------

sub base_families { return () }
sub before_fork   { return }

sub loop { return $_[0]{loop} }

# Things of the parent that nobody may destroy in a child.
my @frozen;

sub _freeze {
    my ($class, @things) = @_;
    push @frozen, @things;
    return;
}

sub _instances {
    my (@classes) = @_;
    return map { EventLoop::Fork::_instances($_) } @classes;
}

# Watchers that live until they are stopped, whoever drops the adapter: id => what stands for one. What the loop itself
# holds is weak here, and goes with the loop.
my (%watchers, $last_id);

sub _hold {
    my ($class, $watcher, $is_weak) = @_;
    my $id = ++$last_id;
    $watchers{$id} = $watcher;
    weaken $watchers{$id} if $is_weak;
    return $id;
}

sub _release { return delete $watchers{ $_[1] } }

# ---- In a program that is spawned -----------------------------------------------------------------------------------

sub is_ours {
    my ($class) = @_;
    return scalar grep { $class eq __PACKAGE__ . "::$_" } (map { $_->[0] } @FAMILIES), 'Native';
}

sub loop_kind {
    my ($self) = @_;
    my $loop = $self->loop;
    return { class => ref $loop || $loop };
}

sub loop_maker {
    my ($class, $kind) = @_;
    _load($kind->{class});
    return sub { for_loop($kind->{class})->loop };
}

# Some classes are in the file of another one.
sub _load {
    my ($class) = @_;
    return if $class->can('new');
    (my $file = "$class.pm") =~ s{::}{/}g;
    require $file;
    return;
}

# A copy that does not keep the loop.
sub _loosely {
    my ($self) = @_;
    my $adapter = bless {%$self}, ref $self;
    weaken $adapter->{loop} if ref $adapter->{loop};
    return $adapter;
}

# A pipe of this process under the numbers of an inherited one: what is written there reaches nobody else. Whoever
# watches the numbers by poll or select need not know.
sub _renew_pipe {
    my ($class, $reader, $writer) = @_;
    pipe my $new_reader, my $new_writer or die "pipe: $!\n";
    $_->blocking(0) for $new_reader, $new_writer;
    for ([ $new_reader, $reader ], [ $new_writer, $writer ]) {
        my ($new, $old) = map { fileno $_ } @$_;
        next unless defined $old;
        defined POSIX::dup2($new, $old) or die "dup2: $!\n";
        fcntl $_->[1], Fcntl::F_SETFD(), Fcntl::FD_CLOEXEC();
    }
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter - how a fork deals with the loops of a family

=head1 SYNOPSIS

    package My::Adapter;
    use parent 'EventLoop::Fork::Adapter';

    sub family    { 'My' }
    sub is_loaded { exists $INC{'My/Loop.pm'} }
    # ... the other methods below

    EventLoop::Fork::Adapter::register(__PACKAGE__);

=head1 DESCRIPTION

C<< EventLoop::Fork->fork >> works through any loop that has an adapter: its C<on_exit> arrives through that loop, the
child gets a loop of the same family, and nothing that the child does to what it has inherited reaches the parent.

There are adapters for these families:

=over 4

=item L<EventLoop::Fork::Adapter::IOAsync>

Every L<IO::Async::Loop>.

=item L<EventLoop::Fork::Adapter::Mojo>

L<Mojo::IOLoop>.

=item L<EventLoop::Fork::Adapter::AnyEvent>

L<AnyEvent>.

=item L<EventLoop::Fork::Adapter::EV>

L<EV>.

=item L<EventLoop::Fork::Adapter::Native>

L<EventLoop::Fork::Loop>.

=back

A loop of another family is refused with C<EVF_ENOTSUP>, until somebody writes a class with the methods below and
registers it. L<EventLoop::Fork::Test::Adapter> has the tests that it must pass.

At a fork all families that are loaded are made safe, whichever of them the fork goes through.

=head1 FUNCTIONS

=head2 for_loop

    my $adapter = EventLoop::Fork::Adapter::for_loop($loop);

The adapter object for a loop: an object, or the name of a class (C<EV>, C<AnyEvent>, C<Mojo::IOLoop>,
C<IO::Async::Loop>, ...). Without one it is for the loop in use, by this order: adapters of others, IO::Async, Mojo,
AnyEvent, EV. A family that another one stands on does not count. If there still are several, the choice is reported by
C<warn>, once. With none in use it is a loop of ours.

=head2 register

    EventLoop::Fork::Adapter::register('My::Adapter');

Adds a class. It is asked before the built-in ones.

=head2 contract

The names of the methods that an adapter must have.

=head1 CLASS METHODS OF AN ADAPTER

=head2 family

Its name, for people.

=head2 is_loaded

True if the library is in this process. Loads nothing.

=head2 is_in_use

True if the program has made a loop, or has one by default.

=head2 base_families

The families that the loop in use stands on: EV for a Mojo::IOLoop on its EV reactor. The default is none.

=head2 accepts

    $class->accepts($loop)

True for an object or the name of a class of this family. It gets anything.

=head2 new

    my $adapter = $class->new($loop);

For an object or a name that it accepts, or for C<undef>: the loop in use.

=head2 before_fork

    my $state = $class->before_fork;

In the parent, before each fork: what the child will need to know. If that is a hash, C<blocked> holds the names of
signals that a loop has blocked for its own purposes; they are unblocked in the child. The default does nothing.

=head2 renew

    $class->renew($state);

In the child of a fork through us, before any code of the program, with signals blocked. Afterwards no inherited watcher
of any loop of this family fires, singletons are cleared, and what the loops have in the kernel (epoll instances,
eventfds, timerfds, inotify, pipes for signals) is the child's own. Inherited objects are not destroyed: C<_freeze> keeps
references for ever. Inherited epoll descriptors have been replaced by empty ones before.

=head2 rearm

    $class->rearm($state, $mode);

The opposite: the inherited watchers go on in the child, on kernel objects of its own, and those of the parent, if it
lives, are not touched. C<$mode> is C<raw> in the child of a fork that did not come through us (it may be a daemon), where
the state may be C<undef>; it is C<keep> for C<< loop_in_child => 'keep' >>. There the frames of a C<run> that the fork
happened in never come back.

=head2 loop_maker

    my $code = $class->loop_maker($kind);

In a worker that is a new perl, before any code of the program: does what must be done before the loop is made, and
returns code that makes it. C<$kind> is what C<loop_kind> has returned in the supervisor. The default loads the class, and
asks C<for_loop> for a loop of that name.

=head2 is_ours

True for the adapters of this distribution.

=head1 METHODS OF AN ADAPTER

=head2 loop

What the program knows as the loop: an object, or the name of a class where there is none. The default is C<< {loop} >>.

=head2 watch_io

    my $id = $adapter->watch_io($handle, $code);

Calls the code, without arguments, whenever the handle is readable, until it is unwatched. The watch does not end with
the adapter object.

=head2 unwatch_io

    $adapter->unwatch_io($id);

=head2 watch_time

    my $id = $adapter->watch_time($seconds, $code);

=head2 unwatch_time

    $adapter->unwatch_time($id);

Accepts an id that has fired.

=head2 run

Runs the loop, and blocks until C<stop>, also when there is nothing to watch.

=head2 stop

=head2 loop_for_child

    my $loop = $adapter->loop_for_child($is_kept);

In the child, after C<renew> or C<rearm>: the loop to use there, of the same class; the inherited one if it is kept.

=head2 loop_kind

    my $kind = $adapter->loop_kind;

What C<loop_maker> needs in another program, as a hash of plain data. The default is C<class>.

=head2 watch_process

    my $id = $adapter->watch_process($pid, $fd, $code);

The base class has it. Calls the code with pid and wait status when the child has ended. The descriptor, if there is one,
is a process descriptor and is taken over. In a forked child the watch does nothing.

=head2 unwatch_process

    $adapter->unwatch_process($id);

=head2 watch_signal

    my $id = $adapter->watch_signal(TERM => $code);

The base class has it. Calls the code, without arguments, when the signal has come, also while the loop waits in C; perl's
own handlers are late there. Meanwhile C<$SIG{TERM}> is a handler of ours. A signal may be watched several times, through
several loops. A name that is no signal, or one that cannot be caught, is C<EVF_ESIGNAL>. The watch does not end with the
adapter object. In the child of a fork through us it is gone, unless the loop goes on there.

It needs nothing of the loop but C<watch_io>: of a descriptor that is readable when a signal has come that has a handler
in C<%SIG>. So while something is watched, all other handlers in C<%SIG> are prompt in that loop, too.

=head2 unwatch_signal

    $adapter->unwatch_signal($id);

The last one puts back what was in C<%SIG> before, unless somebody has set another handler since.

=head1 SEE ALSO

L<EventLoop::Fork>, L<EventLoop::Fork::Test::Adapter>

=cut
