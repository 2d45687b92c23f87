package ServiceManager;

# The socket of a service manager, as NOTIFY_SOCKET names it, and what comes there.

use strict;
use warnings;

use Errno      ();
use File::Temp ();
use IO::Handle ();
use IO::Select;
use ProcessTest qw(BOUND now);
use Socket      qw(AF_UNIX SOCK_DGRAM pack_sockaddr_un);

sub new {
    my ($class) = @_;
    my $folder  = File::Temp->newdir;
    my $address = "$folder/notify";
    socket my $socket, AF_UNIX, SOCK_DGRAM, 0 or die "socket: $!";
    bind $socket, pack_sockaddr_un($address)  or die "$address: $!";
    return bless { folder => $folder, address => $address, socket => $socket, seen => [], unread => [] }, $class;
}

sub address { return $_[0]{address} }

# All so far, each a hash of what it says.
sub seen { my ($self) = @_; $self->_receive(0); return @{ $self->{seen} } }

# So that it takes no more until it is asked again.
sub fill {
    my ($self) = @_;
    socket my $socket, AF_UNIX, SOCK_DGRAM, 0 or die "socket: $!";
    $socket->blocking(0);
    1 while defined send $socket, 'FILLED=1', 0, pack_sockaddr_un($self->{address});
    $!{EAGAIN} or die "send: $!";
    return;
}

# The last one.
sub status {
    my ($self) = @_;
    return (map { $_->{STATUS} // () } $self->seen)[-1];
}

# The next message for which the code is true, or that has the name; those before are skipped. undef: there is none within
# the bound.
sub wait_for {
    my ($self, $what) = @_;
    my $matches  = ref $what ? $what : sub { exists $_[0]{$what} };
    my $deadline = now() + BOUND;
    while (1) {
        while (my $message = shift @{ $self->{unread} }) {
            return $message if $matches->($message);
        }
        my $rest = $deadline - now();
        return if $rest <= 0;
        $self->_receive($rest);
    }
}

sub _receive {
    my ($self, $seconds) = @_;
    while (IO::Select->new($self->{socket})->can_read($seconds)) {
        defined recv $self->{socket}, my $text, 65_536, 0 or die "recv: $!";
        my %message = map { split /=/, $_, 2 } split /\n/, $text;
        push @{ $self->{$_} }, \%message for qw(seen unread);
        $seconds = 0;
    }
    return;
}

1;
