package EventLoop::Fork::Supervisor::Listener::Address;

# How an address to listen on is written, and what a packed one says. Looks nothing up and opens nothing.

use strict;
use warnings;

use Exporter     qw(import);
use File::Spec   ();
use Scalar::Util qw(openhandle reftype);
use Socket       qw(
    AF_INET AF_INET6 AF_UNIX NI_NUMERICHOST NI_NUMERICSERV getnameinfo inet_pton pack_sockaddr_in pack_sockaddr_in6
    sockaddr_family unpack_sockaddr_in unpack_sockaddr_in6
);

our $VERSION = '0.001';

our @EXPORT_OK = qw(host_and_port read_packed unix_path with_port);

use constant {
    MODE     => oct 600,                       # of a socket file: nobody but its user
    PATH_MAX => $^O eq 'linux' ? 107 : 103,    # bytes of sun_path, less the final NUL
};

my $ACCEPTED = 'accepted are HOST:PORT, [IPV6]:PORT, :PORT or PORT (all addresses), unix:PATH, unix:PATH?mode=0660, '
    . 'fd:NUMBER, and a socket that is bound already';

# ---- As it is written -----------------------------------------------------------------------------------------------

sub parse {
    my ($spec) = @_;
    return (spec => $spec, _parse_handle($spec)) if ref $spec || ref \$spec eq 'GLOB';
    _fail($spec, 'the address is undef')         if !defined $spec;
    _fail($spec, 'the address is empty')         if $spec eq '';
    my %fields =
          $spec =~ /\Aunix:/ ? _parse_unix($spec)
        : $spec =~ /\Afd:/   ? _parse_fd($spec)
        :                      _parse_tcp($spec);
    return (spec => $spec, %fields);
}

sub _fail {
    my ($spec, $message) = @_;
    return EventLoop::Fork::Supervisor::Listener::_fail($spec, "$message; $ACCEPTED");
}

sub _reject {
    my ($spec, $why) = @_;
    (my $shown = $spec) =~ s/[^\x20-\x7e]/?/g;
    return _fail($spec, "'$shown' is not an address to listen on: $why");
}

sub _parse_handle {
    my ($handle) = @_;
    my $is_handle = ref \$handle eq 'GLOB' || (reftype($handle) || '') =~ /\A(?:GLOB|IO)\z/;
    _fail($handle, ref($handle) . ' is not an address to listen on')  if !$is_handle;
    _fail($handle, 'a handle that is not open cannot be listened on') if !openhandle($handle);
    return (kind => 'handle');
}

sub _parse_fd {
    my ($spec)   = @_;
    my ($number) = $spec =~ /\Afd:([0-9]{1,9})\z/ or _reject($spec, 'a descriptor is a number');
    return (kind => 'fd', number => $number + 0);
}

sub _parse_unix {
    my ($spec) = @_;
    my ($path, $query) = $spec =~ /\Aunix:([^?]*)(?:\?(.*))?\z/s;
    _reject($spec, 'the path is missing')             if $path eq '';
    _reject($spec, 'there is a NUL byte in the path') if $path =~ /\0/;
    my $mode = MODE;
    if (defined $query) {
        my ($digits) = $query =~ /\Amode=(0?[0-7]{3})\z/
            or _reject($spec, "what follows the '?' is not mode= and three octal digits");
        $mode = oct $digits;
    }
    $path = File::Spec->rel2abs($path);    # a daemon changes its folder
    my $length = length $path;
    EventLoop::Fork::Supervisor::Listener::_fail(
        $spec,
        "$path has $length bytes, and the path of a socket has at most " . PATH_MAX . '; choose a shorter one'
    ) if $length > PATH_MAX;
    return (kind => 'unix', path => $path, mode => $mode);
}

sub _parse_tcp {
    my ($spec) = @_;
    $spec =~ m{\A([a-z]+)://([^/]*)}i and _reject($spec, "it is a URL; write '$2'");
    $spec =~ m{/}                     and _reject($spec, "it looks like a file; write 'unix:$spec'");
    my ($host, $port);
    if ($spec =~ /\A\[([^\[\]]*)\]:([^:]*)\z/) {
        ($host, $port) = ($1, $2);
        (my $address = $host) =~ s/%[A-Za-z0-9_.-]+\z//;
        inet_pton(AF_INET6, $address) or _reject($spec, "'$host' is not an IPv6 address");
    }
    elsif ($spec =~ /\A(?:([^:\[\]]*):)?([^:\[\]]*)\z/) {
        ($host, $port) = (defined $1 ? $1 : '', $2);
        defined $1 || $port =~ /\A[0-9]*\z/ or _reject($spec, 'the port is missing');
        _check_host($spec, $host);
    }
    else {
        _reject($spec, 'an IPv6 address stands in brackets, and a port follows');
    }
    $port =~ /\A[0-9]{1,5}\z/ && $port <= 65_535 or _reject($spec, "'$port' is not a port, a number up to 65535");
    return (kind => 'tcp', wanted_host => $host =~ /\A\*?\z/ ? undef : $host, wanted_port => $port + 0);
}

sub _check_host {
    my ($spec, $host) = @_;
    return if $host =~ /\A\*?\z/;
    if ($host =~ /\A[0-9.]+\z/) {
        inet_pton(AF_INET, $host) or _reject($spec, "'$host' is not an IPv4 address");
    }
    elsif ($host !~ /\A[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)\z/) {
        _reject($spec, "'$host' is not the name of a host");
    }
    return;
}

# ---- As the kernel has it -------------------------------------------------------------------------------------------

sub read_packed {
    my ($packed) = @_;
    my $family = sockaddr_family($packed);
    if ($family == AF_UNIX) {
        my $path = unix_path($packed);
        return $path =~ /\A\0(.*)/s ? (name => "unix:\@$1") : (name => "unix:$path", path => $path);
    }
    my ($error, $host, $port) = getnameinfo($packed, NI_NUMERICHOST | NI_NUMERICSERV);
    return (error => $error) if $error;
    return (host  => $host, port => $port + 0, name => ($family == AF_INET6 ? "[$host]" : $host) . ":$port");
}

sub host_and_port {
    my ($packed) = @_;
    my ($port, $host) =
        sockaddr_family($packed) == AF_INET ? unpack_sockaddr_in($packed) : unpack_sockaddr_in6($packed);
    return ($host, $port);
}

sub with_port {
    my ($packed, $port) = @_;
    if (sockaddr_family($packed) == AF_INET) {
        my (undef, $host) = unpack_sockaddr_in($packed);
        return pack_sockaddr_in($port, $host);
    }
    my (undef, $host, $scope, $flow) = unpack_sockaddr_in6($packed);
    return pack_sockaddr_in6($port, $host, $scope, $flow);
}

# unpack_sockaddr_un treats abstract names, which start with a NUL byte, differently from version to version.
sub unix_path {
    my ($packed) = @_;
    my $path = substr $packed, 2;
    $path =~ s/\0+\z// or return $path;
    return $path =~ /\A\0/ ? $path : (split /\0/, $path)[0] // '';
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener::Address - how an address to listen on is written

=head1 SYNOPSIS

    my %fields = EventLoop::Fork::Supervisor::Listener::Address::parse('127.0.0.1:8080');

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Listener>, which says what may be written.

=head1 FUNCTIONS

=head2 parse($spec)

Fields of a listener: C<spec>, C<kind> (C<tcp>, C<unix>, C<fd>, C<handle>), and C<wanted_host> and C<wanted_port>, C<path>
and C<mode>, or C<number>. Throws if that is not how an address is written.

=head2 read_packed($packed)

What the kernel's form of an address says: C<name>, for people, and C<host> in numbers and C<port>, or C<path>, which an
abstract Unix address has not. If the system cannot tell, C<error> alone.

=head2 host_and_port($packed)

The 4 or 16 bytes of a TCP address, and its port.

=head2 with_port($packed, $port)

The same TCP address with another port.

=head2 unix_path($packed)

The path of a Unix address, empty if it has none. An abstract name keeps its first byte, NUL.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>

=cut
