package Bench::PingPong;

# One byte goes to and fro over 100 socket pairs, both ends watched by one loop: the cost of a turn and of a delivery
# with many descriptors ready. A second row adds descriptors on which nothing happens.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use IO::Handle;
use POSIX  ();
use Socket qw(AF_UNIX PF_UNSPEC SOCK_STREAM);

use constant PAIRS => 100;
use constant IDLE  => 2_000;

sub rows {
    my %common = (
        unit    => 'round trip',
        count   => 10_000,
        takes   => sub { $_[0]{make} },
        against => 'ev',
        clock   => 'processor',
        target  => 1.0,
        judged  => sub { $_[0]{is_ours} && $_[0]{kind} eq 'io_async' },
    );
    return (
        {
            %common,
            name    => 'ping-pong',
            title   => '100 socket pairs, one byte to and fro on each',
            prepare => sub { return _prepare($_[0], 0) },
        },
        {
            %common,
            name    => 'ping-pong-idle',
            title   => 'the same beside 2,000 idle descriptors',
            prepare => sub { return _prepare($_[0], IDLE) },
        },
    );
}

sub socket_pair {
    socketpair my $one, my $other, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die "cannot make a socket pair: $!\n";
    return ($one, $other);
}

sub _read_byte {
    my ($handle) = @_;
    my $got = sysread $handle, my $byte, 16;
    return $byte if $got;
    die defined $got ? "end of file\n" : "cannot read: $!\n" unless !defined $got && ($! == EAGAIN || $! == EINTR);
    return;
}

sub _prepare {
    my ($loop, $idle) = @_;
    my $needed = $idle + 2 * PAIRS + 50;
    my $limit  = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
    $limit >= $needed or die "needs $needed descriptors and may have $limit (ulimit -n)\n";

    my @idle = map { socket_pair() } 1 .. $idle / 2;
    $loop->watch_io(handle => $_, on_read_ready => sub { die "an idle descriptor became ready\n" }) for @idle;

    my ($to_start, $to_finish);
    my @near;
    for (1 .. PAIRS) {
        my ($near, $far) = socket_pair();
        push @near, $near;
        $loop->watch_io(
            handle        => $near,
            on_read_ready => sub {
                my $byte = _read_byte($near);
                return unless defined $byte;
                $loop->stop           if --$to_finish == 0;
                syswrite $near, $byte if $to_start-- > 0;
            },
        );
        $loop->watch_io(
            handle        => $far,
            on_read_ready => sub {
                my $byte = _read_byte($far);
                syswrite $far, $byte if defined $byte;
            },
        );
    }
    return sub {
        my ($count) = @_;
        $count >= PAIRS or die "a batch has at least one round trip for each pair\n";
        ($to_start, $to_finish) = ($count - PAIRS, $count);
        syswrite $_, 'x' for @near;
        $loop->run;
        $to_finish == 0     or die "$to_finish round trips are missing\n";
        $#idle + 1 == $idle or die "the idle descriptors are gone\n";
    };
}

1;
