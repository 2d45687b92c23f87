package IsolationTest::Run;

# One check in a process of its own: the family's loop in the parent, children by the tool under test, and the faults
# that either side has seen. What should come is waited for; what should not has a short while to show itself.

use strict;
use warnings;

use ForkTest              ();
use IO::Handle            ();
use IsolationTest::Family ();
use POSIX                 ();
use Storable              ();

# Seconds in which something that must not happen would show itself.
use constant QUIET => 0.04;

# Children of one process, and generations.
use constant { MOST => 60, DEEPEST => 4 };

# What a check returns that has nothing to do here.
use constant NOTHING => 'nothing to check';

# The faults, one letter each; ForkSafety.pod has the same list.
our %WORDS = (
    d   => 'the parent\'s descriptor watch is dead',
    s   => 'the parent\'s signal watch is dead',
    t   => 'a timer of the parent never fires',
    f   => 'the parent\'s callback is called for nothing',
    p   => 'a signal to the child arrives in the parent',
    e   => 'what was the parent\'s arrives in the child',
    i   => 'a signal does not end the child',
    c   => 'the child\'s own watches do not work',
    k   => 'both share a kernel object of the loop',
    1   => 'the child gets the parent\'s loop',
    2   => 'a timer fires in both',
    w   => 'the status of a child is wrong, lost or comes twice',
    o   => 'the status of somebody else\'s child is taken',
    x   => 'the child dies',
    l   => 'a descriptor or a child is left behind',
    h   => 'the parent hangs',
    '!' => 'the parent dies',
);

sub new { my ($class, %self) = @_; return bless { faults => {}, depth => 0, forks => 0, %self }, $class }

# Each is said at once, because a process may die of the next one.
sub fault {
    my ($self, $letter, @why) = @_;
    $WORDS{$letter} or die "No fault '$letter'\n";
    print STDOUT "fault $letter\n" unless $self->{faults}{$letter}++;
    print STDERR "$letter: $WORDS{$letter}: @why\n";
    return;
}

# What a test starts for each check: a program that says its faults on STDOUT, and the details on STDERR.
sub main {
    my ($name, $tool, $check, $bound) = @_;
    require IsolationTest::Checks;
    STDOUT->autoflush(1);
    my $checked = IsolationTest::Checks->for_name($check);
    my $self    = IsolationTest::Run->new(
        family  => IsolationTest::Family->for_name($name),
        tool    => $tool,
        bound   => $bound,
        is_bare => $checked->{is_bare},
    );
    alarm $self->alarm_seconds;
    $self->load unless $self->{is_bare};
    my $result = $checked->{code}->($self);
    print STDOUT defined $result && $result eq NOTHING ? NOTHING : 'done', "\n";
    return;
}

# The family's modules, its loop, and this distribution if it is the tool: before or after, as programs do.
sub load {
    my ($self) = @_;
    my $is_first = $self->{tool} eq 'raw';
    $self->load_ours if $is_first;
    $self->{family}->start;
    $self->load_ours if !$is_first && $self->is_ours;
    return;
}

sub load_ours {
    my ($self) = @_;
    require EventLoop::Fork;
    # Not for a daemon: what it goes on with is not emptied.
    EventLoop::Fork->import(@{ $self->{family}{switches} || [] }) if $self->{tool} eq 'raw' && !$self->{is_bare};
    return;
}

sub family { return $_[0]{family} }

# Longer than a process takes in which some things never come.
sub alarm_seconds {
    my ($self) = @_;
    return POSIX::ceil(5 + 10 * ($self->{bound} < 5 ? $self->{bound} : 5)) * ($ENV{EVF_TEST_SLOW} ? 8 : 1);
}

sub is_ours { return $_[0]{tool} =~ /\A(?:fork|own)\z/ ? 0 : 1 }

sub wait_for { my ($self, $condition) = @_; return $self->{family}->wait_for($condition, $self->{bound}) }

# ---- Children -------------------------------------------------------------------------------------------------------

# A child by the tool under test. Its code gets the family on the loop that a program gets there, and the child's end of
# the conversation. What it returns is the exit code.
sub start_child {
    my ($self, $code, %options) = @_;
    # A loop that comes back into the wrong process must not fill the machine with children.
    $self->{depth} < DEEPEST && $self->{forks}++ < MOST or POSIX::_exit(253);
    pipe my $from_child, my $to_parent                  or die "pipe: $!";
    pipe my $gate, my $door                             or die "pipe: $!";
    my $kid      = bless { run => $self, from => $from_child, door => $door, exits => [] }, 'IsolationTest::Kid';
    my $in_child = sub {
        my ($own) = @_;
        close $from_child;
        close $door;
        $self->{depth}++;
        $self->{forks} = 0;
        alarm $self->alarm_seconds;
        open STDOUT, '>&', \*STDERR or die "STDOUT: $!";    # the test waits for the end of it
        my $me = bless { to => $to_parent, gate => $gate }, 'IsolationTest::InChild';
        return IsolationTest::InChild::run($me, $code, $own);
    };
    my $family = $self->{family};
    my $tool   = $options{tool} || $self->{tool};
    if ($tool eq 'ours' || $tool eq 'keep') {
        $kid->{child} = EventLoop::Fork->fork(
            loop => $family->argument,
            ($tool eq 'keep' ? (loop_in_child => 'keep') : ()),
            code => sub {
                my ($me) = @_;
                return $in_child->($family->on($me->loop));
            },
            on_exit => sub { push @{ $kid->{exits} }, $_[1] },
        );
        $kid->{pid} = $kid->{child}->pid;
    }
    elsif ($tool eq 'own') {
        $kid->{pid} = $family->own_fork($in_child);
    }
    else {
        $kid->{pid} = fork;
        defined $kid->{pid} or die "fork: $!";
        if (!$kid->{pid}) {
            POSIX::_exit($in_child->($self->{is_bare} ? $family : $family->again));
        }
    }
    close $to_parent;
    close $gate;
    push @{ $self->{kids} }, $kid;
    return $kid;
}

# Perl's own, for a child that somebody else waits for.
sub raw_child {
    my ($self, $code) = @_;
    my $pid = fork;
    defined $pid or die "fork: $!";
    return $pid if $pid;
    alarm 60;
    POSIX::_exit(eval { $code->() } || 0);
}

# Lets a child end, and waits for that.
sub end {
    my ($self, $kid) = @_;
    $kid->release;
    if ($kid->{child}) {
        $self->wait_for(sub { @{ $kid->{exits} } }) or $self->fault(w => "pid $kid->{pid} never ends");
    }
    elsif (!$kid->{is_watched}) {
        $kid->reap($self->{bound});
    }
    return;
}

# ---- What a parent watches ------------------------------------------------------------------------------------------

sub world { my ($self, %options) = @_; return IsolationTest::World->new($self->{family}, %options) }

# Everything that the parent watches still works: once each, and nothing else.
sub faults_of {
    my ($self, $world, $when) = @_;
    my $seen = $world->works($self->{bound});
    for my $letter (sort keys %$seen) {
        $self->fault($letter, "$when: $seen->{$letter}");
    }
    return;
}

# ---- Kernel objects -------------------------------------------------------------------------------------------------

my %KCMP = (x86_64 => 312, aarch64 => 272, riscv64 => 272, ppc64le => 354, s390x => 343);

# Undef where the system does not tell whether two descriptors are one file.
sub is_same_file {
    my ($pid, $fd, $other_pid, $other_fd) = @_;
    my $number = $KCMP{ (POSIX::uname())[4] };
    return undef unless $^O eq 'linux' && defined $number;
    my $result = syscall $number, 0 + $pid, 0 + $other_pid, 0, 0 + $fd, 0 + $other_fd;
    return $result < 0 ? undef : $result == 0 ? 1 : 0;
}

# Number => kind, of the descriptors that event loops wait with.
sub event_fds {
    my ($pid) = @_;
    my %fds;
    opendir my $directory, "/proc/$pid/fd" or return;
    for my $fd (grep { /\A\d+\z/ } readdir $directory) {
        my $target = readlink "/proc/$pid/fd/$fd";
        $fds{$fd} = $1
            if defined $target
            && $target =~ /\Aanon_inode:\[?(eventpoll|eventfd|timerfd|signalfd|io_uring|inotify)\]?\z/;
    }
    return \%fds;
}

# The kernel objects of the parent's loop that a child has under any number, in words; undef where nobody tells.
sub shared_with {
    my ($pid) = @_;
    return undef unless is_same_file($$, 0, $$, 0);
    my ($mine, $theirs) = map { event_fds($_) } $$, $pid;
    my @shared;
    for my $fd (sort { $a <=> $b } keys %$mine) {
        for my $other (grep { $theirs->{$_} eq $mine->{$fd} } sort { $a <=> $b } keys %$theirs) {
            push @shared, "$mine->{$fd} $fd is $other there" if is_same_file($$, $fd, $pid, $other);
        }
    }
    return \@shared;
}

# ---- The parent's end of a conversation -----------------------------------------------------------------------------

{

    package IsolationTest::Kid;

    sub pid { return $_[0]{pid} }

    # The next thing that the child tells, while the parent's loop stands still. Undef: it died, or says nothing.
    # A child that waits several times itself is waited for longer.
    sub hear {
        my ($self, $waits) = @_;
        my $seconds = $self->{run}{bound} * ($waits || 1) + 0.5;
        my $length  = $self->take(4, $seconds);
        my $text    = defined $length ? $self->take(unpack('N', $length), $seconds) : undef;
        return Storable::thaw($text)->[0] if defined $text;
        $self->{run}->fault(x => $self->{is_stuck} ? 'it says nothing' : 'before its last word');
        return undef;
    }

    sub take {
        my ($self, $wanted, $seconds) = @_;
        my $text = '';
        while (length $text < $wanted) {
            return undef unless $self->is_readable($seconds);
            my $got = sysread $self->{from}, $text, $wanted - length $text, length $text;
            return undef unless $got || !defined $got && $!{EINTR};
        }
        return $text;
    }

    # The same, while the parent's loop turns.
    sub hear_turning {
        my ($self, $waits) = @_;
        my $run = $self->{run};
        $run->family->wait_for(sub { $self->is_readable(0) }, $run->{bound} * ($waits || 1));
        return $self->hear;
    }

    sub is_readable {
        my ($self, $seconds) = @_;
        my $deadline = ForkTest::now() + $seconds;
        while (1) {
            my $left = $deadline - ForkTest::now();
            vec(my $bits = '', fileno $self->{from}, 1) = 1;
            my $ready = select $bits, undef, undef, $left > 0 ? $left : 0;
            return 1 if $ready > 0;
            next     if $ready < 0 && $left > 0;
            $self->{is_stuck} = $seconds > 0;
            return 0;
        }
    }

    sub release {
        my ($self) = @_;
        close delete $self->{door} if $self->{door};
        return;
    }

    # As a program does that waits for its child itself. -1: somebody else has taken it.
    sub reap {
        my ($self, $seconds) = @_;
        my $deadline = ForkTest::now() + $seconds;
        while (ForkTest::now() < $deadline) {
            my $pid = waitpid $self->{pid}, POSIX::WNOHANG();
            return $? if $pid == $self->{pid};
            return -1 if $pid < 0;
            ForkTest::pause();
        }
        kill KILL => $self->{pid};
        waitpid $self->{pid}, 0;
        return $?;
    }
}

# ---- The child's ----------------------------------------------------------------------------------------------------

{

    package IsolationTest::InChild;

    sub run {
        my ($self, $code, $own) = @_;
        my $exit_code;
        eval { $exit_code = $code->($own, $self); 1 } or do {
            $self->tell({ died => "$@" });
            print STDERR "in a child: $@";
        };
        return defined $exit_code && $exit_code =~ /\A\d+\z/ ? $exit_code : 0;
    }

    sub tell {
        my ($self, $value) = @_;
        my $text = Storable::freeze([$value]);
        # Small enough for a pipe to take at once.
        syswrite $self->{to}, pack('N', length $text) . $text;
        return;
    }

    # Until the parent lets go.
    sub wait {
        my ($self) = @_;
        while (1) {
            my $got = sysread $self->{gate}, my $byte, 1;
            return if defined $got;
            return unless $!{EINTR};
        }
    }

    sub is_released {
        my ($self) = @_;
        vec(my $bits = '', fileno $self->{gate}, 1) = 1;
        return select($bits, undef, undef, 0) > 0;
    }
}

# ---- One watch of each kind -----------------------------------------------------------------------------------------

{

    package IsolationTest::World;

    # The timer is due once; a check may have a longer one.
    sub new {
        my ($class, $family, %options) = @_;
        my $self =
            bless { family => $family, read => '', calls => 0, signals => 0, timers => 0, signal => 'USR1', %options },
            $class;
        pipe $self->{reader}, $self->{writer} or die "pipe: $!";
        $self->{reader}->blocking(0);
        my $seconds = defined $options{timer} ? $options{timer} : 0.03;
        $self->{due} = ForkTest::now() + $seconds;
        my $watches = $self->{watches} = {};
        $watches->{io}     = $family->read($self->{reader}, $self->_reading);
        $watches->{signal} = $family->signal($self->{signal}, sub { $self->{signals}++ });
        $watches->{timer}  = $family->timer($seconds, sub { $self->{timers}++ }) if $family->has_timers;
        $family->turn(0);    # the kernel knows
        return $self;
    }

    sub _reading {
        my ($self) = @_;
        return sub {
            $self->{calls}++;
            my $got = sysread $self->{reader}, $self->{read}, 10, length $self->{read};
            $self->{for_nothing}++ unless $got;
        };
    }

    # Faults by letter, none if all is well. May be asked again and again; the timer fires the first time.
    sub works {
        my ($self, $bound) = @_;
        my $family = $self->{family};
        my ($before, %faults) = (length $self->{read});
        $self->{for_nothing} = 0;
        my $signals = $self->{signals};
        syswrite $self->{writer}, 'x';
        $family->wait_for(sub { length $self->{read} > $before }, $bound) or $faults{d} = 'nothing read';
        kill $self->{signal} => $$;
        $family->wait_for(sub { $self->{signals} > $signals }, $bound) or $faults{s} = 'no signal';

        if ($family->has_timers) {
            $family->wait_for(sub { $self->{timers} }, $bound + $self->{due} - ForkTest::now())
                or $faults{t} = 'no timer';
        }
        $faults{f} = "$self->{for_nothing} calls"               if $self->{for_nothing};
        $faults{s} = 'signals ' . ($self->{signals} - $signals) if $self->{signals} > $signals + 1;
        return \%faults;
    }

    # In a child: what happened in the parent before, on a busy machine, is nothing that the child has seen.
    sub forget { my ($self) = @_; @$self{qw(calls signals timers)} = (0) x 3; return }

    # What has happened since, for a child that must not see any of it.
    sub happened {
        my ($self) = @_;
        return join ', ', map { $self->{$_} ? "$_ $self->{$_}" : () } qw(calls signals timers);
    }

    sub stop {
        my ($self) = @_;
        for my $name (sort keys %{ $self->{watches} }) {
            my $watch = delete $self->{watches}{$name};
            eval { $watch->{stop}->(); 1 } or $self->{stop_error} = $@;
        }
        return;
    }

    # Other files under the same numbers, for a process that shares them with another one.
    sub renew {
        my ($self) = @_;
        pipe my $reader, my $writer                         or die "pipe: $!";
        POSIX::dup2(fileno $reader, fileno $self->{reader}) or die "dup2: $!";
        POSIX::dup2(fileno $writer, fileno $self->{writer}) or die "dup2: $!";
        $self->{reader}->blocking(0);
        return;
    }
}

1;
