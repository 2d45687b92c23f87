package IsolationTest::Checks::Signals;

# Signals and timers are for one process.

use strict;
use warnings;

use IsolationTest::Check;

check signal => 'a signal to the child is the child\'s only', sub {
    my ($run) = @_;
    my $world = $run->world;

    # Before the child has done anything.
    for (1 .. 3) {
        my $kid =
            $run->start_child(sub { my ($own, $me) = @_; $me->tell('starts'); $me->wait; $me->tell('lives'); return 0 }
            );
        kill USR1 => $kid->pid;
        $run->family->run_for(QUIET);
        $kid->release;
        # It says nothing at all if the signal came first.
        my $text = '';
        1 while $kid->is_readable($run->{bound}) && sysread $kid->{from}, $text, 1000, length $text;
        $run->fault(i => 'it goes on') if $text =~ /lives/;
        $run->end($kid);
    }
    $run->fault(p => "$world->{signals} right after the fork") if $world->{signals};
    $world->{signals} = 0;

    # When the child watches it, too.
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        my $signals = 0;
        my $watch   = $own->signal(USR1 => sub { $signals++ });
        $own->turn(0);
        $me->tell('ready');
        my $came = $own->wait_for(sub { $signals }, $run->{bound});
        $own->run_for(QUIET);
        $me->tell($signals);
        $me->wait;
        return 0;
    });
    $kid->hear;
    kill USR1 => $kid->pid;
    my $signals = $kid->hear_turning;
    $run->family->run_for(QUIET);
    $run->fault(c => 'signals ' . (defined $signals ? ref $signals ? $signals->{died} : $signals : 'none'))
        unless defined $signals && $signals eq '1';
    $run->fault(p => "$world->{signals} that the child watches") if $world->{signals};
    $run->end($kid);
    $run->faults_of($world, 'when it has gone');
};

check ownsignal => 'a signal to the parent is the parent\'s only', sub {
    my ($run) = @_;
    my $world = $run->world;
    my $kid   = $run->start_child(sub {
        my ($own, $me) = @_;
        $world->forget;
        my $signals = 0;
        my $watch   = $own->signal(USR1 => sub { $signals++ });
        $own->turn(0);
        $me->tell('ready');
        $own->wait_for(sub { $me->is_released }, 2 * $run->{bound});
        $me->tell($signals + $world->{signals});
        return 0;
    });
    $kid->hear;
    for my $round (1 .. 20) {
        my $before = $world->{signals};
        kill USR1 => $$;
        next if $run->wait_for(sub { $world->{signals} > $before });
        $run->fault(s => "in round $round");
        last;
    }
    $kid->release;
    my $signals = $kid->hear;
    $run->fault(e => "signals $signals") if defined $signals && !ref $signals && $signals;
    $run->fault(x => $signals->{died})   if ref $signals;
    $run->end($kid);
};

check timer => 'a timer of the parent does not fire in the child', sub {
    my ($run) = @_;
    return NOTHING unless $run->family->has_timers;
    my $world = $run->world(timer => 0.06);
    my $kid   = $run->start_child(sub {
        my ($own, $me) = @_;
        $world->forget;
        for_a_while($world, $own);
        $me->tell($world->{timers});
        return 0;
    });
    my $in_child = $kid->hear;
    $run->fault(2 => "timers $in_child in the child") if $in_child;
    $run->faults_of($world, 'afterwards');
    $run->family->run_for(QUIET);
    $run->fault(2 => "timers $world->{timers} in the parent") if $world->{timers} > 1;
    $run->end($kid);
};

1;
