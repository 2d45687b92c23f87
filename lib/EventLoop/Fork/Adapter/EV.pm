package EventLoop::Fork::Adapter::EV;

# EV: its default loop and the others. A libev loop cannot be taken apart in a child (destroying the default one with
# watchers is a use after free), so it is emptied and given kernel objects of its own.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter';

use Config;
use Scalar::Util qw(blessed refaddr);

sub family    { return 'EV' }
sub is_loaded { return exists $INC{'EV.pm'} }
sub is_in_use { return exists $INC{'EV.pm'} }    # it makes its default loop when it is loaded

sub accepts {
    my ($class, $loop) = @_;
    return $loop->isa('EV::Loop') if blessed $loop;
    return !ref $loop && ($loop eq 'EV' || $loop eq 'EV::Loop' || $loop eq 'EV::Loop::Default');
}

sub new {
    my ($class, $loop) = @_;
    require EV;
    my $default = EV::default_loop();
    $loop = $default unless blessed $loop;
    return bless { loop => $loop, is_default => refaddr $loop == refaddr $default }, $class;
}

# ---- Around a fork --------------------------------------------------------------------------------------------------

sub before_fork { return { sigchld => scalar EventLoop::Fork::_save_action('CHLD') } }

sub _loops { return EventLoop::Fork::Adapter::_instances('EV::Loop') }

sub renew {
    my ($class, $state) = @_;
    my @watchers = EventLoop::Fork::Adapter::_instances('EV::Watcher');
    # To stop one that watches a file is a change to the inotify object, which still is the parent's.
    my @stats = grep { $_->isa('EV::Stat') && ($_->is_active || $_->is_pending) } @watchers;
    my @codes = map  { $_->cb } @stats;
    $_->stop for grep { $_->can('stop') && !$_->isa('EV::Stat') } @watchers;
    for my $stat (@stats) {
        $stat->cb(sub { });
        $stat->clear_pending;
    }
    for my $loop (_loops()) {
        $loop->loop_fork;                 # is done in the next turn, so
        $loop->run(EV::RUN_NOWAIT());
    }
    for my $stat (@stats) {
        $stat->stop;
        $stat->cb(shift @codes);
    }
    $class->_restore_sigchld($state);
    return;
}

sub rearm {
    my ($class, $state, $mode) = @_;
    $_->loop_fork for _loops();
    return if $mode eq 'raw';
    # The handlers are back to the default in this child, and libev installs one with the first watcher of a signal.
    my @signals = grep { $_->is_active } EventLoop::Fork::Adapter::_instances('EV::Signal');
    $_->stop  for @signals;
    $_->start for @signals;
    $class->_restore_sigchld($state);
    return;
}

# libev's own watcher of SIGCHLD is there for good, so it would never install its handler again.
sub _restore_sigchld {
    my ($class, $state) = @_;
    return unless $state && defined $state->{sigchld};
    return if _handler_of($state->{sigchld}) eq _handler_of(_perl_action());
    EventLoop::Fork::_restore_action('CHLD', $state->{sigchld});
    return;
}

# The handler is the first member everywhere; the rest may hold padding.
sub _handler_of { return substr $_[0], 0, $Config{ptrsize} }

# What the kernel has for a handler in %SIG: if SIGCHLD had the same, the program had taken it from EV. Signals are
# blocked here, so nothing is missed.
sub _perl_action {
    local $SIG{URG} = sub { };
    return EventLoop::Fork::_save_action('URG');
}

# ---- The loop -------------------------------------------------------------------------------------------------------

sub watch_io {
    my ($self, $handle, $code) = @_;
    return $self->_hold($self->{loop}->io($handle, EV::READ(), sub { $code->() }));
}

sub watch_time {
    my ($self, $seconds, $code) = @_;
    $self->{loop}->now_update;
    my $id;
    $id = $self->_hold($self->{loop}->timer($seconds, 0, sub { __PACKAGE__->_release($id); $code->() }));
    return $id;
}

sub unwatch_io {
    my ($self, $id) = @_;
    my $watcher = $self->_release($id) or return;
    $watcher->stop;
    return;
}

*unwatch_time = \&unwatch_io;

# EV's run returns when there is no watcher.
sub run {
    my ($self) = @_;
    my $watcher = $self->{loop}->timer(3600, 3600, sub { });
    $self->{loop}->run;
    return;
}

sub stop { $_[0]{loop}->break(EV::BREAK_ONE()); return }

sub loop_for_child {
    my ($self, $keep) = @_;
    return $self->{loop} if $keep || $self->{is_default};
    return EV::Loop->new($self->{loop}->backend);
}

1;
