package EventLoop::Fork::Test::Adapter::Signal;

# Signals, in the parent and in children of both kinds of forks.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Adapter::Children;
use EventLoop::Fork::Test::Adapter::Contract;
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Children qw(reap);
use EventLoop::Fork::Test::Loop::Helpers  qw(PROMPT_BOUND give is is_list now ok pause pipe_pair take);
use POSIX                                 ();

# Sends a signal to this process when it has had time to wait, and tells when. It ends when it is told, because its end
# would wake a loop.
sub sender {
    my ($signal) = @_;
    my ($release, $released) = pipe_pair();
    my ($reader, $writer)    = pipe_pair();
    my $parent = $$;
    my $pid    = fork;
    defined $pid or die "fork: $!";
    if (!$pid) {
        $SIG{$_} = 'DEFAULT' for $signal, 'ALRM';    ## no critic (LocalizedPunctuationVars)
        alarm 3 * $bound;
        close $released;
        pause(QUIET);
        give($writer, now() . "\n");
        kill $signal => $parent;
        sysread $release, my $byte, 1;
        POSIX::_exit(0);
    }
    close $_ for $release, $writer;
    return sub {
        my $sent = take($reader);
        close $released;
        reap($pid);
        return $sent;
    };
}

contract signal => 'a signal that is watched calls back at once, also in a loop that waits for nothing else' => sub {
    my $arrived;
    my $id     = $adapter->watch_signal(USR1 => sub { $arrived = now(); $adapter->stop });
    my $safety = $adapter->watch_time($bound, sub { $adapter->stop });
    my $lateness;
    # A busy machine may be late itself; a loop that is late is so each time.
    for (1 .. 5) {
        undef $arrived;
        my $end = sender('USR1');
        $adapter->run;
        my $sent = $end->();
        $lateness = defined $arrived ? $arrived - $sent : $bound;
        last if $lateness < PROMPT_BOUND / 8;
    }
    ok($lateness < PROMPT_BOUND / 8, "it was late by $lateness s");
    $adapter->unwatch_time($safety);
    my @called;
    my @ids = map {
        my $name = $_;
        $adapter->watch_signal(USR1 => sub { push @called, $name })
    } 'second', 'third';
    undef $arrived;
    kill USR1 => $$;
    ok(wait_until(sub { $arrived && @called >= 2 }), 'several watches of a signal are called');
    is_list(\@called, [qw(second third)], 'in their order');
    $adapter->unwatch_signal($_) for $id, @ids;
};

contract unwatch_signal => 'what a signal did before it was watched, it does afterwards' => sub {
    my ($before, $one, $other) = (0, 0, 0);
    my $handler = sub { $before++ };
    local $SIG{USR1} = $handler;
    my $first  = $adapter->watch_signal(USR1 => sub { $one++ });
    my $second = $adapter->watch_signal(USR1 => sub { $other++ });
    kill USR1 => $$;
    ok(wait_until(sub { $one && $other }), 'watched twice');
    $adapter->unwatch_signal($first);
    kill USR1 => $$;
    ok(wait_until(sub { $other == 2 }), 'watched once');
    $adapter->unwatch_signal($second);
    kill USR1 => $$;
    run_for(0);
    is("$before $one $other", '1 1 2', 'unwatched');
    ok(ref $SIG{USR1} && $SIG{USR1} == $handler, 'what was in %SIG is back');
    $adapter->unwatch_signal($second);
    ok(ref $SIG{USR1} && $SIG{USR1} == $handler, 'unwatched again it stays');
    local $SIG{USR2} = 'IGNORE';
    $adapter->unwatch_signal($adapter->watch_signal(USR2 => sub { }));
    is($SIG{USR2}, 'IGNORE', 'so does one that was ignored');

    for my $name ('NONE', 'KILL', undef) {
        my $error = eval {
            $adapter->watch_signal($name => sub { });
            1;
        } ? 'none' : $@;
        is(ref $error && $error->name, 'EVF_ESIGNAL', 'refused: ' . (defined $name ? $name : 'undef'));
    }
};

contract signal_in_child =>
    'a watch of a signal is not for a child, which may have its own; that of the parent goes on' => sub {
    my $called = 0;
    my $id     = $adapter->watch_signal(USR1 => sub { $called++ });
    my @words  = child_says(sub {
        my ($own) = @_;
        my $heard = 0;
        local $SIG{USR2} = sub { };
        my $own_id = $own->watch_signal(USR1 => sub { $heard++ });
        kill USR1 => $$;
        my $is_well = wait_until(sub { $heard }, $own);
        $own->unwatch_signal($own_id);
        local $SIG{USR1} = sub { $heard = 'late' };
        $adapter->unwatch_signal($id);
        kill USR1 => $$;
        run_for(0, $own);
        return ($is_well ? 'heard' : 'not heard', $heard, "parent's $called");
    });
    is_list(\@words, [ 'heard', 'late', "parent's 0" ], 'in the child');
    run_for(QUIET);
    is($called, 0, 'the parent does not hear of it');
    kill USR1 => $$;
    ok(wait_until(sub { $called }), 'the parent hears its own');
    $adapter->unwatch_signal($id);
    };

contract signal_kept => 'in a child of a raw fork a watch of a signal goes on; that of the parent, too' => sub {
    my $called = 0;
    my $id     = $adapter->watch_signal(USR1 => sub { $called++; $adapter->stop });
    run_for(0);
    my $words = raw_child(sub {
        my $end = sender('USR1');
        $adapter->run;
        my $lateness = now() - $end->();
        return ("called $called", $lateness < $bound / 2 ? 'in time' : "late by $lateness");
    });
    is_list([ $words->() ], [ 'called 1', 'in time' ], 'in the child');
    run_for(QUIET);
    is($called, 0, 'the parent does not hear of it');
    my $end = sender('USR1');
    $adapter->run;
    $end->();
    is($called, 1, 'the parent hears its own');
    $adapter->unwatch_signal($id);
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Signal - tests of an adapter: signals

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_adapter_tests($code, { only => [ 'signal', 'unwatch_signal', 'signal_in_child', 'signal_kept' ] });

=head1 DESCRIPTION

Tests of L<EventLoop::Fork::Test::Adapter>, which lists them.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
