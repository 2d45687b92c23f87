package IsolationTest::Checks::OwnLoop;

# The child has a loop of its own: it works, and shares nothing with its parent's.

use strict;
use warnings;

use IsolationTest::Check;
use IsolationTest::Run ();

sub child_with_watches {
    my ($run) = @_;
    return child_that_tells($run, sub { my ($own) = @_; [ own_watches($run, $own) ] });
}

sub loop_works_in {
    my ($run, $world, $kid) = @_;
    blame($run, c => 'child', $kid->hear(4));
    all_well($run, $world, $kid);
    return;
}

check new => 'a child has a loop that works', sub {
    my ($run) = @_;
    my $world = $run->world;
    loop_works_in($run, $world, child_with_watches($run));
};

check callback => 'a fork in a callback: the child has a loop that works, and the parent goes on', sub {
    my ($run)  = @_;
    my $family = $run->family;
    my $world  = $run->world;
    my $kid;
    pipe my $reader, my $writer or die "pipe: $!";
    syswrite $writer, 'x';
    my ($watch, $is_called);
    $watch = $family->read(
        $reader,
        sub {
            return if $is_called++;
            sysread $reader, my $byte, 1;
            $watch->{stop}->();
            $kid = child_with_watches($run);
        }
    );
    $run->wait_for(sub { $kid });
    loop_works_in($run, $world, $kid);
};

check single => 'the loop that a child gets is not its parent\'s', sub {
    my ($run)  = @_;
    my $family = $run->family;
    my $before = $family->identity;
    return NOTHING unless defined $before;
    my $world = $run->world;
    my $kid =
        child_that_tells($run, sub { my ($own) = @_; [ $own->identity, $own->again->identity, ref $own->{loop} ] });
    my $told = $kid->hear;
    if (ref $told eq 'ARRAY') {
        my ($own, $again, $class) = @$told;
        $run->fault(1 => 'the same object') if $own == $before || $again == $before;
        $run->fault(1 => "a $class")        if $class ne ref $family->{loop};
    }
    $run->end($kid);
};

check private => 'no kernel object of the parent\'s loop is also its child\'s', sub {
    my ($run) = @_;
    my $world = $run->world;
    defined IsolationTest::Run::shared_with($$) or return NOTHING;
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        my $watched = eval { IsolationTest::World->new($own) };    # it has its own by now, if it ever will
        $own->use_others;
        $me->tell('ready');
        $me->wait;
        return 0;
    });
    $kid->hear;
    my $shared = IsolationTest::Run::shared_with($kid->pid);
    $run->fault(k => @$shared) if @$shared;
    $run->end($kid);
};

1;
