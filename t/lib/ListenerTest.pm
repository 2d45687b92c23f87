package ListenerTest;

# Helpers of the tests of listeners: connections, what is thrown, and a user without privileges.

use strict;
use warnings;

use Exporter   qw(import);
use File::Temp ();
use ForkTest   ();
use IO::Socket ();
use Socket     qw(AF_INET AF_INET6 AF_UNIX SOCK_STREAM getaddrinfo pack_sockaddr_un);

our @EXPORT = qw(LISTENER answers error_of folder has_ipv6 opened reaches refuses said unprivileged);

use constant LISTENER => 'EventLoop::Fork::Supervisor::Listener';

sub opened {
    my ($spec, %options) = @_;
    return LISTENER->parse($spec)->open(%options);
}

# The exception of this distribution, or what else there is.
sub error_of {
    my ($code) = @_;
    local $@;
    return eval { $code->(); 1 } ? 'nothing was thrown' : $@;
}

# A folder that every user may enter.
sub folder {
    my $folder = File::Temp->newdir;
    chmod 0755, "$folder" or die "$folder: $!";
    return $folder;
}

# A connection to the address of a listener, or nothing and an error in $!.
sub reaches {
    my ($listener) = @_;
    my $address    = getsockname $listener->socket or die "getsockname: $!";
    my $family     = $listener->is_unix ? AF_UNIX : $listener->name =~ /\A\[/ ? AF_INET6 : AF_INET;
    socket my $socket, $family, SOCK_STREAM, 0 or die "socket: $!";
    return connect($socket, $address) ? $socket : undef;
}

sub refuses {
    my ($listener) = @_;
    return !reaches($listener) && $!{ECONNREFUSED} ? 1 : 0;
}

# Sends a word through the listener and returns what its accepter reads.
sub answers {
    my ($listener, $accepting) = @_;
    my $client = reaches($listener) or return "connect: $!";
    my $bits   = '';
    my $server = ($accepting || $listener)->socket;
    vec($bits, fileno $server, 1) = 1;
    select($bits, undef, undef, 30) > 0 or return 'nobody came';
    my $accepted = $server->accept      or return "accept: $!";
    syswrite $client, 'word';
    $accepted->blocking(1);
    sysread $accepted, my $word, 10;
    return $word;
}

sub has_ipv6 {
    socket my $socket, AF_INET6, SOCK_STREAM, 0 or return 0;
    return bind($socket, Socket::pack_sockaddr_in6(0, Socket::IN6ADDR_LOOPBACK())) ? 1 : 0;
}

# What the code returns in a child.
sub said { return (ForkTest::in_raw_child(@_))[0] }

# The numbers of user and group of somebody without privileges, or nothing.
sub unprivileged {
    my @entry = getpwnam 'nobody' or return;
    return @entry[ 2, 3 ];
}

1;
