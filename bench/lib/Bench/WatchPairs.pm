package Bench::WatchPairs;

# watch_io and unwatch_io as a stream does that waits for one answer: 100 sockets are watched and unwatched, then the
# loop takes a turn.

use strict;
use warnings;

use Bench::PingPong ();

use constant SOCKETS => 100;

sub rows {
    return {
        name    => 'watch-pairs',
        title   => 'watch_io and unwatch_io, a turn after each ' . SOCKETS . ' pairs',
        unit    => 'pair',
        count   => 10_000,
        takes   => sub { $_[0]{make} },
        against => 'ev',
        clock   => 'processor',
        target  => 1.2,
        judged  => sub { $_[0]{is_ours} },
        prepare => \&_prepare,
    };
}

sub _prepare {
    my ($loop)  = @_;
    my @sockets = map { Bench::PingPong::socket_pair() } 1 .. SOCKETS / 2;
    my $code    = sub { die "an idle socket became ready\n" };
    return sub {
        my ($count) = @_;
        for (1 .. $count / SOCKETS) {
            for my $socket (@sockets) {
                $loop->watch_io(handle => $socket, on_read_ready => $code);
                $loop->unwatch_io(handle => $socket, on_read_ready => 1);
            }
            $loop->loop_once(0);
        }
    };
}

1;
