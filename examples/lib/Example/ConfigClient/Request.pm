package Example::ConfigClient::Request;

# One HTTP/1.0 request and its answer, through any loop that EventLoop::Fork has an adapter for. Never blocks. Calls
# on_done once, unless it is cancelled before.

use strict;
use warnings;

use Errno        qw(EAGAIN EINPROGRESS EINTR EWOULDBLOCK);
use IO::Handle   ();
use Scalar::Util qw(weaken);
use Socket       qw(AF_INET AF_UNIX SOCK_STREAM inet_aton pack_sockaddr_in pack_sockaddr_un);

use constant {
    READ_BYTES    => 65_536,
    ANSWER_BYTES  => 1_048_576,
    REQUEST_BYTES => 16_384,      # what any socket takes at once
    CONNECT_PAUSE => 0.005,       # seconds between two looks at a connection that is being made
};

# adapter, url (http://ADDRESS:PORT/PATH or unix:SOCKET), method, body, timeout in seconds, on_done ($error, $body): one
# of the two is undef.
sub new {
    my ($class, %argument) = @_;
    my $self = bless {%argument}, $class;
    weaken(my $weak = $self);
    $self->{timer} = $self->{adapter}->watch_time(
        $self->{timeout},
        sub {
            delete $weak->{timer};
            $weak->_done("no answer within $weak->{timeout} s");
        }
    );
    # Not before the caller has the object.
    $self->{pause} = $self->{adapter}->watch_time(0, sub { delete $weak->{pause}; $weak->_connect });
    return $self;
}

# At once, without a word to anybody.
sub cancel {
    my ($self) = @_;
    my $adapter = $self->{adapter};
    $adapter->unwatch_time($_) for grep { defined } delete @$self{qw(timer pause)};
    $adapter->unwatch_io(delete $self->{io}) if defined $self->{io};
    close delete $self->{socket}             if $self->{socket};
    return;
}

sub DESTROY {
    my ($self) = @_;
    $self->cancel;
    return;
}

sub _done {
    my ($self, $error, $body) = @_;
    $self->cancel;
    $self->{on_done}->($error, $body);
    return;
}

sub _address {
    my ($self) = @_;
    my $url = $self->{url};
    return (AF_UNIX, pack_sockaddr_un($1), '/') if $url =~ /\Aunix:(.+)\z/s;
    my ($ip, $port, $path) = $url =~ m{\Ahttp://([0-9.]+):([0-9]+)(/.*)?\z}s or return;
    return (AF_INET, pack_sockaddr_in($port, inet_aton($ip)), $path // '/');
}

sub _connect {
    my ($self) = @_;
    my ($family, $address, $path) = $self->_address or return $self->_done("not a URL: '$self->{url}'");
    socket my $socket, $family, SOCK_STREAM, 0 or return $self->_done("socket: $!");
    $socket->blocking(0);
    @$self{qw(socket path)} = ($socket, $path);
    return $self->_send                if connect $socket, $address;
    return $self->_done("connect: $!") if $! != EINPROGRESS && $! != EAGAIN && $! != EINTR;
    return $self->_wait_for_connection;
}

# An adapter tells what can be read, which is all that a server's answer needs. A connection that is being made is looked
# at now and then.
sub _wait_for_connection {
    my ($self) = @_;
    return $self->_send if getpeername $self->{socket};
    my $error = getsockopt $self->{socket}, Socket::SOL_SOCKET(), Socket::SO_ERROR();
    if (defined $error && ($! = unpack 'i', $error)) { return $self->_done("connect: $!") }
    weaken(my $weak = $self);
    $self->{pause} = $self->{adapter}->watch_time(
        CONNECT_PAUSE,
        sub {
            delete $weak->{pause};
            $weak->_wait_for_connection;
        }
    );
    return;
}

sub _send {
    my ($self)  = @_;
    my $body    = $self->{body} // '';
    my $request = "$self->{method} $self->{path} HTTP/1.0\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
    return $self->_done('the request is too long') if length $request > REQUEST_BYTES;
    local $SIG{PIPE} = 'IGNORE';
    my $written = syswrite $self->{socket}, $request;
    return $self->_done('cannot send: ' . (defined $written ? 'the socket is full' : "$!"))
        if !defined $written || $written != length $request;
    $self->{answer} = '';
    weaken(my $weak = $self);
    $self->{io} = $self->{adapter}->watch_io($self->{socket}, sub { $weak->_read });
    return;
}

sub _read {
    my ($self) = @_;
    my $got = sysread $self->{socket}, $self->{answer}, READ_BYTES, length $self->{answer};
    if (!defined $got) {
        return if $! == EAGAIN || $! == EWOULDBLOCK || $! == EINTR;
        return $self->_done("cannot read: $!");
    }
    return $self->_parse                   if $got == 0;
    $self->_done('the answer is too long') if length $self->{answer} > ANSWER_BYTES;
    return;
}

# The server closes after its answer. One that was cut off is none.
sub _parse {
    my ($self) = @_;
    my ($status, $fields, $body) = $self->{answer} =~ m{\AHTTP/1\.[01] ([0-9]{3})\b[^\n]*\n(.*?)\r?\n\r?\n(.*)\z}s
        or return $self->_done('the connection ended before an answer');
    my ($length) = $fields =~ /^Content-Length:\s*([0-9]+)/mi;
    return $self->_done('the answer was cut off') if defined $length && length $body != $length;
    return $self->_done("status $status")         if $status != 200;
    return $self->_done(undef, $body);
}

1;
