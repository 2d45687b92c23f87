package EventLoop::Fork::Test::Loop::Idle;

# What is put off to the next turn.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;

contract idle => later => 'what is put off is called once, in the next turn, which does not wait' => sub {
    my $called = 0;
    my $id     = $loop->watch_idle(when => 'later', code => sub { $called++ });
    ok(defined $id, 'there is an id');
    is($called, 0, 'not at once');
    my $start = now();
    $loop->loop_once(EVENT_BOUND);
    is($called, 1, 'called');
    ok(now() - $start < PROMPT_BOUND, 'without waiting');
    turns();
    is($called, 1, 'once');
    $loop->later(sub { $called++ });
    $loop->loop_once(EVENT_BOUND);
    is($called, 2, 'later is the short form');
    my $timer = $loop->watch_time(after => EVENT_BOUND, code => sub { });
    $loop->later(sub { $called++ });
    $loop->loop_once(EVENT_BOUND);
    is($called, 3, 'a timer that waits does not hold it up');
    $loop->unwatch_time($timer);
};

contract idle => later_in_later => 'what is put off in such a callback comes in the turn after' => sub {
    my @called;
    $loop->later(sub {
        push @called, 1;
        $loop->later(sub {
            push @called, 2;
            $loop->later(sub { push @called, 3 });
        });
    });
    for my $turn (1 .. 3) {
        $loop->loop_once(EVENT_BOUND);
        is_list(\@called, [ 1 .. $turn ], "turn $turn");
    }
};

contract idle => order => 'in the order of their start' => sub {
    my @called;
    for my $number (1 .. 30) {
        $loop->later(sub { push @called, $number });
    }
    turns();
    is_list(\@called, [ 1 .. 30 ], 'thirty of them');
};

contract idle => unwatch => 'unwatch_idle prevents, and lets the loop wait' => sub {
    my ($gone, $called) = (0, 0);
    my $id = $loop->watch_idle(when => 'later', code => counting_code(\$gone, \$called));
    is($gone, 0, 'the callback is held');
    $loop->unwatch_idle($id);
    is($gone, 1, 'the callback is freed');
    $loop->loop_once(0);
    quiet_ok('the loop waits');
    is($called, 0, 'not called');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Idle - tests of a loop: what is put off

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'idle');

=head1 DESCRIPTION

The suite C<idle> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

=head2 idle

What is put off to the next turn.

=over 4

=item idle.later

What is put off is called once, in the next turn, which does not wait.

=item idle.later_in_later

What is put off in such a callback comes in the turn after.

=item idle.order

In the order of their start.

=item idle.unwatch

C<unwatch_idle> prevents, and lets the loop wait.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
