# A child draws random numbers of its own: other ones than its parent and its siblings. keep_srand keeps the parent's
# seed, for a program that wants the same again.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $siblings = 4;

sub differ {
    my %seen = map { $_ => 1 } @_;
    return keys %seen == @_;
}

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    rand;    # perl seeds at the first one

    my @drawn = map {
        my ($seen) = in_child($loop, sub { rand });
        $seen
    } 1 .. $siblings;
    my $own = rand;
    ok differ(@drawn, $own), 'siblings and parent draw different numbers';

    my @drawn_and_made = map {
        my ($seen) = in_child(
            $loop,
            sub {
                rand;
                my ($in) = in_child($new->(), sub { rand });
                $in;
            }
        );
        $seen
    } 1 .. $siblings;
    ok differ(@drawn_and_made, @drawn), 'so do their children';

    ($own, my @kept) = (
        undef,
        map {
            my ($seen) = in_child($loop, sub { rand }, keep_srand => 1);
            $seen
        } 1 .. $siblings
    );
    $own = rand;
    is \@kept, [ ($own) x $siblings ], 'with keep_srand they draw what the parent draws next';

    srand 42;
    my @sequence = map { rand } 1 .. 4;
    srand 42;
    rand;
    my ($fresh) = in_child($loop, sub { rand });
    my ($same)  = in_child($loop, sub { rand }, keep_srand => 1);
    isnt $fresh, $sequence[1], 'a seed of the program is not passed on';
    is $same, $sequence[1], 'but with keep_srand';
    is [ map { rand } 2 .. 4 ], [ @sequence[ 1 .. 3 ] ], 'the sequence of the parent goes on as if nothing had forked';

    my ($seeded) = in_child(
        $loop,
        sub {
            srand 42;
            [ map { rand } 1 .. 4 ];
        }
    );
    is $seeded, \@sequence, 'a child may set a seed';

    my @shuffled = map {
        (in_child(
            $loop,
            sub {
                join ',', map { int rand 1000 } 1 .. 20;
            }
        ))[0]
    } 1 .. $siblings;
    ok differ(@shuffled), 'and sequences differ, not only the first number';
};

# A raw fork, by code that knows nothing of us.
{
    my $program = <<'EOP';
use EventLoop::Fork::Loop;
$| = 1;
my $seed = shift;
$seed ? srand $seed : rand;
for (1, 2) {
    my $pid = fork;
    if (!$pid) { printf '%.12f ', rand; exit }
    waitpid $pid, 0;
}
EOP
    my @drawn = split / /, run_program($program)->{stdout};
    is scalar @drawn, 2, 'children of a raw fork draw';
    ok differ(@drawn), 'different numbers';
    @drawn = split / /, run_program($program, 42)->{stdout};
    is \@drawn, [ ($drawn[0]) x 2 ], 'a seed of the program goes on in them: it may be becoming a daemon';
}

control "two children of perl's own fork draw the same number", [], qr/\A(0\.[0-9]+) \1 \z/, <<'EOP';
$| = 1;
rand;
for (1, 2) {
    my $pid = fork;
    if (!$pid) { printf '%.12f ', rand; exit }
    waitpid $pid, 0;
}
EOP

control 'so do those of IO::Async::Loop::Poll', ['IO::Async::Loop::Poll'], qr/\A(0\.[0-9]+) \1 \z/, <<'EOP';
use IO::Async::Loop::Poll;
$| = 1;
rand;
my $loop = IO::Async::Loop::Poll->new;
for (1, 2) {
    $loop->fork(code => sub { printf '%.12f ', rand; 0 }, on_exit => sub { $loop->stop });
    $loop->run;
}
EOP

done_testing;
