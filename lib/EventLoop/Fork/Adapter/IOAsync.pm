package EventLoop::Fork::Adapter::IOAsync;

# Every IO::Async::Loop. Of the classes that come with IO::Async or are its usual companions the inside is known, and
# each look at it checks that it is as it was when this was written; of others only what IO::Async documents is used.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter::LikeIOAsync';

use Scalar::Util qw(blessed reftype weaken);

use constant {
    _BASE => 'IO::Async::Loop',
    _OURS => 'EventLoop::Fork::Loop::IOAsync',
};

sub family    { return 'IO::Async' }
sub is_loaded { return exists $INC{'IO/Async/Loop.pm'} }

sub _singleton {
    no warnings 'once';
    my $loop = $IO::Async::Loop::ONE_TRUE_LOOP;
    return blessed $loop && $loop->isa(_BASE) ? $loop : undef;
}

sub is_in_use { return defined _singleton() }

# Of a class that is not known, any family that is loaded may be what it stands on.
my %BASE_FAMILIES = (
    'IO::Async::Loop::Poll'   => [],
    'IO::Async::Loop::Select' => [],
    'IO::Async::Loop::Epoll'  => [],
    'IO::Async::Loop::Glib'   => [],
    'IO::Async::Loop::Mojo'   => ['Mojo'],
    'IO::Async::Loop::EV'     => ['EV'],
);

sub base_families {
    my ($class) = @_;
    my $loop = _singleton();
    return () if !defined $loop             || $loop->isa(_OURS);
    my $bases = $BASE_FAMILIES{ ref $loop } || [qw(Mojo AnyEvent EV)];
    return @$bases;
}

sub accepts {
    my ($class, $loop) = @_;
    return $loop->isa(_BASE) if blessed $loop;
    return 0 if ref $loop || $loop !~ /\A\w+(?:::\w+)*\z/;
    return $loop =~ /\AIO::Async::Loop(?:::|\z)/ || is_loaded() && $loop->isa(_BASE);
}

sub new {
    my ($class, $loop) = @_;
    return bless { loop => $loop }, $class if blessed $loop;
    require IO::Async::Loop;
    return bless { loop => IO::Async::Loop->new }, $class if !defined $loop || $loop eq _BASE;
    my $singleton = _singleton();
    return bless { loop => $singleton }, $class if $singleton && ref $singleton eq $loop;
    (my $file = "$loop.pm") =~ s{::}{/}g;
    require $file unless $loop->can('new') && $loop->can('loop_once') != IO::Async::Loop->can('loop_once');
    return bless { loop => $loop->new }, $class;
}

# ---- In the parent --------------------------------------------------------------------------------------------------

sub before_fork {
    my ($class) = @_;
    my $singleton = _singleton();
    return {
        class   => defined $singleton ? ref $singleton : undef,
        blocked => [ $class->_blocked_by_loops ],
        wakeup  => _glib_wakeup(),
    };
}

# The eventfd by which other threads end a turn of Glib's default context: the one eventfd that such a turn waits for.
my $glib_wakeup;

sub _glib_wakeup {
    return $glib_wakeup if defined $glib_wakeup || !exists $INC{'IO/Async/Loop/Glib.pm'};
    my @found = grep { _is_eventfd($_) } EventLoop::Fork::_glib_fds();
    $glib_wakeup = $found[0] if @found == 1;
    return $glib_wakeup;
}

sub _is_eventfd { return (readlink "/proc/self/fd/$_[0]" // '') =~ /\[eventfd\]/ }

# Loop::Epoll, and Loop::Ppoll like it, block a watched signal at all times but in their wait. Looking for loops means
# to look at everything the program has, so that is done only when a signal is blocked by nobody who is known.
my @blockers;
my $looked_for = '';

sub _blocked_by_loops {
    my ($class) = @_;
    my @blocked = $class->_blocked_signals or return;
    _remember(grep { defined } @blockers);
    my $singleton = _singleton();
    my %watched   = map { $_ => 1 } map { _signals_of($_) } @blockers, $singleton || ();
    my $unknown   = join ' ', grep { !$watched{$_} } @blocked;
    if (length $unknown && $unknown ne $looked_for) {
        _remember(grep { _signals_of($_) } EventLoop::Fork::Adapter::_instances(_BASE));
        %watched    = map { $_ => 1 } map { _signals_of($_) } @blockers;
        $looked_for = join ' ', grep { !$watched{$_} } @blocked;
    }
    return grep { $watched{$_} } @blocked;
}

# A copy of a weak reference is a strong one.
sub _remember {
    @blockers = @_;
    weaken $_ for @blockers;
    return;
}

sub _signals_of {
    my ($loop) = @_;
    return if !_is_hash($loop) || $loop->isa(_OURS) || ref $loop->{sigmask} ne 'POSIX::SigSet';
    return ref $loop->{signals} eq 'HASH' ? keys %{ $loop->{signals} } : ();
}

sub _is_hash { return (reftype($_[0]) // '') eq 'HASH' }

# ---- In the child ---------------------------------------------------------------------------------------------------

# Glib asks by poll, so it need not know.
sub _renew_glib_wakeup {
    my ($state) = @_;
    my $fd      = $state && $state->{wakeup};
    EventLoop::Fork::_renew_eventfd($fd) if defined $fd && _is_eventfd($fd);
    return;
}

# What is to be empty in an inherited loop, by class; everywhere else it stays as it is.
my %TABLES = (
    'IO::Async::Loop::Poll'   => { pollmask => {}, pollevents => {}, fake_isreg => {} },
    'IO::Async::Loop::Select' => { rvec     => '', wvec       => '', evec       => '', avec => '' },
    'IO::Async::Loop::Epoll'  =>
        { masks => {}, callbacks => {}, fakeevents => {}, refaddr_for_fileno => {}, signals => {} },
    'IO::Async::Loop::Glib' => { sourceid => {}, processwatches => {} },
    'IO::Async::Loop::Mojo' => { io_cbs   => {} },
);
my %BASE_TABLES = (
    iowatches                   => {},
    sigattaches                 => {},
    childwatches                => {},
    deferrals                   => [],
    timequeue                   => undef,
    os                          => {},
    'EventLoop::Fork/processes' => {},
    (map { $_ => undef } 'EventLoop::Fork/all_processes', qw(childmanager childwatch_sigid result running)),
);

sub renew {
    my ($class, $state) = @_;
    my $singleton    = _singleton();
    my $parent_class = $state && $state->{class} || ref $singleton;
    _renew_glib_wakeup($state);
    # The objects stay: their destructors, and those of all they hold, are the parent's to run.
    my @loops = grep { _is_hash($_) && !$_->isa(_OURS) } EventLoop::Fork::Adapter::_instances(_BASE);
    $class->_freeze($singleton, @loops);
    {
        no warnings 'once';
        undef $IO::Async::Loop::ONE_TRUE_LOOP;
        $IO::Async::Loop::LOOP = $parent_class if $parent_class;
    }
    for my $loop (@loops) {
        $class->_renew_signal_pipe($loop);
        $class->_empty($loop) if $TABLES{ ref $loop };
    }
    return;
}

# The pipe through which IO::Async::OS tells a loop of its signals. A handler that the program has told us to keep goes
# on to write to it.
sub _renew_signal_pipe {
    my ($class, $loop) = @_;
    my $os = $loop->{os};
    return unless ref $os eq 'HASH' && defined $os->{sigpipe} && blessed $os->{sigpipe_reader};
    $class->_renew_pipe($os->{sigpipe_reader}->read_handle, $os->{sigpipe});
    return;
}

sub _empty {
    my ($class, $loop) = @_;
    $class->_freeze({%$loop});
    _remove_glib_sources($loop) if $loop->isa('IO::Async::Loop::Glib');
    my %tables = (%BASE_TABLES, %{ $TABLES{ ref $loop } });
    for my $name (grep { exists $loop->{$_} } keys %tables) {
        my $empty = $tables{$name};
        $loop->{$name} = ref $empty eq 'HASH' ? {} : ref $empty eq 'ARRAY' ? [] : $empty;
    }
    $loop->{poll} = IO::Poll->new if $loop->{poll};
    return;
}

# Loop::Glib watches in Glib's one default context, and a loop that the child makes would run whatever is in there. The
# numbers of timers and idles are known to those only who have started them; they count up from 1.
my $most_sources     = 100_000;
my $has_cleared_glib = 0;

sub _remove_glib_sources {
    my ($loop) = @_;
    my $own    = $loop->{sourceid};
    my %known  = map { $_ => 1 } grep { defined } map { @$_ } values %{ $own || {} };
    $known{$_} = 1 for grep { defined } values %{ $loop->{processwatches} || {} };
    if ($has_cleared_glib != $$) {
        $has_cleared_glib = $$;
        my $next  = Glib::Idle->add(sub { return 0 });
        my $first = $next > $most_sources ? $next - $most_sources : 1;
        $known{$_} = 1 for $first .. $next;
    }
    # It grumbles about a number that is free.
    my $id = Glib::Log->set_handler('GLib', [qw(critical warning)], sub { });
    Glib::Source->remove($_) for keys %known;
    Glib::Log->remove_handler('GLib', $id);
    return;
}

sub rearm {
    my ($class, $state, $mode) = @_;
    _renew_glib_wakeup($state);
    for my $loop (EventLoop::Fork::Adapter::_instances(_BASE)) {
        next if !_is_hash($loop) || $loop->isa(_OURS);    # the core does that
        _forget_processes($loop);
        if   ($loop->isa('IO::Async::Loop::Epoll')) { _rearm_epoll($loop, $mode) }
        else                                        { $loop->post_fork }
        EventLoop::Fork::IOAsync::_forget_processes($loop) if EventLoop::Fork::IOAsync->can('_forget_processes');
    }
    return;
}

# They are children of the parent.
sub _forget_processes {
    my ($loop) = @_;
    if (ref $loop->{childwatches} eq 'HASH') {
        delete $loop->{childwatches}{$_} for grep { $_ } keys %{ $loop->{childwatches} };
    }
    if ($loop->isa('IO::Async::Loop::Glib') && ref $loop->{processwatches} eq 'HASH') {
        Glib::Source->remove($_) for grep { defined } values %{ $loop->{processwatches} };
        %{ $loop->{processwatches} } = ();
    }
    return;
}

# Its own post_fork (0.22) opens a new epoll instance and then believes that all is watched there already.
sub _rearm_epoll {
    my ($loop, $mode) = @_;
    my $watches = $loop->{iowatches};
    if (ref $loop->{masks} eq 'HASH' && ref $loop->{refaddr_for_fileno} eq 'HASH' && ref $watches eq 'HASH') {
        for my $fd (keys %$watches) {
            my $handle = $watches->{$fd}[0];
            my $now    = blessed $handle || ref $handle ? eval { fileno $handle } : undef;
            delete $watches->{$fd} unless defined $now && $now == $fd;
        }
        %{ $loop->{$_} } = () for grep { ref $loop->{$_} eq 'HASH' } qw(masks refaddr_for_fileno fakeevents);
    }
    $loop->post_fork;
    return if $mode eq 'raw' || ref $loop->{signals} ne 'HASH';
    # The handlers are back to the default in this child.
    for my $signal (keys %{ $loop->{signals} }) {
        my $watch = $loop->{signals}{$signal};
        $loop->watch_signal($signal, $watch->code);
        $loop->{signals}{$signal}->orig = $watch->orig;
    }
    return;
}

# ---- The loop -------------------------------------------------------------------------------------------------------

sub watch_time {
    my ($self, $seconds, $code) = @_;
    my $id;
    $id = $self->_hold([
        $self->{loop}->watch_time(after => $seconds, code => sub { __PACKAGE__->_release($id); $code->() }) ]);
    return $id;
}

sub unwatch_time {
    my ($self, $id) = @_;
    my $timer = $self->_release($id) or return;
    $self->{loop}->unwatch_time($timer->[0]);
    return;
}

# Beside what the program itself has attached. Most of these loops wait in C, and call a handler when that is over: by
# themselves, after a second. They leave nothing in %SIG, whatever was there before.
sub _catch_signal {
    my ($self, $signal, $code) = @_;
    my $name = $signal->{name};
    @$signal{qw(before was_attached)} = ($SIG{$name}, exists $self->{loop}{sigattaches}{$name});
    $signal->{attachment} = _attach_signal($self->{loop}, $name, $code);
    return if $self->{loop}->isa(_OURS);
    $signal->{drain} = $self->_start_drain;
    return;
}

# It warns everybody of SIGCHLD but its own package.
sub _attach_signal {

    package IO::Async::Loop;    ## no critic (ProhibitMultiplePackages)
    my ($loop, $name, $code) = @_;
    return $loop->attach_signal($name, $code);
}

sub _release_signal {
    my ($self, $signal) = @_;
    my ($name, $before) = @$signal{qw(name before)};
    $signal->{loop}->detach_signal($name, $signal->{attachment}) if defined $signal->{loop};
    $self->_stop_drain($signal->{drain})                         if defined $signal->{drain};
    return if $signal->{was_attached} || length($SIG{$name} // '') && $SIG{$name} ne 'DEFAULT';
    $self->_put_back($name, $before);
    return;
}

# The one that IO::Async->new gives in this process, if it is of the class.
sub loop_for_child {
    my ($self, $keep) = @_;
    return $self->{loop} if $keep;
    my $class     = ref $self->{loop};
    my $singleton = _singleton();
    return $singleton if $singleton && ref $singleton eq $class && $singleton != $self->{loop};
    return $class->new;
}

# IO::Async::Loop->new gives one of that class, whoever calls it first.
sub loop_maker {
    my ($class, $kind) = @_;
    require IO::Async::Loop;
    no warnings 'once';
    $IO::Async::Loop::LOOP = $kind->{class};
    return $class->SUPER::loop_maker($kind);
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::IOAsync - forks through any IO::Async::Loop

=head1 SYNOPSIS

    use IO::Async::Loop;
    use EventLoop::Fork;

    my $loop = IO::Async::Loop->new;
    EventLoop::Fork->fork(
        loop    => $loop,
        code    => sub { my ($self) = @_; return 3 },    # $self->loop is of the class of $loop
        on_exit => sub { my ($child) = @_; print $child->exit_reason, "\n"; $loop->stop },
    );
    $loop->run;

=head1 DESCRIPTION

Every class of loops, also those that we do not know. In the child of a fork through us

=over 4

=item *

C<< IO::Async::Loop->new >> makes a loop of the class that the parent had, and C<< $self->loop >> is that loop. The
environment variable C<IO_ASYNC_LOOP> comes first, as ever;

=item *

the parent's loops are never destroyed. Those of the classes Poll, Select, Epoll, Glib and Mojo are empty, so that none of
their watchers is called; of other classes nothing is known, and a child should not turn such a loop;

=item *

the pipe through which IO::Async hears of signals is private: a signal that the child gets is not delivered to the parent;

=item *

signals that Loop::Epoll has blocked for itself are not blocked;

=item *

the sources in Glib's default context are removed: those of the loop, and others if their numbers are among the last
100,000.

=back

After a raw fork, and with C<< loop_in_child => 'keep' >>, C<post_fork> of each loop is called. That of Loop::Epoll 0.22
would lose all watches; its tables are put right before.

C<use EventLoop::Fork -io_async> makes IO::Async's own C<fork> do all this: L<EventLoop::Fork::IOAsync>.

=head1 METHODS

Those of L<EventLoop::Fork::Adapter>.

=head2 family, is_loaded, is_in_use, accepts, new, base_families, before_fork

=head2 renew, rearm, loop_for_child, loop_maker

=head2 watch_io, unwatch_io, watch_time, unwatch_time, watch_signal, unwatch_signal, run, stop

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>, L<EventLoop::Fork>

=cut
