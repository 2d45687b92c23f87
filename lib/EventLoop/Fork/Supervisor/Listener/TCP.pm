package EventLoop::Fork::Supervisor::Listener::TCP;

# Binds all addresses of a name, or takes what was inherited for them.

use strict;
use warnings;

use Errno                                            qw(EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT);
use EventLoop::Fork::Supervisor::Listener::Address   qw(host_and_port with_port);
use EventLoop::Fork::Supervisor::Listener::Complaint qw(cannot refuse);
use EventLoop::Fork::Supervisor::Listener::Inherited qw(adopt asked_for_before inherited_at);
use Exporter                                         qw(import);
use Socket                                           qw(
    AF_INET AF_INET6 AI_NUMERICSERV AI_PASSIVE IPPROTO_IPV6 IPV6_V6ONLY SOCK_STREAM SOL_SOCKET SO_REUSEADDR getaddrinfo
    sockaddr_family
);

our $VERSION = '0.001';

our @EXPORT_OK = qw(open_tcp own_socket);

use constant PORT_RETRIES => 20;

sub open_tcp {
    my ($listener, $options) = @_;
    my @before = asked_for_before($listener, $options);
    return @before if @before;
    my @addresses = _resolve($listener);
    my ($listeners, $error, $address);
    for my $try (1 .. PORT_RETRIES) {
        ($listeners, $error, $address) = _bind_each($listener, $options, @addresses);
        # With port 0 the kernel's choice for the first address may be taken for the next one.
        last if !defined $error || $listener->{wanted_port} != 0 || $error != EADDRINUSE || @addresses == 1;
    }
    cannot($listener, $error, $address) if defined $error;
    return @$listeners;
}

# The addresses of the name, each once; IPv4 first where all addresses are meant.
sub _resolve {
    my ($listener) = @_;
    my ($host, $port) = @$listener{qw(wanted_host wanted_port)};
    my ($error, @found) =
        getaddrinfo($host, $port, { socktype => SOCK_STREAM, flags => AI_PASSIVE | AI_NUMERICSERV });
    refuse($listener, "host '$host' has no address: $error; correct the name, or give the address itself") if $error;
    my %seen;
    @found = grep { ($_->{family} == AF_INET || $_->{family} == AF_INET6) && !$seen{ $_->{addr} }++ } @found;
    @found = sort { ($a->{family} == AF_INET6) <=> ($b->{family} == AF_INET6) } @found if !defined $host;
    return map { $_->{addr} } @found;
}

# All listeners of the name. Or none, an errno, and the address it is about.
sub _bind_each {
    my ($listener, $options, @addresses) = @_;
    my (@listeners, $skipped);
    my $port = $listener->{wanted_port};
    for my $address (@addresses) {
        my $packed    = $port ? with_port($address, $port) : $address;
        my $inherited = inherited_at($options->{inherited}, $packed);
        if ($inherited) {
            push @listeners, adopt($listener, $inherited, $options) if !grep { $_ == $inherited } @listeners;
            next;
        }
        my $new   = $listener->_copy;
        my $error = _bind($new, $packed, $options);
        if (!defined $error) {
            push @listeners, $new;
            $port ||= $new->port;
        }
        elsif (@addresses > 1 && ($error == EAFNOSUPPORT || $error == EADDRNOTAVAIL)) {
            $skipped = [ $error, $packed ];    # localhost is ::1 also where there is no IPv6
        }
        else {
            $_->close for @listeners;
            return (undef, $error, $packed);
        }
    }
    return @listeners ? \@listeners : (undef, @$skipped);
}

# Nothing, or an errno.
sub _bind {
    my ($listener, $packed, $options) = @_;
    my (undef, $port) = host_and_port($packed);
    if ($options->{reuseport} && $port) {
        # Another server that shares its port would share it with us, and take some of the connections.
        my ($probe, $error) = _bound_socket($packed, 0);
        return $error if !$probe;
        close $probe;
    }
    my ($socket, $error) = _bound_socket($packed, $options->{reuseport});
    return $error            if !$socket;
    $listener->{is_held} = 1 if $options->{reuseport};
    return $listener->_try_to_take($socket, $options->{backlog});    # listen, too, can find the address in use
}

# Or nothing, and an errno.
sub _bound_socket {
    my ($packed, $reuseport) = @_;
    my $family = sockaddr_family($packed);
    my $socket;
    socket($socket, $family, SOCK_STREAM, 0)
        && setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1)
        && ($family != AF_INET6 || setsockopt $socket, IPPROTO_IPV6, IPV6_V6ONLY, 1)
        && (!$reuseport || setsockopt $socket, SOL_SOCKET, Socket::SO_REUSEPORT(), 1)
        && bind($socket, $packed)
        or return (undef, $! + 0);
    return $socket;
}

sub own_socket {
    my ($held) = @_;
    my ($socket, $error) = _bound_socket($held->{packed}, 1);
    return $socket        if $socket;
    cannot($held, $error) if $error != EADDRINUSE || $> == $held->{uid};
    return refuse(
        $held,
        "$held->{name} is held by user id $held->{uid}, and the kernel shares it with sockets of the same user"
            . " only; bind it before this process becomes user id $>"
    );
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener::TCP - binds TCP addresses

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Listener::TCP qw(open_tcp);

    my @listeners = open_tcp($listener, { inherited => \@inherited });

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Listener>.

=head1 FUNCTIONS

=head2 open_tcp($listener, \%options)

A listener for each address of the name, bound and listening, with the options of the listener's C<open>. Throws.

=head2 own_socket($listener)

One more socket, bound to the address that this listener holds for C<reuseport>. Throws.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>

=cut
