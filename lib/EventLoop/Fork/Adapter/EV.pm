package EventLoop::Fork::Adapter::EV;

# EV: its default loop and the others. A libev loop cannot be taken apart in a child (destroying the default one with
# watchers is a use after free), so it is emptied and given kernel objects of its own.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter';

use Config;
use Fcntl        ();
use POSIX        ();
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

sub before_fork {
    my ($class) = @_;
    return { sigchld => scalar EventLoop::Fork::_save_action('CHLD'), blocked => [ $class->_blocked_by_loops ] };
}

# With EV::FLAG_SIGNALFD a watched signal is blocked, and read from a descriptor.
sub _blocked_by_loops {
    my ($class) = @_;
    my %blocked = map { $_                               => 1 } $class->_blocked_signals or return;
    my %watched = map { $class->_signal_name($_->signal) => 1 }
        grep { $_->is_active } EventLoop::Fork::Adapter::_instances('EV::Signal');
    return grep { $blocked{$_} } keys %watched;
}

sub _loops { return EventLoop::Fork::Adapter::_instances('EV::Loop') }

sub renew {
    my ($class, $state) = @_;
    $class->_renew_signalfds if $state && @{ $state->{blocked} };
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
        $loop->loop_fork;    # is done in the next turn, so
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
    $class->_renew_signalfds if $class->_blocked_by_loops;
    $_->loop_fork for _loops();
    return if $mode eq 'raw';
    # The handlers are back to the default in this child, and libev installs one with the first watcher of a signal.
    my @signals = grep { $_->is_active } EventLoop::Fork::Adapter::_instances('EV::Signal');
    $_->stop  for @signals;
    $_->start for @signals;
    $class->_restore_sigchld($state);
    return;
}

# To stop the watcher of a signal is a change to the object behind the descriptor, which libev leaves as it is in a child.
# A new one with the same signals is as good for everybody: it gives the signals of whoever reads.
my %signalfd4 = (x86_64 => 289, aarch64 => 74, riscv64 => 74, i686 => 327, armv7l => 355, ppc64le => 313, s390x => 322);
use constant { _CLOEXEC => oct 2_000_000, _NONBLOCK => oct 4_000 };

sub _renew_signalfds {
    my $number = $^O eq 'linux' && $Config{ivsize} == 8 ? $signalfd4{ (POSIX::uname())[4] } : undef;
    return unless defined $number;
    for my $fd (map { m{([0-9]+)\z} } glob '/proc/self/fd/*') {
        next unless (readlink "/proc/self/fd/$fd" // '') =~ /signalfd/;
        open my $info, '<', "/proc/self/fdinfo/$fd" or next;
        my ($mask) = map { /^sigmask:\s*([0-9a-f]+)/ ? $1 : () } readline $info;
        close $info;
        next unless defined $mask;
        my $signals = pack 'Q', _number_of($mask);
        my $new     = syscall $number, -1, $signals, 8, _CLOEXEC | _NONBLOCK;
        next if $new < 0;
        POSIX::dup2($new, $fd);
        POSIX::close($new);
        open my $handle, '<&=', $fd or next;    # sets close-on-exec, and must not close it
        fcntl $handle, Fcntl::F_SETFD(), Fcntl::FD_CLOEXEC();
        EventLoop::Fork::Adapter->_freeze($handle);
    }
    return;
}

# In halves: perl warns of a hexadecimal number of more than 32 bits, which real-time signals make it.
sub _number_of {
    my ($mask) = @_;
    $mask = substr '0' x 16 . $mask, -16;
    return hex(substr $mask, 0, 8) << 32 | hex substr $mask, 8;
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

sub unwatch_time { goto &unwatch_io }

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

sub loop_kind {
    my ($self) = @_;
    return { backend => $self->{loop}->backend, is_default => $self->{is_default} ? 1 : 0 };
}

# It makes its default loop when it is loaded.
sub loop_maker {
    my ($class, $kind) = @_;
    local $ENV{LIBEV_FLAGS} = $ENV{LIBEV_FLAGS} // $kind->{backend};
    require EV;
    return sub { $kind->{is_default} ? EV::default_loop() : EV::Loop->new($kind->{backend}) };
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::EV - forks through EV

=head1 SYNOPSIS

    use EV;
    use EventLoop::Fork;

    EventLoop::Fork->fork(
        loop    => 'EV',                                 # or an EV::Loop
        code    => sub { my ($self) = @_; return 3 },    # $self->loop is an EV::Loop
        on_exit => sub { my ($child) = @_; print $child->exit_reason, "\n"; EV::break },
    );
    EV::run;

=head1 DESCRIPTION

The default loop and the others, on every backend of EV. In the child of a fork through us

=over 4

=item *

every inherited watcher that Perl can see is stopped; it can be started again. Those that C code has started, and those of
C<EV::once>, cannot be seen;

=item *

each loop has opened its kernel objects anew;

=item *

EV's own handler of SIGCHLD is back, so that C<EV::child> works;

=item *

C<< $self->loop >> is the default loop, or a new one with the same backend if the fork went through another loop. The
default loop is never destroyed: with watchers that is a use after free in EV.

=back

After a raw fork, and with C<< loop_in_child => 'keep' >>, C<loop_fork> is called for each loop. Its work is done in the
loop's next turn; a program that closes descriptors behind EV's back before that may lose a file of its own, as with EV
alone.

EV takes the status of every child of the process when its default loop runs. C<on_exit> gets the right one nevertheless;
what other code waits for may be lost, as with EV alone.

=head1 METHODS

Those of L<EventLoop::Fork::Adapter>.

=head2 family, is_loaded, is_in_use, accepts, new, before_fork

=head2 renew, rearm, loop_for_child, loop_kind, loop_maker

=head2 watch_io, unwatch_io, watch_time, unwatch_time, run, stop

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>, L<EventLoop::Fork>

=cut
