package EventLoop::Fork::Adapter::Mojo;

# Mojo::IOLoop on any reactor of its own: Poll, EV. In the child each Mojo::IOLoop has a new reactor of the class that
# it had; the old one stays, empty and hidden, because its destructor would reach into what is the parent's.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter';

use Scalar::Util qw(blessed);

use constant _CLASS => 'Mojo::IOLoop';

sub family    { return 'Mojo' }
sub is_loaded { return exists $INC{'Mojo/IOLoop.pm'} }
sub is_in_use { return exists $INC{'Mojo/IOLoop.pm'} }    # it makes its reactor when it is loaded

sub base_families {
    return is_loaded() && Mojo::IOLoop->singleton->reactor->isa('Mojo::Reactor::EV') ? 'EV' : ();
}

sub accepts {
    my ($class, $loop) = @_;
    return $loop->isa(_CLASS) if blessed $loop;
    return !ref $loop && $loop eq _CLASS;
}

sub new {
    my ($class, $loop) = @_;
    require Mojo::IOLoop;
    $loop = Mojo::IOLoop->singleton unless blessed $loop;
    return bless { loop => $loop }, $class;
}

# ---- In the child ---------------------------------------------------------------------------------------------------

sub renew {
    my ($class) = @_;
    my @loops = EventLoop::Fork::Adapter::_instances(_CLASS);
    my %classes;
    for my $loop (@loops) {
        my $reactor = $loop->{reactor} or next;
        $classes{$loop} = ref $reactor;
        $class->_empty($reactor);
    }
    my $error;
    for my $loop (@loops) {
        $class->_freeze({%$loop});
        eval { $loop->reset({ freeze => 1 }); 1 } or $error = $@;    # it calls those who listen for a reset
        $class->_give_reactor($loop, $classes{$loop}) if $classes{$loop};
    }
    die $error if defined $error;
    return;
}

# Watchers of EV are stopped here, too: EV itself may go on in this child.
sub _empty {
    my ($class, $reactor) = @_;
    $class->_freeze($reactor, {%$reactor});
    for my $watch (map { values %{ $reactor->{$_} || {} } } qw(io timers)) {
        my $watcher = ref $watch eq 'HASH' ? $watch->{watcher} : undef;
        $watcher->stop if blessed $watcher && $watcher->can('stop');
    }
    delete @$reactor{qw(events io next_tick next_timer running timers)};
    return;
}

# The attribute makes the new reactor, with its handler for errors, of the class that the environment names. There is
# one EV reactor in a process, and a second one becomes a Poll reactor without a word. Here the first one is out of use
# for ever and none of its watchers is left, so EV is free; its destructor is what says so.
sub _give_reactor {
    my ($class, $loop, $reactor_class) = @_;
    local $ENV{MOJO_REACTOR} = $reactor_class;
    my $destructor = $reactor_class->isa('Mojo::Reactor::EV') && Mojo::Reactor::EV->can('DESTROY');
    $destructor->() if $destructor;
    delete $loop->{reactor};
    $loop->reactor;
    return;
}

sub rearm {
    my ($class, $state, $mode) = @_;
    return if $mode eq 'raw';
    # The run that the fork happened in never comes back in this child, and a loop that runs refuses to be started.
    delete $_->{running} for grep { defined } map { $_->{reactor} } EventLoop::Fork::Adapter::_instances(_CLASS);
    return;
}

# ---- The loop -------------------------------------------------------------------------------------------------------

sub watch_io {
    my ($self, $handle, $code) = @_;
    my $reactor = $self->{loop}->reactor;
    $reactor->io($handle => sub { my $held = $handle; $code->() })->watch($handle, 1, 0);
    return $self->_hold($handle, 1);
}

sub unwatch_io {
    my ($self, $id) = @_;
    my $handle = $self->_release($id) or return;
    $self->{loop}->reactor->remove($handle) if defined fileno $handle;
    return;
}

sub watch_time {
    my ($self, $seconds, $code) = @_;
    return $self->{loop}->timer($seconds => sub { $code->() });
}

sub unwatch_time {
    my ($self, $id) = @_;
    $self->{loop}->reactor->remove($id);
    return;
}

# Its start returns when there is no watcher, and refuses inside of itself.
sub run {
    my ($self)  = @_;
    my $reactor = $self->{loop}->reactor;
    my $id      = $reactor->recurring(3600 => sub { });
    $reactor->start;
    $reactor->remove($id);
    return;
}

sub stop { $_[0]{loop}->stop; return }

# The same object, which has a new reactor unless it is kept.
sub loop_for_child { return $_[0]{loop} }

sub loop_kind {
    my ($self) = @_;
    my $loop = $self->{loop};
    return { reactor => ref $loop->reactor, is_singleton => $loop == Mojo::IOLoop->singleton ? 1 : 0 };
}

# The singleton makes its reactor when it is loaded.
sub loop_maker {
    my ($class, $kind) = @_;
    local $ENV{MOJO_REACTOR} = $kind->{reactor};
    require Mojo::IOLoop;
    Mojo::IOLoop->singleton->reactor;
    return sub { $kind->{is_singleton} ? Mojo::IOLoop->singleton : Mojo::IOLoop->new };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::Mojo - forks through Mojo::IOLoop

=head1 SYNOPSIS

    use Mojo::IOLoop;
    use EventLoop::Fork;

    EventLoop::Fork->fork(
        loop    => 'Mojo::IOLoop',                       # or an object
        code    => sub { my ($self) = @_; return 3 },    # $self->loop is the same object, with a new reactor
        on_exit => sub { my ($child) = @_; print $child->exit_reason, "\n"; Mojo::IOLoop->stop },
    );
    Mojo::IOLoop->start;

=head1 DESCRIPTION

The singleton and other objects, on the reactors C<Mojo::Reactor::Poll> and C<Mojo::Reactor::EV>. In the child of a fork
through us each of them has been C<reset> with C<freeze>, as Mojo's own subprocesses do it: connections and servers are
hidden and stay alive, and those who listen for C<reset> hear of it.

Each has a new reactor of the class that it had. Mojo alone gives the child a Poll reactor after an EV reactor, because
two EV reactors would share EV's one default loop. Here the first one has no watcher any more and is never used or
destroyed, so that the second one has the loop for itself.

=head1 METHODS

Those of L<EventLoop::Fork::Adapter>.

=head2 family, is_loaded, is_in_use, accepts, new, base_families

=head2 renew, rearm, loop_for_child, loop_kind, loop_maker

=head2 watch_io, unwatch_io, watch_time, unwatch_time, run, stop

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>, L<EventLoop::Fork>

=cut
