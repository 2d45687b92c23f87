# use EventLoop::Fork -io_async: IO::Async's own fork and its watches of processes go through us, on every class of loops.
# The contract of IO::Async stays; what goes wrong without us does not.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use ForkTest qw(children_left control run_program);
use LoopTest ();
use Test2::V0;

my @classes = map { "IO::Async::Loop::$_" } qw(Poll Select Epoll Glib Mojo);
my $switch  = 'BEGIN { require EventLoop::Fork; EventLoop::Fork->import("-io_async") }';

sub each_class {
    my ($code) = @_;
    for my $class (@classes) {
    SKIP: {
            skip("$class is not installed", 1) unless defined ForkTest::has_version($class);
            $code->($class);
        }
    }
    return;
}

# ---- IO::Async's own tests ------------------------------------------------------------------------------------------

each_class(sub {
    my ($class) = @_;
    my ($output, $status) = LoopTest::run_perl(
        { IO_ASYNC_LOOP => undef, TEST_QUICK_TIMERS => undef },
        '-MEventLoop::Fork=-io_async', '-MIO::Async::LoopTests', '-e', 'run_tests(shift, qw(process))', $class
    );
    is([ $output =~ /^(not ok.*)/mg ], [], "$class passes IO::Async's tests of processes");
    ok($output =~ /^1\.\.[0-9]+/m && $status == 0, 'all of them') or diag("status $status\n$output");
});

# ---- The contract ---------------------------------------------------------------------------------------------------

my $prelude = <<'PERL';
    BEGIN { $ENV{MOJO_REACTOR} = "Mojo::Reactor::Poll" }    # EV takes the statuses of everybody
    use strict; use warnings;
    use ForkTest qw(is_zombie);
    use POSIX ();
    use IO::Async::Loop;
    use Time::HiRes ();
    my ($class) = @ARGV;
    alarm 60;
    eval "require $class; 1" or die $@;
    my $loop = $class->new;
    my $end = Time::HiRes::time() + 20;
    sub until_so (&;$) { my ($so, $for) = @_; my $until = $for ? Time::HiRes::time() + $for : $end;
        until ($so->() || Time::HiRes::time() > $until) { $loop->loop_once(0.02) } return $so->() }
    # In a child: until nobody has the other end of its pipe open.
    sub until_closed { my ($gate, $door) = @_; close $door; 1 until defined sysread $gate, my $byte, 1; return }
PERL

my $contract = <<'PERL';
    $| = 1;
    # What it returns, and what on_exit gets.
    my @exits;
    my $pid = $loop->fork(code => sub { @_ ? 1 : 3 }, on_exit => sub { push @exits, [@_] });
    until_so { @exits };
    print $exits[0][0] == $pid && @{ $exits[0] } == 2 && $exits[0][1] == 3 << 8 ? 'on_exit' : "not @{ $exits[0] }", "\n";
    # Without on_exit nobody takes the status.
    $pid = $loop->fork(code => sub { 4 });
    is_zombie($pid);
    until_so { 0 } 0.1;    # what must not happen sends no event
    print waitpid($pid, 0) == $pid ? $? >> 8 : 'taken', "\n";
    # Watched afterwards, under both names; when it has ended long before, too.
    for my $method (qw(watch_process watch_child)) {
        my $status;
        $pid = $loop->fork(code => sub { 5 });
        is_zombie($pid);
        $loop->$method($pid => sub { $status = $_[1] >> 8 });
        print eval { $loop->$method($pid => sub { }); 1 } ? 'watched twice' : $@ =~ /^Already have a handler for $pid at -e line/ ? 'already' : $@, "\n";
        until_so { defined $status };
        print "$method $status\n";
    }
    # A raw fork, and one that is unwatched.
    $pid = fork // die;
    POSIX::_exit(6) if !$pid;
    my $status;
    $loop->watch_process($pid => sub { $status = $_[1] >> 8 });
    until_so { defined $status };
    print "raw $status\n";
    my $called = 0;
    $pid = $loop->fork(code => sub { 7 }, on_exit => sub { $called++ });
    $loop->unwatch_process($pid);
    is_zombie($pid);
    until_so { 0 } 0.1;    # as above
    print "unwatched: called $called, ", waitpid($pid, 0) == $pid ? $? >> 8 : 'taken', "\n";
    $loop->unwatch_process($pid);
    # Errors.
    print eval { $loop->fork; 1 } ? 'forked' : $@ =~ /^Expected 'code' as a CODE reference at -e line/ ? 'no code' : $@, "\n";
    # Signals.
    for my $keep (0, 1) {
        undef $status;
        local $SIG{USR1} = sub { };
        $loop->fork(code => sub { ref $SIG{USR1} ? 1 : 2 }, keep_signals => $keep, on_exit => sub { $status = $_[1] >> 8 });
        until_so { defined $status };
        print "keep_signals $keep: $status\n";
    }
    # What IO::Async makes of it.
    my $finished;
    $loop->open_process(command => [ $^X, '-e', 'exit 8' ], on_finish => sub { $finished = $_[1] >> 8 });
    until_so { defined $finished };
    print "process $finished\n";
    my ($out) = $loop->run_process(command => [ $^X, '-e', 'print "words"' ], capture => ['stdout'])->get;
    print "$out\n";
    # All children, beside one of ours.
    my (%all, $own);
    $loop->watch_process(0 => sub { my ($pid, $status) = @_; $all{$pid} = $status >> 8 });
    my $watched = $loop->fork(code => sub { 9 }, on_exit => sub { $own = $_[1] >> 8 });
    my $other   = $loop->fork(code => sub { 10 });
    until_so { keys %all == 2 && defined $own };
    print "all: $all{$watched} $all{$other}, own $own\n";
    $loop->unwatch_process(0);
PERL

my $says = <<'END';
on_exit
4
already
watch_process 5
already
watch_child 5
raw 6
unwatched: called 0, 7
no code
keep_signals 0: 2
keep_signals 1: 1
process 8
words
all: 9 10, own 9
END

each_class(sub {
    my ($class) = @_;
    program_says("$class: the contract of IO::Async", $says, "$switch $prelude $contract", $class);
});

# ---- All children ---------------------------------------------------------------------------------------------------

my $end_before = <<'PERL';
    my (%all, $own);
    my $child = sub { my ($code) = @_; my $pid = fork // die; POSIX::_exit($code) if !$pid; is_zombie($pid); return $pid };
    my @pids = map { $child->($_) } 1 .. 3;
    # The first watch of one child by IO::Async would watch the signal for all.
    if ($ARGV[1]) {
        push @pids, $loop->fork(code => sub { 7 }, on_exit => sub { $own .= $_[1] >> 8 });
        is_zombie($pids[-1]);
    }
    $loop->watch_process(0 => sub { my ($pid, $status) = @_; $all{$pid} .= $status >> 8 });
    push @pids, map { $child->($_) } 4 .. 6;
    until_so { keys %all == @pids } $ARGV[1] ? 20 : 1;    # the control waits for nothing
    print join(' ', map { $all{$_} // 'none' } @pids), ', own ', $own // 'none', ', others ', keys(%all) - @pids, "\n";
    print eval { $loop->watch_process(0 => sub { }); 1 } ? 'watched twice' : $@ =~ /^Already have a handler for 0 at -e line/ ? 'already' : $@, "\n";
    $loop->unwatch_process(0);
    my $left = $child->(8);
    until_so { 0 } 0.1;    # what must not happen sends no event
    print waitpid($left, 0) == $left ? 'unwatched' : 'taken', "\n";
PERL
my $all_told = "1 2 3 7 4 5 6, own 7, others 0\nalready\nunwatched\n";
(my $on_ev = $prelude) =~ s/"Mojo::Reactor::Poll"/"Mojo::Reactor::EV"/;
each_class(sub {
    my ($class) = @_;
    control("$class: IO::Async forgets them", [$class], qr/\A(?!1 2 3)/, "$prelude $end_before", $class);
    program_says(
        "$class: children that ended before they were watched", $all_told, "$switch $prelude $end_before",
        $class, 1
    );
});
SKIP: {
    skip('IO::Async::Loop::Mojo and EV are not both installed', 2)
        if grep { !defined ForkTest::has_version($_) } 'IO::Async::Loop::Mojo', 'EV';
    # EV has the signal of the first ones to act on, and by that takes the statuses of the others.
    (my $ends = $end_before) =~ s/until_so \{ 0 \}.*//s;
    program_says(
        "all children, beside EV", "1 2 3 7 4 5 6, own 7, others 0\nalready\n", "$switch $on_ev $ends",
        'IO::Async::Loop::Mojo', 1
    );
    # EV tells by lists of pids, 16 of them. In one of them are the watches of all children, too; who is told first there is
    # not who is told first in the others.
    my $each_list = <<'PERL';
    my (%own, %all, %pids);
    until (keys %pids == 16) {
        my $pid = $loop->fork(code => sub { 7 }, on_exit => sub { $own{ $_[0] } .= $_[1] >> 8 });
        is_zombie($pid);
        $pids{ $pid % 16 } = $pid;
    }
    $loop->watch_process(0 => sub { my ($pid, $status) = @_; $all{$pid} .= $status >> 8 });
    until_so { keys %all == keys %own and !grep { !$all{$_} } values %pids } 20;
    print join(' ', map { $own{$_} } values %pids), "\n", join(' ', map { $all{$_} } values %pids), "\n";
PERL
    my $sixteen = join(' ', (7) x 16) . "\n";
    program_says('each child once, beside EV', $sixteen x 2, "$switch $on_ev $each_list", 'IO::Async::Loop::Mojo');
}

# ---- What a program gets --------------------------------------------------------------------------------------------

# Each says what is wrong without us, and on which classes.
my %gains = (
    'the statuses of others are theirs' => {
        wrong    => qr/^stolen/,
        expected => "exit 3, sum 6\n",
        on       => qr/Poll|Select|Epoll|Mojo/,
        program  => <<'PERL',
            my $foreign = fork // die;
            POSIX::_exit(3) if !$foreign;
            my $sum = 0;
            pipe my $gate, my $door or die;
            $loop->fork(code => sub { until_closed($gate, $door); 2 }, on_exit => sub { $sum += $_[1] >> 8 }) for 1 .. 3;
            is_zombie($foreign);    # is there to be taken when ours end
            close $door;
            until_so { $sum == 6 };
            print waitpid($foreign, 0) == $foreign ? 'exit ' . ($? >> 8) : 'stolen', ", sum $sum\n";
PERL
    },
    'what a child prints is not lost' => {
        wrong    => qr/^(?!words)/,
        expected => "words\nended\n",
        on       => qr/./,
        program  => <<'PERL',
            my $ended;
            $loop->fork(code => sub { print "words\n"; 0 }, on_exit => sub { $ended = 1 });
            until_so { $ended };
            print "ended\n";
PERL
    },
    'siblings draw different numbers' => {
        wrong    => qr/^same/,
        expected => "different\n",
        on       => qr/./,
        program  => <<'PERL',
            rand;
            pipe my $reader, my $writer or die;
            my $ended = 0;
            $loop->fork(code => sub { syswrite $writer, rand() . "\n"; 0 }, on_exit => sub { $ended++ }) for 1, 2;
            until_so { $ended == 2 };
            print scalar(readline $reader) eq scalar(readline $reader) ? 'same' : 'different', "\n";
PERL
    },
    'who watches a handle does not wait in it' => {
        wrong    => qr/^blocking/,
        expected => "not blocking\n",
        on       => qr/Glib|Mojo/,
        program  => <<'PERL',
            pipe my $reader, my $writer or die;
            $loop->watch_io(handle => $reader, on_read_ready => sub { });
            print $reader->blocking ? 'blocking' : 'not blocking', "\n";
PERL
    },
    'a child can be ended by a watched signal' => {
        wrong    => qr/^lives/,
        expected => "signal 15\n",
        on       => qr/Epoll/,
        program  => <<'PERL',
            $loop->watch_signal(TERM => sub { });
            my $status;
            pipe my $gate, my $door or die;
            my $pid = $loop->fork(code => sub { until_closed($gate, $door); 0 }, on_exit => sub { $status = $_[1] });
            kill TERM => $pid;
            close $door;    # a child that lives goes on from here, and ends by itself
            until_so { defined $status };
            print !defined $status ? 'nothing' : $status ? "signal $status" : 'lives', "\n";
PERL
    },
);
# A child sends it while the loop waits. Where nobody wakes the loop, it is seen when the next timer is due.
my $signal_while_waiting = <<'PERL';
    my $seen;
    $loop->watch_signal(USR1 => sub { $seen = Time::HiRes::time(); $loop->stop });
    pipe my $gate, my $door or die;
    my $pid = fork // die;
    if (!$pid) {
        until_closed($gate, $door);
        select undef, undef, undef, 0.2;    # the wait itself is what is tested, and nobody tells when it has begun
        kill USR1 => getppid;
        POSIX::_exit(0);
    }
    close $gate;
    close $door;
    my $due = Time::HiRes::time() + 5;
    $loop->watch_time(at => $due, code => sub { $loop->later(sub { $loop->stop }) });
    $loop->run;
    print $seen && $seen < $due ? 'at once' : 'late', "\n";
    waitpid $pid, 0;
PERL
for my $reactor (qw(Mojo::Reactor::EV Mojo::Reactor::Poll)) {
SKIP: {
        skip("$classes[-1] is not installed", 1) unless defined ForkTest::has_version($classes[-1]);
        skip("EV is not installed", 1) if $reactor =~ /EV/ && !defined ForkTest::has_version('EV');
        (my $on_reactor = $prelude) =~ s/"Mojo::Reactor::Poll"/"$reactor"/;
        control(
            "not so a signal while it waits, $reactor", [ $classes[-1] ], qr/^late/,
            "$on_reactor $signal_while_waiting", $classes[-1]
        ) if $reactor =~ /EV/;
        program_says(
            "a signal while it waits, $reactor", "at once\n", "$switch $on_reactor $signal_while_waiting",
            $classes[-1]
        );
    }
}

for my $name (sort keys %gains) {
    my $case = $gains{$name};
    each_class(sub {
        my ($class) = @_;
        if ($class =~ $case->{on}) {
            control("$class: not so $name", [$class], $case->{wrong}, "$prelude $case->{program}", $class);
        }
        program_says("$class: $name", $case->{expected}, "$switch $prelude $case->{program}", $class);
    });
}

my $exception =
    '$loop->fork(code => sub { die "oops\n" }, on_exit => sub { print $_[1] >> 8, "\n"; $loop->stop }); $loop->run;';
each_class(sub {
    my ($class) = @_;
    my $result = run_program("$switch $prelude $exception", $class);
    is($result->{stdout}, "255\n", "$class: an exception is an exit");
    like($result->{stderr}, qr/\AEventLoop::Fork: child \(pid [0-9]+\): oops\n\z/, 'and is reported');
});
SKIP: {
    skip("$classes[0] is not installed", 1) unless defined ForkTest::has_version($classes[0]);
    is(run_program("$prelude $exception", $classes[0])->{stderr}, '', 'control: nobody hears of it');
}

# ---- Loops before, and classes afterwards ---------------------------------------------------------------------------

my $before = <<'PERL';
    my ($early, $late) = (0, 0);
    pipe my $gate, my $door or die;
    my $first = fork // die;
    if (!$first) { until_closed($gate, $door); POSIX::_exit(3) }
    $loop->watch_process($first => sub { $early = $_[1] >> 8 });
    EventLoop::Fork->import('-io_async') for 1, 2;
    my $foreign = fork // die;
    POSIX::_exit(4) if !$foreign;
    $loop->fork(code => sub { 5 }, on_exit => sub { $late = $_[1] >> 8 });
    is_zombie($foreign);    # is there to be taken when ours end
    close $door;
    until_so { $early && $late };
    print "$early $late ", waitpid($foreign, 0) == $foreign ? $? >> 8 : 'stolen', "\n";
PERL
each_class(sub {
    program_says(
        "$_[0]: a loop from before", "3 5 4\n", "BEGIN { require EventLoop::Fork } $prelude $before",
        $_[0]
    );
});

my $afterwards = <<'PERL';
    {
        package Late::Loop;
        our @ISA = ('IO::Async::Loop::Poll');
        our @called;
        sub fork            { push @called, 'fork' }
        sub watch_process   { my ($self, $pid, @rest) = @_; push @called, "watch_process $pid"; return $self->SUPER::watch_process($pid, @rest) }
        sub unwatch_process { my ($self, $pid, @rest) = @_; push @called, "unwatch_process $pid"; return $self->SUPER::unwatch_process($pid, @rest) }
        sub watch_child     { push @called, 'watch_child' }
    }
    undef $IO::Async::Loop::ONE_TRUE_LOOP;
    $loop = Late::Loop->new;
    my ($status, $other, $all);
    $loop->fork(code => sub { 3 }, on_exit => sub { $status = $_[1] >> 8 });
    $loop->watch_child($loop->fork(code => sub { 4 }) => sub { $other = $_[1] >> 8 });
    until_so { $status && $other };
    $loop->watch_process(0 => sub { $all += $_[1] >> 8 });
    $loop->fork(code => sub { $_ }) for 1, 2;
    until_so { ($all || 0) == 3 };
    $loop->unwatch_process(0);
    print "$status $other, all $all@Late::Loop::called\n";
PERL
program_says(
    'a class that comes later and has its own methods', "3 4, all 3\n",
    "$switch $prelude $afterwards", 'IO::Async::Loop::Poll'
);

# A watch does not keep the loop alive, and ends with it.
my $gone = <<'PERL';
    pipe my $gate, my $door or die;
    my $before = () = glob '/proc/self/fd/*';
    $loop->fork(code => sub { close $door; sysread $gate, my $byte, 1; 0 }, on_exit => sub { print "called\n" });
    require Scalar::Util;
    undef $IO::Async::Loop::ONE_TRUE_LOOP;
    Scalar::Util::weaken(my $weak = $loop);
    undef $loop;
    my $after = () = glob '/proc/self/fd/*';
    print defined $weak ? 'lives' : 'gone', ', ', $after <= $before ? 'nothing left' : 'descriptors left', "\n";
    close $door;
    wait;
PERL
program_says('a watch goes with its loop', "gone, nothing left\n", "$switch $prelude $gone", 'IO::Async::Loop::Poll');

is(children_left(), '', 'no child is left');

done_testing;
