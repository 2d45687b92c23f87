# How addresses are written, and what a listener on each of them is like.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::Listener;
use Fcntl qw(F_GETFD FD_CLOEXEC);
use ForkTest;
use ListenerTest;
use POSIX  ();
use Socket qw(SO_REUSEADDR SOL_SOCKET SOMAXCONN);
use Test2::V0;

answers(opened('127.0.0.1:0'));    # what is loaded then stays
pass 'the test library opens what it writes to';
my @before = open_fds();

subtest 'what every listener has' => sub {
    my ($listener) = opened('127.0.0.1:0');
    my $socket = $listener->socket;
    isa_ok $socket, 'IO::Socket';
    isnt $listener->port, 0, 'the port that the kernel has chosen is known';
    is [ $listener->host, $listener->name, $listener->spec ],
        [ '127.0.0.1', '127.0.0.1:' . $listener->port, '127.0.0.1:0' ], 'host, name, specification';
    is [ map { !!$listener->$_ } qw(is_unix is_open is_inherited is_held path fd_name) ],
        [ F, T, F, F, F, F ], 'it is open and none of the others';
    is fileno $socket, $listener->fd, 'its number';
    ok !$socket->blocking, 'it does not block';
    ok fcntl($socket, F_GETFD, 0) & FD_CLOEXEC, 'executed programs do not have it';
    ok $socket->sockopt(SO_REUSEADDR), 'a restart may bind it at once';
    is [ $socket->sockhost, $socket->sockport ], [ $listener->host, $listener->port ], 'IO::Socket knows its address';
    is answers($listener), 'word', 'connections come';
    my $client = reaches($listener);
    $listener->close;
    is [ $listener->fd, $listener->socket, !!$listener->is_open ], [ undef, undef, F ], 'closed, it has none';
    is $listener->name, $listener->host . ':' . $listener->port, 'but its name still';
    $listener->close;
};

subtest 'addresses' => sub {
    is [ map { $_->name } opened('localhost:0') ],
        bag { all_items match(qr/\A(?:127\.0\.0\.1|\[::1\]):[0-9]+\z/); etc },
        'a name is all of its addresses';
    for my $spec (qw(0 :0 *:0)) {
        my @listeners = opened($spec);
        my $port      = $listeners[0]->port;
        is [ map { $_->name } @listeners ], [ "0.0.0.0:$port", has_ipv6() ? "[::]:$port" : () ],
            "$spec is every address, with one port";
        is [ map { answers($_) } @listeners ], [ map { 'word' } @listeners ], 'and all work';
    }
    my ($first) = opened('127.0.0.1:0');
    my $spec = '127.0.0.1:' . $first->port;
    $first->close;
    my ($second) = opened($spec);
    is $second->name, $spec, 'a given port is taken as it is';
};

subtest 'IPv6' => sub {
    skip_all 'this system has no IPv6' if !has_ipv6();
    my ($listener) = opened('[::1]:0');
    is [ $listener->host, $listener->name ], [ '::1', '[::1]:' . $listener->port ], 'stands in brackets';
    is answers($listener), 'word', 'connections come';
    my ($any)  = opened('[::]:0');
    my ($ipv4) = opened('0.0.0.0:' . $any->port);
    is $ipv4->port, $any->port, 'all of IPv6 leaves IPv4 to others';
};

subtest 'what is not an address' => sub {
    my %why = (
        ''                     => qr/is empty/,
        'foo'                  => qr/the port is missing/,
        'foo:'                 => qr/'' is not a port/,
        'foo:bar'              => qr/'bar' is not a port/,
        '127.0.0.1'            => qr/the port is missing/,
        '127.0.0.1:65536'      => qr/'65536' is not a port, a number up to 65535/,
        '127.0.0.1:-1'         => qr/'-1' is not a port/,
        '127.0.0.1:80 '        => qr/'80 ' is not a port/,
        "127.0.0.1:80\n"       => qr/'127.0.0.1:80\?' is not an address/,
        '127.0.0:80'           => qr/'127.0.0' is not an IPv4 address/,
        '256.0.0.1:80'         => qr/'256.0.0.1' is not an IPv4 address/,
        '::1:80'               => qr/stands in brackets/,
        '[::1]'                => qr/a port follows/,
        '[::x]:80'             => qr/'::x' is not an IPv6 address/,
        'a b:80'               => qr/'a b' is not the name of a host/,
        'http://localhost:80/' => qr/it is a URL; write 'localhost:80'/,
        '/run/app.sock'        => qr{write 'unix:/run/app.sock'},
        'unix:'                => qr/the path is missing/,
        "unix:/a\0b"           => qr/NUL/,
        'unix:/a?mode=888'     => qr/three octal digits/,
        'unix:/a?mod=600'      => qr/three octal digits/,
        'fd:x'                 => qr/a descriptor is a number/,
        'fd:-1'                => qr/a descriptor is a number/,
    );
    for my $spec (sort keys %why) {
        my $error = error_of(sub { LISTENER->parse($spec) });
        is [ ref $error, $error->name, $error->operation, $error->value, $error->file ],
            [ 'EventLoop::Fork::Error', 'EVF_EINVAL', 'listen', $spec, __FILE__ ], 'an error of the caller: ' . $spec;
        like $error->message, $why{$spec}, 'with the reason';
        like $error->message, qr/accepted are HOST:PORT/, 'and what is accepted';
    }
    for my $spec (undef, {}, [], sub { }, \'x') {
        my $error = error_of(sub { LISTENER->parse($spec) });
        is [ ref $error, $error->name ], [ 'EventLoop::Fork::Error', 'EVF_EINVAL' ], $error->message;
    }
    like error_of(sub { opened('127.0.0.1:0', backlogg => 1) }), qr/unknown option 'backlogg'/, 'an unknown option';
};

subtest 'a perl without IO::Socket::IP' => sub {
    my $program = <<'EOP';
BEGIN { unshift @INC, sub { die "hidden\n" if $_[1] eq 'IO/Socket/IP.pm' } }
use EventLoop::Fork::Supervisor::Listener;
for my $address (@ARGV) {
    my $socket   = EventLoop::Fork::Supervisor::Listener->parse($address)->open->socket;
    my $client   = fork || do { socket my $c, $socket->sockdomain, 1, 0; connect $c, getsockname $socket; exit 0 };
    waitpid $client, 0;
    my $accepted = $socket->accept or die "accept: $!";
    print ref $socket, ' ', ref $accepted, "\n";
}
EOP
    my $result = run_program($program, '127.0.0.1:0', has_ipv6() ? '[::1]:0' : ());
    is $result->{stdout}, "IO::Socket::INET IO::Socket::INET\n" . (has_ipv6() ? "IO::Socket IO::Socket\n" : ''),
        'has objects all the same';
    is [ @$result{qw(stderr status)} ], [ '', 0 ], 'that work';
};

subtest 'several' => sub {
    my $folder    = folder();
    my @listeners = LISTENER->open_all([ '127.0.0.1:0', "unix:$folder/a", '127.0.0.1:0' ]);
    is [ map { $_->name } @listeners ],
        [ match(qr/\A127/), "unix:$folder/a", match(qr/\A127/) ], 'in the order they were given';
    my @count = open_fds();
    my $taken = $listeners[0]->name;
    my $error = error_of(sub { LISTENER->open_all([ '127.0.0.1:0', "unix:$folder/b", $taken ]) });
    is $error->value, $taken, 'one fails';
    is [ open_fds() ], \@count, 'and none is left open';
    ok !-e "$folder/b", 'nor its file';
    is [ LISTENER->open_all([]) ], [], 'no address, no listener';
    $_->remove_file, $_->close for @listeners;
};

subtest 'a socket for each worker' => sub {
    skip_all 'not on this system' if $^O ne 'linux';
    my ($held) = opened('127.0.0.1:0', reuseport => 1);
    ok $held->is_held, 'the address is held';
    ok refuses($held), 'and nobody queues at a socket that nobody accepts on';
    my @workers = map { $held->per_worker(backlog => 10) } 1 .. 2;
    is [ map { $_->name } @workers ], [ ($held->name) x 2 ], 'each has the same address';
    is [ map { !!$_->is_held } @workers ], [ F, F ], 'and listens';
    ok $held->is_open, 'the supervisor keeps its own';
    my $client = reaches($workers[0]);
    ok $client, 'connections come';
    my $error = error_of(sub { opened($held->name, reuseport => 1) });
    like $error->message, qr/is in use by this process itself/, 'another server does not share the port unnoticed';
    like error_of(sub { opened($held->name) })->message, qr/in use/, 'nor one without the option';

    my ($names, $status) = in_raw_child(sub {
        my $own = $held->per_worker;
        return [ $own->name, $held->is_open ? 'kept' : 'closed', -d '/proc' ? scalar grep { /socket/ } open_fds() : 4 ];
    });
    is $names, [ $held->name, 'closed', 4 ], q(a worker's copy of what holds the address is closed);
SKIP: {
        my ($uid) = $> == 0 ? unprivileged() : ();
        skip 'for root', 1 if !defined $uid;
        is said(sub {
            POSIX::setuid($uid);
            error_of(sub { $held->per_worker })->message;
            }),
            $held->name
            . ' is held by user id 0, and the kernel shares it with sockets of the same user only; '
            . "bind it before this process becomes user id $uid", 'it is too late when privileges are dropped';
    }
    my ($plain) = opened('127.0.0.1:0');
    ref_is $plain->per_worker, $plain, 'a shared one stays what it is';
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
