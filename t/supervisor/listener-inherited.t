# Sockets that came from who started the program: systemd's way, and ours from one program to the next. They serve the
# addresses that the program asks for, and nothing of them goes on to its children.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::Listener;
use ForkTest;
use IO::Socket::INET ();
use ListenerTest;
use POSIX  ();
use Socket qw(AF_INET AF_INET6 SOCK_DGRAM SOCK_STREAM SOMAXCONN IPPROTO_IPV6 IPV6_V6ONLY inet_aton pack_sockaddr_in);
use Test2::V0;

answers(opened('127.0.0.1:0'));
my $folder = folder();
pass 'the test library opens what it writes to';
my @before = open_fds();

# What the program with the inherited sockets says, a line for each listener it gets for its arguments.
my $program = <<'EOP';
use EventLoop::Fork::Supervisor::Listener;
use Fcntl qw(F_GETFD FD_CLOEXEC);
my $class = 'EventLoop::Fork::Supervisor::Listener';
$| = 1;
my $unused = sub { print 'unused ', $_[0]->name, "\n" };
my @listeners = eval { $class->open_all([@ARGV], reuseport => $ENV{TEST_REUSEPORT}, on_unused => $unused) };
print "error: ", $@->message, "\n" if $@;
for my $listener (@listeners) {
    print join(' ', map { defined $_ ? $_ : '-' } $listener->spec, $listener->name,
        $listener->is_inherited ? 'fd ' . $listener->fd : 'new', $listener->fd_name,
        fcntl($listener->socket, F_GETFD, 0) & FD_CLOEXEC ? 'closes' : 'stays',
        $listener->socket->blocking ? 'blocks' : 'returns', ref $listener->socket), "\n";
}
print join(' ', 'environment:', grep { /^LISTEN/ } sort keys %ENV), "\n";
EOP

# Executes it with the sockets under the numbers from 3 on. Of the options, pid is what LISTEN_PID says.
sub execute {
    my ($sockets, $arguments, %options) = @_;
    my $run = sub {
        my @command = @_;
        my $wrapper = <<'EOP';
use POSIX ();
my ($count, $pid, $names, @numbers) = splice @ARGV, 0, 3 + $ARGV[3] + 1;
shift @numbers;
my @copies = map { my $copy = POSIX::dup($_); $copy = POSIX::dup($copy) while $copy < 20; $copy } @numbers;
POSIX::dup2($copies[$_], 3 + $_) for 0 .. $#copies;
POSIX::close($_) for 3 + @copies .. 60;
$ENV{LISTEN_FDS} = $count eq '-' ? @copies : $count;
$ENV{LISTEN_PID} = $pid eq '-' ? $$ : $pid;
$ENV{LISTEN_FDNAMES} = $names if $names ne '-';
exec @ARGV or die "exec: $!";
EOP
        $^F = 1000;
        my @numbers = map { fcntl $_, Fcntl::F_SETFD(), 0; fileno $_ } @$sockets;
        my @values  = map { defined $options{$_} ? $options{$_} : '-' } qw(count pid names);
        return ($^X, '-e', $wrapper, @values, scalar @numbers, @numbers, @command);
    };
    my $result = run_program($program, { through => $run }, @$arguments);
    diag $result->{stderr} if length $result->{stderr};
    return [ split /\n/, $result->{stdout} ];
}

require Fcntl;

sub bound {
    my ($class, %options) = ('IO::Socket::INET', LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 5, @_);
    return $class->new(%options) || die "bound: $@";
}

subtest 'by address' => sub {
    my @sockets = (bound(), bound());
    my @names   = map { '127.0.0.1:' . $_->sockport } @sockets;
    my $lines   = execute(\@sockets, [ reverse @names ], names => 'first:second');
    my $class   = ref opened('127.0.0.1:0')->socket;
    is $lines,
        [
        "$names[1] $names[1] fd 4 second closes returns $class",
        "$names[0] $names[0] fd 3 first closes returns $class",
        'environment:'
        ],
        'each where its address was asked for';

    $lines = execute(\@sockets, ['127.0.0.1:0']);
    is $lines->[0], "unused $names[0]", 'what is not asked for';
    is $lines->[1], "unused $names[1]", 'is told';
    like $lines->[2], qr/\A127\.0\.0\.1:0 127\.0\.0\.1:\d+ new - closes returns/, 'the rest is new';

    $lines = execute(\@sockets, []);
    is $lines,
        [
        "fd:3 $names[0] fd 3 - closes returns $class",
        "fd:4 $names[1] fd 4 - closes returns $class",
        'environment:'
        ],
        'without a list all are taken';
    is execute(\@sockets, [ 'fd:4', $names[0] ])->[0], "fd:4 $names[1] fd 4 - closes returns $class", 'by number';
};

subtest 'all addresses' => sub {
    skip_all 'this system has no IPv6' if !has_ipv6();
    socket my $dual, AF_INET6, SOCK_STREAM, 0                       or die "socket: $!";
    setsockopt $dual, IPPROTO_IPV6, IPV6_V6ONLY, 0                  or die "setsockopt: $!";
    bind $dual, Socket::pack_sockaddr_in6(0, Socket::IN6ADDR_ANY()) or die "bind: $!";
    listen $dual, 5                                                 or die "listen: $!";
    my ($port) = Socket::unpack_sockaddr_in6(getsockname $dual);
    for my $spec (":$port", "0.0.0.0:$port", "[::]:$port") {
        my $lines = execute([$dual], [$spec]);
        is scalar @$lines, 2, "$spec: a socket that takes both families is enough";
        like $lines->[0], qr/\A\Q$spec\E \[::\]:$port fd 3 /, 'and is used';
    }
};

subtest 'what is not for us' => sub {
    my $socket = bound();
    my $name   = '127.0.0.1:' . $socket->sockport;
    my $lines  = execute([$socket], [], pid => 1);
    is $lines, ['environment:'], 'the sockets of another process';
    is execute([$socket], [], pid => ''), ['environment:'], 'or nobody\'s';
    like execute([$socket], [], count => 'x')->[0], qr/\Aerror: LISTEN_FDS is 'x'; wanted is the number of sockets/,
        'not a number';
    like execute([$socket], [], count => 2)->[0], qr/\Aerror: LISTEN_FDS is 2, but descriptor 4 is not open/,
        'too many';
    pipe my $reader, my $writer                                 or die "pipe: $!";
    socket my $datagram, AF_INET, SOCK_DGRAM, 0                 or die "socket: $!";
    bind $datagram, pack_sockaddr_in(0, inet_aton('127.0.0.1')) or die "bind: $!";
    $lines = execute([ $reader, $socket, $datagram ], []);
    is [ scalar @$lines, $lines->[0] ], [ 2, match(qr/\Afd:4 \Q$name\E fd 4 /) ],
        'what is no stream socket is left out';
};

subtest 'handles and numbers' => sub {
    my $socket = bound();
    my ($listener) = opened($socket);
    ref_is $listener->socket, $socket, 'an object of IO::Socket is used as it is';
    is answers($listener), 'word', 'connections come';
    ($listener) = opened('fd:' . fileno $socket);
    is $listener->fd, fileno $socket, 'a number is used as it is';
    isa_ok $listener->socket, 'IO::Socket';
    $listener->close;
    is answers((opened($socket))[0]), 'word', q(closing it leaves the program's own handle open);

    socket my $glob, AF_INET, SOCK_STREAM, 0                or die "socket: $!";
    bind $glob, pack_sockaddr_in(0, inet_aton('127.0.0.1')) or die "bind: $!";
    ($listener) = opened($glob);
    is ref $glob, 'GLOB', 'a plain handle keeps its class';
    isa_ok $listener->socket, 'IO::Socket';
    is answers($listener), 'word', 'a bound one is made to listen';
    undef $glob;
    is answers($listener), 'word', 'it lives on without the handle';
};

# The successor's program after an exec: the environment and the numbers are all it gets.
sub hand_over {
    my ($arguments, @listeners) = @_;
    my $run    = sub { LISTENER->hand_over(@listeners); return @_ };
    my $result = run_program($program, { through => $run }, @$arguments);
    diag $result->{stderr} if length $result->{stderr};
    return [ split /\n/, $result->{stdout} ];
}

subtest 'from one program to the next' => sub {
    my @specs     = ('127.0.0.1:0', "unix:$folder/a?mode=0660", ':0', '127.0.0.1:0');
    my @listeners = LISTENER->open_all(\@specs);
    my $lines     = hand_over(\@specs, @listeners);
    my @names     = map { $_->name } @listeners;
    is [ map { (split)[1] } @$lines[ 0 .. $#names ] ], \@names,
        'the same specifications get the same sockets, in order';
    is [ map { (split)[3] } @$lines[ 0 .. $#names ] ], [ 3 .. 3 + $#names ], 'all from us';
    is $lines->[-1], 'environment:', 'and nothing is left of it';
    ok -S "$folder/a", 'the successor leaves the file';
    $lines = hand_over([ '127.0.0.1:0', "unix:$folder/b" ], @listeners);
    is [ map { (split)[1] } grep { !/^(?:unused|environment)/ } @$lines ], [ $names[0], "unix:$folder/b" ],
        'what the new one does not ask for is closed';
    is [ map { (split)[1] } grep { /^unused/ } @$lines ], [ @names[ 1 .. $#names ] ], 'and told';
    is [ map { answers($_) } @listeners ], [ map { 'word' } @listeners ], 'ours work as before';
    $listeners[0]->close;
    my $error = error_of(sub { LISTENER->hand_over(@listeners) });
    like $error->message, qr/cannot be handed over/, 'a closed one is refused';
    is [ grep { /^LISTEN/ } keys %ENV ], [], 'and nothing was set';
    $_->remove_file for @listeners;
    unlink "$folder/b";

SKIP: {
        skip 'not on this system', 2 if $^O ne 'linux';
        my ($held) = opened('127.0.0.1:0', reuseport => 1);
        local $ENV{TEST_REUSEPORT} = 1;
        my $lines = hand_over(['127.0.0.1:0'], $held);
        like $lines->[0], qr/ \Q@{[ $held->name ]}\E fd 3 /, 'a held address is handed over';
        my $worker = $held->per_worker;
        is answers($worker), 'word', 'and still works for workers';
    }
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
