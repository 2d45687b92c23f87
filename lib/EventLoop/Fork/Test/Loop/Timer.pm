package EventLoop::Fork::Test::Loop::Timer;

# Deadlines.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use Time::HiRes ();

contract timer => after => 'a timer fires once, and never early' => sub {
    for my $delay (0, 0.001, 0.0205, 0.05) {
        my $called = 0;
        my $start  = now();
        my $took;
        $loop->watch_time(after => $delay, code => sub { $called++; $took = now() - $start });
        is($called, 0, "$delay s: not before a turn");
        ok(wait_until { $called }, "$delay s: fires");
        ok($took >= $delay, "$delay s: not early") or diag("after $took s");
        turns();
        is($called, 1, "$delay s: once");
    }
};

contract timer => prompt => 'a timer ends a longer wait' => sub {
    my $called = 0;
    my $start  = now();
    $loop->watch_time(after => 0.02, code => sub { $called++ });
    until ($called || now() - $start > EVENT_BOUND) { $loop->loop_once(EVENT_BOUND) }
    ok($called && now() - $start < PROMPT_BOUND, 'when it is due');
};

contract timer => at => 'a timer "at" fires at that time of the wall clock' => sub {
    my $called = 0;
    my ($due, $fired);
    $due = Time::HiRes::time() + 0.04;
    $loop->watch_time(at => $due, code => sub { $called++; $fired = Time::HiRes::time() });
    turns();
    is($called, 0, 'not before');
    ok(wait_until { $called }, 'fires');
    ok($fired >= $due, 'not early') or diag($due - $fired, ' s early');
    $loop->watch_time(at => Time::HiRes::time() - 100, code => sub { $called++ });
    $loop->loop_once(EVENT_BOUND);
    is($called, 2, 'a time that has passed is due in the next turn');
    my $time = $loop->time;
    ok(abs($time - Time::HiRes::time()) < PROMPT_BOUND, 'time is that of the wall clock') or diag("time $time");
};

contract timer => order => 'equal deadlines fire in the order of their start' => sub {
    my @called;
    my $past = Time::HiRes::time() - 1;
    for my $number (1 .. 20) {
        $loop->watch_time(at => $past, code => sub { push @called, $number });
    }
    turns();
    is_list(\@called, [ 1 .. 20 ], 'passed ones');

    @called = ();
    my $due = Time::HiRes::time() + 0.02;
    my @ids;
    for my $number (1 .. 20) {
        $ids[$number] = $loop->watch_time(at => $due, code => sub { push @called, $number });
    }
    $loop->unwatch_time($ids[$_]) for 3, 11, 20;
    ok(wait_until { @called >= 17 }, 'all fire');
    is_list(\@called, [ grep { $_ != 3 && $_ != 11 && $_ != 20 } 1 .. 20 ], 'future ones, some stopped');

    @called = ();
    for my $number (1 .. 20) {
        $loop->watch_time(after => 0, code => sub { push @called, $number });
    }
    ok(wait_until { @called >= 20 }, 'all fire');
    is_list(\@called, [ 1 .. 20 ], 'after 0');
};

contract timer => thousands => 'thousands of timers fire in the order of their deadlines' => sub {
    start_draws();
    my $count = 3000;
    my @ranks = map { draw(400) } 1 .. $count;
    my $base  = Time::HiRes::time() - 1000;
    my (@fired, @ids);
    for my $number (0 .. $#ranks) {
        push @ids, $loop->watch_time(at => $base + $ranks[$number], code => sub { push @fired, $number });
    }
    my %stopped = map { draw($count) => 1 } 1 .. 700;
    $loop->unwatch_time($ids[$_]) for sort { $a <=> $b } keys %stopped;
    my @expected = sort { $ranks[$a] <=> $ranks[$b] || $a <=> $b } grep { !$stopped{$_} } 0 .. $#ranks;
    ok(wait_until { @fired >= @expected }, 'all fire that are left');
    my $first = 0;
    $first++ while $first < @expected && defined $fired[$first] && $fired[$first] == $expected[$first];
    is($first, scalar @expected, 'in order');
    is(scalar @fired, scalar @expected, 'once each');
};

contract timer => unwatch => 'unwatch_time prevents, and minds no id that is over' => sub {
    my $called = 0;
    my $id     = $loop->watch_time(after => 0, code => sub { $called++ });
    $loop->unwatch_time($id);
    turns();
    is($called, 0, 'not called');
    $loop->unwatch_time($id);
    $id = $loop->watch_time(after => 0, code => sub { $called++ });
    ok(wait_until { $called }, 'another one fires');
    $loop->unwatch_time($id);
    ok(1, 'stopped and fired ids are no error');

    my @ids;
    @ids = map {
        $loop->watch_time(after => 0, code => sub { $called++; $loop->unwatch_time($_) for @ids })
    } 1 .. 50;
    $called = 0;
    turns();
    is($called, 1, 'the first of fifty that are due stops the others');
};

contract timer => far => 'a deadline far away does not fire' => sub {
    my $called = 0;
    my @ids    = map {
        $loop->watch_time(after => $_, code => sub { $called++ })
    } 86_400, 1e9;
    push @ids, $loop->watch_time(at => 8e9, code => sub { $called++ });
    quiet_ok('the loop waits');
    is($called, 0, 'not called');
    $loop->unwatch_time($_) for @ids;
};

contract timer => freed => 'a timer lets go of its callback when it has fired or is unwatched' => sub {
    my ($gone, $called) = (0, 0);
    my $id = $loop->watch_time(after => 0, code => counting_code(\$gone));
    is($gone, 0, 'held while it waits');
    $loop->unwatch_time($id);
    is($gone, 1, 'freed when unwatched');
    $loop->watch_time(after => 0, code => counting_code(\$gone, \$called));
    ok(wait_until { $called }, 'fires');
    is($gone, 2, 'freed when fired');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Timer - tests of a loop: deadlines

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'timer');

=head1 DESCRIPTION

The suite C<timer> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

=head2 timer

Deadlines.

=over 4

=item timer.after

A timer fires once, and never early.

=item timer.prompt

A timer ends a longer wait.

=item timer.at

A timer "at" fires at that time of the wall clock.

=item timer.order

Equal deadlines fire in the order of their start.

=item timer.thousands

Thousands of timers fire in the order of their deadlines.

=item timer.unwatch

C<unwatch_time> prevents, and minds no id that is over.

=item timer.far

A deadline far away does not fire.

=item timer.freed

A timer lets go of its callback when it has fired or is unwatched.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
