package EventLoop::Fork::IOAsync;

# IO::Async's own fork and its watches of processes, on every class of loops, through us. Replaces methods where they are
# defined: in the base class, in the classes that override them, and in those that are loaded later.

use strict;
use warnings;

our $VERSION = '0.001';

use Carp                      qw(croak);
use EventLoop::Fork           ();
use EventLoop::Fork::Adapter  ();
use IO::Async::Loop           ();
use IO::Async::Metrics '$METRICS';
use Errno        ();
use Scalar::Util qw(blessed reftype weaken);
use mro;

our @CARP_NOT = qw(IO::Async::Loop);

# In the loop, as IO::Async keeps its own: pid => id of the adapter, and the code of a watch of all children.
use constant {
    PROCESSES => 'EventLoop::Fork/processes',
    ALL       => 'EventLoop::Fork/all_processes',
    ALL_CODE  => __PACKAGE__ . '::AllCode',
};

my %MAKERS = (
    fork => sub { return \&_fork },
    (map { $_ => \&_watcher } qw(watch_process watch_child)),
    (map { $_ => \&_unwatcher } qw(unwatch_process unwatch_child)),
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
        next if $package eq 'IO::Async::Loop' && $name =~ /_child\z/;
        my $glob = ${"${package}::"}{$name};
        next unless defined $glob && ref \$glob eq 'GLOB' && defined *{$glob}{CODE};
        *{"${package}::$name"} = $MAKERS{$name}->(*{$glob}{CODE});
    }
    return;
}

# What a loop has watched before; its reaper would take the statuses of everybody's children.
sub _take_over {
    my ($loop) = @_;
    return if $loop->isa('EventLoop::Fork::Loop::IOAsync') || reftype $loop ne 'HASH';
    my $watches = $loop->{childwatches};
    return unless ref $watches eq 'HASH';
    for my $pid (grep { $_ } keys %$watches) {
        my $code = $watches->{$pid};
        $loop->unwatch_process($pid);
        _watch($loop, $pid, undef, $code);
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

# ---- Processes ------------------------------------------------------------------------------------------------------

sub _watcher {
    my ($original) = @_;
    return sub {
        my ($self, $pid, $code) = @_;
        return _watch($self, $pid, undef, $code) if $pid;
        # A class may hand this on to the one it is derived from.
        goto &$original if blessed $code && $code->isa(ALL_CODE);
        $self->{ +ALL } = $code;
        weaken(my $weak = $self);
        @_ = ($self, $pid, bless sub { _reaped_by_original($weak, @_) }, ALL_CODE);
        goto &$original;
    };
}

sub _unwatcher {
    my ($original) = @_;
    return sub {
        my ($self, $pid) = @_;
        if (!$pid) {
            delete $self->{ +ALL };
            goto &$original;
        }
        my $watch = delete $self->{ +PROCESSES }{$pid};
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
    croak "Already have a handler for $pid" if exists $self->{ +PROCESSES }{$pid};
    weaken(my $weak = $self);
    my $watch = $self->{ +PROCESSES }{$pid} = { owner => $$, code => $code, cancel => sub { } };
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
    my $id = $adapter->watch_process($pid, $fd, sub { _ended($weak, @_) });
    weaken $adapter->{loop};
    $watch->{cancel} = sub { $adapter->unwatch_process($id) };
    return;
}

sub _ended {
    my ($self, $pid, $wait_status) = @_;
    my $watch = delete $self->{ +PROCESSES }{$pid} or return;
    my $all   = $self->{ +ALL };
    $watch->{code}->($pid, $wait_status);
    $all->($pid, $wait_status) if $all;
    return;
}

# A watch of all children takes every status, and so ours, too.
sub _reaped_by_original {
    my ($self, $pid, $wait_status) = @_;
    if (my $watch = delete $self->{ +PROCESSES }{$pid}) {
        $watch->{cancel}->();
        $watch->{code}->($pid, $wait_status);
    }
    my $all = $self->{ +ALL };
    $all->($pid, $wait_status) if $all;
    return;
}

# In a child that goes on with the loop: they are its parent's children.
sub _forget_processes {
    my ($self) = @_;
    my $watches = $self->{ +PROCESSES } or return;
    for my $pid (grep { $watches->{$_}{owner} != $$ } keys %$watches) {
        (delete $watches->{$pid})->{cancel}->();
    }
    return;
}

1;
