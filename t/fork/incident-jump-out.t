# last and goto in a callback, out of the callback: they went through the C frames of the loop, which then were not left
# as they should be.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    no warnings 'exiting';
    my %leaves = (
        last => sub { last WAIT },
        next => sub { next WAIT },
        redo => sub { redo WAIT },
        goto => sub { goto WAIT_END },
    );
    for my $word (sort keys %leaves) {
        my %sources = (
            timer   => sub { $loop->watch_time(after => 0, code => $leaves{$word}) },
            idle    => sub { $loop->later($leaves{$word}) },
            process => sub {
                $loop->fork(code => sub { 0 }, on_exit => $leaves{$word});
            },
            signal => sub { $loop->watch_signal(USR1 => $leaves{$word}); kill USR1 => $$ },
        );
        for my $source (sort keys %sources) {
            my ($rounds, $error) = (0);
        WAIT: for (1) {
                $rounds++;
                last if $rounds > 1;
                $sources{$source}->();
                $error = dies { $loop->loop_once(BOUND) while now() };
            }
        WAIT_END:
            like $error,
                qr/\A(?:Can't "$word" outside a loop block|Label not found for "$word WAIT"|Can't find label WAIT_END)/,
                "$word in a callback ($source) is an exception, and goes nowhere";
            $loop->unwatch_signal('USR1');
        }
    }
    my $fired = 0;
    $loop->watch_time(after => 0, code => sub { $fired++ });
    my ($seen) = in_child($loop, sub { 'child' });
    wait_until($loop, sub { $fired });
    is [ $fired, $seen ], [ 1, 'child' ], 'the loop goes on, and forks';
};

done_testing;
