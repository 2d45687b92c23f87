package EventLoop::Fork::Adapter;

# What the fork needs to know of a family of event loops: the base class of the adapters, the list of them, and which
# one serves a given loop. It never loads an event library that the program has not loaded or named.

use strict;
use warnings;

our $VERSION = '0.001';

use Config;
use EventLoop::Fork::Error;
use EventLoop::Fork::Loop ();
use Fcntl                 ();
use IO::Handle            ();
use POSIX                 ();
use Scalar::Util          qw(refaddr weaken);

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
    _attempt(__PACKAGE__, '_signals_in_child',   sub { _signals_in_child($mode, \%is_kept) });
    _attempt(__PACKAGE__, '_processes_in_child', sub { _processes_in_child(\%is_kept) }) if $mode ne 'raw';
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

my @signal_names = split / /, $Config{sig_name};

sub _signal_name { return $signal_names[ $_[1] ] }

# Of this process, by name.
sub _blocked_signals {
    my $mask = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $mask) or return;
    return map { $signal_names[$_] } grep { $mask->ismember($_) } 1 .. 31;
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

# A loop in C does not come back for a handler in %SIG. So the handler is in %SIG, and each loop that somebody watches
# signals through also watches a descriptor that is readable when a signal has come: perl's handlers run in that callback.
my %signals;    # name => { handler, before: what was in %SIG, watches: { id => watch } }
my %drains;     # loop => { adapter, family, count, handle, io }

sub watch_signal {
    my ($self, $name, $code) = @_;
    EventLoop::Fork::Loop::_check_code('watch_signal', code => $code);
    _check_signal($name);
    $self->_start_drain;
    my $signal = $signals{$name} ||= { watches => {} };
    my $watch  = { name => $name, code => $code, family => $self->family, loop => $self->_loop_name };
    my $id     = $self->_hold($watch);
    $signal->{watches}{$id} = $watch;
    _catch($signal, $name) unless _is_in_force($name, $signal);
    return $id;
}

sub unwatch_signal {
    my ($self, $id) = @_;
    my $watch = $self->_release($id) or return;
    _forget_watch($id, $watch);
    _stop_drain($watch->{loop});
    return;
}

sub _check_signal {
    my ($name) = @_;
    return if defined $name && $name !~ /\A(?:ZERO|KILL|STOP|SEGV|BUS|ILL|FPE)\z/ && grep { $_ eq $name } @signal_names;
    my $text = defined $name ? "'$name'" : 'undef';
    return _refuse('EVF_ESIGNAL', 'watch_signal', $name, "not a signal that can be caught: $text");
}

sub _catch {
    my ($signal, $name) = @_;
    my $watches = $signal->{watches};
    $signal->{before} = $SIG{$name};
    $signal->{handler} ||= sub {
        for my $id (sort { $a <=> $b } keys %$watches) {
            $watches->{$id}{code}->() if $watches->{$id};
        }
    };
    $SIG{$name} = $signal->{handler};    ## no critic (LocalizedPunctuationVars): until it is unwatched
    return;
}

sub _forget_watch {
    my ($id, $watch) = @_;
    my $name   = $watch->{name};
    my $signal = $signals{$name} or return;
    delete $signal->{watches}{$id};
    return if %{ $signal->{watches} };
    delete $signals{$name};
    _put_back($name, $signal->{before}) if _is_in_force($name, $signal);
    return;
}

# Who has set another handler since keeps it.
sub _is_in_force {
    my ($name, $signal) = @_;
    return $signal->{handler} && ref $SIG{$name} && refaddr $SIG{$name} == refaddr $signal->{handler};
}

sub _put_back {
    my ($name, $before) = @_;
    $SIG{$name} = defined $before && length $before ? $before : 'DEFAULT';    ## no critic (LocalizedPunctuationVars)
    return;
}

sub _loop_name {
    my ($self) = @_;
    my $loop = $self->loop;
    return $self->family . ' ' . (ref $loop ? refaddr $loop : $loop);
}

# A copy that does not keep the loop.
sub _loosely {
    my ($self) = @_;
    my $adapter = bless {%$self}, ref $self;
    weaken $adapter->{loop} if ref $adapter->{loop};
    return $adapter;
}

sub _start_drain {
    my ($self) = @_;
    my $name   = $self->_loop_name;
    my $drain  = $drains{$name};
    # Another loop had the address before.
    delete $drains{$name}, undef $drain if $drain && ref $self->{loop} && !defined $drain->{adapter}{loop};
    if (!$drain) {
        $drain = { adapter => $self->_loosely, family => $self->family, count => 0 };
        _open_drain($drain);
        $drains{$name} = $drain;
    }
    $drain->{count}++;
    return;
}

# The loop gets a duplicate: the descriptor itself is the core's.
sub _open_drain {
    my ($drain) = @_;
    my $fd = EventLoop::Fork::_signal_fd();
    open my $handle, '<&', $fd or die "dup: $!\n";    ## no critic (BriefOpen): open while it is watched
    $drain->{handle} = $handle;
    $drain->{io}     = $drain->{adapter}->watch_io($handle, sub { EventLoop::Fork::_signal_fd_clear() });
    return;
}

sub _close_drain {
    my ($drain) = @_;
    my $adapter = $drain->{adapter};
    $adapter->unwatch_io($drain->{io}) if defined $drain->{io} && defined $adapter->{loop};
    delete @$drain{qw(io handle)};
    return;
}

sub _stop_drain {
    my ($name) = @_;
    my $drain = $drains{$name} or return;
    return if --$drain->{count} > 0;
    delete $drains{$name};
    _close_drain($drain);
    return;
}

# In a child the watches of a loop that goes on go on, on a descriptor of its own; the others are gone.
sub _signals_in_child {
    my ($mode, $is_kept) = @_;
    my $goes_on = sub { $mode eq 'raw' || $is_kept->{ $_[0]{family} } };
    for my $name (keys %signals) {
        my $signal  = $signals{$name};
        my $watches = $signal->{watches};
        for my $id (grep { !$goes_on->($watches->{$_}) } keys %$watches) {
            _forget_watch($id, __PACKAGE__->_release($id));
        }
        # Handlers of the parent were taken out.
        $SIG{$name} = $signal->{handler}    ## no critic (LocalizedPunctuationVars)
            if %$watches && $mode ne 'raw' && !_is_in_force($name, $signal);
    }
    for my $name (keys %drains) {
        my $drain = $drains{$name};
        if (!$goes_on->($drain)) {
            __PACKAGE__->_freeze(delete $drains{$name});
            next;
        }
        _close_drain($drain);
        _open_drain($drain) if defined $drain->{adapter}{loop};
    }
    return;
}

# The end of a child through a loop that can watch descriptors and time. Without a process descriptor it is looked for
# again and again, less and less often. In a forked child of this process the watch is nobody's.
my ($shortest_look, $longest_look) = (0.005, 0.2);
my %processes;    # id => what is watched; weak

sub watch_process {
    my ($self, $pid, $fd, $code) = @_;
    my $process = { pid => $pid, fd => $fd, owner => $$, code => $code, adapter => $self->_loosely };
    $process->{id} = $self->_hold($process, 1);
    weaken($processes{ $process->{id} } = $process);
    $process->{ev} = _ask_ev($process) if exists $INC{'EV.pm'};
    if (defined $fd) {
        open my $handle, '<&=', $fd or die "fdopen: $!\n";    ## no critic (BriefOpen): open while it is watched
        weaken($process->{handle} = $handle);
        $process->{io} = $self->watch_io($handle, sub { my $held = $handle; _look($process) });
    }
    else {
        $process->{pause} = $shortest_look;
        $process->{timer} = $self->watch_time($process->{pause}, sub { _look($process) });
    }
    return $process->{id};
}

# EV takes the status of every child of the process once its default loop runs. It tells those who ask.
my $most_looks = 20;

sub _ask_ev {
    my ($process) = @_;
    weaken(my $weak = $process);
    my $watcher = EV::child($process->{pid}, 0, sub { _end($weak, $_[0]->rstatus) if $weak });
    $watcher->keepalive(0);
    return $watcher;
}

sub unwatch_process {
    my ($self, $id) = @_;
    delete $processes{$id};
    my $process = $self->_release($id) or return;
    delete $process->{ev};
    my $adapter = $process->{adapter};
    return unless defined $adapter->{loop};
    $adapter->unwatch_io(delete $process->{io})      if defined $process->{io};
    $adapter->unwatch_time(delete $process->{timer}) if defined $process->{timer};
    return;
}

# They are children of the parent. Held open here, the descriptor of one that has ended would stay in the parent's epoll
# instance when the parent has closed it.
sub _processes_in_child {
    my ($is_kept) = @_;
    for my $id (keys %processes) {
        my $process = $processes{$id};
        next if $process && $is_kept->{ $process->{adapter}->family };
        delete $processes{$id};
        close $process->{handle} if $process && $process->{handle};
    }
    return;
}

sub _look {
    my ($process) = @_;
    my ($adapter, $pid, $fd) = @$process{qw(adapter pid fd)};
    return $adapter->unwatch_process($process->{id}) if $$ != $process->{owner};
    my $wait_status = EventLoop::Fork::_process_reap($pid, $fd);
    if (!defined $wait_status) {
        return                   if defined $fd;
        $process->{pause} *= 1.5 if $process->{pause} < $longest_look;
        $process->{timer} = $adapter->watch_time($process->{pause}, sub { _look($process) });
        return;
    }
    delete $process->{timer};    # has fired
                                 # Gone, and EV is about to tell.
    if ($wait_status == -1 && $process->{ev} && $process->{looks}++ < $most_looks) {
        $process->{timer} = $adapter->watch_time($shortest_look, sub { _look($process) }) unless defined $fd;
        return;
    }
    return _end($process, $wait_status);
}

sub _end {
    my ($process, $wait_status) = @_;
    my $adapter = $process->{adapter};
    my $handle  = $process->{handle};
    $adapter->unwatch_process($process->{id});
    close $handle if $handle;
    $process->{code}->($process->{pid}, $wait_status);
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
