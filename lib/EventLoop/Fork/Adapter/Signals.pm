package EventLoop::Fork::Adapter::Signals;

# Signals for adapters: watches through any loop that can watch a descriptor, and what adapters ask about names and masks.
# A loop in C does not come back for a handler in %SIG. So the handler is in %SIG, and each loop that somebody watches
# signals through also watches a descriptor that is readable when a signal has come, its drain: perl's handlers run in
# that callback.

use strict;
use warnings;

our $VERSION = '0.001';

use Config;
use EventLoop::Fork::Loop ();
use POSIX                 ();
use Scalar::Util          qw(refaddr);

my @signal_names = split / /, $Config{sig_name};

my %signals;    # name => { name, handler, before: what was in %SIG, watches: { id => watch } }
my %drains;     # loop => { adapter, family, count, handle, io }

# ---- Names and masks ------------------------------------------------------------------------------------------------

sub _signal_name { return $signal_names[ $_[1] ] }

# Of this process, by name.
sub _blocked_signals {
    my $mask = POSIX::SigSet->new;
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $mask) or return;
    return map { $signal_names[$_] } grep { $mask->ismember($_) } 1 .. 31;
}

sub _check_signal {
    my ($class, $name) = @_;
    return if defined $name && $name !~ /\A(?:ZERO|KILL|STOP|SEGV|BUS|ILL|FPE)\z/ && grep { $_ eq $name } @signal_names;
    my $text = defined $name ? "'$name'" : 'undef';
    return EventLoop::Fork::Loop::_throw(
        'EVF_ESIGNAL', 'watch_signal', $name,
        "not a signal that can be caught: $text"
    );
}

# ---- Watches --------------------------------------------------------------------------------------------------------

sub watch_signal {
    my ($self, $name, $code) = @_;
    EventLoop::Fork::Loop::_check_code('watch_signal', code => $code);
    $self->_check_signal($name);
    my $watch  = { name => $name, code => $code, family => $self->family, drain => $self->_start_drain };
    my $signal = $signals{$name} ||= { name => $name, watches => {} };
    my $id     = $self->_hold($watch);
    $signal->{watches}{$id} = $watch;
    _catch($signal) unless _is_in_force($signal);
    return $id;
}

sub unwatch_signal {
    my ($self, $id) = @_;
    my $watch = $self->_release($id) or return;
    $self->_forget_watch($id, $watch);
    $self->_stop_drain($watch->{drain});
    return;
}

sub _catch {
    my ($signal) = @_;
    my ($name, $watches) = @$signal{qw(name watches)};
    $signal->{before} = $SIG{$name};
    $signal->{handler} ||= sub {
        for my $id (sort { $a <=> $b } keys %$watches) {
            $watches->{$id}{code}->() if $watches->{$id};
        }
    };
    $SIG{$name} = $signal->{handler};    ## no critic (LocalizedPunctuationVars): until it is unwatched
    return;
}

sub _forget_watch {
    my ($class, $id, $watch) = @_;
    my $name   = $watch->{name};
    my $signal = $signals{$name} or return;
    delete $signal->{watches}{$id};
    return if %{ $signal->{watches} };
    delete $signals{$name};
    $class->_put_back($name, $signal->{before}) if _is_in_force($signal);
    return;
}

# Who has set another handler since keeps it.
sub _is_in_force {
    my ($signal) = @_;
    my ($ours, $current) = ($signal->{handler}, $SIG{ $signal->{name} });
    return $ours && ref $current && refaddr $current == refaddr $ours;
}

sub _put_back {
    my ($class, $name, $before) = @_;
    $SIG{$name} = defined $before && length $before ? $before : 'DEFAULT';    ## no critic (LocalizedPunctuationVars)
    return;
}

# For handlers that others have set.
sub come_back_for_signals { my ($self) = @_; return $self->_start_drain }

# ---- Drains ---------------------------------------------------------------------------------------------------------

# Returns its name, for _stop_drain.
sub _start_drain {
    my ($self) = @_;
    my $loop   = $self->loop;
    my $name   = $self->family . ' ' . (ref $loop ? refaddr $loop : $loop);
    my $drain  = $drains{$name};
    # Another loop had the address before.
    delete $drains{$name}, undef $drain if $drain && ref $self->{loop} && !defined $drain->{adapter}{loop};
    if (!$drain) {
        $drain = { adapter => $self->_loosely, family => $self->family, count => 0 };
        _open_drain($drain);
        $drains{$name} = $drain;
    }
    $drain->{count}++;
    return $name;
}

sub _stop_drain {
    my ($class, $name) = @_;
    my $drain = $drains{$name} or return;
    return if --$drain->{count} > 0;
    delete $drains{$name};
    _close_drain($drain);
    return;
}

# The loop gets a duplicate: the descriptor itself is the core's.
sub _open_drain {
    my ($drain) = @_;
    my $fd = EventLoop::Fork::_signal_fd();
    open my $handle, '<&', $fd or die "dup: $!\n";    ## no critic (BriefOpen): open while it is watched
    $drain->{handle} = $handle;
    $drain->{io}     = $drain->{adapter}->watch_io($handle, sub { EventLoop::Fork::_signal_fd_clear() });
    return;
}

sub _close_drain {
    my ($drain) = @_;
    my $adapter = $drain->{adapter};
    $adapter->unwatch_io($drain->{io}) if defined $drain->{io} && defined $adapter->{loop};
    delete @$drain{qw(io handle)};
    return;
}

# ---- In the child ---------------------------------------------------------------------------------------------------

# The watches of a loop that goes on go on, on a descriptor of its own; the others are gone.
sub _signals_in_child {
    my ($class, $mode, $is_kept) = @_;
    my $goes_on = sub { $mode eq 'raw' || $is_kept->{ $_[0]{family} } };
    for my $name (keys %signals) {
        my $signal  = $signals{$name};
        my $watches = $signal->{watches};
        for my $id (grep { !$goes_on->($watches->{$_}) } keys %$watches) {
            $class->_forget_watch($id, $class->_release($id));
        }
        # Handlers of the parent were taken out.
        $SIG{$name} = $signal->{handler}    ## no critic (LocalizedPunctuationVars)
            if %$watches && $mode ne 'raw' && !_is_in_force($signal);
    }
    for my $name (keys %drains) {
        my $drain = $drains{$name};
        if (!$goes_on->($drain)) {
            $class->_freeze(delete $drains{$name});
            next;
        }
        _close_drain($drain);
        _open_drain($drain) if defined $drain->{adapter}{loop};
    }
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::Signals - signals for adapters

=head1 DESCRIPTION

A part of L<EventLoop::Fork::Adapter>, which inherits it.

=head1 METHODS

=head2 watch_signal, unwatch_signal

=head2 come_back_for_signals

From now on the loop runs the handlers in C<%SIG> when a signal has come, whoever has set them.

=cut
