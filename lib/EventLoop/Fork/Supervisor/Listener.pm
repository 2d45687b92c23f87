package EventLoop::Fork::Supervisor::Listener;

# A socket that the supervisor binds once, before it forks, and every worker accepts on: what one is, and how several
# are opened together. How addresses are written, bound and inherited is in Listener/*.pm. Never accepts.

use strict;
use warnings;

use EventLoop::Fork::Loop                            ();
use EventLoop::Fork::Supervisor::Listener::Address   qw(read_packed);
use EventLoop::Fork::Supervisor::Listener::Bound     qw(open_fd open_handle);
use EventLoop::Fork::Supervisor::Listener::Complaint qw(cannot);
use EventLoop::Fork::Supervisor::Listener::Inherited ();
use EventLoop::Fork::Supervisor::Listener::Socket    qw(can_reuseport is_listening make_ours start_listening);
use EventLoop::Fork::Supervisor::Listener::TCP       qw(open_tcp own_socket);
use EventLoop::Fork::Supervisor::Listener::Unix      qw(open_unix);
use Scalar::Util                                     qw(blessed);
use Socket                                           qw(AF_UNIX sockaddr_family);

our $VERSION = '0.001';

sub _fail {
    my ($spec, $message, $name) = @_;
    EventLoop::Fork::Loop::_throw($name || 'EVF_EINVAL', 'listen', $spec, $message);
}

sub parse {
    my ($class, $spec) = @_;
    return $spec if blessed $spec && $spec->isa(__PACKAGE__);
    return $class->_new(EventLoop::Fork::Supervisor::Listener::Address::parse($spec));
}

sub _new {
    my ($class, %fields) = @_;
    return bless { ordinal => 0, %fields }, $class;
}

# The same address, not open.
sub _copy {
    my ($self) = @_;
    return ref($self)->_new(map { $_ => $self->{$_} } qw(spec kind ordinal wanted_host wanted_port));
}

# ---- What a listener is ---------------------------------------------------------------------------------------------

sub spec         { return $_[0]{spec} }
sub socket       { return $_[0]{socket} }
sub is_open      { return defined $_[0]{socket} }
sub is_inherited { return !!$_[0]{is_inherited} }
sub is_held      { return !!$_[0]{is_held} }
sub fd_name      { return $_[0]{fd_name} }
sub stored_name  { return $_[0]{stored_name} }
sub host         { return $_[0]{host} }
sub port         { return $_[0]{port} }
sub path         { return $_[0]{path} }

sub fd {
    my ($self) = @_;
    return $self->{socket} ? fileno $self->{socket} : undef;
}

sub is_unix {
    my ($self) = @_;
    return defined $self->{family} ? $self->{family} == AF_UNIX : $self->{kind} eq 'unix';
}

sub name {
    my ($self) = @_;
    return $self->{name}        if defined $self->{name};
    return "unix:$self->{path}" if $self->{kind} eq 'unix';
    return ref \$self->{spec} eq 'SCALAR' ? $self->{spec} : 'a handle';
}

# ---- Opening --------------------------------------------------------------------------------------------------------

sub open_all {
    my ($class, $specs, %options) = @_;
    my $on_unused = delete $options{on_unused};
    my $given     = delete $options{inherited};
    my @listeners = map { $class->parse($_) } @$specs;
    my @inherited = $given ? @$given : $class->inherited;
    return @inherited if !@listeners;

    my %seen;
    $_->{ordinal} = $seen{ EventLoop::Fork::Supervisor::Listener::Inherited::asked_for($_) }++ for @listeners;
    my @open;
    my $is_done = eval {
        push @open, $_->open(%options, inherited => \@inherited) for @listeners;
        1;
    };
    my $error = $@;
    my %used  = map { $_ => 1 } @open;
    # Somebody may connect to what nobody accepts on.
    for my $unused (grep { !$used{$_} } @inherited) {
        $on_unused->($unused) if $on_unused && $is_done;
        $unused->close;
    }
    return @open if $is_done;
    for my $listener (@open) {
        $listener->remove_file;
        $listener->close;
    }
    die $error;    # of ours, with the caller's place
}

my %OPTIONS = map { $_ => 1 } qw(backlog reuseport inherited);

sub open {
    my ($self, %options) = @_;
    for my $name (sort keys %options) {
        $OPTIONS{$name} or _fail($name, "unknown option '$name'; there are: @{[ sort keys %OPTIONS ]}");
    }
    return $self             if $self->is_open;
    $options{inherited} = [] if !$options{inherited};
    if ($options{reuseport} && $self->{kind} eq 'tcp' && !can_reuseport()) {
        _fail($self->{spec}, 'reuseport needs Linux: elsewhere one of the sockets gets all connections', 'EVF_ENOTSUP');
    }
    my $open      = { tcp => \&open_tcp, unix => \&open_unix, fd => \&open_fd, handle => \&open_handle };
    my @listeners = $open->{ $self->{kind} }->($self, \%options);
    return wantarray ? @listeners : $listeners[0];
}

# Sets what every listener has, learns its address, and makes it listen, or only hold the address.
sub _take {
    my ($self, $handle, $backlog) = @_;
    my $error = $self->_try_to_take($handle, $backlog);
    cannot($self, $error) if defined $error;
    return $self;
}

# Nothing, or why it does not listen.
sub _try_to_take {
    my ($self, $handle, $backlog) = @_;
    make_ours($handle);
    my $packed  = getsockname $handle;
    my %address = read_packed($packed);
    _fail($self->{spec}, "the address of the socket: $address{error}", 'EVF_ESYSTEM') if defined $address{error};
    %$self = (
        %$self, %address,
        socket => $handle,
        packed => $packed,
        family => sockaddr_family($packed),
        pid    => $$,
        uid    => $>,
    );
    return if $self->is_held || is_listening($handle) || start_listening($handle, $backlog);
    my $error = $! + 0;
    $self->close;
    return $error;
}

sub per_worker {
    my ($self, %options) = @_;
    return $self if !$self->is_held;
    my $listener = $self->_copy->_take(own_socket($self), $options{backlog});
    $self->close if $$ != $self->{pid};    # the worker's copy; the supervisor goes on holding the address
    return $listener;
}

sub close {
    my ($self) = @_;
    my $socket = delete $self->{socket};
    CORE::close $socket if $socket;
    return;
}

# ---- Elsewhere ------------------------------------------------------------------------------------------------------

sub inherited {
    my ($class) = @_;
    return EventLoop::Fork::Supervisor::Listener::Inherited::from_environment($class);
}

sub hand_over {
    my (undef, @listeners) = @_;
    return EventLoop::Fork::Supervisor::Listener::Inherited::hand_over(@listeners);
}

# As plain data, without its socket, for a worker that is a new perl; and there, by the descriptor.
sub _given {
    my ($self) = @_;
    my @plain = grep { defined $self->{$_} } qw(kind ordinal wanted_host wanted_port is_held is_inherited fd_name);
    return { spec => ref \$self->{spec} eq 'SCALAR' ? $self->{spec} : $self->name, map { $_ => $self->{$_} } @plain };
}

sub _take_given {
    my ($class, $fd, $given, $owner) = @_;
    CORE::open my $handle, '+<&=', $fd or die "descriptor $fd, the listener '$given->{spec}': $!\n";
    my $listener = $class->_new(%$given)->_take($handle);
    $listener->{pid} = $owner;    # the file is the supervisor's to remove
    return $listener;
}

sub owns_file    { return EventLoop::Fork::Supervisor::Listener::Unix::owns_file($_[0]) }
sub claim_file   { return EventLoop::Fork::Supervisor::Listener::Unix::claim_file($_[0]) }
sub release_file { return EventLoop::Fork::Supervisor::Listener::Unix::release_file($_[0]) }
sub remove_file  { return EventLoop::Fork::Supervisor::Listener::Unix::remove_file($_[0]) }

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener - an address, bound once, for all workers

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Listener;

    my @listeners = EventLoop::Fork::Supervisor::Listener->open_all(['127.0.0.1:8080', 'unix:/run/app.sock?mode=0660']);
    print 'listening on ', $_->name, "\n" for @listeners;

    # after the forks, in each worker
    my @sockets = map { $_->per_worker->socket } @listeners;

    # at the end, in the supervisor
    $_->remove_file, $_->close for @listeners;

=head1 DESCRIPTION

A server with several workers binds its addresses before it forks, and each worker accepts on what it inherited. This
module understands how addresses are written, binds them, and says in words what is in the way.

The sockets are L<IO::Socket> objects (L<IO::Socket::IP> where it is installed, L<IO::Socket::UNIX>), non-blocking,
close-on-exec, and set to C<SO_REUSEADDR>. C<TCP_NODELAY> is for who accepts.

=head1 ADDRESSES

=over

=item C<HOST:PORT>, C<[IPV6]:PORT>

An address, or a name. A name that has several addresses means all of them: C<localhost:8080> is C<127.0.0.1:8080> and,
where the system says so, C<[::1]:8080>, each a socket of its own. An address that this machine does not have is left
out as long as there is another one. With port 0 the kernel chooses, one port for all of them.

=item C<:PORT>, C<*:PORT>, C<PORT>

All addresses of this machine: C<0.0.0.0:PORT> and, where there is IPv6, C<[::]:PORT>, two sockets. An IPv6 socket
never takes IPv4 connections, whatever the system's default is, so C<[::]:80> goes together with C<0.0.0.0:80>.

=item C<unix:PATH>, C<unix:PATH?mode=0660>

A socket file. It is made for its user only; a wider mode is set when it is ready, so nobody else may connect before
that. A relative path belongs to the folder at that time. A socket file that nobody listens on any more is replaced;
anything else is left alone and reported.

=item C<fd:NUMBER>

A descriptor that is open already. It is a stream socket, and bound.

=item an L<IO::Socket> or another handle

The same, as an object. The object stays the caller's; C<close> closes it.

=back

What is wrong is thrown as an L<EventLoop::Fork::Error> of the operation C<listen>: C<EVF_EINVAL> for an address that is
none, C<EVF_EBADF> for a descriptor or handle that is not a bound stream socket, C<EVF_ENOTSUP>, and C<EVF_ESYSTEM> for
what the system refuses, with the process that is in the way where Linux tells.

=head1 CLASS METHODS

=head2 parse($address)

A listener that is not open yet. Throws if that is not how an address is written. Nothing is looked up.

=head2 open_all(\@addresses, %options)

Parses and opens all of them and returns the listeners, in order; a name with several addresses gives several. If one
fails, the others are closed, their files are removed, and the error is thrown.

Options are those of C<open>, and C<on_unused>, a callback for each inherited socket that no address asked for, before
it is closed. Without C<inherited>, what L</inherited> finds is used. If the list is empty, the inherited sockets are
what is returned.

=head2 inherited

The listeners that came from who started this program, as systemd and C<hand_over> do it: C<LISTEN_FDS>, with
C<LISTEN_PID> being this process. They become close-on-exec and non-blocking; the variables are removed from the
environment, so that no child takes them for its own. What is not a bound stream socket is left alone.

=head2 hand_over(@listeners)

For a child that is about to execute a program: puts the sockets under the numbers from 3 on, to be inherited, and sets
C<LISTEN_FDS>, C<LISTEN_PID> and C<LISTEN_FDNAMES>. Whatever had these numbers is closed. If the program asks for the
same addresses, it gets these sockets, also with port 0 and for names.

=head1 METHODS

=head2 open(%options)

Binds and listens. Returns the listeners: itself, or one for each address of the name; in scalar context the first.

=over

=item backlog

How many connections may wait to be accepted (1024). The system's limit holds as well: C<net.core.somaxconn>.

=item reuseport

Each worker gets a TCP socket of its own, and the kernel spreads connections over them. The listener itself only holds
the address: it does not listen, because nobody accepts on it. Linux only. Another process that listens there is still
an error, though the kernel would share the port with it.

=item inherited

A reference to an array of listeners. One with the same address is used instead of a new socket. systemd's C<[::]:8080>
that takes IPv4 too is also used for C<0.0.0.0:8080>.

=back

=head2 per_worker(%options)

In a worker: the listener to accept on. That is the listener itself, unless it only holds its address: then it is a new
one, with the C<backlog> given, and the worker's copy of the old one is closed. The kernel asks for the same user, so
call this before privileges are dropped.

=head2 socket

The L<IO::Socket>; C<undef> before C<open> and after C<close>.

=head2 fd

Its number.

=head2 name

For people: C<127.0.0.1:8080>, C<[::1]:8080>, C<unix:/run/app.sock>.

=head2 spec

The address as it was given.

=head2 host

=head2 port

=head2 path

The pieces of the address it is bound to: host in numbers and port, or path.

=head2 fd_name

What C<LISTEN_FDNAMES> calls it, if anything.

=head2 stored_name

The same, where that is a name that C<hand_over> gives.

=head2 is_open

=head2 is_unix

=head2 is_inherited

=head2 is_held

True if it only holds the address: see C<reuseport>.

=head2 close

Closes this process' copy. Others keep theirs, and the socket file stays.

=head2 remove_file

Removes the socket file if this process made it and if it still is the same file. True if it did. Call it before
C<close>.

=head2 owns_file

Whether C<remove_file> would try to.

=head2 claim_file

From now on the file is this process' to remove: after a daemon has forked away, or for the successor after a hot
restart.

=head2 release_file

From now on it is not: a successor has taken over.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Privileges>, L<systemd.socket(5)>

=cut
