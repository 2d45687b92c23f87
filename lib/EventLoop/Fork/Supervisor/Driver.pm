package EventLoop::Fork::Supervisor::Driver;

# Carries out what the machine in C decides, and tells it what came of that. Decides nothing itself, and runs no worker's
# code; that is EventLoop::Fork::Worker's.

use strict;
use warnings;

our $VERSION = '0.001';

use Errno qw(EAGAIN);
use EventLoop::Fork;
use EventLoop::Fork::Scoreboard;
use EventLoop::Fork::Section;
use EventLoop::Fork::Supervisor::Process;
use EventLoop::Fork::Worker;
use EventLoop::Fork::WorkerHandle;
use POSIX        ();
use Scalar::Util qw(weaken);
use Time::HiRes  ();

# ---- The machine ----------------------------------------------------------------------------------------------------

sub EventLoop::Fork::Supervisor::Machine::CLONE_SKIP { return 1 }    # a pointer, in a thread

# Events wait for the one that is being carried out: its actions come first.
sub _feed {
    my ($self, $type, %fields) = @_;
    return $self unless $self->{is_running};
    push @{ $self->{queue} }, [ $type, \%fields ];
    return $self if $self->{is_stepping};
    local $self->{is_stepping} = 1;
    while ($self->{is_running} and my $event = shift @{ $self->{queue} }) {
        my @actions = $self->{machine}->step(@$event) or next;
        # First: whoever is told of an action finds it in the scoreboard.
        $self->_publish(grep { defined } $event->[1]{berth}, map { $_->{berth} } @actions);
        $self->_attempt($_) for @actions;
    }
    if ($self->{is_running}) {
        my $timeout = $self->_arm;
        my $now     = _now();
        $self->{board}->set_header(beat => $now, due => defined $timeout ? $now + $timeout : 0);
    }
    return $self;
}

# Seconds until it looks again; undef: when something happens.
sub _arm {
    my ($self)  = @_;
    my $adapter = $self->_adapter;
    my $timeout = $self->{machine}->timeout;
    $adapter->unwatch_time(delete $self->{timer_id}) if defined $self->{timer_id};
    return $timeout unless defined $timeout;
    weaken(my $weak = $self);
    $self->{timer_id} = $adapter->watch_time(
        $timeout,
        sub {
            return unless $weak;
            delete $weak->{timer_id};
            $weak->_feed('TICK');
        },
    );
    return $timeout;
}

my %ACTIONS = (
    SPAWN   => \&_spawn,
    DRAIN   => sub { $_[0]->_ask($_[1], 'TERM') },
    EXAMINE => sub { $_[0]->_examine($_[1]) },
    KILL    => sub { $_[0]->_signal($_[1], 'KILL') },
    LOOK    => sub { $_[0]->_look },
    SKIP    => sub { $_[0]->_skip($_[1]) },
    RESTORE => sub { $_[0]->_restore },
    REPORT  => sub { $_[0]->_report($_[1]) },
    FINISH  => sub { $_[0]->_finish($_[1]{exit_code}) },
);

# What fails here has no caller to go to, and the other actions are to be done.
sub _attempt {
    my ($self, $action) = @_;
    local $@;
    return if eval { $self->_carry_out($action); 1 };
    $self->{log}->line("$action->{type} of berth $action->{berth}: " . EventLoop::Fork::Loop::_exception_text($@));
    return;
}

sub _carry_out {
    my ($self, $action) = @_;
    return $self->_postpone($action) if _forks($action) && EventLoop::Fork::Section::is_open();
    $ACTIONS{ $action->{type} }->($self, $action);
    return;
}

sub _forks { return $_[0]{type} eq 'SPAWN' && $_[0]{method} ne 'spawn' }

# A fork that prevent_fork prevents has not failed. The machine waits for its answer, which it takes in any state.
sub _postpone {
    my ($self, $action) = @_;
    my $slot = $action->{berth} >> 1;
    return $self->_after_section("the start of a worker in slot $slot", sub { $_[0]->_attempt($action) });
}

# Not where the section ends, which may be deep in anybody's code, but in a turn of the loop.
sub _after_section {
    my ($self, $what, $code) = @_;
    weaken(my $weak = $self);
    my $retry = sub { $code->($weak) if $weak && $weak->{is_running} };
    EventLoop::Fork::Section->afterwards(sub {
        $weak->_adapter->watch_time(0, $retry) if $weak && $weak->{is_running};
    });
    $self->{log}->line("$what waits for the end of prevent_fork at " . EventLoop::Fork::_section_place() . "\n");
    return;
}

# By the handle, which knows whether the process is still ours to signal.
sub _signal {
    my ($self, $action, $signal) = @_;
    my $handle = $self->{handles}{ $action->{berth} } or return;
    $handle->kill($signal) if $handle->pid == $action->{pid};
    return;
}

# The worker can see it before the signal comes.
sub _ask {
    my ($self, $action, $signal) = @_;
    $self->{board}->set_row($action->{berth}, is_stopping => 1);
    return $self->_signal($action, $signal);
}

sub _examine {
    my ($self, $action) = @_;
    my $handle = $self->{handles}{ $action->{berth} };
    # Before the signal, which ends many a system call.
    $handle->{activity} = EventLoop::Fork::Supervisor::Process::activity($action->{pid}) if $handle;
    $self->{board}->set_row($action->{berth}, has_place => 0);
    return $self->_signal($action, EventLoop::Fork::_examine_signal());
}

# ---- Workers --------------------------------------------------------------------------------------------------------

sub _spawn {
    my ($self, $action) = @_;
    my ($berth, $board) = ($action->{berth}, $self->{board});
    my $slot = $berth >> 1;
    $board->clear_row($berth);
    $board->set_row(
        $berth,
        slot         => $slot,
        generation   => $action->{generation},
        state        => 1,
        requests_max => $action->{requests_max},
        spawned      => _now(),
    );
    my $handle = EventLoop::Fork::WorkerHandle->_new(
        berth        => $berth,
        slot         => $slot,
        generation   => $action->{generation},
        shared       => $self->{shared},
        spawned      => _now(),
        cause        => $action->{cause},
        requests_max => $action->{requests_max},
    );
    my $child = $action->{method} eq 'spawn' ? $self->_spawn_program($handle) : $self->_fork($handle, $action);
    if (!$child) {
        my $error = $@;
        my $errno = $self->{errno} || EAGAIN;
        $self->{spawn_error} = ref $error ? $error->message : $error;
        _end_unwatched($error->value) if ref $error && $error->name ne 'EVF_EFORK' && $error->value;
        return $self->_feed('SPAWN_FAILED', berth => $berth, error => $errno);
    }
    $handle->{child} = $child;
    $self->{handles}{$berth} = $handle;
    $board->set_row($berth, pid => $child->pid);
    return $self->_feed('SPAWNED', berth => $berth, pid => $child->pid);
}

# Signals that a worker follows wait until it can; who asks it to stop in its first moment is heard. The worker lets these
# in, and these only: the rest of its mask is what the fork has made of the parent's.
sub _fork {
    my ($self, $handle, $action) = @_;
    local @EventLoop::Fork::Adapter::held_back = EventLoop::Fork::Worker::signals();
    my $held = POSIX::SigSet->new(EventLoop::Fork::Worker::held_signals());
    my $old  = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), $held, $old);
    weaken(my $weak = $self);
    my ($child, $error);
    {
        local $@;
        $!     = 0;
        $child = eval {
            EventLoop::Fork->fork(
                loop    => $self->_adapter->loop,
                name    => "worker $handle->{slot}",
                _row    => [ $self->{board}, $handle->{berth} ],
                code    => sub { EventLoop::Fork::Worker->_begin($self, $handle, $_[0], $held) },
                on_exit => sub { $weak->_on_exit($handle, $_[1]) if $weak },
            );
        };
        $self->{errno} = $! + 0;
        $error = $@;
    }
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), $old);
    $@ = $error unless $child;    ## no critic (RequireLocalizedPunctuationVars): for the caller
    return $child;
}

# The same by a new perl.
sub _spawn_program {
    my ($self, $handle) = @_;
    weaken(my $weak = $self);
    $! = 0;
    my $child = eval {
        require EventLoop::Fork::Supervisor::Spawn;
        EventLoop::Fork::Supervisor::Spawn::start($self, $handle, sub { $weak->_on_exit($handle, $_[1]) if $weak });
    };
    $self->{errno} = $! + 0;
    return $child;
}

# It runs, and there is no way to hear of its end.
sub _end_unwatched {
    my ($pid) = @_;
    kill KILL => $pid;
    waitpid $pid, 0;
    return;
}

sub _on_exit {
    my ($self, $handle, $wait_status) = @_;
    my $berth = $handle->{berth};
    $self->_notice($handle);    # what it has said before; the bell may be later than the end
    $handle->{wait_status} = $wait_status;
    $handle->_read_last_words;
    if ($self->{board}) {
        my $reason = $handle->exit_reason;
        my $row    = $handle->{last_row};
        $self->{board}->set_row($berth, exited => _now(), reason => $reason);
        $self->{board}->add_death($handle->{slot}, $handle->{generation}, $handle->pid, $reason)
            if !$row->{is_stopping};
    }
    delete $self->{handles}{$berth} if $self->{handles}{$berth} && $self->{handles}{$berth} == $handle;
    $self->{gone}{$berth} = $handle;
    return $self->_feed(
        'EXITED',
        berth       => $berth,
        pid         => $handle->pid,
        wait_status => $wait_status,
        culprit     => _culprit($handle),
    );
}

# The number of the hook that it ended in, if that may be left out.
sub _culprit {
    my ($handle) = @_;
    my $record = $handle->{last_record} or return 0;
    return 0 if $record->{stage} ne 'child';
    return defined EventLoop::Fork::Hook::_skippable($record->{hook_id}) ? $record->{hook_id} : 0;
}

sub _skip {
    my ($self, $action) = @_;
    my $label = EventLoop::Fork::Hook::_skippable($action->{culprit});
    return if !defined $label;
    EventLoop::Fork::Hook::_skip($action->{culprit});
    $self->{skipped}{ $action->{culprit} } = $label;
    $self->{board}->set_header(info => $self->_info);
    return;
}

sub _restore {
    my ($self) = @_;
    EventLoop::Fork::Hook::_restore();
    delete $self->{skipped};
    $self->{board}->set_header(info => $self->_info);
    return;
}

# Something rare has happened to some worker, or a signal has come.
sub _on_bell {
    my ($self) = @_;
    $self->{board}->answer;
    $self->_notice($_) for $self->workers;
    return $self->_obey;
}

sub _notice {
    my ($self, $handle) = @_;
    my $berth = $handle->{berth};
    my %about = (berth => $berth, pid => $handle->pid);
    my ($is_ready, $has_place, $requests) = $self->{board}->pulse($berth);
    if ($is_ready && !$handle->{is_ready}) {
        $handle->{is_ready} = 1;
        $self->_feed('READY', %about);
    }
    if ($has_place && !$handle->{has_place}) {
        $handle->{has_place} = 1;
        $self->_feed('EXAMINED', %about);
    }
    if ($handle->{requests_max} && $requests >= $handle->{requests_max} && !$handle->{is_used_up}) {
        $handle->{is_used_up} = 1;
        $self->_feed('SAMPLE', %about, requests => $requests, rss => 0);
    }
    return;
}

# A stopped process looks idle in its row if it was: the kernel knows better.
sub _look {
    my ($self) = @_;
    my $wants_memory = $self->{options}{max_rss};
    for my $handle ($self->workers) {
        next unless $handle->{is_ready};
        my (undef, undef, $requests, $busy_since, $extension) = $self->{board}->pulse($handle->{berth});
        if (!$busy_since && EventLoop::Fork::_process_is_stopped($handle->pid)) {
            $busy_since = $handle->{stopped_since} ||= _now();
        }
        else {
            delete $handle->{stopped_since};
        }
        my %about = (berth => $handle->{berth}, pid => $handle->pid);
        $self->_feed('HEARTBEAT', %about, busy_since => $busy_since, extension => $extension);
        my $bytes = $wants_memory ? $handle->memory : 0;
        $self->{board}->set_row($handle->{berth}, rss_bytes => $bytes) if $bytes;
        $self->_feed('SAMPLE', %about, requests => $requests, rss => $bytes);
    }
    return;
}

# The machine's view, where other processes see it.
sub _publish {
    my ($self, @berths)   = @_;
    my ($machine, $board) = @$self{qw(machine board)};
    my $pool = $machine->pool;
    $board->set_header(
        pool_state => $pool->{state},
        map { ($_ => $pool->{$_}) } qw(workers generation breaker_is_open starts),
    );
    my %seen;
    for my $berth (grep { !$seen{$_}++ } @berths) {
        my $worker = $machine->worker($berth);
        $board->set_row($berth, state => $worker->{state}, ready => $worker->{ready}, pid => $worker->{pid});
    }
    return;
}

sub _now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Driver - how a supervisor does what was decided

=head1 DESCRIPTION

The part of L<EventLoop::Fork::Supervisor> between the machine and the processes. It has no interface of its own.

=cut
