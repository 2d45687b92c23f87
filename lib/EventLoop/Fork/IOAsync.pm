package EventLoop::Fork::IOAsync;

# IO::Async's own fork and its watches of processes, on every class of loops, through us; signals and handles on every class
# as its own loops have them. Replaces methods where they are defined: in the base class, in the classes that override them,
# and in those that are loaded later.

use strict;
use warnings;

our $VERSION = '0.001';

use Carp                     qw(croak);
use EventLoop::Fork          ();
use EventLoop::Fork::Adapter ();
use IO::Handle               ();
use IO::Async::Loop          ();
use IO::Async::Metrics '$METRICS';
use Errno        ();
use POSIX        ();
use Scalar::Util qw(blessed reftype weaken);
use mro;

our @CARP_NOT = qw(IO::Async::Loop);

# In the loop, as IO::Async keeps its own: pid => watch, and the watch of all children.
use constant {
    _PROCESSES => 'EventLoop::Fork/processes',
    _ALL       => 'EventLoop::Fork/all_processes',
    _DRAIN     => 'EventLoop::Fork/drain',
};

my %MAKERS = (
    fork => sub { return \&_fork },
    (
        map {
            $_ => sub { return \&_watch_process }
        } qw(watch_process watch_child)
    ),
    (map { $_ => \&_unwatcher } qw(unwatch_process unwatch_child)),
    watch_io     => \&_io_watcher,
    watch_signal => \&_signal_watcher,
);

# ---- Into the classes -----------------------------------------------------------------------------------------------

my (%is_done, $is_installed);

sub install {
    return if $is_installed++;
    _replace_in($_) for 'IO::Async::Loop', @{ mro::get_isarev('IO::Async::Loop') };
    my $constructor = \&IO::Async::Loop::__new;
    no warnings 'redefine';
    *IO::Async::Loop::__new = sub {
        my ($class) = @_;
        _replace_in($_) for @{ mro::get_linear_isa(ref $class || $class) };
        goto &$constructor;
    };
    _take_over($_) for EventLoop::Fork::_instances('IO::Async::Loop');
    return;
}

# Our own classes do it in C.
sub _replace_in {
    my ($package) = @_;
    return
           if $is_done{$package}++
        || !$package->isa('IO::Async::Loop')
        || $package->isa('EventLoop::Fork::Loop::IOAsync');
    no strict 'refs';
    no warnings 'redefine';
    for my $name (keys %MAKERS) {
        # In the base class these call the others; in one for an old IO::Async they do the work.
        next if $package eq 'IO::Async::Loop' && $name =~ /_(?:child|io)\z/;
        my $glob = ${"${package}::"}{$name};
        next unless defined $glob && ref \$glob eq 'GLOB' && defined *{$glob}{CODE};
        *{"${package}::$name"} = $MAKERS{$name}->(*{$glob}{CODE});
    }
    return;
}

# What a loop has watched before; its reaper would take the statuses of everybody's children.
sub _take_over {
    my ($loop) = @_;
    return                        if $loop->isa('EventLoop::Fork::Loop::IOAsync') || reftype $loop ne 'HASH';
    _come_back_for_signals($loop) if ref $loop->{os} eq 'HASH' && %{ $loop->{os} };
    my $watches = $loop->{childwatches};
    return unless ref $watches eq 'HASH';
    for my $pid (keys %$watches) {
        my $code = $watches->{$pid};
        $loop->unwatch_process($pid);
        _watch_process($loop, $pid, $code);
    }
    return;
}

# ---- fork -----------------------------------------------------------------------------------------------------------

sub _fork {
    my ($self, %params) = @_;
    IO::Async::Loop::HAVE_POSIX_FORK() or croak 'POSIX fork() is not available';
    my $code = $params{code} or croak "Expected 'code' as a CODE reference";
    my ($on_exit, $keep_signals) = @params{qw(on_exit keep_signals)};
    my @started = eval {
        EventLoop::Fork::_fork(
            undef, $code, undef, $params{name}, defined $on_exit,
            $keep_signals ? 1 : 0, 0, 0, undef
        );
    } or croak 'Cannot fork() - ' . _reason($@);
    my ($pid, $fd) = @started;
    _watch($self, $pid, $fd, $on_exit) if defined $on_exit;
    $METRICS and $METRICS->inc_counter('forks');
    return $pid;
}

sub _reason {
    my ($error) = @_;
    my $reason = blessed $error && $error->can('message') ? $error->message : $error;
    $reason =~ s/\Acannot fork: //;
    return $reason;
}

# ---- Handles --------------------------------------------------------------------------------------------------------

# IO::Async's own watch_io makes a handle non-blocking. Classes that have one of their own do not, and of several workers
# that a connection wakes, all but one would wait in accept.
sub _io_watcher {
    my ($original) = @_;
    return sub {
        my ($self, %params) = @_;
        my $handle = $params{handle};
        $handle->blocking(0) if defined $handle && $handle->blocking;
        goto &$original;
    };
}

# ---- Signals --------------------------------------------------------------------------------------------------------

# A handler in %SIG runs when the loop comes back to perl. IO::Async's own loops do when a signal has come; one that waits
# in C goes on waiting.
my %COMES_BACK = map { ("IO::Async::Loop::$_" => 1) } qw(Epoll KQueue Poll Ppoll Select);

sub _signal_watcher {
    my ($original) = @_;
    return sub {
        my ($self) = @_;
        _come_back_for_signals($self);
        goto &$original;
    };
}

# For as long as the loop lives.
sub _come_back_for_signals {
    my ($loop) = @_;
    return if $loop->{ +_DRAIN } || grep { $COMES_BACK{$_} } @{ mro::get_linear_isa(ref $loop) };
    my $adapter = EventLoop::Fork::Adapter::for_loop($loop);
    $loop->{ +_DRAIN } = $adapter->come_back_for_signals;
    weaken $adapter->{loop};
    return;
}

# ---- Processes ------------------------------------------------------------------------------------------------------

sub _watch_process {
    my ($self, $pid, $code) = @_;
    return $pid ? _watch($self, $pid, undef, $code) : _watch_all($self, $code);
}

sub _unwatcher {
    my ($original) = @_;
    return sub {
        my ($self, $pid) = @_;
        return if !$pid && delete $self->{ +_ALL };
        my $watch = delete $self->{ +_PROCESSES }{$pid};
        if (!$watch) {
            goto &$original if grep { ref eq 'HASH' && exists $_->{$pid} } @$self{qw(childwatches processwatches)};
            return;
        }
        $watch->{cancel}->();
        return;
    };
}

sub _watch {
    my ($self, $pid, $fd, $code) = @_;
    croak "Already have a handler for $pid" if exists $self->{ +_PROCESSES }{$pid};
    weaken(my $weak = $self);
    my $watch = $self->{ +_PROCESSES }{$pid} = { owner => $$, code => $code, cancel => sub { } };
    if (!defined $fd) {
        local $@;
        if (!eval { $fd = EventLoop::Fork::_process_open($pid); 1 }) {
            # Not a child of ours. IO::Async would wait for ever; if there is nobody any more, we can tell.
            return if kill(0, $pid) || $!{EPERM};
            my $id = $self->watch_idle(when => 'later', code => sub { _ended($weak, $pid, -1) });
            $watch->{cancel} = sub { $weak->unwatch_idle($id) };
            return;
        }
    }
    my $adapter = EventLoop::Fork::Adapter::for_loop($self);
    my $id      = $adapter->watch_process($pid, $fd, sub { _ended($weak, @_) });
    weaken $adapter->{loop};
    $watch->{cancel} = sub { $adapter->unwatch_process($id) };
    return;
}

sub _ended {
    my ($self, $pid, $wait_status) = @_;
    my $watch = delete $self->{ +_PROCESSES }{$pid} or return;
    my $all   = $self->{ +_ALL };
    # EV has told this watch first, and tells that of all children next.
    undef $all if $all && $all->{ev} && $all->{ev}->is_pending && $all->{ev}->rpid == $pid;
    $watch->{code}->($pid, $wait_status);
    $all->{code}->($pid, $wait_status) if $all;
    return;
}

# ---- All children ---------------------------------------------------------------------------------------------------

sub _watch_all {
    my ($self, $code) = @_;
    croak 'Already have a handler for 0' if $self->{ +_ALL };
    my $adapter = EventLoop::Fork::Adapter::for_loop($self);
    weaken(my $weak = $self);
    my $all = $self->{ +_ALL } = bless { code => $code, adapter => $adapter }, 'EventLoop::Fork::IOAsync::All';
    $all->{signal} = $adapter->watch_signal(CHLD => sub { _reap_all($weak) });
    weaken $adapter->{loop};
    # EV takes statuses of its own accord. It tells who watches one child and who watches all, and here all come first:
    # they know of the ones.
    if (exists $INC{'EV.pm'}) {
        $all->{ev} = EV::child(0, 0, sub { _taken($weak, $_[0]->rpid, $_[0]->rstatus) });
        $all->{ev}->keepalive(0);
        $all->{ev}->priority(EV::MAXPRI());
    }
    # Those that have ended already.
    $self->watch_idle(when => 'later', code => sub { _reap_all($weak) });
    return;
}

sub _reap_all {
    my ($self) = @_;
    while ($self && $self->{ +_ALL }) {
        my $pid = waitpid -1, POSIX::WNOHANG();
        last if $pid <= 0;
        _taken($self, $pid, $?);
    }
    return;
}

# A watch of all children takes every status, and so those that we watch one by one, too.
sub _taken {
    my ($self, $pid, $wait_status) = @_;
    my $all = $self->{ +_ALL };
    if (my $watch = delete $self->{ +_PROCESSES }{$pid}) {
        $watch->{cancel}->();
        $watch->{code}->($pid, $wait_status);
    }
    $all->{code}->($pid, $wait_status) if $all;
    return;
}

sub EventLoop::Fork::IOAsync::All::DESTROY {
    my ($all) = @_;
    $all->{adapter}->unwatch_signal($all->{signal}) if defined $all->{signal};
    return;
}

# In a child that goes on with the loop: they are its parent's children.
sub _forget_processes {
    my ($self) = @_;
    my $watches = $self->{ +_PROCESSES } or return;
    for my $pid (grep { $watches->{$_}{owner} != $$ } keys %$watches) {
        (delete $watches->{$pid})->{cancel}->();
    }
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::IOAsync - IO::Async's fork and process watches, through EventLoop::Fork

=head1 SYNOPSIS

    perl -MEventLoop::Fork=-io_async program.pl

    use EventLoop::Fork -io_async;
    use IO::Async::Loop;

    my $loop = IO::Async::Loop->new;
    $loop->fork(
        code    => sub { print "a child\n"; return 3 },
        on_exit => sub { my ($pid, $wait_status) = @_; print 'exit ', $wait_status >> 8, "\n"; $loop->stop },
    );
    $loop->run;

=head1 DESCRIPTION

Replaces C<fork>, C<watch_process> and C<watch_child>, what ends a watch, C<watch_signal>, and C<watch_io> where a class has
its own, in L<IO::Async::Loop> and in every class that has its own: those that are loaded and those that come later, for the
loops that there are and for new ones. What uses them (L<IO::Async::Process>, L<IO::Async::Function>, ...) is served, too. A
program gets

=over 4

=item *

a child with the right signal mask, default signals, a loop of its own of the same class, its own random numbers;

=item *

the output of the child, which IO::Async loses when it is buffered, and a report of its exception;

=item *

hooks (C<at_fork>) and guards;

=item *

non-blocking handles: C<watch_io> of IO::Async makes them so, that of its loops on Glib and Mojo does not, and several workers
that accept on one socket would wait for each other;

=item *

signals while the loop waits: IO::Async's loop on Mojo and EV waits in C, and a handler ran when the next timer was due;

=item *

statuses of the watched children alone: nobody waits for "any child", so C<waitpid>, C<system> and C<close> of others get
theirs.

=back

The contract is that of IO::Async: C<fork> returns a pid, C<on_exit> gets pid and wait status, C<keep_signals>, the texts
of errors. The value of C<code> must be an exit code; another one is reported, and the code is 255.

C<< $loop->watch_process(0 => $code) >> takes every status of the process, as IO::Async means it to. The watches of single
children still get theirs, children that have ended before are told of, and so are those whose status EV takes, which it
does whenever its loop runs.

A process that is watched and is not a child of this one is never told of, as in IO::Async, unless it does not exist: then
its wait status is -1.

=head1 CLASS METHODS

=head2 install

    EventLoop::Fork::IOAsync->install;

What the switch C<-io_async> does. More than once is once.

=head1 SEE ALSO

L<EventLoop::Fork>, L<EventLoop::Fork::Adapter::IOAsync>

=cut
