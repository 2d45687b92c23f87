package EventLoop::Fork::Supervisor;

# What a program asks of a supervisor, and what a supervisor opens and closes. What it does in between is in
# Supervisor/Driver.pm, what it tells in Supervisor/Reports.pm; what it decides is decided in xs/core/supervisor.c.

use strict;
use warnings;

our $VERSION = '0.001';

use parent qw(EventLoop::Fork::Supervisor::Driver EventLoop::Fork::Supervisor::Reports);

use EventLoop::Fork;
use EventLoop::Fork::Adapter;
use EventLoop::Fork::Scoreboard;
use EventLoop::Fork::Supervisor::App;
use EventLoop::Fork::Supervisor::Listener;
use EventLoop::Fork::Supervisor::Log;
use EventLoop::Fork::Supervisor::Notify;
use EventLoop::Fork::Supervisor::Options;
use EventLoop::Fork::Supervisor::PidFile;
use EventLoop::Fork::Supervisor::Privileges;
use EventLoop::Fork::Supervisor::Restart;
use EventLoop::Fork::Supervisor::Restart::Predecessor;
use EventLoop::Fork::Supervisor::Signals;
use Scalar::Util qw(weaken);
use Time::HiRes  ();

use constant {
    ROWS        => 2 * 1024,                                              # EVF_SLOTS_MAX, with two berths each
    WORKERS_MAX => EventLoop::Fork::Supervisor::Options::WORKERS_MAX(),
};

# ---- A supervisor ---------------------------------------------------------------------------------------------------

sub new {
    my ($class, @pairs) = @_;
    my $options = EventLoop::Fork::Supervisor::Options::check(@pairs);
    EventLoop::Fork::Supervisor::Listener->parse($_) for @{ $options->{listen} };
    EventLoop::Fork::Supervisor::App::check($options->{app}) if defined $options->{app};
    my $server = defined $options->{server} ? _find_server($options) : undef;
    my $self   = bless {
        options   => $options,
        server    => $server,
        listeners => [],
        handles   => {},         # by berth: what is alive
        queue     => [],
        signals   => [],         # that have come and are not obeyed yet
        log       => EventLoop::Fork::Supervisor::Log->new(name => $options->{name}),
    }, $class;
    $self->_adapter;             # refuses a loop that nobody knows
    $server->check_loop($self->loop) if $server;
    return $self;
}

# What can be known before anything is started: it is there, with all it needs, and takes these options.
sub _find_server {
    my ($options) = @_;
    require EventLoop::Fork::Server;
    my $class = EventLoop::Fork::Server::find($options->{server});
    $class->check(%{ $options->{server_options} });
    return $class;
}

sub _refuse { return EventLoop::Fork::Loop::_throw('EVF_EINVAL', @_) }

sub _adapter {
    my ($self) = @_;
    return $self->{adapter} ||= do {
        my $loop = $self->{options}{loop};
        $loop = $self->{server}->default_loop if !defined $loop && $self->{server};
        $loop = EventLoop::Fork::Loop->new    if !defined $loop;
        EventLoop::Fork::Adapter::for_loop($loop);
    };
}

sub loop       { return $_[0]->_adapter->loop }
sub is_running { return $_[0]{is_running} ? 1 : 0 }
sub exit_code  { return $_[0]{exit_code} }

sub listeners {
    return map { $_->socket } @{ $_[0]{listeners} };
}

sub run {
    my ($self) = @_;
    $self->start unless $self->{is_running};
    local $self->{is_in_run} = 1;
    $self->_adapter->run while $self->{is_running};
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
    USR2 => sub { $_[0]->restart },
);

sub start {
    my ($self) = @_;
    $self->{is_running} and _refuse('start', undef, 'this supervisor runs already');
    defined $self->{exit_code} and _refuse('start', undef, 'this supervisor has ended; make a new one');
    @$self{qw(pid owner)} = ($$, _here());    # not in new: a program may become a daemon after that
    my $done = eval { $self->_open; 1 };
    if (!$done) {
        my $error = $@;
        $self->{predecessor}->fail(EventLoop::Fork::Loop::_exception_text($error)) if $self->{predecessor};
        $self->_close;
        die $error;                           ## no critic (RequireCarping): an object, thrown on
    }
    $self->{is_running} = 1;
    $0 = "$self->{options}{name}: supervisor" if defined $self->{options}{name}; ## no critic (LocalizedPunctuationVars)
    $self->_feed('START');
    $self->_obey;
    return $self;
}

# Perl calls this between any two statements, of ours too. So it only notes, and the loop comes back to it.
sub _on_signal {
    my ($self, $name) = @_;
    push @{ $self->{signals} }, $name;
    $self->{board}->ring if $self->{board};
    return;
}

sub _obey {
    my ($self) = @_;
    while ($self->{is_running} and my $name = shift @{ $self->{signals} }) { $SIGNALS{$name}->($self) }
    return;
}

sub _here { return join ' ', $$, exists $INC{'threads.pm'} ? threads->tid : 0 }

# What the workers inherit, and what names this process. Signals come first: one that arrives from here on is obeyed.
sub _open {
    my ($self)  = @_;
    my $options = $self->{options};
    my $adapter = $self->_adapter;
    weaken(my $weak = $self);
    EventLoop::Fork::Supervisor::Signals::follow($self, $adapter, keys %SIGNALS);
    my $predecessor = $self->{predecessor} = EventLoop::Fork::Supervisor::Restart::Predecessor->take;
    my $notify      = $self->{notify}      = EventLoop::Fork::Supervisor::Notify->new($self);
    $self->_bind;
    $notify->begin         if $notify && !$predecessor;
    $self->_write_pid_file if defined $options->{pid_file};
    my $path = $predecessor ? $predecessor->pending($options->{status_file}) : $options->{status_file};
    $self->{board}  = EventLoop::Fork::Scoreboard->new(path => $path, rows => ROWS);
    $self->{shared} = { board => $self->{board} };    # handles lose it with the supervisor: its file goes then
    $self->{board}->attach_record;
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
        { %$options, $self->_start_methods, seed => $self->_seed },
        $self->_open_trace,
    );
    $predecessor->watch($self) if $predecessor;
    return;
}

# After a hot restart it gets its name when that of the scoreboard, too, is that of this supervisor.
sub _write_pid_file {
    my ($self)      = @_;
    my $predecessor = $self->{predecessor};
    my $path        = $self->{options}{pid_file};
    $self->{pid_file} = EventLoop::Fork::Supervisor::PidFile->write(
        $path,
        $predecessor ? (replaces => $predecessor->pid, is_pending => 1) : ()
    );
    $predecessor->note_file($self->{pid_file}->pending) if $predecessor;
    return;
}

# What the machine may choose from. A new perl loads an app, and has the scoreboard by its descriptor.
sub _start_methods {
    my ($self)   = @_;
    my $options  = $self->{options};
    my $is_spawn = $options->{start_method} eq 'spawn';
    my $is_able  = defined $options->{app} && $self->{board}->_fd >= 0;
    EventLoop::Fork::Loop::_throw(
        'EVF_ENOTSUP', 'start', 'spawn',
        q(start_method 'spawn' needs a status_file here: this system has no other memory to pass on)
    ) if $is_spawn && !$is_able;
    return (only_spawn => $is_spawn, can_spawn => !$is_spawn && $is_able && $options->{spawn_fallback});
}

sub _bind {
    my ($self)  = @_;
    my $options = $self->{options};
    my $who     = EventLoop::Fork::Supervisor::Privileges::identity(map { ($_ => $options->{$_}) } qw(user group));
    $self->{listeners} = [
        EventLoop::Fork::Supervisor::Listener->open_all(
            $options->{listen},
            backlog   => $options->{backlog},
            reuseport => $options->{reuseport},
            on_unused => sub { $self->{notify}->forget($_[0]) if $self->{notify} && !$self->{predecessor} },
        )
    ];
    return unless defined $options->{user} || defined $options->{group};
    EventLoop::Fork::Supervisor::Privileges::chown_for($_->path, @$who{qw(uid gid)})
        for grep { $_->is_unix && !$_->is_inherited } @{ $self->{listeners} };
    return;
}

sub _fail { return EventLoop::Fork::Loop::_throw('EVF_ESYSTEM', 'start', undef, @_) }

# Every event of the machine, one line each: with that file it can be asked again why it did what it did.
sub _open_trace {
    my ($self) = @_;
    my $path = $self->{options}{trace_file};
    return -1 unless defined $path;
    CORE::open $self->{trace}, '>', $path or _fail("cannot write the trace '$path': $!");
    return fileno $self->{trace};
}

sub _seed { return int(Time::HiRes::time() * 1e6) ^ ($$ << 20) }

# Again when the start method has changed, or a hook is left out.
sub _info {
    my ($self) = @_;
    my $info   = $self->{info} ||= {
        name         => $self->{options}{name},
        program      => $0,
        perl         => sprintf('%vd', $^V),
        version      => $VERSION,
        loop         => $self->_adapter->family,
        listeners    => [ map { $_->name } @{ $self->{listeners} } ],
        worker       => defined $self->{options}{app} ? $self->{options}{app} : undef,
        start_wanted => $self->{options}{start_method},
    };
    $info->{start_method} = $self->{machine} ? $self->{machine}->pool->{method} : $info->{start_wanted};
    $info->{skipped}      = [ sort values %{ $self->{skipped} || {} } ];
    return EventLoop::Fork::Supervisor::Log::json($info);
}

# In reverse, of a half-opened one too.
sub _close {
    my ($self) = @_;
    my $adapter = $self->{adapter};
    $adapter->unwatch_time(delete $self->{timer_id}) if defined $self->{timer_id};
    (delete $self->{notify})->close                  if $self->{notify};
    (delete $self->{life_hook})->cancel              if $self->{life_hook};
    $adapter->unwatch_io(delete $self->{bell_id})    if defined $self->{bell_id};
    delete $self->{shared}{board};
    delete @$self{qw(bell life_reader life_writer board machine trace)};

    for my $other (grep { defined } delete @$self{qw(restart predecessor)}) {
        $other->leave;
    }
    for my $listener (splice @{ $self->{listeners} }) {
        $listener->remove_file;
        $listener->close;
    }
    (delete $self->{pid_file})->remove if $self->{pid_file};
    EventLoop::Fork::Supervisor::Signals::unfollow($self);
    return;
}

sub _finish {
    my ($self, $exit_code) = @_;
    return if $self->{restart} && $self->{restart}->holds_up($exit_code);
    $self->{board}->set_header(exit_code => $exit_code);
    $self->{exit_code}  = $exit_code;
    $self->{is_running} = 0;
    $self->_adapter->stop if $self->{is_in_run};
    $self->_close;    # last: whatever it throws, this has ended
    return;
}

# A copy of this object in a child or in a thread owns nothing. (Perl panics at CLONE_SKIP of what has weak references.)
sub DESTROY {
    my ($self) = @_;
    return if !$self->{is_running} || $self->{owner} ne _here();
    local ($@, $!, $?);
    $_->kill('TERM') for $self->workers;
    $self->{restart}->stop if $self->{restart};
    eval { $self->_close };
    return;
}

# ---- What the program asks ------------------------------------------------------------------------------------------

sub stop {
    my ($self, %how) = @_;
    $self->{is_asked_to_stop} = 1;
    $self->{restart}->stop($how{fast}) if $self->{restart};
    return $self->_feed('STOP', is_fast => $how{fast} ? 1 : 0);
}

sub reload { return $_[0]->_feed('RELOAD') }

# Of the process: a program that becomes a daemon is one already.
sub is_successor { return EventLoop::Fork::Supervisor::Restart::Predecessor::is_successor() }

sub restart {
    my ($self) = @_;
    return $self if !$self->{is_running};
    my $why_not =
          $self->{restart}          ? 'process ' . $self->{restart}->pid . ' is about to take over already'
        : $self->{is_asked_to_stop} ? 'this supervisor stops'
        : $self->{predecessor}      ? 'this supervisor has not taken over itself yet'
        :                             undef;
    if    (defined $why_not) { $self->{log}->line("no restart: $why_not") }
    elsif (EventLoop::Fork::Section::is_open()) {
        $self->_after_section('the restart', sub { $_[0]->restart });
    }
    else { EventLoop::Fork::Supervisor::Restart->begin($self) }
    return $self;
}

sub resize {
    my ($self, $count) = @_;
    defined $count && $count =~ /\A[1-9][0-9]{0,3}\z/ && $count <= WORKERS_MAX
        or _refuse(
        'resize', $count,
        'the number of workers is 1 to ' . WORKERS_MAX . ', not ' . (defined $count ? "'$count'" : 'undef')
        );
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
    $wanted = 1           if $wanted < 1;
    $wanted = WORKERS_MAX if $wanted > WORKERS_MAX;
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

# Children that it waits for.
sub pids {
    my ($self) = @_;
    return ((map { $_->pid } $self->workers), $self->{restart} ? $self->{restart}->pid : ());
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
    return { map { my $word = EventLoop::Fork::Scoreboard::cause_word($number++); $_ ? ($word => $_) : () }
            @{ $pool->{starts} } };
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
C<workers>. What is given here wins. Seconds may have fractions, and units: C<90>, C<1.5>, C<2m>. Sizes may: C<512M>;
C<20%> is that part of the memory of the machine, or of what its control groups allow.

=over 4

=item C<worker>, C<app>

What runs in each worker: code that gets the L<EventLoop::Fork::Worker>, or the name of a file or module that gives it. A
file returns the code, or an object with a method C<worker>; a module has a function or method C<worker>. An C<app> is
loaded in the worker, so a reload takes what is on the disk then, unless the program has loaded it itself before (and
C<start_method> is C<fork>).

=item C<server>, C<server_options>

What serves the C<app>, where that is an app of a web framework: C<PAGI>, C<Mojo>, C<NetAsyncHTTP>, C<Twiggy>,
C<PSGI>, or the name of a class of your own. Its own options, a reference to a hash. See L<EventLoop::Fork::Server>.

=item C<workers>

How many. C<auto>, the default, is the number of processors that this process may use.

=item C<loop>

A loop of any kind that L<EventLoop::Fork::Adapter> knows. The default is a new L<EventLoop::Fork::Loop>, or what the
C<server> runs on. Workers get a
fresh one of the same kind.

=item C<listen>

A list of what to bind, see L<EventLoop::Fork::Supervisor::Listener>. Bound once, before the first fork.

=item C<reuseport>, C<backlog>

A listener for each worker instead of a shared one; the length of the queue. A shared one is fair to workers that are
busy, and may wake several for one connection, of which one gets it; with C<reuseport> the kernel wakes one.

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

=item C<start_method>, C<spawn_fallback>

C<fork>, the default, or C<spawn>: a new perl for each worker, with the same C<@INC>, arguments and environment. It gets
the listeners and a loop of the same kind, and loads C<app>, which it needs: C<worker> is code, and cannot be passed on.
Nothing that the program did before is in it: no loaded module, no connection, no hook, no handler. So a reload takes
what is on the disk for every module, what cannot live through a fork is no matter, and its start does not depend on how
large the supervisor is. In return nothing is shared: each worker has the memory and the time of a program that starts.

When the same child hook has ended all of the workers for which the breaker would open, and was registered with
C<< on_failure => 'skip' >> (L<EventLoop::Fork/at_fork>), it is left out of the forks from there on; C<hook_skipped> tells. The
next reload tries it again; one more end by it, and it is left out again. That is the first way out.

With C<fork> and an C<app>, C<spawn_fallback> (1) is the way out where workers die after a fork: when the breaker would
open because of faults alone (SIGSEGV, SIGBUS, SIGILL, SIGABRT, SIGFPE), workers are started by C<spawn> from there on, and
C<start_method_changed> tells. The next reload tries C<fork> again; one more fault, and it goes on by C<spawn>.

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
    worker_stuck       elapsed: its silence; place: file and line, if it could tell; activity: running, or in system call read
    worker_killed      cause, place, activity
    worker_exited      wait_status, reason: in words, elapsed: its age
    spawn_failed       reason
    backoff            elapsed: seconds until the next start of that slot
    breaker_open       count; breaker_closed
    start_method_changed  method: spawn or fork; reason: how the last worker ended
    hook_skipped       hook: its name and place; reason: how the last worker ended
    reloading          reloaded, reload_failed with the reason
    resized            count
    restart_started    pid: of the new supervisor
    restart_failed     reason; pid, if it got one
    restarted          pid: the new supervisor is in charge; this one stops
    taken_over         pid: this supervisor is in charge, in place of that one
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

C<stop>, C<reload>, C<restart> and C<resize> may be called from its callbacks, too. Before C<start> and after the end they
do nothing.

=head2 stop

    $supervisor->stop;
    $supervisor->stop(fast => 1);

Asks all workers to stop, and kills those that are still there after C<graceful_timeout>. A second call is a fast one.

=head2 reload

A new worker first; if it does not start, all old ones stay and C<reload_failed> tells why. Else they are replaced one
after the other.

=head2 restart

A hot restart, as by USR2: this program is started again, takes over when all its workers are ready, and this supervisor
stops then. If it fails, C<restart_failed> tells why, and nothing has changed. See L<EventLoop::Fork::Signals>.

=head2 is_successor

    become_daemon() unless EventLoop::Fork::Supervisor->is_successor;

Whether this process was started by a hot restart.

=head2 resize

    $supervisor->resize(6);

=head2 status

    my $status = $supervisor->status;

A hash: C<state>, C<workers> (a list of hashes: C<slot>, C<pid>, C<generation>, C<state>, C<age>, C<requests>,
C<in_flight>), C<ready>, C<alive>, C<generation>, C<starts> by cause, C<method>: C<fork> or C<spawn>.

=head2 workers

The L<EventLoop::Fork::WorkerHandle> of each process that is alive.

=head2 pids

The children that it waits for: workers, and the program of a hot restart.

=head2 listeners

The bound sockets, in the order of C<listen>.

=head2 loop, is_running, exit_code

=head1 SEE ALSO

L<EventLoop::Fork::Worker>, L<EventLoop::Fork::WorkerHandle>, L<EventLoop::Fork::Signals>,
L<EventLoop::Fork::Deployment>, L<evfork>

=cut
