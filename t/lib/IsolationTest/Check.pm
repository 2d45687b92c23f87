package IsolationTest::Check;

# What the checks of t/isolation are made of: their list, and steps that several have. A check gets the run
# (IsolationTest::Run), does what may go wrong, and reports what went wrong by letter. It returns NOTHING where there is
# nothing to check. Loads no check; IsolationTest::Checks loads all.

use strict;
use warnings;

use Exporter           qw(import);
use ForkTest           qw(now pause);
use IsolationTest::Run ();

our @EXPORT =
    qw(NOTHING QUIET all_well blame check child_that_tells faults_in_words for_a_while has_statuses own_process
    own_watches watch watch_shortly);

use constant { QUIET => IsolationTest::Run::QUIET(), NOTHING => IsolationTest::Run::NOTHING() };

# ---- The list -------------------------------------------------------------------------------------------------------

my (@names, %checks);

# By default a check runs with perl's fork and the family's own as the plain tools, with EventLoop::Fork->fork, and with
# perl's fork while EventLoop::Fork is loaded.
sub check {
    my ($name, $title, $code, %options) = @_;
    push @names, $name;
    $checks{$name} =
        { name => $name, title => $title, code => $code, plain => [qw(fork own)], with => [qw(ours raw)], %options };
    return;
}

sub names { return @names }

sub for_name {
    my ($name) = @_;
    return $checks{$name} || die "No check '$name'\n";
}

# ---- Steps ----------------------------------------------------------------------------------------------------------

# A child that tells what the code returns in it, and stays until it is released.
sub child_that_tells {
    my ($run, $code) = @_;
    return $run->start_child(sub {
        my ($own, $me) = @_;
        my $told = $code->($own);
        $me->tell($told);
        $me->wait;
        return 0;
    });
}

# The world of the parent is whole while a child is there, and when it has gone.
sub all_well {
    my ($run, $world, $kid) = @_;
    $run->faults_of($world, 'while the child lives');
    $run->end($kid);
    $run->faults_of($world, 'when it has gone');
    return;
}

# Nothing of it need work.
sub watch_shortly {
    my ($family, $handle, $way) = @_;
    my $watch = eval {
        $family->$way($handle, sub { });
    };
    eval { $family->turn(0.005) } for 1 .. 2;
    eval { $watch->{stop}->(); $family->turn(0.005) } if $watch;
    return;
}

# Turns until some time after the timer was due, and often enough on a busy machine. Neither loop need work.
sub for_a_while {
    my ($world, @families) = @_;
    my $turns = 0;
    while (now() < $world->{due} + QUIET || $turns < 5) {
        for my $family (@families) {
            eval { $family->turn(0.01) };
        }
        pause();
        $turns++;
    }
    return;
}

# What does not work in a world, and how.
sub faults_in_words {
    my ($run, $world) = @_;
    my $faults = $world->works($run->{bound});
    return map { "$_ ($faults->{$_})" } sort keys %$faults;
}

# All kinds of watches on one loop, and a child of the child.
sub own_watches {
    my ($run, $own) = @_;
    my $world = IsolationTest::World->new($own);
    my @wrong = faults_in_words($run, $world);
    push @wrong, own_process($run, $own);
    $world->stop;
    push @wrong, "stop: $world->{stop_error}" if $world->{stop_error};
    return @wrong;
}

# A child of the child.
sub own_process {
    my ($run, $family) = @_;
    return unless $family->has_processes;
    my $status;
    my $pid   = $run->raw_child(sub { 7 });
    my $watch = $family->process($pid, sub { $status = $_[0] });
    $family->wait_for(sub { defined $status }, $run->{bound}) or return 'no status';
    return $status == 7 << 8 ? () : "status $status";
}

# What a process says of itself that must be nothing.
sub blame {
    my ($run, $letter, $who, $wrong) = @_;
    return if ref $wrong eq 'ARRAY' && !@$wrong;
    my $what = ref $wrong eq 'ARRAY' ? join(', ', @$wrong) : ref $wrong ? $wrong->{died} : 'nothing heard';
    $run->fault($letter => "$who: ", $what);
    return;
}

# To hear of the end of a child by the tool, as its exits.
sub watch {
    my ($run, $kid) = @_;
    return if $kid->{child};
    $kid->{is_watched} = $run->family->process($kid->pid, sub { push @{ $kid->{exits} }, $_[0] });
    return;
}

sub has_statuses { my ($run) = @_; return $run->{tool} eq 'ours' || $run->family->has_processes }

1;
