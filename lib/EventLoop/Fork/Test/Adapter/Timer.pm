package EventLoop::Fork::Test::Adapter::Timer;

# Timers, and a run that one of them ends.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Adapter::Contract;
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Helpers qw(is is_list now ok);

# What fires, by the code. Not every loop orders what is due at the same look, and a process that did not get the
# processor for a while finds all due: it then happens once more.
sub fired_in_order {
    my ($code, @expected) = @_;
    my @fired;
    for (1 .. 20) {
        @fired = ();
        $code->(\@fired);
        last if "@fired" eq "@expected";
    }
    return is_list(\@fired, \@expected, 'in order');
}

contract time => 'a timer fires once, not early, and in order' => sub {
    my @late;
    fired_in_order(
        sub {
            my ($fired) = @_;
            my $start = now();
            for my $after (0.06, 0.02, 0.04, 0) {
                $adapter->watch_time($after, sub { push @$fired, $after; push @late, now() - $start - $after });
            }
            ok(wait_until(sub { @$fired >= 4 }), 'all fire');
            run_for(QUIET);
            is_list([ sort { $a <=> $b } @$fired ], [ 0, 0.02, 0.04, 0.06 ], 'once');
        },
        0, 0.02, 0.04, 0.06
    );
    # Some loops count in milliseconds.
    is(scalar(grep { $_ < -0.002 } @late), 0, 'none is early');
};

contract unwatch_time => 'an unwatched timer does not fire' => sub {
    fired_in_order(
        sub {
            my ($fired) = @_;
            my $id = $adapter->watch_time(0.01, sub { push @$fired, 'unwatched' });
            my ($second, $first);
            $first  = $adapter->watch_time(0.02, sub { push @$fired, 'first'; $adapter->unwatch_time($second) });
            $second = $adapter->watch_time(0.03, sub { push @$fired, 'second' });
            $adapter->unwatch_time($id);
            run_for(QUIET);
            is(scalar(grep { $_ eq 'unwatched' } @$fired), 0, 'unwatched before');
        },
        'first'
    );
};

contract run => 'run blocks until stop, and may be run again' => sub {
    my $start = now();
    my $fired = 0;
    $adapter->watch_time(0.05, sub { $fired++; $adapter->stop });
    $adapter->run;
    is($fired, 1, 'it came back');
    ok(now() - $start >= 0.045, 'and not before stop');
    $adapter->watch_time(0, sub { $fired++; $adapter->stop });
    $adapter->run;
    is($fired, 2, 'a second run, too');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Timer - tests of an adapter: timers

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_adapter_tests($code, { only => [ 'time', 'unwatch_time', 'run' ] });

=head1 DESCRIPTION

Tests of L<EventLoop::Fork::Test::Adapter>, which lists them.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
