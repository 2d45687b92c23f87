package EventLoop::Fork::Test::Adapter::Timer;

# Timers, and a run that one of them ends.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Adapter::Contract;
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Helpers qw(is is_list now ok time_in_line);

# Tries at most. On a very busy machine most are no evidence.
use constant TRIES => 40;

# The code starts timers with what it gets: seconds, a name, and what else is to be done when it fires. All that are
# awaited fire, none twice, and none early. Returns in which place each fired, and how long this process was kept from
# its processor meanwhile, while it started them or from before it was due.
sub try_timers {
    my ($awaited, $code) = @_;
    my (%place, %count, %kept, @late, @looks);
    my $fired   = 0;
    my $started = now();
    my $look    = sub { push @looks, { in_line => time_in_line(), at => now() } };
    $look->();
    $code->(sub {
        my ($after, $name, $then) = @_;
        my $due  = now() + $after;
        my $fire = sub {
            push @late, now() - $due;
            $look->();
            my ($before) = grep { $_->{at} <= $due } reverse @looks;
            $kept{$name}  = $looks[-1]{in_line} - $before->{in_line};
            $place{$name} = $fired++;
            $count{$name}++;
            $then->() if $then;
        };
        return $adapter->watch_time($after, $fire);
    });
    # What was started later is due later.
    my $starting = now() - $started;
    my $is_done  = sub {
        $look->();
        return @$awaited == grep { $count{$_} } @$awaited;
    };
    ok(wait_until($is_done), 'all fire');
    run_for(QUIET);
    for my $name (keys %kept) {
        $kept{$name} = $starting if $kept{$name} < $starting;
    }
    is_list([ grep { $count{$_} > 1 } sort keys %count ], [], 'once');
    # Some loops count in milliseconds.
    is(scalar(grep { $_ < -0.002 } @late), 0, 'none is early');
    return (\%place, \%kept);
}

# A claim is about what is due some time (its gap) after a timer: it holds or not, by what has fired in which place.
#
# Not every loop orders what is due at the same look, and a process that did not get the processor for a while finds
# several due. So a claim is not judged when this process was kept from it for more than half of the gap before the
# timer fired; then there is another try, and the last one is judged anyway.
sub timers_ok {
    my ($awaited, $claims, $code) = @_;
    my (%is_judged, @wrong);
    for my $try (1 .. TRIES) {
        my ($place, $kept) = try_timers($awaited, $code);
        for my $claim (@$claims) {
            my ($name, $timer) = @$claim{qw(name timer)};
            my $is_disturbed = defined $kept->{$timer} && $kept->{$timer} > $claim->{gap} / 2;
            next if $is_disturbed && ($try < TRIES || $is_judged{$name});
            $is_judged{$name} = 1;
            push @wrong, "not $name" unless defined $kept->{$timer} && $claim->{holds}->($place);
        }
        last if @wrong || keys %is_judged == @$claims;
    }
    return is_list(\@wrong, [], 'in order');
}

contract time => 'a timer fires once, not early, and in order' => sub {
    my @seconds = (0, 0.02, 0.04, 0.06, 0.25);
    my @claims  = map {
        my ($one, $next) = @seconds[ $_ - 1, $_ ];
        {
            name  => "$one before $next",
            timer => $one,
            gap   => $next - $one,
            holds => sub { my ($place) = @_; return defined $place->{$next} && $place->{$one} < $place->{$next} },
        }
    } 1 .. $#seconds;
    timers_ok(
        \@seconds,
        \@claims,
        sub {
            my ($start) = @_;
            $start->($_ => $_) for 0.25, 0.06, 0.02, 0.04, 0;
        }
    );
};

contract unwatch_time => 'an unwatched timer does not fire' => sub {
    my $wrong = 0;
    timers_ok(
        [ 'first', 'last' ],
        [
            { name => 'first only', timer => 'first', gap => 0.01, holds => sub { !defined $_[0]{second} } },
            { name => 'none late', timer  => 'first', gap => 0.23, holds => sub { !defined $_[0]{late} } },
        ],
        sub {
            my ($start) = @_;
            my $id = $start->(0.01 => 'unwatched', sub { $wrong++ });
            my ($second, $late);
            $start->(0.02 => 'first', sub { $adapter->unwatch_time($_) for $second, $late });
            $second = $start->(0.03 => 'second');
            $late   = $start->(0.25 => 'late');
            $start->(0.26 => 'last');
            $adapter->unwatch_time($id);
        }
    );
    is($wrong, 0, 'unwatched before');
};

contract run => 'run blocks until stop, and may be run again' => sub {
    my $start = now();
    my $fired = 0;
    $adapter->watch_time(0.25, sub { $fired++; $adapter->stop });
    $adapter->run;
    is($fired, 1, 'it came back');
    ok(now() - $start >= 0.245, 'and not before stop');
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
