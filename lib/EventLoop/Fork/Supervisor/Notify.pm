package EventLoop::Fork::Supervisor::Notify;

# What a service manager is told of a supervisor, as sd_notify(3) has it: that it serves, reloads, stops, who is in charge,
# how many workers there are; that its loop turns; and copies of its listeners, to be had again after its end.

use strict;
use warnings;

use Errno                                            qw(EAGAIN);
use EventLoop::Fork                                  ();
use EventLoop::Fork::Supervisor::Listener            ();
use EventLoop::Fork::Supervisor::Listener::Inherited ();
use Scalar::Util                                     qw(weaken);
use Time::HiRes                                      ();

our $VERSION = '0.001';

use constant {
    FD_NAME_MAX => 255,    # FDNAME
    PAUSE       => 0.1,    # seconds, for a manager that is behind
    PATIENCE    => 2,      # seconds, with one that is behind at the end
};

# ---- Who is told ----------------------------------------------------------------------------------------------------

# Nothing where nobody has asked. The variables are for this process, and not for what it starts.
sub new {
    my ($class, $supervisor) = @_;
    my ($address, $watchdog, $watchdog_pid) = delete @ENV{qw(NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID)};
    return if !defined $address || $address eq '';
    my $is_watched = ($watchdog // '') =~ /\A[1-9][0-9]*\z/ && ($watchdog_pid // $$) eq $$;
    my $self       = bless {
        address    => $address,
        supervisor => $supervisor,
        watchdog   => $is_watched ? $watchdog / 1e6 : 0,
        status     => '',
        queue      => [],
    }, $class;
    weaken $self->{supervisor};
    return $self;
}

# For a program that is to take the place of this one, in its process.
sub environment {
    my ($self) = @_;
    return (
        NOTIFY_SOCKET => $self->{address},
        $self->{watchdog} ? (WATCHDOG_USEC => sprintf('%.0f', $self->{watchdog} * 1e6), WATCHDOG_PID => $$) : (),
    );
}

# ---- In charge ------------------------------------------------------------------------------------------------------

# From here on, until another process is: two that speak would contradict each other.
sub begin {
    my ($self) = @_;
    $self->{is_in_charge} = 1;
    $self->_store($_) for @{ $self->{supervisor}{listeners} };
    $self->_watchdog;
    return;
}

# After a hot restart the one before says that this process is in charge, and leaves; what comes earlier would be refused.
sub begin_after {
    my ($self, $predecessor) = @_;
    weaken(my $weak = $self);
    $self->{predecessor} = $predecessor;
    $predecessor->on_farewell(sub {
        delete $weak->{predecessor};
        $weak->begin;
        $weak->_serves;
    });
    return;
}

# The last word of this process; when it is said, the code runs.
sub hand_over {
    my ($self, $pid, $code) = @_;
    $self->_unwatch('watchdog_id');
    $self->{farewell} = $code;
    $self->_send("MAINPID=$pid");
    $self->{is_in_charge} = 0;
    return;
}

sub close {
    my ($self) = @_;
    $self->{is_in_charge} = 0;
    $self->_flush_last;
    $self->_unwatch($_) for qw(watchdog_id queue_id);
    (delete $self->{predecessor})->leave if $self->{predecessor};
    return;
}

# ---- Events ---------------------------------------------------------------------------------------------------------

my %LINES = (
    worker_ready    => sub { $_[0]{is_serving}++ ? () : ('READY=1', "MAINPID=$$") },
    reloading       => \&_reloading,
    reloaded        => \&_reloaded,
    reload_failed   => \&_reloaded,
    restart_started => \&_reloading,
    restart_failed  => \&_reloaded,
    stopping        => sub { 'STOPPING=1' },
);

sub notice {
    my ($self, $event) = @_;
    return if !$self->{is_in_charge};
    my $lines = $LINES{ $event->{event} };
    return $self->_tell($lines ? $lines->($self) : ());
}

sub _serves {
    my ($self) = @_;
    $self->{is_serving} = 1;
    return $self->_tell('READY=1', "MAINPID=$$");
}

# A reload by request of the manager is over with READY=1 after this; it wants to know which of the two came first.
sub _reloading {
    my ($self) = @_;
    return if !$self->{is_serving};
    return ('RELOADING=1', sprintf 'MONOTONIC_USEC=%.0f', _now() * 1e6);
}

sub _reloaded { return $_[0]{is_serving} ? 'READY=1' : () }

# With the status, if that has changed.
sub _tell {
    my ($self, @lines) = @_;
    my $status = $self->_status;
    push @lines, "STATUS=$status" if $status ne $self->{status};
    $self->{status} = $status;
    return @lines ? $self->_send(join "\n", @lines) : undef;
}

sub _status {
    my ($self) = @_;
    my $status = $self->{supervisor}->status;
    my $pool   = $self->{supervisor}{machine} ? $self->{supervisor}{machine}->pool : return $self->{status};
    return sprintf '%s: %d of %d workers ready, generation %d%s', $status->{state},
        @$pool{qw(ready workers generation)},
        $pool->{breaker_is_open} ? '; starts fail' : '';
}

# ---- The watchdog ---------------------------------------------------------------------------------------------------

# Twice as often as it has to be: by a timer of the loop, which turns then.
sub _watchdog {
    my ($self) = @_;
    return if !$self->{watchdog};
    return $self->_after(
        watchdog_id => $self->{watchdog} / 2,
        sub {
            my ($self) = @_;
            $self->_send('WATCHDOG=1') if !@{ $self->{queue} };
            $self->_watchdog;
        },
    );
}

# ---- Listeners ------------------------------------------------------------------------------------------------------

# A manager that keeps none ignores this. The file of a Unix socket goes with this process, and one that listens nowhere is
# of no use to anybody.
sub _store {
    my ($self, $listener) = @_;
    return if $listener->is_unix || $listener->is_held || !$listener->is_open;
    my $name = EventLoop::Fork::Supervisor::Listener::Inherited::name_for($listener);
    return if length $name > FD_NAME_MAX;
    return $self->_send("FDSTORE=1\nFDNAME=$name", $listener->fd);
}

# One that came from the store, and that nobody wants any more.
sub forget {
    my ($self, $listener) = @_;
    my $name = $listener->stored_name;
    return defined $name ? $self->_send("FDSTOREREMOVE=1\nFDNAME=$name") : undef;
}

# ---- Messages -------------------------------------------------------------------------------------------------------

# In order, and without waiting for it.
sub _send {
    my ($self, @message) = @_;
    push @{ $self->{queue} }, \@message;
    return defined $self->{queue_id} ? undef : $self->_flush;
}

sub _flush {
    my ($self) = @_;
    while (my $message = $self->{queue}[0]) {
        my ($text, @fds) = @$message;
        return $self->_after(queue_id => PAUSE, \&_flush) if !$self->_is_sent($text, @fds);
        shift @{ $self->{queue} };
    }
    (delete $self->{farewell})->() if $self->{farewell};
    return;
}

# The loop does not turn any more. Who is in charge is worth to wait for.
sub _flush_last {
    my ($self) = @_;
    my $end = _now() + PATIENCE;
    while (1) {
        $self->_unwatch('queue_id');
        $self->_flush;
        return if !@{ $self->{queue} } || _now() > $end;
        Time::HiRes::sleep(PAUSE / 10);
    }
}

# False: later. A manager that is not there is no reason to stop serving; it is said once.
sub _is_sent {
    my ($self, $text, @fds) = @_;
    local ($@, $!);
    return 1 if eval { EventLoop::Fork::_notify($self->{address}, $text, \@fds); 1 };
    return 0 if $! == EAGAIN;
    return 1 if $self->{has_failed}++;
    my $why = EventLoop::Fork::Loop::_exception_text($@);
    $self->{supervisor}{log}->line("the service manager is not told: $why");
    return 1;
}

# ---- Timers ---------------------------------------------------------------------------------------------------------

sub _after {
    my ($self, $name, $seconds, $code) = @_;
    weaken(my $weak = $self);
    $self->{$name} = $self->{supervisor}->_adapter->watch_time(
        $seconds,
        sub {
            return if !$weak;
            delete $weak->{$name};
            $code->($weak);
        },
    );
    return;
}

sub _unwatch {
    my ($self, $name) = @_;
    my $id = delete $self->{$name};
    $self->{supervisor}->_adapter->unwatch_time($id) if defined $id && $self->{supervisor};
    return;
}

sub _now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Notify - what a service manager is told of a supervisor

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor>, where C<NOTIFY_SOCKET> is set: by systemd for a service of C<Type=notify>. See
L<sd_notify(3)|https://www.freedesktop.org/software/systemd/man/sd_notify.html>, and L<EventLoop::Fork::Deployment> for a unit.

    READY=1, MAINPID        the first worker is ready; a reload or a restart is over, or has failed
    RELOADING=1             with MONOTONIC_USEC: a reload or a restart has begun
    STOPPING=1
    STATUS                  how many workers are ready, when that changes
    MAINPID                 after a hot restart: the process that is in charge
    WATCHDOG=1              twice in WATCHDOG_USEC, by the loop
    FDSTORE=1, FDNAME       a copy of each TCP listener
    FDSTOREREMOVE=1         one that no address asks for any more

The variables are removed from the environment: workers do not speak to the service manager.

=head1 METHODS

=head2 new($supervisor)

Nothing, if there is nobody to tell.

=head2 environment

The variables, for the program that a hot restart executes.

=head2 begin

=head2 begin_after($predecessor)

From now on this process is in charge; or when the supervisor before has said so.

=head2 notice(\%event)

=head2 hand_over($pid, $code)

That process is in charge. The code runs when the service manager has been told.

=head2 forget($listener)

=head2 close

Says what is still to be said, for which it waits C<PATIENCE>.

=head1 CONSTANTS

=head2 FD_NAME_MAX, PAUSE, PATIENCE

=cut
