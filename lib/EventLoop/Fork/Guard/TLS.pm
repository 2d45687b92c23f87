package EventLoop::Fork::Guard::TLS;

# IO::Socket::SSL: no close_notify from the child, and no record under a number that the parent uses, too.

use strict;
use warnings;

use parent 'EventLoop::Fork::Guard::Handle';
use Scalar::Util qw(blessed);

our $VERSION = '0.001';

sub accepts {
    my ($kind, $thing) = @_;
    return blessed $thing && $thing->isa('IO::Socket::SSL');
}

# The library's memory stays as it is: what has a class that does nothing is not freed by the library either.
sub disown {
    my ($kind, $socket) = @_;
    my $fields = *$socket{HASH};
    my $ssl    = $fields ? $fields->{_SSL_object} : undef;
    eval { Net::SSLeay::set_quiet_shutdown($ssl, 1) } if $ssl;
    return $kind->SUPER::disown($socket);
}

1;
