package ForkTest;

# Helpers of t/fork: every loop to test, children that tell what they see, programs in a perl of their own, and counts
# of what is left behind. Loads neither the product nor a test library until it is asked for loops, so that a program
# that shows what goes wrong without the product can use it too.

use strict;
use warnings;

use Config;
use Exporter    qw(import);
use File::Temp  ();
use IO::Handle  ();
use POSIX       ();
use Storable    ();
use Time::HiRes ();

our @EXPORT =
    qw(BOUND PROMPT adopt_orphans children_left control copy_call each_loop end_program ev_program every_loop_says
    has_module in_child in_copy in_raw_child is_asleep is_stopped is_zombie kernel_has_exit_info loop_kinds now
    open_fds pause run_program signal_state slurp start_program thaw_from under_valgrind wait_until);

# Seconds. What is due comes within BOUND; what comes within PROMPT came at once. A busy machine needs far less.
use constant { BOUND => $ENV{EVF_TEST_SLOW} ? 300 : 30, PROMPT => $ENV{EVF_TEST_SLOW} ? 20 : 2 };

# nohup, and shells for what runs in the background, ignore some: that is not what the tests are about.
for my $name (qw(HUP INT QUIT PIPE CHLD TTIN TTOU)) {
    $SIG{$name} = 'DEFAULT' if ($SIG{$name} // '') eq 'IGNORE';    ## no critic (LocalizedPunctuationVars)
}

# ---- Time -----------------------------------------------------------------------------------------------------------

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

# Between two looks at something. Nothing depends on its being long enough.
sub pause { return select undef, undef, undef, 0.002 }

# Turns until the condition holds. False: it did not within the bound.
sub wait_until {
    my ($loop, $condition) = @_;
    my $deadline = now() + BOUND;
    until ($condition->()) {
        my $left = $deadline - now();
        return 0 if $left <= 0;
        $loop->loop_once($left > 0.25 ? 0.25 : $left);
    }
    return 1;
}

# Until the process waits for something in the kernel; until it has ended, and nobody has taken its status; until it is
# stopped. False if the system does not tell, or it does not come to that.
sub is_asleep  { my ($pid) = @_; return comes_to_state($pid, 'S') }
sub is_zombie  { my ($pid) = @_; return comes_to_state($pid, 'Z') }
sub is_stopped { my ($pid) = @_; return comes_to_state($pid, 'T') }

sub comes_to_state {
    my ($pid, $letter) = @_;
    my $deadline = now() + BOUND;
    while (now() < $deadline) {
        open my $stat, '<', "/proc/$pid/stat" or return 0;
        my $line = readline $stat;
        return 1 if defined $line && $line =~ /\) $letter /;
        pause();
    }
    return 0;
}

# ---- What is left behind --------------------------------------------------------------------------------------------

# The open descriptors, each with what it is where the system tells.
sub open_fds {
    my $path = -d '/proc/self/fd' ? '/proc/self/fd' : '/dev/fd';
    opendir my $directory, $path or die "$path: $!";
    my @numbers = grep { /\A[0-9]+\z/ } readdir $directory;
    closedir $directory;
    # That of the directory is closed again.
    return map { my $target = readlink "$path/$_"; defined $target ? "$_ $target" : $_ }
        grep { -e "$path/$_" } sort { $a <=> $b } @numbers;
}

# Running children and zombies in words; empty when there is none. Takes the zombies.
sub children_left {
    my @left;
    while ((my $pid = waitpid -1, POSIX::WNOHANG()) != -1) {
        push @left, $pid == 0 ? 'a child that runs' : "a zombie ($pid)";
        last if $pid == 0;
    }
    return join ', ', @left;
}

# From now on a process whose parent has gone is a child of this one, and can be waited for. False where that is not
# possible; then it is init's.
sub adopt_orphans {
    my %prctl =
        (x86_64 => 157, aarch64 => 167, riscv64 => 167, i686 => 172, armv7l => 172, ppc64le => 171, s390x => 172);
    my $number = $prctl{ (POSIX::uname())[4] };
    return $^O eq 'linux' && defined $number && $Config{ivsize} == 8 && syscall($number, 36, 1, 0, 0, 0) == 0;
}

# ---- Loops ----------------------------------------------------------------------------------------------------------

sub has_module {
    my ($module) = @_;
    local ($@, $!);
    local $SIG{__DIE__};
    return eval "require $module; 1";    ## no critic (StringyEval): names from the tests
}

# Every loop of this distribution on this machine: its label, how to make one (also as source, for programs), and how a
# program that has no opinion makes one.
sub loop_kinds {
    require EventLoop::Fork::Loop;
    my $backends = EventLoop::Fork::Loop->backends;
    my @kinds;
    for my $backend (sort keys %$backends) {
        for my $method (@{ $backends->{$backend} }) {
            push @kinds,
                {
                label   => "$backend/$method",
                class   => 'EventLoop::Fork::Loop',
                backend => $backend,
                method  => $method,
                is_best => $method eq $backends->{$backend}[0],
                new     => sub { EventLoop::Fork::Loop->new(backend => $backend, method => $method) },
                source  =>
                    "use EventLoop::Fork::Loop; EventLoop::Fork::Loop->new(backend => '$backend', method => '$method')",
                any => sub { EventLoop::Fork::Loop->new },
                };
        }
    }
    return @kinds unless has_module('IO::Async::Loop');
    for my $backend (grep { $_ ne 'poll' } sort keys %$backends) {
        my $class = 'IO::Async::Loop::' . ucfirst $backend;
        has_module($class) or die "$class: $@";
        for my $method (@{ $backends->{$backend} }) {
            push @kinds,
                {
                label       => "$class/$method",
                class       => $class,
                backend     => $backend,
                method      => $method,
                is_best     => $method eq $backends->{$backend}[0],
                is_io_async => 1,
                new         => sub { $class->new(method => $method) },
                source      => "use $class; $class->new(method => '$method')",
                any         => sub { IO::Async::Loop->new },
                };
        }
    }
    return @kinds;
}

# Runs the code in a subtest for each kind of loop, and counts what it leaves behind. Of the options, 'best' takes only
# the best method of each backend, 'io_async' only the classes of IO::Async.
sub each_loop {
    my ($code, %options) = @_;
    require Test2::V0;
    my @kinds = loop_kinds();
    EventLoop::Fork::Loop->new;    # a process keeps a descriptor from its first loop on
    forget_io_async();
    for my $kind (@kinds) {
        next if $options{best} && !$kind->{is_best} || $options{io_async} && !$kind->{is_io_async};
        next if $ENV{FORK_TEST_LOOPS} && $kind->{label} !~ $ENV{FORK_TEST_LOOPS};
        Test2::V0::subtest(
            $kind->{label},
            sub {
                my @before = open_fds();
                $code->($kind->{new}, $kind);
                forget_io_async();
                Test2::V0::is([ open_fds() ], \@before, 'no descriptor is left');
                Test2::V0::is(children_left(), '', 'no child and no zombie is left');
            }
        );
    }
    return;
}

# The loop of IO::Async lives until another one is wanted.
sub forget_io_async {
    no warnings 'once';
    undef $IO::Async::Loop::ONE_TRUE_LOOP;
    undef $IO::Async::Loop::LOOP;
    return;
}

# ---- Children that tell ---------------------------------------------------------------------------------------------

# What is in a pipe, up to its end.
sub slurp {
    my ($reader) = @_;
    my ($text, $deadline) = ('', now() + BOUND);
    while ((my $left = $deadline - now()) > 0) {
        my $bits = '';
        vec($bits, fileno $reader, 1) = 1;
        next unless select($bits, undef, undef, $left) > 0;
        my $got = sysread $reader, $text, 65536, length $text;
        return $text unless $got;
    }
    die "Nothing more came from a pipe, and not its end\n";
}

sub thaw_from {
    my ($reader) = @_;
    my $text = slurp($reader);
    return length $text ? Storable::thaw($text)->[0] : undef;
}

sub send_value {
    my ($writer, $value) = @_;
    my $text = Storable::freeze([$value]);
    # Small enough for a pipe to take at once.
    syswrite($writer, $text) == length $text or die "Cannot tell: $!\n";
    return;
}

# Forks through the loop and waits for the end; returns what the code returned in the child, and the wait status. A
# child ends by itself, whatever happens.
sub in_child {
    my ($loop, $code, %options) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my ($status, $pid);
    $pid = $loop->fork(
        %options,
        code => sub {
            close $reader;
            alarm 2 * BOUND;
            send_value($writer, $code->());
            return 0;
        },
        on_exit => sub { $status = $_[1] },
    );
    close $writer;
    wait_until($loop, sub { defined $status }) or kill KILL => $pid;
    return (thaw_from($reader), $status);
}

# The same with perl's own fork, for what happens around us.
sub in_raw_child {
    my ($code) = @_;
    return in_child_of(sub { return fork }, $code);
}

# The same with a system call that makes a copy of this process, past the C library: nobody is told.
sub in_copy {
    my ($code) = @_;
    my @call = copy_call();
    return in_child_of(sub { my $pid = syscall $call[0], @call[ 1 .. $#call ]; return $pid < 0 ? undef : $pid }, $code);
}

# That call for perl's syscall, number and arguments; nothing where it is not known. Its child sees 0.
sub copy_call {
    my %calls = (
        x86_64  => [57],                       # fork
        aarch64 => [ 220, 17, 0, 0, 0, 0 ],    # clone, with SIGCHLD
        riscv64 => [ 220, 17, 0, 0, 0, 0 ],
    );
    my $call = $calls{ (POSIX::uname())[4] };
    return $^O eq 'linux' && $Config{ivsize} == 8 && $call ? @$call : ();
}

sub in_child_of {
    my ($fork, $code) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = $fork->();
    defined $pid or die "fork: $!";
    if ($pid == 0) {
        close $reader;
        alarm 2 * BOUND;
        my $done = eval { send_value($writer, $code->()); 1 } or print STDERR "in_raw_child: $@";
        POSIX::_exit($done ? 0 : 255);
    }
    close $writer;
    my $value = thaw_from($reader);
    waitpid $pid, 0;
    return ($value, $?);
}

# ---- A loop in full use ---------------------------------------------------------------------------------------------

{

    package ForkTest::Watched;

    # A loop with a watch of each kind, and what it did.
    sub new {
        my ($class, $loop) = @_;
        my $self = bless { loop => $loop, read => '', signals => 0 }, $class;
        pipe $self->{reader}, $self->{writer} or die "pipe: $!";
        pipe $self->{back}, $self->{full}     or die "pipe: $!";
        $loop->watch_io(
            handle        => $self->{reader},
            on_read_ready => sub { sysread $self->{reader}, $self->{read}, 10, length $self->{read} },
        );
        $loop->watch_signal(USR1 => sub { $self->{signals}++ });
        $loop->loop_once(0);    # the backend knows
        return $self;
    }

    # What is to be seen when each kind of watch works, the old ones and new ones.
    use constant ALL => 'read x, signals 1, writes 1, timers 1, idles 1, exit code 9';

    sub works {
        my ($self) = @_;
        my $loop = $self->{loop};
        my ($writes, $timers, $idles, $code) = (0, 0, 0);
        @$self{qw(read signals)} = ('', 0);
        syswrite $self->{writer}, 'x';
        kill USR1 => $$;
        $loop->watch_io(
            handle         => $self->{full},
            on_write_ready => sub { $writes++; $loop->unwatch_io(handle => $self->{full}, on_write_ready => 1) },
        );
        $loop->watch_time(after => 0.001, code => sub { $timers++ });
        $loop->later(sub { $idles++ });
        $loop->fork(code => sub { 9 }, on_exit => sub { $code = $_[1] >> 8 });
        ForkTest::wait_until(
            $loop,
            sub { $self->{read} && $self->{signals} && $writes && $timers && $idles && defined $code }
        );
        $code = 'none' unless defined $code;
        return
            "read $self->{read}, signals $self->{signals}, writes $writes, timers $timers, idles $idles, exit code $code";
    }

    # Pipes of its own under the same numbers, in a process that shares them with another one.
    sub renew {
        my ($self) = @_;
        for my $ends ([qw(reader writer)], [qw(back full)]) {
            pipe my $reader, my $writer                               or die "pipe: $!";
            POSIX::dup2(fileno $reader, fileno $self->{ $ends->[0] }) or die "dup2: $!";
            POSIX::dup2(fileno $writer, fileno $self->{ $ends->[1] }) or die "dup2: $!";
        }
        return;
    }

    sub stop {
        my ($self) = @_;
        my $loop = delete $self->{loop};
        $loop->unwatch_io(handle => $self->{reader}, on_read_ready => 1);
        $loop->unwatch_signal('USR1');
        return;
    }
}

# ---- Signals --------------------------------------------------------------------------------------------------------

my @SIGNAL_NAMES = split / /, $Config{sig_name};

# Names of the signals that are blocked, ignored and caught, as the kernel sees it: of this process, or from the text of
# another one's /proc/PID/status. Nothing where the system does not tell.
sub signal_state {
    my ($text) = @_;
    # A value, also in lists. Of a process in valgrind the kernel knows valgrind's handlers.
    return undef if !defined $text && under_valgrind();    ## no critic (ReturnUndef)
    if (!defined $text) {
        open my $status, '<', '/proc/self/status' or return undef;    ## no critic (ReturnUndef)
        local $/;
        $text = readline $status;
    }
    my %state;
    for my $field (qw(Blk Ign Cgt)) {
        my ($mask) = $text =~ /^Sig$field:\s*([0-9a-f]+)$/m or return undef;           ## no critic (ReturnUndef)
        my $bits = reverse unpack 'B64', pack 'H16', substr '0' x 16 . $mask, -16;
        # The C library's own and those without a name (32 to 63) are of no interest.
        $state{$field} = [ grep { substr($bits, $_ - 1, 1) } 1 .. 31 ];
        $_ = $SIGNAL_NAMES[$_] for @{ $state{$field} };
    }
    return { blocked => $state{Blk}, ignored => $state{Ign}, caught => $state{Cgt} };
}

# Linux 6.15 and later tell the status of a child that somebody else has reaped, by its pidfd. There is none under
# valgrind.
sub kernel_has_exit_info {
    my ($major, $minor) = (POSIX::uname())[2] =~ /\A(\d+)\.(\d+)/;
    return $^O eq 'linux' && !under_valgrind() && ($major > 6 || $major == 6 && $minor >= 15);
}

sub under_valgrind { return ($ENV{EVF_TEST_TOOL} // '') eq 'valgrind' }

# ---- Programs in a perl of their own --------------------------------------------------------------------------------

# Returns what it wrote to STDOUT (a pipe) and STDERR, and its wait status. It ends by itself, whatever happens. Of the
# options, 'through' makes the command of another one.
sub run_program { return end_program(start_program(@_)) }

sub start_program {
    my ($text, @arguments) = @_;
    my %options = @arguments && ref $arguments[0] ? %{ shift @arguments } : ();
    my $errors  = File::Temp->new;
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork;
    defined $pid or die "fork: $!";
    if ($pid == 0) {
        my @command = ($^X, map({ "-I$_" } grep { !ref } @INC), '-e', $text, @arguments);
        @command = $options{through}->(@command) if $options{through};
        eval {
            open STDIN, '<', '/dev/null' or die "/dev/null: $!";
            open STDOUT, '>&', $writer   or die "STDOUT: $!";
            open STDERR, '>&', $errors   or die "STDERR: $!";
            alarm 2 * BOUND;
            no warnings 'exec';
            exec @command;
        };
        POSIX::_exit(254);
    }
    close $writer;
    return { pid => $pid, reader => $reader, errors => $errors };
}

sub end_program {
    my ($program) = @_;
    my $output = slurp($program->{reader});
    waitpid $program->{pid}, 0;
    my $status = $?;
    local $/;
    open my $handle, '<', $program->{errors}->filename or die "$program->{errors}: $!";
    return { stdout => $output, stderr => scalar readline $handle, status => $status };
}

# A program whose child takes EV's watcher of a pipe away and gives it another one, and whose parent still hears of the
# pipe, or does not. The arguments are the source of the fork, and of what the child does first.
sub ev_program {
    my ($fork, $first) = @_;
    $first = '' unless defined $first;
    return <<"PROGRAM";
        use EV;
        use POSIX ();
        pipe my \$reader, my \$writer or die;
        my \$got = 0;
        my \$watcher = EV::io(\$reader, EV::READ, sub { sysread \$reader, my \$byte, 1; \$got++; EV::break });
        EV::run(EV::RUN_NOWAIT);
        my \$pid = $fork;
        if (\$pid == 0) {
            $first;
            \$watcher->stop;
            my \$other = EV::io(\$reader, EV::WRITE, sub { });
            EV::run(EV::RUN_NOWAIT);
            POSIX::_exit(0);
        }
        waitpid \$pid, 0;
        syswrite \$writer, 'x';
        my \$timer = EV::timer(20, 0, sub { EV::break });
        EV::run;
        print "the parent got \$got\n";
PROGRAM
}

# The versions whose wrong behaviour the controls show. With another one a control that finds it right is skipped.
my %MEASURED = (
    'EV'                      => '4.33',
    'IO::Async::Loop'         => '0.802',
    'IO::Async::Loop::Epoll'  => '0.22',
    'IO::Async::Loop::Poll'   => '0.802',
    'IO::Async::Loop::Select' => '0.802',
    'Linux::Epoll'            => '0.018',
);

# A program with the plain tool, without this product, that must go wrong as the pattern says: else the tests beside it
# would show nothing.
sub control {
    my ($name, $modules, $pattern, $program, @arguments) = @_;
    require Test2::V0;
    my $context = Test2::V0::context();
    my ($missing) = grep { !has_version($_) } @$modules;
    if (under_valgrind()) {
        $context->skip("control: $name", 'nothing of ours runs in it');
    }
    elsif (defined $missing) {
        $context->skip("control: $name", "$missing is not installed");
    }
    else {
        delete local $ENV{LD_PRELOAD} if $program !~ /EventLoop::Fork/;    # no sanitizer
        my $result   = run_program($program, @arguments);
        my @others   = grep { defined $MEASURED{$_} && has_version($_) != $MEASURED{$_} } @$modules;
        my $is_wrong = $result->{stdout} =~ $pattern ? 1 : 0;
        if (!$is_wrong && @others) {
            $context->skip("control: $name", "$others[0] " . has_version($others[0]) . ' may do it right');
        }
        else {
            $context->ok($is_wrong, "control: $name", [ "got: $result->{stdout}", $result->{stderr} ]);
        }
    }
    $context->release;
    return;
}

# Not loaded here: some loops install handlers when they are.
sub has_version {
    my ($module) = @_;
    (my $path = "$module.pm") =~ s{::}{/}g;
    for my $directory (grep { !ref } @INC) {
        next unless -e "$directory/$path";
        require Module::Metadata;
        my $version = Module::Metadata->new_from_file("$directory/$path")->version;
        return defined $version ? "$version" : '0';
    }
    return;
}

# A program as somebody may write it, in a perl of its own with each kind of loop: its first argument is the source of
# the loop.
sub every_loop_says {
    my ($name, $expected, $program, @arguments) = @_;
    each_loop(sub {
        my ($new, $kind) = @_;
        my $result = run_program($program, $kind->{source}, @arguments);
        Test2::V0::is($result, { stdout => $expected, stderr => '', status => 0 }, $name);
    });
    return;
}

1;
