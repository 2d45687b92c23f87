# A fork that the system refuses is an exception that says so. The loop is none the worse, and forks again when it can.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

# A limit on processes counts those of the user. As root, a user of its own for each test makes the count exact; that user
# may not be able to read this checkout, so what is needed of it is loaded before.
my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
use POSIX ();
my ($source, $method) = @ARGV;
$| = 1;
my $loop = eval $source or die $@ || $!;
if ($> == 0) {
    my $user = 1_900_000_000 + $$;
    POSIX::setgid($user);
    unless (POSIX::setuid($user) && $< == $user && $> == $user) {
        POSIX::setgid(65534);
        POSIX::setuid(65534) or print("cannot become another user: $!\n"), exit;
    }
}
pipe my $reader, my $writer or die "pipe: $!";
my ($read, $signals, $timers) = ('', 0, 0);
$loop->watch_io(handle => $reader, on_read_ready => sub { sysread $reader, $read, 10, length $read });
$loop->watch_signal(USR1 => sub { $signals++ });
my $state = signal_state();
my @before = open_fds();

# As many children as the limit lets live, and then one more.
my ($error, $line, %children, @statuses);
pipe my $gate, my $door or die "pipe: $!";
my @options = (
    code    => sub { alarm 60; close $door; sysread $gate, my $byte, 1; 3 },
    on_exit => sub { push @statuses, $_[1] >> 8; delete $children{ $_[0] } },
);
for (1 .. 10) {
    $line = __LINE__ + 1;
    my $pid = eval { $loop->fork(@options) };
    $error = $@;
    last unless defined $pid;
    $children{$pid} = 1;
}
if (!$error) {
    print "no limit\n";
    close $door;
    wait_until($loop, sub { !%children });
    exit;
}
print 'error ', join(' ', ref $error, $error->name, $error->operation, $error->line == $line ? 'here' : $error->line), "\n";
print "$error";
print 'sound ', $loop->_verify ? 'yes' : 'no', "\n" if $loop->can('_verify');
print 'mask ', defined $state && "@{ signal_state()->{blocked} }" eq "@{ $state->{blocked} }" ? 'kept' : 'changed', "\n";

# Again and again: nothing is used up.
my @now = open_fds();
eval { $loop->fork(code => sub { 0 }, on_exit => sub { }) } for 1 .. 20;
print 'descriptors ', @now == open_fds() ? 'kept' : 'lost', "\n";

syswrite $writer, 'x';
kill USR1 => $$;
$loop->watch_time(after => 0.001, code => sub { $timers++ });
wait_until($loop, sub { $read && $signals && $timers });
print "watches $read $signals $timers\n";

my $living = keys %children;
close $door;
wait_until($loop, sub { !%children });
print 'children ', join(' ', $living == @statuses ? 'all' : "$living of " . @statuses, grep { $_ != 3 } @statuses), "\n";

# Now there is room, if there was any.
if ($living) {
    my $status;
    $loop->fork(code => sub { 5 }, on_exit => sub { $status = $_[1] });
    wait_until($loop, sub { defined $status });
    print 'again ', $status >> 8, "\n";
}
print 'left ', children_left() || 'none', "\n";
EOP

# perl has no setrlimit; shells have, under one letter or another.
sub limited {
    my ($count, @command) = @_;
    return ('sh', '-c', "ulimit -u $count 2>/dev/null || ulimit -p $count || exit 9; exec \"\$@\"", 'sh', @command);
}

each_loop sub {
    my ($new, $kind) = @_;
    my $result = run_program($program, { through => sub { limited($> == 0 ? 4 : 1, @_) } }, $kind->{source});
    skip_rest($result) and return;
    my %said = $result->{stdout} =~ /^(\w+) (.*)$/mg;
    is $said{error}, 'EventLoop::Fork::Error EVF_EFORK fork here', 'fork throws an error of ours, from its line';
    like $result->{stdout}, qr/^EventLoop::Fork: fork: cannot fork: .+ulimit -u.* at -e line [0-9]+\.$/m,
        'that says what is wrong and where to look';
    is $said{$_}, 'kept', "$_ kept" for signal_state() ? qw(mask descriptors) : 'descriptors';
    is $said{watches}, 'x 1 1', 'all watches work';
    is $said{children}, 'all', 'the children that were made end as they should';
    is $said{again}, 5, 'and then there is room for another' if $> == 0;
    is [ @said{qw(sound left)} ], [ $said{sound} && 'yes', 'none' ], 'nothing is left';
    is [ @$result{qw(stderr status)} ], [ '', 0 ], 'without a complaint';
};

sub skip_rest {
    my ($result) = @_;
    my $why = $result->{status} >> 8 == 9 ? 'the shell cannot limit processes' : '';
    $why = $1 if $result->{stdout} =~ /\A(cannot become .*|no limit)\n/;
SKIP: { skip $why, 1 if $why }
    return $why;
}

done_testing;
