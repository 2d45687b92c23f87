# Where no descriptor is left for a process, its end is told by SIGCHLD. Nothing is lost, and a child can still have a
# loop of its own.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

# With few descriptors, all taken but as many as are said.
my $program = <<'EOP';
use strict;
use warnings;
use Errno qw(EMFILE);
use ForkTest;
use POSIX ();
my ($source) = @ARGV;
$| = 1;
my $loop = eval $source or die $@ || $!;
my $first;
$loop->fork(code => sub { 0 }, on_exit => sub { $first = 1 });
wait_until($loop, sub { $first });    # all modules are loaded

pipe my $gate, my $door or die "pipe: $!";
my @taken;
while (1) {
    open my $one, '<', '/dev/null' or last;
    push @taken, $one;
}
$! == EMFILE or die "not EMFILE: $!";

sub fork_some {
    my ($count) = @_;
    my (%statuses, $raw_status);
    for my $number (1 .. $count) {
        $loop->fork(
            code    => sub { alarm 60; close $door; sysread $gate, my $byte, 1; $number },
            on_exit => sub { $statuses{ $_[1] >> 8 }++ },
        );
    }
    my $raw = fork;
    defined $raw or die "fork: $!";
    POSIX::_exit(77) if !$raw;
    $loop->watch_process($raw => sub { $raw_status = $_[1] >> 8 });
    $loop->loop_once(0);
    close $door;
    wait_until($loop, sub { $count == keys %statuses && defined $raw_status });
    return join ' ', (map { "$_:$statuses{$_}" } sort { $a <=> $b } keys %statuses), $raw_status;
}
print 'none ', fork_some(5), "\n";

# In the child the parent's loop is gone, and its descriptors with it.
my $status;
$loop->fork(
    code => sub {
        alarm 60;
        my $in_child = eval $source or die $@ || $!;
        my ($fired, $signals, $below) = (0, 0);
        $in_child->watch_time(after => 0.001, code => sub { $fired++ });
        $in_child->watch_signal(USR1 => sub { $signals++ });
        kill USR1 => $$;
        $in_child->fork(code => sub { 4 }, on_exit => sub { $below = $_[1] >> 8 });
        wait_until($in_child, sub { $fired && $signals && defined $below });
        return $fired + $signals + $below;
    },
    on_exit => sub { $status = $_[1] >> 8 },
);
wait_until($loop, sub { defined $status });
print "child $status\n";

# Some find a descriptor, the others do not.
pop @taken for 1 .. 4;
pipe $gate, $door or die "pipe: $!";
print 'some ', fork_some(5), "\n";

@taken = ();
pipe $gate, $door or die "pipe: $!";
print 'all ', fork_some(5), "\n";
print 'left ', children_left() || 'none', "\n";
print 'handler ', $SIG{CHLD} // 'none', "\n";
my $state = signal_state();
print 'caught ', (grep { $_ eq 'CHLD' } @{ $state->{caught} }) ? 'still' : 'no longer', "\n" if $state;
EOP

each_loop sub {
    my ($new, $kind) = @_;
    my $result = run_program(
        $program, { through => sub { ('sh', '-c', 'ulimit -n 48; exec "$@"', 'sh', @_) } },
        $kind->{source}
    );
    my %said = $result->{stdout} =~ /^(\w+) (.*)$/mg;
    my $five = '1:1 2:1 3:1 4:1 5:1 77';
    is $said{none}, $five, 'each status arrives once when no descriptor is free';
    is $said{child}, 6, 'a child makes a loop and forks in its turn';
    is $said{some}, $five, 'when a few are free';
    is $said{all}, $five, 'and when there are enough again';
    is [ @said{qw(left handler)} ], [qw(none none)], 'no child and no handler is left';
    is $said{caught}, 'no longer', 'of the kernel, neither' if defined $said{caught};
    is [ @$result{qw(stderr status)} ], [ '', 0 ], 'without a complaint';
};

done_testing;
