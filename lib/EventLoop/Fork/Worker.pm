package EventLoop::Fork::Worker;

# What a worker sees of itself. Runs in the worker's process only; the supervisor's side is EventLoop::Fork::WorkerHandle.
# Nothing is loaded later: a worker that has become another user may not be able to read it.

use strict;
use warnings;

our $VERSION = '0.001';

use Config;
use EventLoop::Fork ();
use EventLoop::Fork::Supervisor::App;
use EventLoop::Fork::Supervisor::Privileges;
use EventLoop::Fork::Worker::Counter;
use POSIX        ();
use Scalar::Util qw(blessed looks_like_number);
use Time::HiRes  ();

# Followed by every worker. USR1 and HUP are the program's, and are ignored until it has a handler.
my @SIGNALS = qw(TERM INT QUIT HUP USR1);
my %NUMBERS;
@NUMBERS{ split / /, $Config{sig_name} } = split / /, $Config{sig_num};

sub signals       { return @SIGNALS }
sub signal_number { return $NUMBERS{ $_[0] } }

# By number: what the supervisor sends, held back from before a worker's process is there until it has the handlers. It may
# be long in getting there; none of these is to end it on its way.
sub held_signals {
    return ((map { signal_number($_) } @SIGNALS), EventLoop::Fork::_examine_signal());
}

# ---- Life -----------------------------------------------------------------------------------------------------------

# The whole of a worker's process. What it returns is the exit code.
sub _begin {
    my ($class, $supervisor, $handle, $child, $held) = @_;
    my $self = bless {
        child          => $child,
        board          => $supervisor->{board},
        berth          => $handle->{berth},
        slot           => $handle->{slot},
        generation     => $handle->{generation},
        listeners      => $supervisor->{listeners},
        options        => $supervisor->{options},
        life           => $supervisor->{life_reader},
        supervisor_pid => $supervisor->{pid},
        pid            => $$,
        on_stop        => [],
    }, $class;
    close $_ for grep { defined } delete @$supervisor{qw(bell trace)};
    $0 = "$self->{options}{name}: worker $self->{slot}"    ## no critic (LocalizedPunctuationVars)
        if defined $self->{options}{name};
    $self->{board}->attach($self->{berth});
    EventLoop::Fork::_examine_install();
    $self->_follow_signals;
    POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $held);
    my $result;
    my $done = eval { $result = $self->_run; 1 };
    return $self->_end($result) if $done;
    return $self->_fail($@);
}

sub _run {
    my ($self) = @_;
    my $options = $self->{options};
    $_ = $_->per_worker(backlog => $options->{backlog}) for @{ $self->{listeners} };
    EventLoop::Fork::Supervisor::Privileges::drop_privileges(user => $options->{user}, group => $options->{group})
        if defined $options->{user} || defined $options->{group};
    # The second way to notice its end, and the only one for code that waits without a loop. A change of user takes it
    # back, so it comes after that.
    EventLoop::Fork::_signal_at_end_of_parent(signal_number('TERM'));
    $self->_stop if getppid != $self->{supervisor_pid};
    my $code = $options->{worker};
    $code = $self->_load_app unless defined $code;
    return $code->($self);
}

# Not before the fork: a reload is to find what is on the disk then.
sub _load_app {
    my ($self) = @_;
    my ($app, $server, $options) = @{ $self->{options} }{qw(app server server_options)};
    return EventLoop::Fork::Supervisor::App::load($app) if !defined $server;
    my $served = EventLoop::Fork::Server::find($server)->for_app($app, %{ $options || {} });
    return sub { $served->worker(@_) };
}

sub _end {
    my ($self, $result) = @_;
    if (!$self->{is_ready} && !$self->{is_stopping}) {
        $self->_write_error("returned without a call of ready\n");
        return 2;
    }
    return 0 if !defined $result || ref $result || !looks_like_number($result) || $result != int $result;
    return $result >= 0 && $result <= 255 ? $result : 0;
}

sub _write_error {
    my ($self, $text) = @_;
    $text =~ s/\s+\z//;
    $self->{board}->set_row($self->{berth}, error => $text);
    return;
}

# ---- Stopping -------------------------------------------------------------------------------------------------------

sub _follow_signals {
    my ($self) = @_;
    $SIG{INT}  = 'IGNORE';                         # Ctrl-C reaches the whole group; the supervisor says when to stop
    $SIG{$_}   = 'IGNORE' for qw(HUP USR1 PIPE);
    $SIG{TERM} = sub { $self->_stop };
    $SIG{QUIT} = sub { $self->_leave };
    $self->_note_handlers;
    $self->{fork_hook} =
        EventLoop::Fork::at_fork(name => 'worker', prepare => \&_before_fork, child => \&_in_child, object => $self);
    return;
}

sub _note_handlers {
    my ($self) = @_;
    $self->{handlers} = { map { $_ => $SIG{$_} } qw(TERM QUIT) };
    return;
}

# Whatever forks it: a child of a worker is no worker, and has nothing to stop. What the program has set there stays. A loop
# may set its handlers anew in a child, so the parent looks whose they are.
sub _before_fork {
    my ($self) = @_;
    my $handlers = $self->{handlers};
    $self->{own_handlers} = [ grep { ref $SIG{$_} && $SIG{$_} == $handlers->{$_} } sort keys %$handlers ];
    return;
}

sub _in_child {
    my ($self) = @_;
    my @names = @{ $self->{own_handlers} };
    $SIG{$_} = 'DEFAULT' for @names;    ## no critic (LocalizedPunctuationVars)
                                        # Some loops block what they watch.
    POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), POSIX::SigSet->new(map { signal_number($_) } @names));
    return;
}

sub stopping {
    my ($self) = @_;
    $self->_stop        if !$self->{is_stopping} && getppid != $self->{supervisor_pid};
    $self->_run_on_stop if $self->{has_to_stop}  && !$self->{adapter};
    return $self->{is_stopping} ? 1 : 0;
}

sub on_stop {
    my ($self, $code) = @_;
    EventLoop::Fork::Loop::_check_code('on_stop', code => $code);
    push @{ $self->{on_stop} }, $code;
    $self->{had_on_stop} = 1;
    $self->_call_on_stop if $self->{has_to_stop};
    return $self;
}

# Asked to leave: by TERM, or because the supervisor is gone.
sub _stop {
    my ($self) = @_;
    return if $self->{is_stopping}++;
    # Nobody else is there to end it.
    $self->_leave_later if getppid != $self->{supervisor_pid};
    if ($self->{is_ready}) {
        return $self->_call_on_stop;
    }
    # Whoever has something to put away does that when it has started; others have nothing to lose.
    return if @{ $self->{on_stop} };
    $self->_leave;
    return;
}

# Each code once, in a turn of the loop: a stop that comes before run would be lost. Without a loop they wait for one, or
# for the next question.
sub _call_on_stop {
    my ($self) = @_;
    $self->{has_to_stop} = 1;
    $self->{adapter}->watch_time(0, sub { $self->_run_on_stop }) if $self->{adapter};
    return;
}

sub _run_on_stop {
    my ($self) = @_;
    return $self->{adapter}->stop if !$self->{had_on_stop} && $self->{adapter};
    my $error;
    for my $code (splice @{ $self->{on_stop} }) {
        eval { $code->($self); 1 } or defined $error or $error = $@;
    }
    $self->_fail($error) if defined $error;
    return;
}

# Where callbacks of a loop end: many loops swallow what they throw, and the worker would be waited for, then killed.
sub _fail {
    my ($self, $error) = @_;
    $self->_write_error(EventLoop::Fork::Loop::_exception_text($error));
    EventLoop::Fork::Loop::_report_exception($self->{child}->name, $error);
    exit 255;
}

sub _leave_later {
    my ($self) = @_;
    return if $self->{leaves_later}++;
    my $seconds = $self->{options}{graceful_timeout};
    return $self->_leave unless $seconds;
    return $self->{adapter}->watch_time($seconds, sub { $self->_leave }) if $self->{adapter};
    # Without a loop the kernel keeps the time.
    $SIG{ALRM} = 'DEFAULT';
    alarm POSIX::ceil($seconds);
    return;
}

# Not by exit: perl may be compiling the app, and what is half compiled cannot be unwound.
sub _leave {
    EventLoop::Fork::_flush_and_exit(0);
    return;
}

# ---- For the program ------------------------------------------------------------------------------------------------

sub slot       { return $_[0]{slot} }
sub generation { return $_[0]{generation} }
sub pid        { return $_[0]{pid} }

sub graceful_timeout { return $_[0]{options}{graceful_timeout} }

sub listeners {
    my ($self) = @_;
    return map { $_->socket } @{ $self->{listeners} };
}

# A fresh one, of the supervisor's kind. With it come the end of the supervisor and prompt signals.
sub loop {
    my ($self) = @_;
    return $self->{adapter}->loop if $self->{adapter};
    $self->_make_loop;
    $self->_call_on_stop if $self->{has_to_stop};
    return $self->{adapter}->loop;
}

sub _make_loop {
    my ($self) = @_;
    my $adapter = $self->{adapter} = EventLoop::Fork::Adapter::for_loop($self->{child}->loop);
    $self->{life_id} = $adapter->watch_io($self->{life}, sub { $self->_on_orphaned });
    $adapter->watch_signal(TERM => sub { $self->_stop });
    $adapter->watch_signal(QUIT => sub { $self->_leave });
    $self->_note_handlers;
    $self->_beat unless EventLoop::Fork::_is_our_loop($adapter->loop) || !$self->{options}{heartbeat_timeout};
    return;
}

sub _on_orphaned {
    my ($self) = @_;
    $self->{adapter}->unwatch_io(delete $self->{life_id}) if defined $self->{life_id};
    $self->_leave_later;
    $self->_stop;
    return;
}

# Loops of others do not stamp: a timer does.
sub _beat {
    my ($self) = @_;
    $self->{board}->busy;
    $self->{adapter}->watch_time($self->{options}{heartbeat_timeout} / 4, sub { $self->_beat });
    return;
}

sub ready {
    my ($self) = @_;
    return $self if $self->{is_ready}++;
    $self->{board}->ready;
    $self->_call_on_stop if $self->{is_stopping};
    return $self;
}

sub request_started { $_[0]{board}->request_started; return }
sub request_done    { $_[0]{board}->request_done;    return }

sub extend_deadline {
    my ($self, $seconds) = @_;
    looks_like_number($seconds) && $seconds >= 0 && $seconds < 1e9
        or EventLoop::Fork::Loop::_throw(
        'EVF_EINVAL', 'extend_deadline', $seconds,
        'not a number of seconds: ' . (defined $seconds ? "'$seconds'" : 'undef')
        );
    $self->{board}->extend($seconds);
    return;
}

sub counter {
    my ($self, $name) = @_;
    return EventLoop::Fork::Worker::Counter->_new($self->{board}, $name);
}

1;

__END__

=head1 NAME

EventLoop::Fork::Worker - what a worker sees of itself

=head1 SYNOPSIS

    sub {
        my ($worker) = @_;
        my $server = My::Server->new(loop => $worker->loop, sockets => [ $worker->listeners ]);
        $worker->on_stop(sub { $server->drain(sub { $worker->loop->stop }) });
        $worker->ready;
        $worker->loop->run;
        return 0;
    };

=head1 DESCRIPTION

The argument of the C<worker> code of an L<EventLoop::Fork::Supervisor>. What that code returns is the exit code. One that
returns without a call of C<ready> has failed to start. The exit code 2 says so, too: the slot is not filled again at
once.

A worker ignores SIGINT, so that Ctrl-C reaches the supervisor only; TERM asks it to stop, QUIT ends it. Put handlers of
your own on other signals; USR1 comes through from the supervisor.

=head1 METHODS

=head2 loop

The worker's own, of the supervisor's kind, made at the first call. With it come prompt signals, the heartbeat, and the
end of the supervisor: a worker whose supervisor is gone stops as if it had been asked to.

=head2 listeners

L<IO::Socket> objects, in the order of C<listen>. They do not block.

=head2 ready

The worker serves from here on. A request to stop that came before is followed now.

=head2 slot, generation, pid

The number of the place, from 0, which its replacements keep; the generation of the reload.

=head2 on_stop

    $worker->on_stop(sub { my ($worker) = @_; ... });

Called once, in a turn of the loop, when the worker is to stop; the code then makes the worker's code return. In a worker
without a loop C<stopping> calls it. Without any, the loop is stopped. A worker that is asked before C<ready> and has no
C<on_stop> ends at once. One whose C<on_stop> throws says so, and ends with exit code 255.

It comes through the loop of C<loop>: a worker that runs another one asks C<stopping> there.

=head2 graceful_timeout

Seconds from the request to stop to the kill.

=head2 stopping

True when it is to stop. Also for code without a loop: between two blocking calls ask this.

=head2 request_started, request_done

Count requests, for rotation and C<evfork status>. In a worker without a loop they also are its heartbeat.

=head2 extend_deadline

    $worker->extend_deadline(120);

This turn of the loop may take so many seconds beyond C<heartbeat_timeout>.

=head2 counter

    $worker->counter('cache_hits')->add(1);

A number that C<evfork metrics> adds up over all workers. Up to 16 names.

=head2 signals, signal_number, held_signals

Which signals a worker handles, and which are blocked when it begins; for the supervisor.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor>

=cut
