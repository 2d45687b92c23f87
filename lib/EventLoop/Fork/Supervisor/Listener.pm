package EventLoop::Fork::Supervisor::Listener;

# A socket that the supervisor binds once, before it forks, and every worker accepts on. Knows how addresses are
# written, who is in the way of one, which sockets came by inheritance, and which socket file is ours to remove. Never
# accepts.

use strict;
use warnings;

use Errno qw(EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EAGAIN ECONNREFUSED ENOENT ENOTDIR EPERM EROFS);
use EventLoop::Fork::Loop                    ();
use EventLoop::Fork::Supervisor::FolderLock  ();
use EventLoop::Fork::Supervisor::SocketOwner ();
use Fcntl                                    qw(F_DUPFD F_GETFD F_SETFD FD_CLOEXEC);
use File::Basename                           ();
use File::Spec                               ();
use IO::Handle                               ();
use IO::Socket                               ();
use POSIX                                    ();
use Scalar::Util                             qw(blessed openhandle reftype);
use Socket                                   qw(
    AF_INET AF_INET6 AF_UNIX AI_NUMERICSERV AI_PASSIVE IPPROTO_IPV6 IPV6_V6ONLY NI_NUMERICHOST NI_NUMERICSERV
    SOCK_STREAM SOL_SOCKET SO_ACCEPTCONN SO_REUSEADDR SO_TYPE getaddrinfo getnameinfo inet_pton pack_sockaddr_in
    pack_sockaddr_in6 pack_sockaddr_un sockaddr_family unpack_sockaddr_in unpack_sockaddr_in6
);

our $VERSION = '0.001';

use constant {
    BACKLOG      => 1024,
    MODE         => oct 600,                       # of a socket file: nobody but its user
    PATH_MAX     => $^O eq 'linux' ? 107 : 103,    # bytes of sun_path, less the final NUL
    INHERITED    => 3,                             # the first descriptor of LISTEN_FDS
    PORT_RETRIES => 20,
};

my $ACCEPTED = 'accepted are HOST:PORT, [IPV6]:PORT, :PORT or PORT (all addresses), unix:PATH, unix:PATH?mode=0660, '
    . 'fd:NUMBER, and a socket that is bound already';

my $ANY_V6 = "\0" x 16;

sub _fail {
    my ($spec, $message, $name) = @_;
    EventLoop::Fork::Loop::_throw($name || 'EVF_EINVAL', 'listen', $spec, $message);
}

# ---- How addresses are written --------------------------------------------------------------------------------------

sub parse {
    my ($class, $spec) = @_;
    return $spec                                    if blessed $spec && $spec->isa(__PACKAGE__);
    return $class->_parse_handle($spec)             if ref $spec || ref \$spec eq 'GLOB';
    _fail($spec, "the address is undef; $ACCEPTED") if !defined $spec;
    _fail($spec, "the address is empty; $ACCEPTED") if $spec eq '';
    my %fields =
          $spec =~ /\Aunix:/ ? _parse_unix($spec)
        : $spec =~ /\Afd:/   ? _parse_fd($spec)
        :                      _parse_tcp($spec);
    return $class->_new(spec => $spec, %fields);
}

sub _new {
    my ($class, %fields) = @_;
    return bless { ordinal => 0, %fields }, $class;
}

sub _reject {
    my ($spec, $why) = @_;
    (my $shown = $spec) =~ s/[^\x20-\x7e]/?/g;
    _fail($spec, "'$shown' is not an address to listen on: $why; $ACCEPTED");
}

sub _parse_handle {
    my ($class, $handle) = @_;
    my $is_handle = ref \$handle eq 'GLOB' || (reftype($handle) || '') =~ /\A(?:GLOB|IO)\z/;
    _fail($handle, ref($handle) . " is not an address to listen on; $ACCEPTED")  if !$is_handle;
    _fail($handle, "a handle that is not open cannot be listened on; $ACCEPTED") if !openhandle($handle);
    return $class->_new(spec => $handle, kind => 'handle');
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
    _fail($spec, "$path has $length bytes, and the path of a socket has at most " . PATH_MAX . '; choose a shorter one')
        if $length > PATH_MAX;
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

# ---- What a listener is ---------------------------------------------------------------------------------------------

sub spec         { return $_[0]{spec} }
sub socket       { return $_[0]{socket} }
sub is_open      { return defined $_[0]{socket} }
sub is_inherited { return !!$_[0]{is_inherited} }
sub is_held      { return !!$_[0]{is_held} }
sub fd_name      { return $_[0]{fd_name} }
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
    $_->{ordinal} = $seen{ $_->_key }++ for @listeners;
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
    return $self if $self->is_open;
    $options{backlog}   = BACKLOG if !defined $options{backlog};
    $options{inherited} = []      if !$options{inherited};
    if ($options{reuseport} && $self->{kind} eq 'tcp' && !_can_reuseport()) {
        _fail($self->{spec}, 'reuseport needs Linux: elsewhere one of the sockets gets all connections', 'EVF_ENOTSUP');
    }
    my $open      = { tcp => \&_open_tcp, unix => \&_open_unix, fd => \&_open_fd, handle => \&_open_handle };
    my @listeners = $open->{ $self->{kind} }->($self, \%options);
    return wantarray ? @listeners : $listeners[0];
}

sub _can_reuseport {
    return $^O eq 'linux' && defined eval { Socket::SO_REUSEPORT() }
}

# Sets what every listener has, learns its address, and makes it listen, or only hold the address.
sub _take {
    my ($self, $handle, $options) = @_;
    _as_socket($handle);
    _close_on_exec($handle);
    $handle->blocking(0);
    $self->{socket} = $handle;
    @$self{qw(pid uid)} = ($$, $>);
    $self->_learn_address;
    if    ($self->{is_held} || _is_listening($handle)) { }
    elsif (!listen $handle, $options->{backlog}) {
        my $error = $!;
        $self->close;
        $self->_cannot($error);
    }
    return $self;
}

sub _close_on_exec {
    my ($handle) = @_;
    my $flags = fcntl $handle, F_GETFD, 0;
    fcntl $handle, F_SETFD, $flags | FD_CLOEXEC if defined $flags;
    return;
}

sub _is_listening {
    my ($handle) = @_;
    my $packed = getsockopt $handle, SOL_SOCKET, SO_ACCEPTCONN;
    return defined $packed && unpack 'i', $packed;
}

# What a user gave as an object keeps its class.
sub _as_socket {
    my ($handle) = @_;
    return if blessed $handle && $handle->isa('IO::Socket');
    my $family = sockaddr_family(getsockname $handle);
    bless $handle, _class_for($family);
    ${*$handle}{io_socket_domain} = $family;
    ${*$handle}{io_socket_type}   = SOCK_STREAM;
    ${*$handle}{io_socket_proto}  = $family == AF_UNIX ? 0 : Socket::IPPROTO_TCP();
    return;
}

sub _class_for {
    my ($family) = @_;
    local ($@, $!);
    if ($family == AF_UNIX) {
        require IO::Socket::UNIX;
        return 'IO::Socket::UNIX';
    }
    return 'IO::Socket::IP' if eval { require IO::Socket::IP; 1 };    # since perl 5.20
    return 'IO::Socket'     if $family != AF_INET;
    require IO::Socket::INET;
    return 'IO::Socket::INET';
}

sub _learn_address {
    my ($self) = @_;
    my $packed = getsockname $self->{socket};
    my $family = $self->{family} = sockaddr_family($packed);
    $self->{packed} = $packed;
    if ($family == AF_UNIX) {
        my $path = _unix_path($packed);
        $self->{name} = 'unix:' . ($path =~ /\A\0(.*)/s ? "\@$1" : $path);
        $self->{path} = $path if $path !~ /\A\0/;
        return;
    }
    my ($error, $host, $port) = getnameinfo($packed, NI_NUMERICHOST | NI_NUMERICSERV);
    _fail($self->{spec}, "the address of the socket: $error", 'EVF_ESYSTEM') if $error;
    $self->{host} = $host;
    $self->{port} = $port + 0;
    $self->{name} = ($family == AF_INET6 ? "[$host]" : $host) . ":$port";
    return;
}

# An abstract name starts with a NUL byte. unpack_sockaddr_un treats those differently from version to version.
sub _unix_path {
    my ($packed) = @_;
    my $path = substr $packed, 2;
    $path =~ s/\0+\z// or return $path;
    return $path =~ /\A\0/ ? $path : (split /\0/, $path)[0] // '';
}

# ---- TCP ------------------------------------------------------------------------------------------------------------

sub _open_tcp {
    my ($self, $options) = @_;
    my @by_spec = $self->_inherited_by_spec($options);
    return @by_spec if @by_spec;
    my @addresses = $self->_resolve;
    my ($listeners, $error, $address);
    for my $try (1 .. PORT_RETRIES) {
        ($listeners, $error, $address) = $self->_bind_each($options, @addresses);
        # With port 0 the kernel's choice for the first address may be taken for the next one.
        last if !defined $error || $self->{wanted_port} != 0 || $error != EADDRINUSE || @addresses == 1;
    }
    return @$listeners if !defined $error;
    _cannot($self, $error, $address);
}

# The addresses of the name, each once; IPv4 first where all addresses are meant.
sub _resolve {
    my ($self) = @_;
    my ($host, $port) = @$self{qw(wanted_host wanted_port)};
    my ($error, @found) =
        getaddrinfo($host, $port, { socktype => SOCK_STREAM, flags => AI_PASSIVE | AI_NUMERICSERV });
    if ($error) {
        _fail(
            $self->{spec},
            "host '$host' has no address: $error; correct the name, or give the address itself",
            'EVF_ESYSTEM'
        );
    }
    my %seen;
    @found = grep { ($_->{family} == AF_INET || $_->{family} == AF_INET6) && !$seen{ $_->{addr} }++ } @found;
    @found = sort { ($a->{family} == AF_INET6) <=> ($b->{family} == AF_INET6) } @found if !defined $host;
    return @found;
}

# All listeners of the name. Or none, an errno, and the address it is about.
sub _bind_each {
    my ($self, $options, @addresses) = @_;
    my (@listeners, $skipped, $is_covered);
    my $port = $self->{wanted_port};
    for my $address (@addresses) {
        my $packed    = $port ? _with_port($address->{addr}, $port) : $address->{addr};
        my $inherited = _inherited_at($options->{inherited}, $packed);
        if ($inherited) {
            push @listeners, $self->_adopt($inherited, $options) if !grep { $_ == $inherited } @listeners;
            next;
        }
        my $listener = $self->_copy;
        my $error    = $listener->_bind($packed, $options);
        if (!defined $error) {
            push @listeners, $listener;
            $port ||= $listener->{port};
        }
        elsif (@addresses > 1 && ($error == EAFNOSUPPORT || $error == EADDRNOTAVAIL)) {
            $skipped = [ $error, $packed ];    # localhost is ::1 also where there is no IPv6
        }
        else {
            $_->close for @listeners;
            return (undef, $error, $packed);
        }
    }
    return (undef, @$skipped) if !@listeners;
    return \@listeners;
}

sub _copy {
    my ($self) = @_;
    return ref($self)->_new(map { $_ => $self->{$_} } qw(spec kind ordinal wanted_host wanted_port));
}

sub _bind {
    my ($self, $packed, $options) = @_;
    my (undef, $port) = _pieces($packed);
    if ($options->{reuseport} && $port) {
        # Another server that shares its port would share it with us, and take some of the connections.
        my ($probe, $error) = _bound_socket($packed, 0);
        return $error if !$probe;
        CORE::close $probe;
    }
    my ($socket, $error) = _bound_socket($packed, $options->{reuseport});
    return $error if !$socket;
    $self->{is_held} = 1 if $options->{reuseport};
    my $is_done = eval { $self->_take($socket, $options); 1 };
    return if $is_done;
    die $@ if !ref $@ || !$@->isa('EventLoop::Fork::Error') || !$self->{errno};
    return $self->{errno};    # listen, too, can find the address in use
}

sub _bound_socket {
    my ($packed, $reuseport) = @_;
    my $family = sockaddr_family($packed);
    my $socket;
    CORE::socket($socket, $family, SOCK_STREAM, 0)
        && setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1)
        && ($family != AF_INET6 || setsockopt $socket, IPPROTO_IPV6, IPV6_V6ONLY, 1)
        && (!$reuseport || setsockopt $socket, SOL_SOCKET, Socket::SO_REUSEPORT(), 1)
        && bind($socket, $packed)
        or return (undef, $! + 0);
    return $socket;
}

sub _pieces {
    my ($packed) = @_;
    my ($port, $address) =
        sockaddr_family($packed) == AF_INET ? unpack_sockaddr_in($packed) : unpack_sockaddr_in6($packed);
    return ($address, $port);
}

sub _with_port {
    my ($packed, $port) = @_;
    if (sockaddr_family($packed) == AF_INET) {
        my (undef, $address) = unpack_sockaddr_in($packed);
        return pack_sockaddr_in($port, $address);
    }
    my (undef, $address, $scope, $flow) = unpack_sockaddr_in6($packed);
    return pack_sockaddr_in6($port, $address, $scope, $flow);
}

sub per_worker {
    my ($self, %options) = @_;
    return $self if !$self->{is_held};
    my $listener = $self->_copy;
    my ($socket, $error) = _bound_socket($self->{packed}, 1);
    if (!$socket) {
        $self->_cannot($error) if $error != EADDRINUSE || $> == $self->{uid};
        $self->_fail_busy(
                  "$self->{name} is held by user id $self->{uid}, and the kernel shares it with sockets of the same"
                . " user only; bind it before this process becomes user id $>");
    }
    $options{backlog} = BACKLOG if !defined $options{backlog};
    $listener->_take($socket, \%options);
    $self->close if $$ != $self->{pid};    # the worker's copy; the supervisor goes on holding the address
    return $listener;
}

# ---- Socket files ---------------------------------------------------------------------------------------------------

sub _open_unix {
    my ($self, $options) = @_;
    my @by_spec = $self->_inherited_by_spec($options);
    return @by_spec if @by_spec;
    for my $inherited (@{ $options->{inherited} }) {
        return $self->_adopt($inherited, $options) if $inherited->is_unix && ($inherited->path // '') eq $self->{path};
    }
    # What is wrong is found out afterwards: to look for processes takes long.
    my $problem = EventLoop::Fork::Supervisor::FolderLock::locked($self->{path}, sub { $self->_bind_unix($options) });
    $problem->() if $problem;
    return $self;
}

# Returns nothing, or what throws the error.
sub _bind_unix {
    my ($self, $options) = @_;
    my $path    = $self->{path};
    my $problem = $self->_remove_stale;
    return $problem if $problem;
    CORE::socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or $self->_cannot($! + 0);
    my $umask    = umask 0177;                              # nobody else may connect, at no moment
    my $is_bound = bind $socket, pack_sockaddr_un($path);
    my $error    = $! + 0;
    umask $umask;
    return sub { $self->_cannot_make_file($error) }

        if !$is_bound;
    $self->claim_file;
    my $is_done = eval {
        $self->_take($socket, $options);
        chmod $self->{mode}, $path or $self->_cannot($! + 0);
        1;
    } or do {
        my $thrown = $@;
        $self->remove_file;
        $self->close;
        die $thrown;
    };
    return;
}

# A socket file that nobody listens on is what a killed server left. Anything else stays.
sub _remove_stale {
    my ($self) = @_;
    my $path = $self->{path};
    return if !lstat $path;
    if (!-S _) {
        my $what = -l _ ? 'a symbolic link' : -d _ ? 'a folder' : 'a file';
        $self->_fail_busy("$path is $what and no socket, so it is left alone; remove it, or choose another path");
    }
    CORE::socket(my $probe, AF_UNIX, SOCK_STREAM, 0) or $self->_cannot($! + 0);
    IO::Handle::blocking($probe, 0);
    my $error = connect($probe, pack_sockaddr_un($path)) ? 0 : $! + 0;
    CORE::close $probe;
    return if $error == ENOENT;
    return sub { $self->_socket_stays($error) }
        if $error != ECONNREFUSED;
    unlink $path or $! == ENOENT or $self->_fail_busy("the stale socket $path cannot be removed: $!");
    return;
}

sub _socket_stays {
    my ($self, $errno) = @_;
    my $path = $self->{path};
    # Connected, or its queue is full.
    $self->_cannot(EADDRINUSE)
        if grep({ $errno == $_ } 0, EAGAIN) || defined EventLoop::Fork::Supervisor::SocketOwner::of_unix($path);
    $self->_fail_busy("$path is a socket, and whether somebody listens there cannot be told: "
            . _words($errno)
            . '; remove it, or choose another path');
}

sub _fail_busy { return _fail($_[0]{spec}, $_[1], 'EVF_ESYSTEM') }

# The number of a file is not given to another one while a socket is bound to it; afterwards the time tells them apart.
sub _file_id {
    my ($path) = @_;
    my @status = lstat $path;
    return @status ? join ':', @status[ 0, 1, 9 ] : '';
}

sub claim_file {
    my ($self) = @_;
    return if !defined $self->{path};
    @$self{qw(file_id file_pid)} = (_file_id($self->{path}), $$);
    return;
}

sub release_file {
    my ($self) = @_;
    delete @$self{qw(file_id file_pid)};
    return;
}

sub remove_file {
    my ($self) = @_;
    return 0 if !defined $self->{file_id} || $self->{file_id} eq '' || $self->{file_pid} != $$;
    my $id = delete $self->{file_id};
    return _file_id($self->{path}) eq $id && unlink($self->{path}) ? 1 : 0;
}

sub close {
    my ($self) = @_;
    my $socket = delete $self->{socket};
    CORE::close $socket if $socket;
    return;
}

# ---- Sockets that are there already ---------------------------------------------------------------------------------

sub _open_fd {
    my ($self, $options) = @_;
    for my $inherited (@{ $options->{inherited} }) {
        return $self->_adopt($inherited, $options) if ($inherited->fd // -1) == $self->{number};
    }
    # A handle of its own: bless would change what another one of the program is.
    my $is_open = CORE::open my $handle, '+<&=', $self->{number};
    $is_open or _fail($self->{spec}, "descriptor $self->{number} is not open", 'EVF_EBADF');
    $self->_take_bound($handle, $options, "descriptor $self->{number}");
    return $self;
}

sub _open_handle {
    my ($self, $options) = @_;
    my $handle = $self->{spec};
    if (!blessed $handle || !$handle->isa('IO::Socket')) {
        my $number = fileno $handle;
        defined $number && $number >= 0 or _fail($handle, 'the handle has no descriptor', 'EVF_EBADF');
        # Closing one of two handles on a descriptor leaves it open for the other one.
        undef $handle;
        CORE::open $handle, '+<&=', $number or _fail($self->{spec}, "the handle: $!", 'EVF_EBADF');
    }
    $self->_take_bound($handle, $options, 'the handle');
    return $self;
}

sub _take_bound {
    my ($self, $handle, $options, $what) = @_;
    my $problem = _why_not_bound($handle);
    _fail($self->{spec}, "$what $problem; wanted is a stream socket that is bound to an address", 'EVF_EBADF')
        if defined $problem;
    $self->{is_held} = 1 if $options->{reuseport} && _has_reuseport($handle) && !_is_listening($handle);
    return $self->_take($handle, $options);
}

# The rest of a sentence, or nothing.
sub _why_not_bound {
    my ($handle) = @_;
    my $packed = getsockname $handle;
    return 'is not a socket' if !defined $packed;
    my $family = sockaddr_family($packed);
    return 'is a socket of another kind than TCP and Unix' if !grep { $family == $_ } AF_INET, AF_INET6, AF_UNIX;
    my $type = getsockopt $handle, SOL_SOCKET, SO_TYPE;
    return 'is not a stream socket'         if !defined $type || unpack('i', $type) != SOCK_STREAM;
    return                                  if _is_listening($handle);
    return 'is a connection'                if defined getpeername $handle;
    return 'is a socket without an address' if $family == AF_UNIX ? _unix_path($packed) eq '' : !(_pieces($packed))[1];
    return;
}

sub _has_reuseport {
    my ($handle) = @_;
    return 0 if !_can_reuseport();
    my $packed = getsockopt $handle, SOL_SOCKET, Socket::SO_REUSEPORT();
    return defined $packed && unpack('i', $packed) && sockaddr_family(getsockname $handle) != AF_UNIX;
}

sub inherited {
    my ($class) = @_;
    my ($count, $pid, $names) = delete @ENV{qw(LISTEN_FDS LISTEN_PID LISTEN_FDNAMES)};
    delete $ENV{LISTEN_PIDFDID};
    # They were for another process, which has left them in the environment of its children.
    return if !defined $count || !defined $pid || $pid !~ /\A[0-9]+\z/ || $pid != $$;
    $count =~ /\A[0-9]{1,6}\z/ or _fail($count, "LISTEN_FDS is '$count'; wanted is the number of sockets");
    my @names = split /:/, defined $names ? $names : '', -1;
    my @listeners;
    for my $index (0 .. $count - 1) {
        my $number = INHERITED + $index;
        CORE::open my $handle, '+<&=', $number
            or _fail($number, "LISTEN_FDS is $count, but descriptor $number is not open: $!", 'EVF_EBADF');
        _close_on_exec($handle);
        next if defined _why_not_bound($handle);    # such as what systemd stores for a service
        my $self = $class->_new(kind => 'fd', spec => "fd:$number", number => $number, is_inherited => 1);
        $self->{fd_name} = _name_of($names[$index]);
        $self->{is_held} = 1 if _has_reuseport($handle) && !_is_listening($handle);
        $self->{key}     = _key_of($names[$index]);
        push @listeners, $self->_take($handle, { backlog => BACKLOG });
    }
    return @listeners;
}

# An inherited one that is to do what this one was to do.
sub _adopt {
    my ($self, $inherited, $options) = @_;
    @$inherited{qw(spec kind ordinal)}       = @$self{qw(spec kind ordinal)};
    @$inherited{qw(wanted_host wanted_port)} = @$self{qw(wanted_host wanted_port)} if $self->{kind} eq 'tcp';
    if ($inherited->{is_held} && !$options->{reuseport}) {
        delete $inherited->{is_held};
        listen $inherited->{socket}, $options->{backlog} or $inherited->_cannot($! + 0);
    }
    return $inherited;
}

# An address that covers the wanted one: systemd's [::]:8080 takes IPv4 as well.
sub _inherited_at {
    my ($inherited, $packed) = @_;
    my ($address, $port)     = _pieces($packed);
    return if !$port;
    for my $listener (grep { !$_->is_unix } @$inherited) {
        next if $listener->{port} != $port;
        my ($bound) = _pieces($listener->{packed});
        return $listener if $bound eq $address;
        return $listener if $bound eq $ANY_V6 && $address eq "\0\0\0\0" && _is_dual($listener->{socket});
    }
    return;
}

sub _is_dual {
    my ($handle) = @_;
    my $packed = getsockopt $handle, IPPROTO_IPV6, IPV6_V6ONLY;
    return defined $packed && !unpack 'i', $packed;
}

# ---- From one program to the next -----------------------------------------------------------------------------------

# With port 0, or several addresses of one name, the address does not tell which was meant. So what was asked for
# travels in the name of the descriptor; a colon is no part of those.
sub _key {
    my ($self) = @_;
    return ref \$self->{spec} eq 'SCALAR' ? $self->{spec} : 'handle';
}

sub _key_of {
    my ($name) = @_;
    return defined $name && $name =~ /\Aevf[.]([0-9]+)[.]((?:[0-9a-f]{2})+)\z/ ? "$1 " . pack 'H*', $2 : undef;
}

sub _name_of {
    my ($name) = @_;
    return defined $name && length $name && !defined _key_of($name) ? $name : undef;
}

sub _inherited_by_spec {
    my ($self, $options) = @_;
    my $key = "$self->{ordinal} " . $self->_key;
    return map { $self->_adopt($_, $options) } grep { ($_->{key} // '') eq $key } @{ $options->{inherited} };
}

sub hand_over {
    my ($class, @listeners) = @_;
    my $first_free = INHERITED + @listeners;
    my (@copies, @names);
    for my $listener (@listeners) {
        my $copy = $listener->{socket} && fcntl $listener->{socket}, F_DUPFD, $first_free;
        $copy or _fail($listener->{spec}, $listener->name . ' cannot be handed over: ' . ($! || 'closed'), 'EVF_EBADF');
        push @copies, $copy + 0;
        push @names, "evf.$listener->{ordinal}." . unpack 'H*', $listener->_key;
    }
    for my $index (0 .. $#copies) {
        my $number = INHERITED + $index;
        defined POSIX::dup2($copies[$index], $number)
            or _fail($listeners[$index]{spec}, "descriptor $number: $!", 'EVF_ESYSTEM');
        POSIX::close($copies[$index]);
    }
    @ENV{qw(LISTEN_FDS LISTEN_PID LISTEN_FDNAMES)} = (scalar @listeners, $$, join ':', @names);
    return;
}

# ---- What went wrong ------------------------------------------------------------------------------------------------

sub _words {
    my ($errno) = @_;
    local $! = $errno;
    return "$!";
}

sub _printable {
    my ($self, $packed) = @_;
    return $self->name if !defined $packed;
    my ($error, $host, $port) = getnameinfo($packed, NI_NUMERICHOST | NI_NUMERICSERV);
    return $self->name if $error;
    return sockaddr_family($packed) == AF_INET6 ? "[$host]:$port" : "$host:$port";
}

sub _cannot {
    my ($self, $errno, $packed) = @_;
    $self->{errno} = $errno;
    $packed = $self->{packed} if !defined $packed;
    my $name = $self->_printable($packed);
    my $text =
          $errno == EADDRINUSE    ? $self->_in_use($name, $packed)
        : $errno == EADDRNOTAVAIL ? "$name is not an address of this machine; `ip address` lists those that are"
        : $errno == EAFNOSUPPORT  ? "$name: this system has no IPv6"
        : $errno == EACCES        ? $self->_not_permitted($name, $packed)
        :                           "$name: " . _words($errno);
    _fail($self->{spec}, $text, 'EVF_ESYSTEM');
}

sub _in_use {
    my ($self, $name, $packed) = @_;
    my $is_unix = $self->is_unix;
    my $owner =
        $is_unix
        ? EventLoop::Fork::Supervisor::SocketOwner::of_unix($self->{path})
        : EventLoop::Fork::Supervisor::SocketOwner::of_tcp(_pieces($packed));
    if (defined $owner && $owner eq 'this process itself') {
        return "$name is in use by this process itself; is it in the list twice?";
    }
    my $by = defined $owner ? " by $owner" : '';
    return "$name is in use$by; stop it, or choose another " . ($is_unix ? 'path' : 'port');
}

sub _not_permitted {
    my ($self, $name, $packed) = @_;
    my $port = defined $packed ? (_pieces($packed))[1] : $self->{wanted_port};
    return "$name: " . _words(EACCES) if !$port || $port >= 1024;
    return
        "$name: ports below 1024 are for root; start as root with --user, give perl CAP_NET_BIND_SERVICE, lower sysctl "
        . 'net.ipv4.ip_unprivileged_port_start, or choose a port from 1024 on';
}

sub _cannot_make_file {
    my ($self, $errno) = @_;
    my $folder = File::Basename::dirname($self->{path});
    my $user   = getpwuid $>;
    $user = $> if !defined $user;
    $self->_cannot($errno) if $errno == EADDRINUSE;
    $self->_fail_busy(
          $errno == ENOENT  ? "there is no folder $folder; make it, or choose another path"
        : $errno == ENOTDIR ? "$folder is not a folder; choose another path"
        : $errno == EACCES
            || $errno == EPERM ? "user $user may not make files in $folder; allow it, or choose another path"
        : $errno == EROFS ? "$folder is on a read-only file system; choose another path"
        :                   "unix:$self->{path}: " . _words($errno)
    );
}

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

=head2 claim_file

From now on the file is this process' to remove: after a daemon has forked away, or for the successor after a hot
restart.

=head2 release_file

From now on it is not: a successor has taken over.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Privileges>, L<systemd.socket(5)>

=cut
