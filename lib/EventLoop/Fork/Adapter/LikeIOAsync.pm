package EventLoop::Fork::Adapter::LikeIOAsync;

# What the adapters of two loops with the same methods share: EventLoop::Fork::Loop, which has those of IO::Async::Loop,
# and that one.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Adapter';

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

=head2 watch_io, unwatch_io, run, stop

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>

=cut
