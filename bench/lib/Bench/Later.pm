package Bench::Later;

# Code put off to the next turn: many calls in one turn, which shows the price of the call, and one call in each turn,
# which shows the price of a turn.

use strict;
use warnings;

use constant TOGETHER => 1_000;

sub rows {
    my %common = (
        unit    => 'call',
        takes   => sub { $_[0]{make} },
        against => 'ev',
        clock   => 'processor',
        target  => 1.2,
        judged  => sub { $_[0]{is_ours} },
    );
    return (
        {
            %common,
            name    => 'later',
            title   => '1,000 calls in each turn',
            count   => 50_000,
            prepare => sub { return _prepare($_[0], TOGETHER) },
        },
        {
            %common,
            name    => 'later-chain',
            title   => 'one call in each turn',
            count   => 20_000,
            prepare => sub { return _prepare($_[0], 1) },
        },
    );
}

sub _prepare {
    my ($loop, $together) = @_;
    my ($left, $waiting);
    my ($code, $put_off);
    $put_off = sub {
        $waiting = $together < $left ? $together : $left;
        $loop->later($code) for 1 .. $waiting;
    };
    $code = sub {
        $left--;
        return if --$waiting;
        $left > 0 ? $put_off->() : $loop->stop;
    };
    return sub {
        my ($count) = @_;
        $left = $count;
        $put_off->();
        $loop->run;
        $left == 0 or die "$left calls are missing\n";
    };
}

1;
