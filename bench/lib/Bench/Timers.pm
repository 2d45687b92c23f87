package Bench::Timers;

# Timers with scattered deadlines, so that the queue has something to order: set and cancelled as timeouts usually are,
# and set and fired.

use strict;
use warnings;

sub rows {
    my %common = (
        unit    => 'timer',
        takes   => sub { $_[0]{make} },
        against => 'ev',
        clock   => 'processor',
        target  => 1.2,
        judged  => sub { $_[0]{is_ours} },
    );
    return (
        {
            %common,
            name    => 'timers-cancelled',
            title   => '30,000 timers set, then cancelled',
            count   => 30_000,
            prepare => \&_prepare_cancelled,
        },
        {
            %common,
            name    => 'timers-fired',
            title   => '20,000 timers set, then fired',
            count   => 20_000,
            prepare => \&_prepare_fired,
        },
    );
}

# The same numbers in each process: 0 up to 1.
sub _scattered {
    my ($count) = @_;
    my $state = 12_345;
    return map { $state = ($state * 1_103_515_245 + 12_345) % 2_147_483_648; $state / 2_147_483_648 } 1 .. $count;
}

sub _prepare_cancelled {
    my ($loop) = @_;
    my @after  = map { 10 + 100 * $_ } _scattered(30_000);
    my $code   = sub { die "a cancelled timer fired\n" };
    return sub {
        my ($count) = @_;
        my @ids = map { $loop->watch_time(after => $after[$_], code => $code) } 0 .. $count - 1;
        $loop->unwatch_time($_) for @ids;
        $loop->loop_once(0);    # what was put off is part of it
    };
}

# All are due when the loop looks for the first time: nothing is measured but the work.
sub _prepare_fired {
    my ($loop) = @_;
    my @after = map { $_ / 1_000 } _scattered(20_000);
    my $left;
    my $code = sub { $loop->stop if --$left == 0 };
    return sub {
        my ($count) = @_;
        $left = $count;
        $loop->watch_time(after => $after[$_], code => $code) for 0 .. $count - 1;
        $loop->run;
        $left == 0 or die "$left timers did not fire\n";
    };
}

1;
