# EV around a fork: its kernel objects are private in the child before anything else runs there, its own watcher of
# SIGCHLD works, and what the child does to the inherited watchers stays in the child.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use File::Temp ();
use ForkTest   qw(children_left control);
use Test2::V0;

my $directory = File::Temp->newdir;    # nobody changes anything there

my $prelude = <<'PERL';
    use strict; use warnings;
    use POSIX ();
    use EV;
    $| = 1;
    alarm 60;
    my ($way) = @ARGV;
    sub until_so (&;$) { my ($so, $for) = @_; my $end = EV::time() + ($for || 20); my $t = EV::timer(0, 0.02, sub { });
        until ($so->() || EV::time() > $end) { EV::run(EV::RUN_ONCE) } return }
    # Runs the code in a child, and returns what it says. Plain: as EV's users do it, without and with loop_fork.
    sub in_child {
        my ($code) = @_;
        pipe my $report, my $to or die;
        my $inner = sub { alarm 60; syswrite $to, join ' ', $code->(@_); return 0 };
        if ($way eq 'ours') {
            my $status;
            EventLoop::Fork->fork(loop => 'EV', code => $inner, on_exit => sub { $status = $_[1] });
            until_so { defined $status };
        }
        else {
            my $pid = fork // die;
            if (!$pid) { EV::default_loop->loop_fork if $way eq 'loop_fork'; $inner->(); POSIX::_exit(0) }
            waitpid $pid, 0;
        }
        close $to;
        return readline($report) // '';
    }
PERL
my $ours = "BEGIN { require EventLoop::Fork } $prelude";

# What the kernel says of each descriptor of a kind: what is in it, or who it is.
my $kinds = <<'PERL';
    sub contents {
        my ($kind) = @_;
        my @contents;
        for my $number (sort { $a <=> $b } map { m{([0-9]+)\z} } glob '/proc/self/fd/*') {
            next unless (readlink "/proc/self/fd/$number" // '') =~ /\[?$kind\]?/;
            open my $info, '<', "/proc/self/fdinfo/$number" or next;
            push @contents, grep { /^(?:tfd|inotify|eventfd-id)/ } readline $info;
        }
        s/\s+/ /g for @contents;
        return join ';', sort @contents;
    }
PERL

# ---- Eager ----------------------------------------------------------------------------------------------------------

my $private = $kinds . <<'PERL';
    pipe my $reader, my $writer or die;
    my $io   = EV::io($reader, EV::READ, sub { });
    my $sig  = EV::signal('USR1', sub { });
    my $stat = EV::stat($ARGV[1], 0, sub { });
    EV::run(EV::RUN_NOWAIT);
    my ($epoll, $eventfd, $inotify) = map { contents($_) } qw(eventpoll eventfd inotify);
    my $number = fileno $reader;
    print in_child(sub {
        my @same;
        push @same, 'epoll'   if contents('eventpoll') =~ /tfd: $number /;
        push @same, 'eventfd' if contents('eventfd') eq $eventfd;
        push @same, 'inotify' if length $inotify && contents('inotify') eq $inotify;
        # Its end, too, must not be that of the parent's.
        $stat->stop if $way ne 'ours';
        return "shares: @same";
    });
    print $inotify eq contents('inotify') ? '' : ', takes the parent\'s inotify watch', "\n";
PERL

SKIP: {
    skip('the system does not tell of descriptors', 3) unless -e '/proc/self/fdinfo/0';
    control(
        'a child shares all kernel objects', ['EV'], qr/shares: epoll eventfd.*takes the parent's inotify/,
        "$prelude $private", 'plain', "$directory"
    );
    control(
        'with loop_fork, too, until its loop turns', ['EV'], qr/shares: epoll eventfd/, "$prelude $private",
        'loop_fork', "$directory"
    );
    skip('EV is not installed', 1) unless defined ForkTest::has_version('EV');
    program_says('a child of ours shares none of them', "shares: \n", "$ours $private", 'ours', "$directory");
}

# ---- Children of a child --------------------------------------------------------------------------------------------

my $sigchld = <<'PERL';
    print in_child(sub {
        my $status;
        my $pid = fork // die;
        POSIX::_exit(7) if !$pid;
        my $watcher = EV::child($pid, 0, sub { $status = $_[0]->rstatus >> 8 });
        until_so { defined $status } $way eq 'ours' ? 20 : 1;
        return defined $status ? "exit $status" : 'never';
    }), "\n";
PERL

# As it is without the restored action: a fork that resets caught signals, as ours does.
my $reset = 'no warnings "once"; *EventLoop::Fork::Adapter::EV::_restore_sigchld = sub { };';
control(
    'without its handler, EV never hears of a child', ['EV'], qr/^never/,
    "BEGIN { require EventLoop::Fork; require EventLoop::Fork::Adapter::EV; $reset } "
        . ($prelude =~ s/until_so \{ defined \$status \};/until_so { defined \$status };/r)
        . ($sigchld =~ s/\$way eq 'ours' \? 20 : 1/1/r), 'ours'
);
my $has_ev = defined ForkTest::has_version('EV');
program_says('a child of ours can watch its children', "exit 7\n", "$ours $sigchld", 'ours') if $has_ev;

# A program that has taken SIGCHLD from EV keeps it that way.
my $taken = <<'PERL';
    $SIG{CHLD} = sub { };
    print in_child(sub { kill CHLD => $$; return defined $SIG{CHLD} && length $SIG{CHLD} ? $SIG{CHLD} : 'none' }), "\n";
PERL
program_says('a handler of the program for SIGCHLD is reset', "DEFAULT\n", "$ours $taken", 'ours') if $has_ev;

# ---- Pending and inherited ------------------------------------------------------------------------------------------

# A child that is forked in a callback, with other callbacks lined up.
my $pending = <<'PERL';
    my ($parent, $report) = ($$, 0);
    my @pipes = map { pipe my $r, my $w or die; syswrite $w, 'x'; [ $r, $w ] } 1 .. 3;
    my ($forked, @io) = (0);
    pipe my $log, my $to_log or die;
    @io = map {
        my $pipe = $_;
        EV::io($pipe->[0], EV::READ, sub {
            if ($$ != $parent) { syswrite $to_log, 'called in the child ' unless $report++; return }
            sysread $pipe->[0], my $byte, 1;
            return if $forked++;
            in_child(sub { my $t = EV::timer(0.1, 0, sub { EV::break }); EV::run; 'done' });
        });
    } @pipes;
    until_so { $forked == 3 };
    close $to_log;
    print readline($log) // 'none', "\n";
PERL
control('callbacks of the parent run in the child', ['EV'], qr/called in the child/, "$prelude $pending", 'loop_fork');
program_says('callbacks that were lined up run in the parent only', "none\n", "$ours $pending", 'ours') if $has_ev;

# The watchers that a child has inherited can be started again, as its own.
my $restart = <<'PERL';
    my $calls = 0;
    my $timer = EV::timer(0.01, 0, sub { $calls++ });
    my $stat  = EV::stat($ARGV[1], 0, sub { $calls += 10 });
    print in_child(sub {
        until_so { $calls } 0.1;
        my $before = $calls;
        $timer->start;
        until_so { $calls } 20;
        return "$before, then $calls, stat " . ($stat->is_active ? 'on' : 'off') . ', ' . ref $stat->cb;
    });
    until_so { $calls };
    print "; parent $calls, stat ", $stat->is_active ? 'on' : 'off', "\n";
PERL
program_says(
    'inherited watchers are stopped, and can be started', "0, then 1, stat off, CODE; parent 1, stat on\n",
    "$ours $restart", 'ours', "$directory"
) if $has_ev;

# ---- Every backend --------------------------------------------------------------------------------------------------

my $backend = <<'PERL';
    my ($flag) = $ARGV[1];
    my $loop = EV::Loop->new($flag) or do { print "none\n"; exit };
    pipe my $reader, my $writer or die;
    my $read = 0;
    my $io = $loop->io($reader, EV::READ, sub { sysread $reader, my $byte, 1; $read++ });
    $loop->run(EV::RUN_NOWAIT);
    for (1 .. 3) {
        my $status;
        EventLoop::Fork->fork(
            loop => $loop,
            code => sub {
                alarm 60;
                my ($own, $fired) = ($_[0]->loop, 0);
                pipe my $r, my $w or die;
                my $in    = $own->io($r, EV::READ, sub { sysread $r, my $byte, 1; $fired += 1; });
                my $timer = $own->timer(0.01, 0, sub { $fired += 10; });
                syswrite $w, 'x';
                $own->run(EV::RUN_ONCE) until $fired == 11;
                undef $io;
                return $own != $loop && $own->backend == $loop->backend ? 3 : 4;
            },
            on_exit => sub { $status = $_[1] >> 8 }
        );
        $loop->run(EV::RUN_ONCE) until defined $status;
        print "exit $status ";
        syswrite $writer, 'x';
        my $timer = $loop->timer(20, 0, sub { $read = -1 });
        $loop->run(EV::RUN_ONCE) until $read;
        print "read $read ";
        $read = 0;
    }
    print "\n";
PERL
for my $method (qw(SELECT POLL EPOLL LINUXAIO IOURING)) {
    next unless $has_ev;
    my $flag   = { SELECT => 1, POLL => 2, EPOLL => 4, LINUXAIO => 64, IOURING => 128 }->{$method};
    my $result = ForkTest::run_program("$ours $backend", 'ours', $flag);
SKIP: {
        skip("EV has no $method here", 1) if $result->{stdout} eq "none\n";
        delete $result->{stderr}          if $method eq 'IOURING';            # it is reported
        is(
            $result,
            { ($method eq 'IOURING' ? () : (stderr => '')), stdout => 'exit 3 read 1 ' x 3 . "\n", status => 0 },
            "a loop on $method"
        );
    }
}

# ---- Signals by a descriptor ----------------------------------------------------------------------------------------

# What a child does to its watcher, and whether it can be ended; then whether the parent still hears.
my $signalfd = <<'PERL';
    my $loop  = EV::Loop->new(EV::FLAG_SIGNALFD());
    my $heard = 0;
    my $watch = $loop->signal('USR1', sub { $heard++ });
    my $late;
    my $timer = $loop->timer(0, 0.02, sub { });
    $loop->run(EV::RUN_NOWAIT);
    my $act = sub {
        $loop->loop_fork if $way eq 'loop_fork';
        undef $watch;
        my $mask = POSIX::SigSet->new;
        POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new, $mask);
        my $is_blocked = $mask->ismember(POSIX::SIGUSR1());
        my $own_heard  = 0;
        if ($way eq 'ours') {
            my $own = EV::Loop->new(EV::FLAG_SIGNALFD());
            my $new = $own->signal('USR1', sub { $own_heard++ });
            kill USR1 => $$;
            my $limit = $own->timer(10, 0, sub { $own_heard = 'none' });
            $own->run(EV::RUN_ONCE) until $own_heard;
        }
        return ($is_blocked ? 1 : 0) + 2 * $own_heard;
    };
    my $status;
    if ($way eq 'ours') {
        EventLoop::Fork->fork(loop => $loop, code => $act, on_exit => sub { $status = $_[1] >> 8 });
        $loop->run(EV::RUN_ONCE) until defined $status;
    }
    else {
        my $pid = fork // die;
        POSIX::_exit($act->()) if !$pid;
        waitpid $pid, 0;
        $status = $? >> 8;
    }
    kill USR1 => $$;
    my $end = EV::time() + ($way eq 'ours' ? 20 : 0.5);
    $loop->run(EV::RUN_ONCE) until $heard || EV::time() > $end;
    print "child $status, parent heard $heard\n";
PERL
SKIP: {
    skip('EV is not installed', 3)        unless $has_ev;
    skip('libev has no signalfd here', 3) unless $^O eq 'linux';
    control(
        'a child that stops a watcher on a signalfd takes the signal from its parent',
        ['EV'], qr/parent heard 0/, "$prelude $signalfd", 'loop_fork'
    );
    program_says(
        'a signalfd is private, and the signal is not blocked', "child 2, parent heard 1\n",
        "$ours $signalfd", 'ours'
    );
    # Its number has more than 32 bits in the mask of the descriptor.
    (my $real_time = $signalfd) =~ s/(?=    my \$late;)/    my \$other = \$loop->signal('NUM40', sub { });\n/;
    program_says(
        'with a real-time signal, too', "child 2, parent heard 1\n",
        "$ours $real_time", 'ours'
    );
}

is(children_left(), '', 'no child is left');

done_testing;
