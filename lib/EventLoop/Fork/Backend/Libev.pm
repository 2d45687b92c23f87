package EventLoop::Fork::Backend::Libev;

use strict;
use warnings;

our $VERSION = '0.001';

require XSLoader;
XSLoader::load(__PACKAGE__, $VERSION);

1;

__END__

=head1 NAME

EventLoop::Fork::Backend::Libev - the backend on libev

=head1 DESCRIPTION

Loaded by L<EventLoop::Fork::Loop> when a loop on libev is made. It is built only where libev was found.

=head2 address

The address of the backend's C<struct evf_backend>.

=head1 SEE ALSO

L<EventLoop::Fork::Loop>, L<IO::Async::Loop::Libev>

=cut
