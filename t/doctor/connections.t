# Connections that parent and child would both speak on, and guards, which prevent it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use ForkTest qw(has_module);
use Test2::V0;

my $listening = <<'CODE';
    require IO::Socket::INET;
    my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $@;
    push @kept, $listener;
CODE
my $connected = $listening . <<'CODE';
    push @kept, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $listener->sockport) or die $@;
CODE

SKIP: {
    skip 'descriptors of a process are not told here' unless -d '/proc/self/fdinfo';
    my $found = finds(
        warning => 'connections',
        qr/\Aa connection to 127\.0\.0\.1:\d+ \(descriptor \d+, IO::Socket::INET\) is open and has no guard\z/,
        $connected,
        name    => 'a socket',
        without => "$connected guard(\$kept[1])",
    );
    ok($found->{fd} > 2, 'its number');
    finds_not(connections => $listening, name => 'a listener');
    finds_not(
        connections =>
            'require Socket; socketpair my $one, my $two, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0; push @kept, $one, $two',
        name => 'a pair of sockets'
    );
    finds_not(connections => <<'CODE', name => 'a socket that a hook closes in the child');
        require IO::Socket::INET;
        my $listener = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1') or die $@;
        my $socket   = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $listener->sockport) or die $@;
        push @kept, $listener, $socket;
        at_fork(child => sub { close $socket });
CODE
}

SKIP: {
    skip 'DBD::SQLite is not installed' unless has_module('DBD::SQLite');
    my $open = q{require DBI; push @kept, DBI->connect('dbi:SQLite:dbname=:memory:', '', '', { RaiseError => 1 });};
    finds(
        error   => 'connections', qr/\Aa connection of DBI is open and has no guard: SQLite 'dbname=:memory:'\z/, $open,
        name    => 'DBI',
        without => "$open guard(\$kept[0])",
    );
    finds_not(connections => "$open \$kept[0]->disconnect", name => 'DBI, disconnected');
}

SKIP: {
    skip 'IO::Socket::SSL is not installed'           unless has_module('IO::Socket::SSL');
    skip 'descriptors of a process are not told here' unless -d '/proc/self/fdinfo';
    # As far as a fork is concerned it is one from the moment that it is connected.
    my $tls = <<"CODE";
        require IO::Socket::SSL;
        $listening
        push \@kept, IO::Socket::SSL->new(
            PeerAddr => '127.0.0.1', PeerPort => \$listener->sockport, SSL_startHandshake => 0,
        ) or die \$@;
CODE
    finds(
        error   => 'connections', qr/\Aa TLS connection to 127\.0\.0\.1:\d+ \(descriptor \d+, IO::Socket::SSL\)/, $tls,
        name    => 'TLS',
        without => "$tls guard(\$kept[1])",
    );
}

done_testing;
