package EventLoop::Fork::Supervisor::SocketOwner;

# Who listens on an address, in words, from Linux' tables of sockets. Only asked when binding has failed.

use strict;
use warnings;

use EventLoop::Fork::Supervisor::Process ();

our $VERSION = '0.001';

our $PROC = '/proc';

my $LISTENING = '0A';                     # the state of a TCP socket
my $ACCEPTS   = 0x0001_0000;              # the flag of a Unix socket
my $MAPPED    = "\0" x 10 . "\xff\xff";

sub of_tcp {
    my ($address, $port) = @_;
    my ($exact, $other);
    for my $row (map { _rows($_) } qw(tcp tcp6)) {
        my (undef, $local, undef, $state, undef, undef, undef, $uid, undef, $inode) = split ' ', $row;
        next unless defined $inode && $state eq $LISTENING && $local =~ /\A([0-9A-F]+):([0-9A-F]+)\z/;
        next unless hex $2 == $port;
        my $bound = _address($1);
        if    ($bound eq $address)                   { $exact = [ $inode, $uid ] }
        elsif (_is_any($bound) || _is_any($address)) { $other = [ $inode, $uid ] }
    }
    my $found = $exact || $other or return;
    return _owner(@$found);
}

sub of_unix {
    my ($path) = @_;
    for my $row (_rows('unix')) {
        my (undef, undef, undef, $flags, undef, undef, $inode, $name) = split ' ', $row, 8;
        return _owner($inode) if defined $name && $name eq $path && hex($flags) & $ACCEPTS;
    }
    return;
}

sub _owner {
    my ($inode, $uid) = @_;
    my $pid = EventLoop::Fork::Supervisor::Process::holding_socket($inode);
    return $pid == $$ ? 'this process itself' : EventLoop::Fork::Supervisor::Process::describe($pid) if defined $pid;
    return 'a process that cannot be seen from here' unless defined $uid;
    my $user = getpwuid $uid;
    return 'a process of user ' . (defined $user ? $user : $uid);
}

# 32 bits at a time, each in the order of this machine.
sub _address {
    my ($text) = @_;
    my $bytes = pack 'L*', map { hex } $text =~ /(.{8})/g;
    return substr($bytes, 0, 12) eq $MAPPED ? substr $bytes, 12 : $bytes;
}

sub _is_any { return $_[0] !~ /[^\0]/ }

sub _rows {
    my ($table) = @_;
    local $!;
    open my $handle, '<', "$PROC/net/$table" or return;
    my (undef, @rows) = readline $handle;
    close $handle;
    chomp @rows;
    return @rows;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::SocketOwner - who listens on an address

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::SocketOwner;
    use Socket qw(inet_aton);

    my $who = EventLoop::Fork::Supervisor::SocketOwner::of_tcp(inet_aton('127.0.0.1'), 8080);
    print "stop $who first\n" if defined $who;    # stop process 1234 (perl server.pl) first

=head1 DESCRIPTION

Reads Linux' F</proc/net>. Elsewhere, and for what is in another network namespace, nothing is known. A process of
another user is only named as such, unless this process is root's.

=head1 FUNCTIONS

=head2 of_tcp($address, $port)

Who listens on this address (4 or 16 bytes), or on an address that is in its way. In words, or C<undef>.

=head2 of_unix($path)

Who listens on this socket file. The path must be the one it was bound with.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>

=cut
