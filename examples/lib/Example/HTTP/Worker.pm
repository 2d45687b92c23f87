package Example::HTTP::Worker;

# What runs in a worker: accepts on the shared listeners, drains on TERM or when the parent is gone.
# Never forks, never binds. A connection's life is in Example::HTTP::Connection.

use strict;
use warnings;

use Errno  qw(EAGAIN ECONNABORTED EINTR EPROTO EWOULDBLOCK);
use Socket qw(IPPROTO_TCP TCP_NODELAY);

use Example::HTTP::Connection;
use Example::HTTP::Routes;

use constant {
    ACCEPT_PAUSE   => 0.1,    # seconds, after accept failed for want of descriptors or memory
    WARNING_PERIOD => 10,
};

# loop: the worker's own. listeners: Example::HTTP::Listener objects. parent: a handle that is at its end
# when the parent is gone, if somebody else does not look after that. limit: seconds and bytes, all of those of
# Example::HTTP::Limits. handler, on_request, on_answer: see Example::HTTP::Connection.
sub new {
    my ($class, %argument) = @_;
    return bless { handler => \&Example::HTTP::Routes::answer, %argument, connections => {}, warned_at => 0 }, $class;
}

# Accepts from here on. With a parent, TERM and its end drain the worker.
sub start {
    my ($self) = @_;
    my $loop = $self->{loop};
    if ($self->{parent}) {
        $loop->watch_signal(TERM => sub { $self->drain });
        $loop->watch_io(handle => $self->{parent}, on_read_ready => sub { $self->drain });
    }
    $self->_watch_listeners;
    return;
}

# Serves until drained. Returns the exit code: 0, or 1 when connections had to be cut off.
sub run {
    my ($self) = @_;
    $self->{loop}->run;
    return $self->{exit_code};
}

# Accepts nothing more, lets each connection finish, leaves at the latest after graceful_timeout.
sub drain {
    my ($self) = @_;
    return if $self->{is_draining};
    $self->{is_draining} = 1;
    my $loop = $self->{loop};
    $loop->unwatch_io(handle => $self->{parent}, on_read_ready => 1) if $self->{parent};
    $self->_unwatch_listeners;
    $_->release for @{ $self->{listeners} };
    $loop->watch_time(after => $self->{limit}{graceful_timeout}, code => sub { $self->_give_up });
    $_->drain for $self->_connections;
    $self->_stop_when_empty;
    return;
}

sub _give_up {
    my ($self) = @_;
    $self->{exit_code} = 1;
    $_->close_now for $self->_connections;
    return;
}

# A copy: closing one takes it out of the table.
sub _connections {
    my ($self) = @_;
    my @connections = values %{ $self->{connections} };
    return @connections;
}

sub _stop_when_empty {
    my ($self) = @_;
    return if !$self->{is_draining} || %{ $self->{connections} };
    $self->{exit_code} //= 0;
    $self->{loop}->stop;
    return;
}

sub _watch_listeners {
    my ($self) = @_;
    for my $listener (@{ $self->{listeners} }) {
        $self->{loop}->watch_io(handle => $listener->handle, on_read_ready => sub { $self->_accept($listener) });
    }
    return;
}

# While accepting is paused nothing is watched: the second call does nothing.
sub _unwatch_listeners {
    my ($self) = @_;
    my $timer = delete $self->{pause};
    return $self->{loop}->unwatch_time($timer) if defined $timer;
    $self->{loop}->unwatch_io(handle => $_->handle, on_read_ready => 1) for @{ $self->{listeners} };
    return;
}

# One a turn: the workers share the queue, and who is busy leaves the next one to the others.
sub _accept {
    my ($self, $listener) = @_;
    return if $self->{is_draining} || defined $self->{pause};
    my $is_accepted = defined accept my $socket, $listener->handle;
    if (!$is_accepted) {
        return if grep { $! == $_ } EAGAIN, EWOULDBLOCK, EINTR, ECONNABORTED, EPROTO;
        return $self->_pause_accepting("$!");
    }
    setsockopt $socket, IPPROTO_TCP, TCP_NODELAY, 1 if $listener->is_tcp;
    return $self->_serve($socket);
}

sub _serve {
    my ($self, $socket) = @_;
    my $number     = ++$self->{accepted};
    my $connection = Example::HTTP::Connection->new(
        (map { ($_ => $self->{$_}) } qw(loop limit handler on_request on_answer)),
        socket    => $socket,
        on_closed => sub {
            delete $self->{connections}{$number};
            $self->_stop_when_empty;
        },
    );
    $self->{connections}{$number} = $connection;
    return;
}

# EMFILE and the like: the connection stays in the kernel's queue, those we have go on.
sub _pause_accepting {
    my ($self, $reason) = @_;
    $self->_unwatch_listeners;
    $self->{pause} = $self->{loop}->watch_time(
        after => ACCEPT_PAUSE,
        code  => sub {
            delete $self->{pause};
            $self->_watch_listeners;
        },
    );
    if (time - $self->{warned_at} >= WARNING_PERIOD) {
        $self->{warned_at} = time;
        print {*STDERR} "[$$] accepting paused: $reason\n";
    }
    return;
}

1;
