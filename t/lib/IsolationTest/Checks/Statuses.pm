package IsolationTest::Checks::Statuses;

# Statuses of children come to whoever is to have them, once, and nothing is left behind.

use strict;
use warnings;

use ForkTest qw(children_left is_zombie open_fds);
use IsolationTest::Check;

# Each of the children has ended with this status, and it was heard of once.
sub statuses_arrive {
    my ($run, $kids, $expected) = @_;
    $run->wait_for(sub {
        !grep { !@{ $_->{exits} } } @$kids;
    });
    $run->family->run_for(QUIET);
    for my $index (0 .. $#$kids) {
        my $exits = join ', ', @{ $kids->[$index]{exits} };
        $run->fault(w => "($exits) instead of $expected->[$index]") if $exits ne $expected->[$index];
    }
    return;
}

# Descriptors and children, before and after.
sub nothing_left {
    my ($run, $code) = @_;
    # Whatever a first child needs for good is there then.
    my $first = $run->start_child(sub { 0 });
    watch($run, $first);
    statuses_arrive($run, [$first], [0]);
    close $first->{from};
    $run->{kids} = [];
    my %before = map { $_ => 1 } open_fds();
    $code->();
    $run->end($_), close $_->{from} for @{ $run->{kids} };
    my @left = grep { !$before{$_} } open_fds();
    $run->fault(l => @left) if @left;
    my $children = children_left();
    $run->fault(l => $children) if $children;
    return;
}

# A check that leaves nothing behind, and nothing of the parent's broken.
sub check_statuses {
    my ($name, $title, $code) = @_;
    check $name => $title, sub {
        my ($run) = @_;
        return NOTHING unless has_statuses($run);
        my $world = $run->world;
        nothing_left($run, sub { $code->($run) });
        $run->faults_of($world, 'afterwards');
    };
    return;
}

check_statuses status => 'the status of a child arrives once', sub {
    my ($run) = @_;
    my @kids;
    # Several at a time; killed; and one that has ended before anybody asks for it.
    for my $code (0, 3, 255) {
        my $kid = $run->start_child(sub { my ($own, $me) = @_; $me->wait; return $code });
        watch($run, $kid);
        $kid->release;
        push @kids, $kid;
    }
    my $killed = $run->start_child(sub { my ($own, $me) = @_; $me->wait; return 1 });
    watch($run, $killed);
    kill KILL => $killed->pid;
    push @kids, $killed;
    my $early = $run->start_child(sub { 9 });
    1 while $early->is_readable($run->{bound}) && sysread $early->{from}, my $text, 1000;
    is_zombie($early->pid);    # its files are closed before that
    $run->family->run_for(QUIET);
    watch($run, $early);
    push @kids, $early;
    statuses_arrive($run, \@kids, [ 0, 3 << 8, 255 << 8, 9, 9 << 8 ]);
};

check others => 'system, backticks, pipes and waitpid keep their statuses', sub {
    my ($run) = @_;
    my $world = $run->world;
    my @wrong;
    my @kids;
    for my $round (1 .. 2) {
        my $kid = $run->start_child(sub { my ($own, $me) = @_; $me->wait; return 4 });
        watch($run, $kid) if has_statuses($run);
        push @kids, $kid;
        my $status = system 'sh', '-c', 'exit 3';
        push @wrong, "system $status" if $status != 3 << 8;
        my $output = `echo output; exit 4`;
        push @wrong, "backticks '$output' $?" if $output ne "output\n" || $? != 4 << 8;
        open my $from, '-|', 'sh', '-c', 'echo piped; exit 5' or die "open: $!";
        my $line = readline $from;
        my $own  = $run->raw_child(sub { 6 });
        $kid->release;
        # The loop hears that children end.
        $run->family->run_for(QUIET);
        close $from;
        push @wrong, "pipe '$line' $?" if $line ne "piped\n" || $? != 5 << 8;
        my $waited = waitpid $own, 0;
        push @wrong, "waitpid $waited $?" if $waited != $own || $? != 6 << 8;
    }
    $run->fault(o => join ', ', @wrong)             if @wrong;
    statuses_arrive($run, \@kids, [ (4 << 8) x 2 ]) if has_statuses($run);
    $run->faults_of($world, 'afterwards');
};

check_statuses many => '50 children at once', sub {
    my ($run) = @_;
    pipe my $gate, my $door or die "pipe: $!";
    my @kids;
    for my $number (1 .. 50) {
        my $kid = $run->start_child(sub {
            close $door;
            1 until defined sysread $gate, my $byte, 1;
            return $number;
        });
        watch($run, $kid);
        # Ours would take the numbers of 50 more pipes.
        close delete $kid->{$_} for qw(from door);
        push @kids, $kid;
    }
    $run->family->turn(0);
    close $door;
    statuses_arrive($run, \@kids, [ map { $_ << 8 } 1 .. 50 ]);
    $run->{kids} = [];
};

1;
