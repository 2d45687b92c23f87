# What is in the way of an address is said, with who it is and what to do.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::Listener;
use EventLoop::Fork::Supervisor::SocketOwner;
use ForkTest;
use IO::Socket::INET ();
use ListenerTest;
use POSIX ();
use Test2::V0;

opened('127.0.0.1:0');
pass 'the test library opens what it writes to';
my @before   = open_fds();
my $is_linux = $^O eq 'linux';

# A program that listens and says where, until its input ends.
my $server = <<'EOP';
use IO::Socket::INET;
$0 = "a server";
my $socket = IO::Socket::INET->new(LocalAddr => $ARGV[0], LocalPort => 0, Listen => 5) or die "$@";
$| = 1;
print $socket->sockport, "\n";
kill STOP => $$ while 1;
EOP

sub served {
    my ($address) = @_;
    my $program   = start_program($server, $address);
    my $port      = readline $program->{reader};
    chomp $port;
    return ($program, $port);
}

sub stop_server {
    my ($program) = @_;
    kill KILL => $program->{pid};
    end_program($program);
    return;
}

subtest 'in use' => sub {
    my ($program, $port) = served('127.0.0.1');
    my $error = error_of(sub { opened("127.0.0.1:$port") });
    is [ $error->name, $error->operation, $error->value, $error->file ],
        [ 'EVF_ESYSTEM', 'listen', "127.0.0.1:$port", 't/lib/ListenerTest.pm' ], 'an error of the caller';
    my $by = $is_linux ? " by process $program->{pid} \\([^)]+\\)" : '';
    like $error->message, qr/\A127\.0\.0\.1:$port is in use$by; stop it, or choose another port\z/,
        'who, and what to do';
    like error_of(sub { opened(":$port") })->message, qr/\A0\.0\.0\.0:$port is in use$by/, 'by one of all addresses';
    stop_server($program);

    ($program, $port) = served('0.0.0.0');
    $by = $is_linux ? " by process $program->{pid} " : '';
    like error_of(sub { opened("127.0.0.1:$port") })->message, qr/\A127\.0\.0\.1:$port is in use$by/,
        'by one on all addresses';
    stop_server($program);

    my ($own) = opened('127.0.0.1:0');
    like error_of(sub { opened($own->name) })->message,
        qr/in use@{[ $is_linux ? ' by this process itself' : '' ]}/, 'by ourselves';
};

subtest 'in use by a process that cannot be looked into' => sub {
    skip_all 'for root on Linux' if !$is_linux || $> != 0;
    my ($uid)      = unprivileged() or skip_all 'there is no user nobody';
    my ($listener) = opened('127.0.0.1:0');
    my $name       = $listener->name;
    my ($message)  = in_raw_child(sub {
        POSIX::setuid($uid) or die "setuid: $!";
        $listener->close;
        return error_of(sub { opened($name) })->message;
    });
    is $message, "$name is in use by a process of user root; stop it, or choose another port", 'its user is named';
};

subtest 'not permitted' => sub {
    skip_all 'for root on Linux' if !$is_linux || $> != 0;
    my ($uid) = unprivileged()                                            or skip_all 'there is no user nobody';
    open my $handle, '<', '/proc/sys/net/ipv4/ip_unprivileged_port_start' or skip_all 'this kernel does not tell';
    skip_all 'here every user may' if readline($handle) < 1024;
    close $handle;
    my ($message) = in_raw_child(sub {
        POSIX::setuid($uid) or die "setuid: $!";
        return error_of(sub { opened('127.0.0.1:1') })->message;
    });
    like $message, qr/\A127\.0\.0\.1:1: ports below 1024 are for root; .*--user.*CAP_NET_BIND_SERVICE.*1024 on\z/,
        'how it can be';
};

subtest 'no such address' => sub {
    my $error = error_of(sub { opened('192.0.2.1:0') });
    like $error->message, qr/\A192\.0\.2\.1:0 is not an address of this machine/, 'an address of others';
    $error = error_of(sub { opened('name.invalid:80') });
    is $error->name, 'EVF_ESYSTEM', 'a name that does not exist';
    like $error->message, qr/\Ahost 'name\.invalid' has no address: /, 'is said to be one';
};

subtest 'not a socket to listen on' => sub {
    pipe my $reader, my $writer or die "pipe: $!";
    my $error = error_of(sub { opened($reader) });
    is [ $error->name, $error->message ],
        [ 'EVF_EBADF', 'the handle is not a socket; wanted is a stream socket that is bound to an address' ], 'a pipe';
    like error_of(sub { opened('fd:' . fileno $reader) })->message, qr/\Adescriptor \d+ is not a socket/, 'by number';
    my $number = fileno $reader;
    close $reader;
    like error_of(sub { opened("fd:$number") })->message, qr/\Adescriptor $number is not open/, 'a closed number';
    like error_of(sub { opened($reader) })->message, qr/handle that is not open/, 'a closed handle';
    my ($listener) = opened('127.0.0.1:0');
    like error_of(sub { opened(scalar reaches($listener)) })->message, qr/is a connection/, 'a connection';
    socket my $unbound, Socket::AF_INET(), Socket::SOCK_STREAM(), 0 or die "socket: $!";
    like error_of(sub { opened($unbound) })->message, qr/is a socket without an address/, 'one that is not bound';
    socket my $datagram, Socket::AF_INET(), Socket::SOCK_DGRAM(), 0 or die "socket: $!";
    like error_of(sub { opened($datagram) })->message, qr/is not a stream socket/, 'one of another kind';
};

subtest 'tables of sockets' => sub {
    my $folder = folder();
    mkdir "$folder/net" or die "$folder/net: $!";
    local $EventLoop::Fork::Supervisor::SocketOwner::PROC = "$folder";
    is EventLoop::Fork::Supervisor::SocketOwner::of_tcp("\x7f\0\0\1", 80), undef, 'none is there';
    my $local = sprintf '%08X:0050', unpack 'L', "\x7f\0\0\1";
    open my $table, '>', "$folder/net/tcp" or die "$folder/net/tcp: $!";
    print {$table} "  sl  local_address rem_address\n",
        "   0: $local 00000000:0000 01 00000000:00000000 00:00000000 00000000 0 0 999999999 1\n",
        "   1: $local 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 999999998 1\n", "   2: broken\n";
    close $table;
    is EventLoop::Fork::Supervisor::SocketOwner::of_tcp("\x7f\0\0\1", 80), 'a process of user root', 'a row';
    is EventLoop::Fork::Supervisor::SocketOwner::of_tcp("\x7f\0\0\1", 81), undef, 'another port';
    is EventLoop::Fork::Supervisor::SocketOwner::of_tcp("\x7f\0\0\2", 80), undef, 'another address';
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
