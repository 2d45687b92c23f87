package IsolationTest::Checks::Inherited;

# Whatever the child does to what it has inherited, the parent's watches go on.

use strict;
use warnings;

use IsolationTest::Check;

# The code meddles in a child that stays, then goes; both times all must be well in the parent.
sub meddle {
    my ($run, $code) = @_;
    my $world = $run->world;
    my $kid   = child_that_tells($run, sub { my ($own) = @_; $code->($world, $own); return 'done' });
    $kid->hear;
    all_well($run, $world, $kid);
    return $world;
}

# What its loops do next tells the kernel of what was changed. Neither need work in the child.
sub turn_all {
    my ($own, $old) = @_;
    for my $family ($own, $old ? $old : ()) {
        eval { $family->turn(0.005) } for 1 .. 2;
    }
    return;
}

# A check of what a child may do to the world, and to the loop that it has inherited.
sub check_meddling {
    my ($name, $title, $code) = @_;
    check $name => $title, sub {
        my ($run) = @_;
        my $old = $run->family;
        meddle($run, sub { my ($world, $own) = @_; $code->($world, $own, $old) });
    };
    return;
}

check_meddling stop => 'a child stops the watches that it has inherited', sub {
    my ($world, $own, $old) = @_;
    $world->stop;
    turn_all($own, $old);
};

check_meddling destroy => 'a child lets go of everything that it has inherited', sub {
    my ($world, $own, $old) = @_;
    delete $world->{watches};
    close $world->{reader};
    close $world->{writer};
    eval { $old->destroy };
    turn_all($own);
};

check_meddling modify => 'a child changes what it has inherited, and puts other files under the numbers', sub {
    my ($world, $own, $old) = @_;
    # The same file first, for what never happens to it; then another one.
    $world->stop;
    for my $family ($old, $own) {
        watch_shortly($family, $world->{reader}, 'write');
    }
    $world->renew;
    syswrite $world->{writer}, 'y';
    for my $family ($old, $own) {
        watch_shortly($family, $world->{reader}, 'read');
    }
};

check run => 'a child runs the loop that it has inherited', sub {
    my ($run) = @_;
    my $old   = $run->family;
    my $world = $run->world(timer => 0.03);
    # Due in the parent when the child starts.
    syswrite $world->{writer}, 'x';
    my $kid = child_that_tells(
        $run,
        sub {
            my ($own) = @_;
            $world->forget;
            for_a_while($world, $old, $own);
            return $world->happened;
        }
    );
    my $happened = $kid->hear;
    if ($happened) { $run->fault(e => ref $happened ? $happened->{died} : $happened) }
    else {
        $run->wait_for(sub { length $world->{read} }) or $run->fault(d => 'what was there before the child');
    }
    all_well($run, $world, $kid);
};

1;
