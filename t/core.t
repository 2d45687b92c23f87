# The C tests of the core, t/core/*.c: builds each with the sources of the core, without Perl, runs it, and forwards
# what it says. EVF_TEST_CC and EVF_TEST_CFLAGS choose another compiler and other flags (sanitizers, say), EVF_JOBS how
# many run at a time, EVF_TEST_ONLY which (a pattern, for "fork on libev").

use strict;
use warnings;

use Config;
use File::Basename        qw(basename dirname);
use File::Spec::Functions qw(catdir catfile devnull rel2abs updir);
use File::Temp            ();
use POSIX                 ();
use Test2::V0;

my $root = rel2abs(catdir(dirname(__FILE__), updir()));
require(catfile($root, 'inc', 'Probe.pm'));

# Those that need a kernel run on every method of every backend, the others once. The longest come first.
my @on_every_backend = qw(
    fork_clean fork_raw fork_copy fork_descriptors process process_sigchld faults io turn waiting isolate signals wakeup
    heartbeat
);
my @rules = map { "supervisor_$_" } qw(boot order breaker rotation stuck stop reload resize);
my @once  = (
    qw(model supervisor_sim), @rules,
    qw(supervisor_trace interest readiness scoreboard spawn timers hooks disown errors notify recorder)
);

# What those on one topic share.
my %shared = (
    naive_model => ['model'],

    watched   => [qw(fork_clean fork_raw fork_copy fork_descriptors)],
    one_loop  => [qw(process process_sigchld signals waiting)],
    both_ways => [qw(process process_sigchld)],
    sim_pair  => [qw(interest readiness)],

    supervisor_scene => \@rules,
    supervisor_world => [qw(supervisor_sim supervisor_trace)],
    map { $_ => [ @rules, qw(supervisor_sim supervisor_trace) ] }
        qw(supervisor_check supervisor_check_events supervisor_check_actions),
);
my %parts_of;
for my $part (sort keys %shared) {
    push @{ $parts_of{$_} }, $part for @{ $shared{$part} };
}

# Calls of the core that faults.c takes over.
my @wrapped = qw(malloc calloc realloc free poll waitid waitpid sigaction sigprocmask pthread_atfork epoll_create1
    eventfd dup3 open syscall readlink);

my $is_slow = $ENV{EVF_TEST_SLOW};
my $jobs    = $ENV{EVF_JOBS} && $ENV{EVF_JOBS} =~ /\A([1-9][0-9]*)\z/ ? $1   : 2;
my $bound   = $is_slow                                                ? 1500 : 240;    # seconds for one program
my $cc      = $ENV{EVF_TEST_CC} || $Config{cc};
my @cflags  = split ' ', defined $ENV{EVF_TEST_CFLAGS} ? $ENV{EVF_TEST_CFLAGS} : '-O1 -g';

# Warnings are errors for those who can mend them: in a checkout, not where somebody installs with a newer compiler.
my @strict = qw(-std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion);
push @strict, '-Werror' if -e catfile($root, '.git');

my $dir = File::Temp->newdir('evf-core-XXXXXX', TMPDIR => 1);

# ---- Running commands -----------------------------------------------------------------------------------------------

# Starts each { command => [...], output => FILE } as soon as there is room; sets its status and seconds.
sub run_all {
    my @waiting = @_;
    my %running;
    while (@waiting || %running) {
        while (@waiting && keys %running < $jobs) {
            my $task = shift @waiting;
            $task->{deadline} = time + $bound;
            $running{ start($task) } = $task;
        }
        my $pid  = wait_for_one(\%running);
        my $task = delete $running{$pid} or next;
        $task->{status} = $?;
    }
    return;
}

sub start {
    my ($task) = @_;
    my $pid = fork;
    die "fork: $!\n" unless defined $pid;
    return $pid if $pid;
    open STDIN, '<', devnull()        or POSIX::_exit(126);
    open STDOUT, '>', $task->{output} or POSIX::_exit(126);
    open STDERR, '>&', \*STDOUT       or POSIX::_exit(126);
    no warnings 'exec';
    exec { $task->{command}[0] } @{ $task->{command} } or POSIX::_exit(127);
}

# The next to end. One whose time is over is killed, and ends so; its children end with it.
sub wait_for_one {
    my ($running) = @_;
    while (1) {
        my $now  = time;
        my @late = grep { $running->{$_}{deadline} <= $now } keys %$running;
        for my $pid (@late) {
            $running->{$pid}{is_late}  = 1;
            $running->{$pid}{deadline} = $now + 60;
            kill KILL => $pid;
        }
        my $pid = eval {
            local $SIG{ALRM} = sub { die "late\n" };
            alarm 5;
            my $ended = waitpid -1, 0;
            alarm 0;
            $ended;
        };
        alarm 0;
        return $pid if defined $pid && $pid > 0;
    }
}

sub text_of {
    my ($file) = @_;
    open my $fh, '<', $file or return '';
    local $/;
    my $text = <$fh>;
    return defined $text ? $text : '';
}

# What a command that failed says, and not a book of it.
sub complaint {
    my ($task) = @_;
    my @lines = split /\n/, text_of($task->{output});
    return join "\n", "@{$task->{command}}", @lines > 40 ? (@lines[ 0 .. 39 ], '...') : @lines;
}

# ---- Building -------------------------------------------------------------------------------------------------------

# 1 when a small program builds with these flags.
sub builds {
    my (@flags) = @_;
    my $source = catfile($dir, 'try.c');
    open my $fh, '>', $source or die "$source: $!\n";
    print {$fh} "#include <stdlib.h>\nvoid *__wrap_malloc(size_t size);\n",
        "void *__wrap_malloc(size_t size) { (void)size; return NULL; }\n",
        "int main(void) { return malloc(1) == NULL ? 0 : 1; }\n";
    close $fh or die "$source: $!\n";
    my $task = { command => [ split(' ', $cc), @flags, '-o', catfile($dir, 'try'), $source ], output => devnull() };
    run_all($task);
    return $task->{status} == 0;
}

sub compile {
    my ($source, $object, @flags) = @_;
    return {
        name    => $source,
        command => [
            split(' ', $cc), @strict, '-D_GNU_SOURCE', @cflags, @flags, '-c', '-o', catfile($dir, $object),
            catfile($root, split m{/}, $source)
        ],
        output => catfile($dir, "$object.log"),
    };
}

skip_all("'$cc' does not build programs here") unless builds(@cflags);
@strict = () unless builds(@cflags, @strict);    # another family of compilers
my $can_wrap = builds(@cflags, '-Wl,--wrap=malloc');

my %libraries = (poll => { flags => [], libs => [], adapter => undef });
my %missing;
for my $library (Probe::libraries()) {
    my $found = Probe::library($library);
    if (!$found) {
        $missing{$library} = "no $library here (" . Probe::advice($library) . ')';
        next;
    }
    $libraries{$library} = {
        flags   => [ '-DWITH_' . uc $library, split ' ', $found->{inc} ],
        libs    => [ split ' ', $found->{libs} ],
        adapter => "xs/$library/$library.c",
    };
}

my @core = map { "xs/core/$_" } map { basename($_) } sort glob catfile($root, 'xs', 'core', '*.c');

my (@objects, @tasks);

sub object_of {
    my ($source, $library) = @_;
    (my $name = $source) =~ s/[^A-Za-z0-9]+/-/g;
    return join('-', $library || 'all', $name) . '.o';
}

for my $source (
    @core, map { "t/core/$_.c" } 'tap', 'sim', sort(keys %shared), @once,
    grep       { $_ ne 'faults' } @on_every_backend
    )
{
    push @tasks, compile($source, object_of($source));
}
for my $library (sort keys %libraries) {
    my $flags = $libraries{$library}{flags};
    push @tasks, map { compile($_, object_of($_, $library), @$flags) }
        grep { defined } 't/core/helpers.c', $can_wrap ? 't/core/faults.c' : undef, $libraries{$library}{adapter};
}
run_all(@tasks);
subtest 'every file compiles' => sub {
    for my $task (@tasks) {
        ok($task->{status} == 0, $task->{name}) or diag(complaint($task));
    }
};
if (grep { $_->{status} != 0 } @tasks) {
    done_testing;
    exit;
}

sub link_program {
    my ($program, $library) = @_;
    my $folder = catdir($dir, $library);
    mkdir $folder unless -d $folder;
    my $own   = $program eq 'faults' ? $library : undef;
    my @parts = (
        object_of("t/core/$program.c", $own),
        (map { object_of("t/core/$_.c") } @{ $parts_of{$program} || [] }),
        object_of('t/core/helpers.c', $library),
        (map { object_of($_) } 't/core/tap.c', 't/core/sim.c', @core),
        ($libraries{$library}{adapter} ? object_of($libraries{$library}{adapter}, $library) : ()),
    );
    return {
        name    => "$program on $library",
        command => [
            split(' ', $cc), @cflags, '-o', catfile($folder, $program), (map { catfile($dir, $_) } @parts),
            ($program eq 'faults' ? map { "-Wl,--wrap=$_" } @wrapped : ()),
            @{ $libraries{$library}{libs} }, '-lpthread'
        ],
        output  => catfile($folder, "$program.log"),
        program => catfile($folder, $program),
    };
}

my @programs;
for my $program (@on_every_backend) {
    next if $program eq 'faults' && !$can_wrap;
    push @programs, map { link_program($program, $_) } sort keys %libraries;
}
push @programs, map { link_program($_, 'poll') } @once;
@programs = grep { $_->{name} =~ /$ENV{EVF_TEST_ONLY}/ } @programs if $ENV{EVF_TEST_ONLY};

run_all(@programs);
subtest 'every program links' => sub {
    ok($_->{status} == 0, $_->{name}) or diag(complaint($_)) for @programs;
};

# ---- Running the programs -------------------------------------------------------------------------------------------

my @runs = map { { name => $_->{name}, command => [ $_->{program} ], output => "$_->{program}.out" } }
    grep { $_->{status} == 0 } @programs;
run_all(@runs);

# How a process ended, in words; nothing when that was well.
sub ending {
    my ($run, $failed) = @_;
    my $status = $run->{status};
    return "not within $bound seconds" if $run->{is_late};
    return 'killed by signal ' . ($status & 127) if $status & 127;
    return if $status >> 8 == ($failed ? 1 : 0);
    return 'exit ' . ($status >> 8);
}

sub forward {
    my ($run) = @_;
    my ($count, $failed, $plan, @said) = (0, 0);
    for my $line (split /\n/, text_of($run->{output})) {
        if ($line =~ /\A(not )?ok ([0-9]+)(?: - (.*?))?(?: # SKIP (.*))?\z/) {
            my ($not, $number, $name, $reason) = ($1, $2, defined $3 ? $3 : '', $4);
            $count++;
            fail("test $count says that it is $number") if $number != $count;
            if ($not) {
                $failed++;
                fail($name, @said);
            }
            else {
                note($_) for @said;
                if (defined $reason) {
                SKIP: { skip("$name: $reason") }
                }
                else { pass($name) }
            }
            @said = ();
        }
        elsif ($line =~ /\A1\.\.([0-9]+)\z/) {
            fail('two plans') if defined $plan;
            $plan = $1;
        }
        else {
            (my $text = $line) =~ s/\A# ?//;
            push @said, $text;
        }
    }
    my $ending      = ending($run, $failed);
    my $is_complete = defined $plan && $plan == $count && $count > 0;
    ok($is_complete && !defined $ending, 'all tests of the program ran, and it ended well')
        or diag(
        join "\n", defined $ending ? $ending : (), "$count tests, planned: " . (defined $plan ? $plan : 'none'),
        @said
        );
    note($_) for @said;
    return;
}

for my $run (@runs) {
    subtest $run->{name} => sub { forward($run) };
}

for my $library (sort keys %missing) {
    subtest "on $library" => sub { skip_all($missing{$library}) };
}
subtest 'faults' => sub { skip_all('the linker does not know --wrap') }
    unless $can_wrap;

done_testing;
