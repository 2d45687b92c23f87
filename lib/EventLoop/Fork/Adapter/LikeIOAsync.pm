package EventLoop::Fork::Adapter::LikeIOAsync;

# What the adapters of two loops with the same methods share: EventLoop::Fork::Loop, which has those of IO::Async::Loop,
# and that one.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter';

use EventLoop::Fork::Loop ();
use Scalar::Util          qw(refaddr weaken);

sub watch_io {
    my ($self, $handle, $code) = @_;
    $self->{loop}->watch_io(handle => $handle, on_read_ready => $code);
    return $self->_hold($handle, 1);
}

sub unwatch_io {
    my ($self, $id) = @_;
    my $handle = $self->_release($id) or return;
    $self->{loop}->unwatch_io(handle => $handle, on_read_ready => 1);
    return;
}

# Several watches are one of the loop's, which has one for each signal.
my %signals;    # loop and name => { watches: { id => code }, before: what was in %SIG }

sub watch_signal {
    my ($self, $name, $code) = @_;
    EventLoop::Fork::Loop::_check_code('watch_signal', code => $code);
    $self->_check_signal($name);
    my $loop = $self->{loop};
    my $key  = refaddr($loop) . " $name";
    delete $signals{$key} if $signals{$key} && !defined $signals{$key}{loop};    # another loop had the address
    my $signal = $signals{$key} || { name => $name, watches => {}, loop => $loop };
    if (!$signals{$key}) {
        weaken $signal->{loop};
        my $watches = $signal->{watches};
        $self->_catch_signal(
            $signal,
            sub {
                for my $id (sort { $a <=> $b } keys %$watches) {
                    $watches->{$id}->() if $watches->{$id};
                }
            }
        );
        $signals{$key} = $signal;
    }
    my $id = $self->_hold({ key => $key });
    $signal->{watches}{$id} = $code;
    return $id;
}

sub unwatch_signal {
    my ($self, $id) = @_;
    my $watch  = $self->_release($id)      or return;
    my $signal = $signals{ $watch->{key} } or return;
    delete $signal->{watches}{$id};
    return if %{ $signal->{watches} };
    delete $signals{ $watch->{key} };
    $self->_release_signal($signal);
    return;
}

sub _catch_signal { my ($self, $signal, $code) = @_; $self->{loop}->watch_signal($signal->{name}, $code); return }

sub _release_signal {
    my ($self, $signal) = @_;
    $signal->{loop}->unwatch_signal($signal->{name}) if defined $signal->{loop};
    return;
}

# On which backend and method, where that is ours to choose.
sub loop_kind {
    my ($self) = @_;
    my $loop   = $self->{loop};
    my %kind   = (class => ref $loop);
    @kind{qw(backend method)} = ($loop->backend, $loop->method) if EventLoop::Fork::_is_our_loop($loop);
    return \%kind;
}

sub loop_maker {
    my ($class, $kind) = @_;
    if (defined $kind->{backend}) {
        EventLoop::Fork::_set_parent_loop(@$kind{qw(backend method)});
        EventLoop::Fork::Loop::_address($kind->{backend});    # loads it while this process may still read it
    }
    return $class->SUPER::loop_maker($kind);
}

sub run  { $_[0]{loop}->run;  return }
sub stop { $_[0]{loop}->stop; return }

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::LikeIOAsync - what the adapters of loops with IO::Async's methods share

=head1 DESCRIPTION

The base of L<EventLoop::Fork::Adapter::Native> and L<EventLoop::Fork::Adapter::IOAsync>.

=head1 METHODS

Those of L<EventLoop::Fork::Adapter>.

=head2 watch_io, unwatch_io, watch_signal, unwatch_signal, run, stop, loop_kind, loop_maker

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>

=cut
