package IsolationTest::Checks::Generations;

# Children of children, and both sides at work at a time.

use strict;
use warnings;

use IsolationTest::Check;

# Each has a loop that works while those below it live, hears of its child's end, and tells what went wrong.
sub generation {
    my ($run, $family, $depth) = @_;
    local $run->{family} = $family;
    my $world = $run->world;
    my @wrong;
    if ($depth) {
        my $kid = $run->start_child(sub {
            my ($own, $me) = @_;
            $me->tell([ generation($run, $own, $depth - 1) ]);
            $me->wait;
            return $depth;
        });
        watch($run, $kid) if has_statuses($run);
        my $below = $kid->hear_turning(4 * $depth);
        push @wrong, ref $below eq 'ARRAY' ? @$below : 'nothing heard from below';
        push @wrong, "generation $depth: $_" for faults_in_words($run, $world);
        $kid->release;
        if (has_statuses($run)) {
            $run->wait_for(sub { @{ $kid->{exits} } });
            my $exits = join ', ', @{ $kid->{exits} };
            push @wrong, "generation $depth: status ($exits)" if $exits ne $depth << 8;
        }
        else {
            $kid->reap($run->{bound});
        }
    }
    else {
        push @wrong, own_watches($run, $family);
    }
    return @wrong;
}

check tree => 'three generations of children', sub {
    my ($run) = @_;
    my @wrong = generation($run, $run->family, 3);
    $run->fault(c => join '; ', @wrong) if @wrong;
};

check busy => 'parent and child start and stop watches all the time', sub {
    my ($run)  = @_;
    my $rounds = 10;
    my $churn  = sub {
        my ($family) = @_;
        my @wrong;
        for (1 .. $rounds) {
            my $world = IsolationTest::World->new($family, timer => 0.002);
            @wrong = faults_in_words($run, $world);
            $world->stop;
            last if @wrong;
        }
        return @wrong;
    };
    my $world = $run->world;
    $world->{watches}{signal}{stop}->();    # one watch of a signal is enough
    delete $world->{watches}{signal};
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        $me->tell('starts');
        $me->tell([ $churn->($own) ]);
        $me->wait;
        return 0;
    });
    $kid->hear;
    my @wrong    = $churn->($run->family);
    my $in_child = $kid->hear(4);
    $run->fault(substr($_, 0, 1) => "parent: $_") for @wrong;
    blame($run, c => 'child', $in_child);
    $run->end($kid);
};

1;
