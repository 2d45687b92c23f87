package ListenerTest;

# Helpers of the tests of listeners: connections, what is thrown, and a user without privileges.

use strict;
use warnings;

use Exporter   qw(import);
use File::Temp ();
use ForkTest   ();
use IO::Socket ();
use POSIX      ();
use Socket     qw(AF_INET AF_INET6 AF_UNIX SOCK_STREAM getaddrinfo pack_sockaddr_un);

our @EXPORT = qw(LISTENER answers error_of folder has_ipv6 opened race reaches refuses said unprivileged);

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

# So many processes run the code at the same moment, and keep what it returns until all have. A letter for each, sorted:
# W for a result, - for an error whose message looks like that, ? for anything else.
sub race {
    my ($many, $refusal, $code) = @_;
    pipe my $gate, my $opener   or die "pipe: $!";
    pipe my $reader, my $writer or die "pipe: $!";
    pipe my $hold, my $end      or die "pipe: $!";
    my @pids = map {
        my $pid = fork // die "fork: $!";
        if (!$pid) {
            close $_ for $opener, $end, $reader;
            sysread $gate, my $nothing, 1;
            my ($won) = eval { $code->() };
            syswrite $writer, $won ? 'W' : ref $@ && $@->message =~ $refusal ? '-' : '?';
            sysread $hold, $nothing, 1;
            POSIX::_exit(0);    # as if killed: what was made stays
        }
        $pid;
    } 1 .. $many;
    close $_ for $opener, $writer, $gate, $hold;
    my $got = '';
    1 while length $got < $many && sysread $reader, $got, $many, length $got;
    close $end;
    waitpid $_, 0 for @pids;
    return join '', sort split //, $got;
}

# The numbers of user and group of somebody without privileges, or nothing.
sub unprivileged {
    my @entry = getpwnam 'nobody' or return;
    return @entry[ 2, 3 ];
}

1;
