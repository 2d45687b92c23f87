package EventLoop::Fork::Backend::Libevent;

use strict;
use warnings;

our $VERSION = '0.001';

require XSLoader;
XSLoader::load(__PACKAGE__, $VERSION);

1;

__END__

=head1 NAME

EventLoop::Fork::Backend::Libevent - the backend on libevent

=head1 DESCRIPTION

Loaded by L<EventLoop::Fork::Loop> when a loop on libevent is made. It is built only where libevent was found.

=head2 address

The address of the backend's C<struct evf_backend>.

=head1 SEE ALSO

L<EventLoop::Fork::Loop>, L<IO::Async::Loop::Libevent>

=cut
