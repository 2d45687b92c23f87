package EventLoop::Fork::Doctor::System;

# What the kernel tells of a process: descriptors, threads, mappings, memory. Reads /proc of Linux; elsewhere it says that
# it does not know, and never guesses.

use strict;
use warnings;

our $VERSION = '0.001';

use Socket qw(AF_INET AF_INET6 AF_UNIX SOCK_DGRAM SOCK_STREAM SOL_SOCKET SO_TYPE);

use constant { O_NONBLOCK => 04_000, O_CLOEXEC => 02_000_000 };    # as fdinfo has them on Linux

sub new { return bless { has_proc => -d '/proc/self/fdinfo' ? 1 : 0 }, $_[0] }

sub has_proc { return $_[0]{has_proc} }

sub slurp {
    my (undef, $path) = @_;
    open my $file, '<', $path or return;
    local $/;
    return scalar readline $file;
}

# ---- Descriptors ----------------------------------------------------------------------------------------------------

# By number: type, target, cloexec, locks; of sockets more. Only of this process.
sub descriptors {
    my ($self) = @_;
    return                                        {} unless $self->{has_proc};
    opendir my $folder, '/proc/self/fd' or return {};
    my @numbers = grep { /\A[0-9]+\z/ } readdir $folder;
    closedir $folder;
    my %found;
    for my $fd (sort { $a <=> $b } @numbers) {
        my $target = readlink "/proc/self/fd/$fd";
        next unless defined $target;    # that of the folder
        my $info = $self->slurp("/proc/self/fdinfo/$fd") // '';
        my ($flags) = $info =~ /^flags:\s*([0-7]+)/m;
        $found{$fd} = {
            fd          => $fd + 0,
            target      => $target,
            type        => _type($fd, $target),
            cloexec     => oct($flags || 0) & O_CLOEXEC  ? 1 : 0,
            nonblocking => oct($flags || 0) & O_NONBLOCK ? 1 : 0,
            locks       => [ $info =~ /^lock:\s*\d+:\s*(.*?)\s*$/mg ],
        };
        _ask_socket($found{$fd}) if $found{$fd}{type} eq 'socket';
    }
    return \%found;
}

sub _type {
    my ($fd, $target) = @_;
    return $1                                         if $target =~ /\A(socket|pipe):\[/;
    return $1                                         if $target =~ /\Aanon_inode:\[?([^\]]+)/;
    return -d "/proc/self/fd/$fd" ? 'folder' : 'file' if $target !~ m{\A/dev/};
    return 'device';
}

# A copy of the descriptor is asked and closed.
sub _ask_socket {
    my ($found) = @_;
    open my $socket, '<&', $found->{fd} or return;
    my $type = getsockopt $socket, SOL_SOCKET, SO_TYPE;
    my $name = getsockname $socket;
    my $peer = getpeername $socket;
    $type                  = defined $type                      ? unpack 'i', $type              : 0;
    $found->{is_stream}    = $type == SOCK_STREAM               ? 1                              : 0;
    $found->{family}       = defined $name && length $name >= 2 ? Socket::sockaddr_family($name) : 0;
    $found->{name}         = _address($name);
    $found->{peer}         = _address($peer);
    $found->{is_connected} = defined $peer ? 1 : 0;
    return;
}

sub _address {
    my ($packed) = @_;
    return undef unless defined $packed && length $packed >= 2;    ## no critic (ProhibitExplicitReturnUndef): a value
    my $family = Socket::sockaddr_family($packed);
    if ($family == AF_UNIX) {
        my $path = eval { Socket::unpack_sockaddr_un($packed) };
        return undef unless defined $path && length $path;         ## no critic (ProhibitExplicitReturnUndef)
        $path =~ s/\A\0/\@/;
        return "unix:$path";
    }
    if ($family == AF_INET) {
        my ($port, $ip) = Socket::unpack_sockaddr_in($packed);
        return Socket::inet_ntoa($ip) . ":$port";
    }
    return undef unless $family == AF_INET6;    ## no critic (ProhibitExplicitReturnUndef)
    my ($port, $ip) = Socket::unpack_sockaddr_in6($packed);
    return '[' . Socket::inet_ntop(AF_INET6, $ip) . "]:$port";
}

# Connected to somebody who speaks with one partner only: over a network, or by a name.
sub is_connection {
    my (undef, $fd) = @_;
    return
           $fd->{type} eq 'socket'
        && $fd->{is_stream}
        && $fd->{is_connected}
        && (defined $fd->{peer} || $fd->{family} == AF_UNIX && defined $fd->{name});
}

# Whether a child has the same open file under that number; undef: not known.
sub is_shared {
    my ($self, $pid, $fd) = @_;
    my $answer = EventLoop::Fork::Doctor::_shares_file($pid, $fd->{fd});
    return $answer if defined $answer;
    my $target = readlink "/proc/$pid/fd/$fd->{fd}";
    return 0 if !defined $target || $target ne $fd->{target};
    return 1 if $fd->{type} =~ /\A(?:socket|pipe)\z/;           # the number in the name is of this one alone
    return 0 if $self->_state("$pid/fdinfo/$fd->{fd}") ne $self->_state("self/fdinfo/$fd->{fd}");
    return undef;                                               ## no critic (ProhibitExplicitReturnUndef): a value
}

# Without what belongs to the number: what is watched, counted, or due.
sub _state {
    my ($self, $path) = @_;
    my $text = $self->slurp("/proc/$path") // '';
    $text =~ s/^(?:pos|flags|mnt_id|lock):.*\n//mg;
    return $text;
}

# ---- Memory ---------------------------------------------------------------------------------------------------------

# Bytes: shared, private; nothing where the system does not tell.
sub memory {
    my ($self, $pid) = @_;
    my $text = $self->slurp('/proc/' . ($pid || 'self') . '/smaps_rollup');
    return unless defined $text;
    my %kb = $text =~ /^(\w+):\s+([0-9]+) kB/mg;
    return {
        shared  => 1024 * (($kb{Shared_Clean}  || 0) + ($kb{Shared_Dirty}  || 0)),
        private => 1024 * (($kb{Private_Clean} || 0) + ($kb{Private_Dirty} || 0)),
    };
}

# ---- Threads --------------------------------------------------------------------------------------------------------

# Of this process, without the first one, which is the one that asks.
sub thread_ids {
    opendir my $folder, '/proc/self/task' or return;
    my @ids = sort { $a <=> $b } grep { /\A[0-9]+\z/ && $_ != $$ } readdir $folder;
    closedir $folder;
    return @ids;
}

# id, name, library (where it is known).
sub threads {
    my ($self) = @_;
    my @ids    = $self->thread_ids or return;
    my @maps   = $self->_maps;
    return map { { id => $_ + 0, name => $self->_thread_name($_), library => $self->_library($_, \@maps) } } @ids;
}

sub _thread_name {
    my ($self, $id) = @_;
    my $name = $self->slurp("/proc/self/task/$id/comm") // '?';
    $name =~ s/\n\z//;
    return $name;
}

sub _maps {
    my ($self) = @_;
    my $text = $self->slurp('/proc/self/maps') // '';
    my @maps;
    while ($text =~ /^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)$/mg) {
        push @maps, { from => _hex($1), to => _hex($2), is_code => index($3, 'x') >= 0, path => $4 };
    }
    return @maps;
}

sub _hex { no warnings 'portable'; return hex $_[0] }

# The library that a thread comes from is the outermost one on its stack that is not the C library: the function that it
# was started with. The kernel tells where the stack is while the thread waits.
sub _library {
    my ($self, $id, $maps) = @_;
    my $pointer;
    for (1 .. 3) {
        my $text = $self->slurp("/proc/self/task/$id/syscall") // return;
        if ($text =~ /0x([0-9a-f]+) 0x[0-9a-f]+\s*\z/) { $pointer = _hex($1); last }
    }
    return unless $pointer;
    my ($stack) = grep { $_->{from} <= $pointer && $pointer < $_->{to} } @$maps;
    return unless $stack;
    my $length = $stack->{to} - $pointer;
    $length = 1 << 20 if $length > 1 << 20;
    open my $memory, '<:raw', '/proc/self/mem'  or return;
    sysseek $memory, $pointer, 0                or return;
    defined sysread $memory, my $bytes, $length or return;
    my @code = grep { $_->{is_code} && $_->{path} =~ m{\A/} } @$maps;
    my ($library, $word_address) = (undef, $pointer);

    for my $word (unpack 'J*', $bytes) {
        my $address = $word_address;
        $word_address += length pack 'J', 0;
        last if $word == $address && $address != $pointer && _is_thread_block($bytes, $address - $pointer, $word);
        my ($map) = grep { $_->{from} <= $word && $word < $_->{to} } @code;
        $library = $map->{path} if $map && $map->{path} !~ m{/(?:libc|libpthread|ld)[-.][^/]*\z|/ld-[^/]*\z};
    }
    return $library;
}

# The C library's own record of a thread, at the end of its stack: it points to itself twice. What lies above belongs to
# others.
sub _is_thread_block {
    my ($bytes, $offset, $self) = @_;
    my $size = length pack 'J', 0;
    return 0 if $offset + 3 * $size > length $bytes;
    return unpack('J', substr $bytes, $offset + 2 * $size, $size) == $self ? 1 : 0;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::System - what the kernel tells of a process

=head1 DESCRIPTION

For L<EventLoop::Fork::Doctor>.

=head1 METHODS

=head2 new, has_proc, slurp

=head2 descriptors

    my $by_number = $system->descriptors;

=head2 is_connection, is_shared

=head2 memory

=head2 threads, thread_ids

=cut
