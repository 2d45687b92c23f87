package EventLoop::Fork::Supervisor;

# The driver: carries out what the machine in C decides, and tells it what came of that. It decides nothing itself, and
# runs no worker's code; that is EventLoop::Fork::Worker's.

use strict;
use warnings;

our $VERSION = '0.001';

use Errno qw(EAGAIN);
use EventLoop::Fork;
use EventLoop::Fork::Adapter;
use EventLoop::Fork::Scoreboard;
use EventLoop::Fork::Supervisor::App;
use EventLoop::Fork::Supervisor::Listener;
use EventLoop::Fork::Supervisor::Log;
use EventLoop::Fork::Supervisor::Options;
use EventLoop::Fork::Supervisor::PidFile;
use EventLoop::Fork::Supervisor::Privileges;
use EventLoop::Fork::Worker;
use EventLoop::Fork::WorkerHandle;
use POSIX        ();
use Scalar::Util qw(weaken);
use Time::HiRes  ();

# More than anybody wants, and no memory before it is used.
use constant ROWS => 2 * 1024;

# ---- A supervisor ---------------------------------------------------------------------------------------------------

sub new {
    my ($class, @pairs) = @_;
    @pairs % 2 and _refuse('new', undef, 'arguments are not pairs of name => value');
    my $options = EventLoop::Fork::Supervisor::Options::check(@pairs);
    defined $options->{worker} || defined $options->{app}
        or _refuse('new', undef, "'worker' is missing: the code that runs in each worker (or 'app': a file or a module)");
    $options->{start_method} eq 'fork'
        or _refuse('new', $options->{start_method}, "start_method '$options->{start_method}' is not built yet; there is: fork");
    EventLoop::Fork::Supervisor::Listener->parse($_) for @{ $options->{listen} };
    EventLoop::Fork::Supervisor::App::check($options->{app}) if defined $options->{app};
    my $self = bless {
        options   => $options,
        listeners => [],
        pid       => $$,
        handles   => {},     # by berth: what is alive
        queue     => [],
        log       => EventLoop::Fork::Supervisor::Log->new(name => $options->{name}),
    }, $class;
    $self->_adapter;    # refuses a loop that nobody knows
    return $self;
}

sub _refuse {
    my ($operation, $value, $message) = @_;
    return EventLoop::Fork::Loop::_throw(EventLoop::Fork::Loop::_error_code('EVF_EINVAL'), $operation, $value, $message);
}

sub _adapter {
    my ($self) = @_;
    return $self->{adapter} ||= do {
        my $loop = $self->{options}{loop};
        $loop = EventLoop::Fork::Loop->new unless defined $loop;
        EventLoop::Fork::Adapter::for_loop($loop);
    };
}

sub loop       { return $_[0]->_adapter->loop }
sub is_running { return $_[0]{is_running} ? 1 : 0 }
sub exit_code  { return $_[0]{exit_code} }
sub listeners  { return map { $_->socket } @{ $_[0]{listeners} } }

sub run {
    my ($self) = @_;
    $self->start unless $self->{is_running};
    $self->{is_in_run} = 1;
    $self->_adapter->run while $self->{is_running};
    $self->{is_in_run} = 0;
    return $self->{exit_code};
}

# ---- Start and end --------------------------------------------------------------------------------------------------

my %SIGNALS = (
    TERM => sub { $_[0]->stop },
    INT  => sub { $_[0]->stop },
    QUIT => sub { $_[0]->stop(fast => 1) },
    HUP  => sub { $_[0]->reload },
    TTIN => sub { $_[0]->_scale(1) },
    TTOU => sub { $_[0]->_scale(-1) },
    USR1 => sub { $_[0]->_forward('USR1') },
);

sub start {
    my ($self) = @_;
    $self->{is_running}        and _refuse('start', undef, 'this supervisor runs already');
    defined $self->{exit_code} and _refuse('start', undef, 'this supervisor has ended; make a new one');
    my $done = eval { $self->_open; 1 };
    if (!$done) {
        my $error = $@;
        $self->_close;
        die $error;    ## no critic (RequireCarping): an object, thrown on
    }
    $self->{is_running} = 1;
    $0 = "$self->{options}{name}: supervisor" if defined $self->{options}{name};    ## no critic (LocalizedPunctuationVars)
    $self->_feed('START');
    return $self;
}

# What the workers inherit, and what names this process. Signals come first: one that arrives from here on is obeyed.
sub _open {
    my ($self) = @_;
    my $options = $self->{options};
    my $adapter = $self->_adapter;
    weaken(my $weak = $self);
    for my $name (sort keys %SIGNALS) {
        my $code = $SIGNALS{$name};
        push @{ $self->{signal_ids} }, $adapter->watch_signal($name => sub { $code->($weak) if $weak });
    }
    $self->_bind;
    $self->{pid_file} = EventLoop::Fork::Supervisor::PidFile->write($options->{pid_file}) if defined $options->{pid_file};
    $self->{board} = EventLoop::Fork::Scoreboard->new(path => $options->{status_file}, rows => ROWS);
    $self->{board}->set_header(info => $self->_info);
    my ($bell_fd) = $self->{board}->bell_fds;
    CORE::open $self->{bell}, '<&', $bell_fd or _fail("cannot copy descriptor $bell_fd: $!");
    $self->{bell_id} = $adapter->watch_io($self->{bell}, sub { $weak->_on_bell if $weak });
    pipe $self->{life_reader}, $self->{life_writer} or _fail("pipe: $!");
    # Only this process keeps the writing end of life: a worker that finds the other one at its end is alone.
    $self->{life_hook} = EventLoop::Fork::at_fork(
        name     => 'supervisor',
        priority => 0,
        child    => sub { close delete $_[0]{life_writer} if $_[0] && $_[0]{life_writer} },
        object   => $self,
    );
    $self->{machine} = EventLoop::Fork::Supervisor::Machine->new(
        { %$options, can_spawn => 0, seed => $self->_seed },
        $self->_open_trace,
    );
    return;
}

sub _bind {
    my ($self) = @_;
    my $options = $self->{options};
    my $who     = EventLoop::Fork::Supervisor::Privileges::identity(map { ($_ => $options->{$_}) } qw(user group));
    $self->{listeners} = [
        EventLoop::Fork::Supervisor::Listener->open_all(
            $options->{listen},
            backlog   => $options->{backlog},
            reuseport => $options->{reuseport},
        )
    ];
    return unless defined $options->{user} || defined $options->{group};
    EventLoop::Fork::Supervisor::Privileges::chown_for($_->path, @$who{qw(uid gid)})
        for grep { $_->is_unix && !$_->is_inherited } @{ $self->{listeners} };
    return;
}

sub _fail {
    my ($message) = @_;
    return EventLoop::Fork::Loop::_throw(EventLoop::Fork::Loop::_error_code('EVF_ESYSTEM'), 'start', undef, $message);
}

# Every event of the machine, one line each: with that file it can be asked again why it did what it did.
sub _open_trace {
    my ($self) = @_;
    my $path = $self->{options}{trace_file};
    return -1 unless defined $path;
    CORE::open $self->{trace}, '>', $path or _fail("cannot write the trace '$path': $!");
    return fileno $self->{trace};
}

sub _seed { return int(Time::HiRes::time() * 1e6) ^ ($$ << 20) }

sub _info {
    my ($self) = @_;
    return EventLoop::Fork::Supervisor::Log::json({
        name      => $self->{options}{name},
        program   => $0,
        perl      => sprintf('%vd', $^V),
        version   => $VERSION,
        loop      => $self->_adapter->family,
        listeners => [ map { $_->name } @{ $self->{listeners} } ],
        worker    => defined $self->{options}{app} ? $self->{options}{app} : undef,
    });
}

# In reverse, of a half-opened one too.
sub _close {
    my ($self) = @_;
    my $adapter = $self->{adapter};
    $adapter->unwatch_time(delete $self->{timer_id}) if defined $self->{timer_id};
    (delete $self->{life_hook})->cancel              if $self->{life_hook};
    $adapter->unwatch_io(delete $self->{bell_id})    if defined $self->{bell_id};
    delete @$self{qw(bell life_reader life_writer board machine trace)};
    for my $listener (splice @{ $self->{listeners} }) {
        $listener->remove_file;
        $listener->close;
    }
    (delete $self->{pid_file})->remove if $self->{pid_file};
    $adapter->unwatch_signal($_) for splice @{ $self->{signal_ids} || [] };
    return;
}

sub _finish {
    my ($self, $exit_code) = @_;
    $self->_publish($exit_code);
    $self->_close;
    $self->{exit_code}  = $exit_code;
    $self->{is_running} = 0;
    $self->_adapter->stop if $self->{is_in_run};
    return;
}

# A copy of this object in a child owns nothing.
sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{pid} || !$self->{is_running};
    local ($@, $!, $?);
    $_->kill('TERM') for $self->workers;
    eval { $self->_close };
    return;
}

# ---- What the program asks ------------------------------------------------------------------------------------------

sub stop {
    my ($self, %how) = @_;
    return $self->_feed('STOP', is_fast => $how{fast} ? 1 : 0);
}

sub reload { return $_[0]->_feed('RELOAD') }

sub resize {
    my ($self, $count) = @_;
    defined $count && $count =~ /\A[1-9][0-9]{0,3}\z/ && $count <= ROWS / 4
        or _refuse('resize', $count,
        'the number of workers is 1 to ' . ROWS / 4 . ', not ' . (defined $count ? "'$count'" : 'undef'));
    return $self->_feed('RESIZE', workers => $count);
}

# TTIN and TTOU. A wish in the scoreboard is exact, where signals merge.
sub _scale {
    my ($self, $difference) = @_;
    return unless $self->{is_running};
    my $wanted = $self->{board}->header->{wanted_workers};
    my $now    = $self->{machine}->pool->{workers};
    $self->{board}->set_header(wanted_workers => 0) if $wanted;
    $wanted ||= $now + $difference;
    $wanted = 1        if $wanted < 1;
    $wanted = ROWS / 4 if $wanted > ROWS / 4;
    return $self->resize($wanted) if $wanted != $now;
    # Whoever asked gets an answer.
    return $self->_tell({ event => 'resized', time => Time::HiRes::time(), count => $now });
}

sub _forward {
    my ($self, $signal) = @_;
    $_->kill($signal) for $self->workers;
    return;
}

sub workers {
    my ($self) = @_;
    return map { $self->{handles}{$_} } sort { $a <=> $b } keys %{ $self->{handles} };
}

sub status {
    my ($self) = @_;
    return { state => defined $self->{exit_code} ? 'stopped' : 'new', workers => [] } unless $self->{is_running};
    my $pool = $self->{machine}->pool;
    return {
        %$pool,
        state   => EventLoop::Fork::Scoreboard::pool_state_name($pool->{state}),
        starts  => $self->_starts($pool),
        workers => [ map { $_->status } $self->workers ],
    };
}

sub _starts {
    my ($self, $pool) = @_;
    my $number = 0;
    return { map { my $word = EventLoop::Fork::Scoreboard::cause_word($number++); $_ ? ($word => $_) : () } @{ $pool->{starts} } };
}

# ---- The machine ----------------------------------------------------------------------------------------------------

# Events wait for the one that is being carried out: its actions come first.
sub _feed {
    my ($self, $type, %fields) = @_;
    return $self unless $self->{is_running};
    push @{ $self->{queue} }, [ $type, \%fields ];
    return $self if $self->{is_stepping};
    local $self->{is_stepping} = 1;
    while ($self->{is_running} and my $event = shift @{ $self->{queue} }) {
        $self->{touched}{ $event->[1]{berth} } = 1 if defined $event->[1]{berth};
        $self->_carry_out($_) for $self->{machine}->step(@$event);
    }
    if ($self->{is_running}) {
        $self->_publish;
        $self->_arm;
    }
    return $self;
}

sub _arm {
    my ($self) = @_;
    my $adapter = $self->_adapter;
    my $timeout = $self->{machine}->timeout;
    $adapter->unwatch_time(delete $self->{timer_id}) if defined $self->{timer_id};
    return unless defined $timeout;
    weaken(my $weak = $self);
    $self->{timer_id} = $adapter->watch_time(
        $timeout,
        sub {
            return unless $weak;
            delete $weak->{timer_id};
            $weak->_feed('TICK');
        },
    );
    return;
}

my %ACTIONS = (
    SPAWN   => \&_spawn,
    DRAIN   => sub { $_[0]->_ask($_[1], 'TERM') },
    EXAMINE => sub { $_[0]->_examine($_[1]) },
    KILL    => sub { $_[0]->_signal($_[1], 'KILL') },
    LOOK    => sub { $_[0]->_look },
    REPORT  => sub { $_[0]->_report($_[1]) },
    FINISH  => sub { $_[0]->_finish($_[1]{exit_code}) },
);

sub _carry_out {
    my ($self, $action) = @_;
    $self->{touched}{ $action->{berth} } = 1;
    $ACTIONS{ $action->{type} }->($self, $action);
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
        berth      => $berth,
        slot       => $slot,
        generation => $action->{generation},
        board      => $board,
        spawned    => _now(),
        cause      => $action->{cause},
        requests_max => $action->{requests_max},
    );
    my $child = $self->_fork($handle, $action);
    if (!$child) {
        my $error = $@;
        my $errno = $self->{errno} || EAGAIN;
        $self->{spawn_error} = ref $error ? $error->message : $error;
        return $self->_feed('SPAWN_FAILED', berth => $berth, error => $errno);
    }
    $handle->{child} = $child;
    $self->{handles}{$berth} = $handle;
    $board->set_row($berth, pid => $child->pid);
    return $self->_feed('SPAWNED', berth => $berth, pid => $child->pid);
}

# Signals that a worker follows wait until it can; who asks it to stop in its first moment is heard.
sub _fork {
    my ($self, $handle, $action) = @_;
    my $held = POSIX::SigSet->new(map { EventLoop::Fork::Worker::signal_number($_) } EventLoop::Fork::Worker::signals());
    my $old  = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), $held, $old);
    weaken(my $weak = $self);
    my ($child, $error);
    {
        local $@;
        $! = 0;
        $child = eval {
            EventLoop::Fork->fork(
                loop    => $self->_adapter->loop,
                name    => "worker $handle->{slot}",
                code    => sub { EventLoop::Fork::Worker->_begin($self, $handle, $_[0], $old) },
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

sub _on_exit {
    my ($self, $handle, $wait_status) = @_;
    my $berth = $handle->{berth};
    $handle->{wait_status} = $wait_status;
    $handle->_read_last_words;
    $self->{board}->set_row($berth, exited => _now(), reason => $handle->exit_reason) if $self->{board};
    delete $self->{handles}{$berth} if $self->{handles}{$berth} && $self->{handles}{$berth} == $handle;
    $self->{gone}{$berth} = $handle;
    return $self->_feed('EXITED', berth => $berth, pid => $handle->pid, wait_status => $wait_status);
}

# Something rare has happened to some worker.
sub _on_bell {
    my ($self) = @_;
    $self->{board}->answer;
    for my $handle ($self->workers) {
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
    my ($self, $exit_code) = @_;
    my ($machine, $board) = @$self{qw(machine board)};
    my $pool = $machine->pool;
    $board->set_header(
        pool_state      => $pool->{state},
        workers         => $pool->{workers},
        generation      => $pool->{generation},
        breaker_is_open => $pool->{breaker_is_open},
        starts          => $pool->{starts},
        beat            => _now(),
        defined $exit_code ? (exit_code => $exit_code) : (),
    );
    for my $berth (keys %{ delete $self->{touched} || {} }) {
        my $worker = $machine->worker($berth);
        $board->set_row($berth, state => $worker->{state}, ready => $worker->{ready}, pid => $worker->{pid});
    }
    return;
}

sub _now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# ---- Reports --------------------------------------------------------------------------------------------------------

my %ABOUT_WORKER = map { $_ => 1 } qw(worker_started worker_ready worker_exited worker_stuck worker_draining worker_killed
    spawn_failed backoff reload_failed);

sub _report {
    my ($self, $action) = @_;
    my $name  = $action->{report};
    my %event = (event => $name, time => Time::HiRes::time(), generation => $action->{generation}, reason => $action->{cause});
    my $handle;
    if ($ABOUT_WORKER{$name}) {
        my $berth = $action->{berth};
        $handle = $self->{handles}{$berth};
        if ($name eq 'worker_exited' || $name eq 'reload_failed') {
            $handle = $self->{gone}{$berth};
            $event{reason} = $handle->exit_reason if $handle;
        }
        @event{qw(slot pid cause)} = ($berth >> 1, $action->{pid}, $action->{cause});
        $event{generation} = $handle->generation if $handle;
    }
    $event{reason}      = $self->{spawn_error} if $name eq 'spawn_failed';
    $event{place}       = $handle->place       if $handle && ($name eq 'worker_stuck' || $name eq 'worker_killed');
    $event{$_}          = $action->{$_} for grep { $action->{$_} } qw(elapsed count is_fast);
    $event{wait_status} = $action->{wait_status} if $name eq 'worker_exited' || $name eq 'reload_failed';
    $event{exit_code}   = $action->{exit_code}   if $name eq 'stopped'       || $name eq 'halted';
    $event{method}      = $action->{method}      if $name eq 'start_method_changed';
    $self->_tell(\%event, $handle);
    return;
}

sub _tell {
    my ($self, $event, $handle) = @_;
    my $options = $self->{options};
    my $called  = 0;
    for my $name ("on_$event->{event}", 'on_event') {
        $called += $self->_call($name, $event, $handle) if $options->{$name};
    }
    $self->{log}->event($event) unless $called;
    return;
}

# What a callback throws must not keep a decision from being carried out.
sub _call {
    my ($self, $name, @arguments) = @_;
    local $@;
    return 1 if eval { $self->{options}{$name}->(@arguments); 1 };
    $self->{log}->line("$name failed: " . EventLoop::Fork::Loop::_exception_text($@));
    return 1;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor - a server of many workers, kept alive, replaced, reloaded

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor;

    my $supervisor = EventLoop::Fork::Supervisor->new(
        workers => 4,
        listen  => ['127.0.0.1:8080'],
        worker  => sub {
            my ($worker) = @_;
            my ($socket) = $worker->listeners;
            $worker->loop->watch_io(
                handle        => $socket,
                on_read_ready => sub {
                    my $client = $socket->accept or return;
                    $worker->request_started;
                    print {$client} "hello from slot ", $worker->slot, "\n";
                    close $client;
                    $worker->request_done;
                },
            );
            $worker->ready;
            $worker->loop->run;    # until the supervisor asks this worker to stop
            return 0;
        },
    );
    exit $supervisor->run;

=head1 DESCRIPTION

A supervisor binds, forks its workers through a loop, and from then on does nothing but watch them. A worker that dies is
replaced; one that hangs is examined, killed and replaced; one that has served long enough, or has grown, gets a
replacement that is ready before it leaves. All decisions are taken by a machine in C without effects of its own,
F<xs/core/supervisor.c>; this class carries them out.

L<EventLoop::Fork::Worker> is what the code of a worker gets. L<EventLoop::Fork::Signals> lists the signals,
L<EventLoop::Fork::Deployment> shows a supervisor under systemd and in a container. L<evfork> starts one from a shell.

=head1 CONSTRUCTOR

=head2 new

    my $supervisor = EventLoop::Fork::Supervisor->new(%options);

Nothing is bound or forked yet. Wrong options throw an L<EventLoop::Fork::Error>. Each option but code and objects can
also come from the environment, as C<EVENTLOOP_FORK_> and its name in capitals; C<WEB_CONCURRENCY> is a third source of
C<workers>. What is given here wins. Seconds may have fractions, and units: C<90>, C<1.5>, C<2m>. Sizes may: C<512M>.

=over 4

=item C<worker>, C<app>

What runs in each worker: code that gets the L<EventLoop::Fork::Worker>, or the name of a file or module that gives it. A
file returns the code, or an object with a method C<worker>; a module has a function or method C<worker>. An C<app> is
loaded in the worker, so a reload takes what is on the disk then.

=item C<workers>

How many. C<auto>, the default, is the number of processors that this process may use.

=item C<loop>

A loop of any kind that L<EventLoop::Fork::Adapter> knows. The default is a new L<EventLoop::Fork::Loop>. Workers get a
fresh one of the same kind.

=item C<listen>

A list of what to bind, see L<EventLoop::Fork::Supervisor::Listener>. Bound once, before the first fork.

=item C<reuseport>, C<backlog>

A listener for each worker instead of a shared one; the length of the queue.

=item C<user>, C<group>

What each worker becomes, after the supervisor has bound.

=item C<startup_timeout> (60), C<heartbeat_timeout> (30), C<graceful_timeout> (30)

From spawn to C<ready>; longest silence of a busy worker's loop; from the request to stop to the kill. 0 turns the first
two off.

=item C<max_requests> (0), C<max_requests_jitter> (0), C<max_rss> (0), C<max_lifetime> (0), C<min_lifetime> (10)

When a worker is replaced: after so many requests, plus what the slot's share of the jitter is; when its private memory is
above that in three samples one after the other; at that age. Never younger than C<min_lifetime>.

=item C<max_unavailable> (1)

How many replacements may be under way at a time, for whatever reason.

=item C<respawn_delay> (0.1), C<respawn_delay_max> (30)

The first death of a worker is made good at once. Further ones of the slot in a row wait, twice as long each time, with
jitter.

=item C<crash_limit> (5), C<crash_window> (10)

So many failed starts within so many seconds open the breaker. Where others serve, the starts are then tried one at a time
and slowly; where nobody does, the supervisor ends with exit code 3, or 2 if no worker ever was ready.

=item C<start_method>

C<fork>.

=item C<status_file>, C<pid_file>, C<name>

The scoreboard that C<evfork status> reads, mode 0600; a file with the pid; a name for the log and for C<ps>.

=item C<trace_file>

Every event that the decisions rest on is written there, a line each. C<evfork replay> takes the same decisions again.

=item C<on_event>, C<on_worker_started>, C<on_worker_ready>, C<on_worker_exited>, C<on_worker_stuck>

Called with the event, a hash, and the L<EventLoop::Fork::WorkerHandle> where it is about one. An event that no callback
takes is a line on STDERR. What a callback throws is logged.

=back

=head1 EVENTS

Each has C<event>, C<time> (epoch), C<generation>; those about a worker C<slot>, C<pid>, C<cause>.

    worker_started     cause: start, died, failed start, heartbeat timeout, max requests, max rss, max lifetime, reload, resize
    worker_ready       elapsed: seconds since its start
    worker_draining    cause: max requests, max rss, max lifetime, reload, resize, stop
    worker_stuck       elapsed: its silence; place: file and line, if it could tell
    worker_killed      cause, place
    worker_exited      wait_status, reason: in words, elapsed: its age
    spawn_failed       reason
    backoff            elapsed: seconds until the next start of that slot
    breaker_open       count; breaker_closed
    reloading          reloaded, reload_failed with the reason
    resized            count
    suspended          elapsed: seconds that this process did not run
    stopping           is_fast
    stopped, halted    exit_code

=head1 METHODS

=head2 run

    my $exit_code = $supervisor->run;

Starts it, unless C<start> has, and runs the loop until it has ended. 0: stopped on request; 2: nothing could start; 3: the
breaker is open and no worker is left.

=head2 start

Inside a loop of yours. Throws what L</new> cannot know yet: an address in use, a pid file of somebody else.

=head2 stop

    $supervisor->stop;
    $supervisor->stop(fast => 1);

Asks all workers to stop, and kills those that are still there after C<graceful_timeout>. A second call is a fast one.

=head2 reload

A new worker first; if it does not start, all old ones stay and C<reload_failed> tells why. Else they are replaced one
after the other.

=head2 resize

    $supervisor->resize(6);

=head2 status

    my $status = $supervisor->status;

A hash: C<state>, C<workers> (a list of hashes: C<slot>, C<pid>, C<generation>, C<state>, C<age>, C<requests>,
C<in_flight>), C<ready>, C<alive>, C<generation>, C<starts> by cause.

=head2 workers

The L<EventLoop::Fork::WorkerHandle> of each process that is alive.

=head2 listeners

The bound sockets, in the order of C<listen>.

=head2 loop, is_running, exit_code

=head1 SEE ALSO

L<EventLoop::Fork::Worker>, L<EventLoop::Fork::WorkerHandle>, L<EventLoop::Fork::Signals>,
L<EventLoop::Fork::Deployment>, L<evfork>

=cut
