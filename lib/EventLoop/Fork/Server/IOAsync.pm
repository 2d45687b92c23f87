package EventLoop::Fork::Server::IOAsync;

# What servers on IO::Async share: a loop of that family, and listeners that survive a full descriptor table.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Server';

use EventLoop::Fork::Loop ();
use Scalar::Util          qw(blessed);

# Ours if there is one, unless somebody has chosen.
sub default_loop {
    require IO::Async::Loop;
    no warnings 'once';    ## no critic (NoWarnings)
    local $IO::Async::Loop::LOOP = $IO::Async::Loop::LOOP;
    if (!defined $IO::Async::Loop::LOOP && !defined $ENV{IO_ASYNC_LOOP}) {
        my $backends = EventLoop::Fork::Loop->backends;
        ($IO::Async::Loop::LOOP) = map { ucfirst } grep { $backends->{$_} } qw(libev libevent);
    }
    return IO::Async::Loop->new;
}

sub check_loop {
    my ($class, $loop) = @_;
    return if blessed $loop && $loop->isa('IO::Async::Loop');
    return EventLoop::Fork::Server::refuse(
        $loop,
        "$class runs on loops of IO::Async, not on " . (ref $loop || "'$loop'")
    );
}

# One for each listening socket of the worker; the code gets the listener, the stream and the number of the socket.
sub listeners {
    my ($self, $worker, $on_stream) = @_;
    require EventLoop::Fork::Server::IOAsync::Listener;
    my @sockets = $worker->listeners;
    return map {
        my $index = $_;
        EventLoop::Fork::Server::IOAsync::Listener->new(
            handle    => $sockets[$index],
            on_stream => sub { $on_stream->(@_, $index) },
        )
    } 0 .. $#sockets;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Server::IOAsync - what servers on IO::Async share

=head1 DESCRIPTION

A base class of L<EventLoop::Fork::Server::PAGI> and L<EventLoop::Fork::Server::NetAsyncHTTP>.

=head1 METHODS

=head2 default_loop

C<IO_ASYNC_LOOP> or C<$IO::Async::Loop::LOOP> where one of them is set, else L<IO::Async::Loop::Libev> or
L<IO::Async::Loop::Libevent> where they are built, else what IO::Async chooses.

=head2 check_loop

=head2 listeners

    my @listeners = $self->listeners($worker, sub { my ($listener, $stream, $index) = @_; ... });

=head1 SEE ALSO

L<EventLoop::Fork::Server>

=cut
