# Every fork that goes on in Perl code runs the hooks, whoever makes it; those that only execute run none.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use HookTest;
use Test2::V0;

# Compiled before the product is loaded.
my ($early_fork, $early_open, $early_command);

BEGIN {
    $early_fork    = sub { return fork };
    $early_open    = sub { return open $_[0], '-|' };
    $early_command = sub { return open $_[0], '-|', 'echo', 'x' };
}

use EventLoop::Fork;
use EventLoop::Fork::Loop;
use IPC::Open2;
use IPC::Open3;

my $hook = EventLoop::Fork::at_fork(name => 'a', hooks_that_log('a'));

use constant ONCE => { P => [ 'a prepare', 'a parent' ], C => ['a child'] };

sub wait_for { waitpid $_[0], 0; return $? >> 8 }

sub child_exits {
    my ($pid) = @_;
    defined $pid or die "fork: $!";
    POSIX::_exit(7) if $pid == 0;
    return wait_for($pid);
}

my $loop = EventLoop::Fork::Loop->new(backend => 'poll');
ok 1, 'a test library opens what it needs with the first result';
my @before = open_fds();

is child_exits(fork), 7, 'a fork';
is logged(), ONCE, 'runs the hooks';

for my $time (qw(first second)) {
    is child_exits($early_fork->()), 7, "a fork that was compiled before us, the $time time";
    is logged(), ONCE, 'runs the hooks';
}

for my $time (qw(first second)) {
    my $pid = $early_open->(my $pipe);
    if ($pid == 0) {
        syswrite STDOUT, 'from the child';
        POSIX::_exit(0);
    }
    is scalar(readline $pipe), 'from the child', "open to a copy that was compiled before us, the $time time";
    close $pipe;
    # The first time nobody can know in the child whether it goes on, before it does.
    is logged(), $time eq 'first' ? { P => ONCE->{P}, C => T() } : ONCE, 'runs the hooks';
}

my %opens = (
    'open F, "-|"'           => sub { return open $_[0], '-|' },
    'open F, " -|  "'        => sub { return open $_[0], ' -|  ' },
    'open F, "- |"'          => sub { return open $_[0], '- |' },
    'open F, "-|", "-"'      => sub { return open $_[0], '-|', '-' },
    'open F, "-|:utf8", "-"' => sub { return open $_[0], '-|:utf8', '-' },
);
for my $name (sort keys %opens) {
    my $pid = $opens{$name}->(my $pipe);
    defined $pid or die "$name: $!";
    if ($pid == 0) {
        syswrite STDOUT, 'from the child';
        POSIX::_exit(5);
    }
    is scalar(readline $pipe), 'from the child', $name;
    close $pipe;
    is $? >> 8, 5, 'its status';
    is logged(), ONCE, 'runs the hooks';
}
{
    for my $mode ('|-', '| -') {
        my $pid = open(my $pipe, $mode);
        if ($pid == 0) {
            sysread STDIN, my $text, 10;
            POSIX::_exit($text eq 'hello' ? 3 : 4);
        }
        syswrite $pipe, 'hello';
        close $pipe;
        is $? >> 8, 3, qq(open F, "$mode");
        is logged(), ONCE, 'runs the hooks';
    }
}
{
    my $pid = open3(my $in, my $out, undef, 'echo', 'three');
    is scalar(readline $out), "three\n", 'open3';
    wait_for($pid);
    is logged(), ONCE, 'runs the hooks: Perl code goes on in its child';
    $pid = open2($out, $in, 'echo two');
    is scalar(readline $out), "two\n", 'open2';
    wait_for($pid);
    is logged(), ONCE, 'runs the hooks';
}
{
    my $status;
    $loop->fork(code => sub { note_line('code'); 6 }, on_exit => sub { $status = $_[1] });
    wait_until($loop, sub { defined $status });
    is logged(), { P => ONCE->{P}, C => [ 'a child', 'code' ] }, 'a fork of ours runs the hooks, before the code';
}

my %none = (
    'open with a command, compiled before us' =>
        sub { $early_command->(my $pipe) or die $!; my @lines = readline $pipe },
    'system'                => sub { system 'true' },
    'system with a list'    => sub { system 'true', 'x' },
    'backticks'             => sub { my $output = `echo x` },
    'open F, "-|", COMMAND' => sub { open my $pipe, '-|', 'echo x'     or die $!; my @lines = readline $pipe },
    'open F, "-|", LIST'    => sub { open my $pipe, '-|', 'echo', 'x'  or die $!; my @lines = readline $pipe },
    'open F, "COMMAND |"'   => sub { open my $pipe, 'echo x |'         or die $!; my @lines = readline $pipe },
    'open F, "| COMMAND"'   => sub { open my $pipe, '| cat >/dev/null' or die $!; print {$pipe} 'x' },
    'glob'                  => sub { my @files = glob '*' },
    'open a file'           => sub { open my $handle, '<', $0      or die $! },
    'open a file named "-"' => sub { open my $handle, '-'          or die $! },
    'open in memory'        => sub { open my $handle, '<', \'text' or die $! },
);
for my $name (sort keys %none) {
    $none{$name}->();
    is logged(), { P => [], C => [] }, "$name runs no hook";
}

# A grandchild is a child of a process with the same hooks.
{
    my $pid = fork;
    if ($pid == 0) {
        my $grandchild = fork;
        POSIX::_exit(0) if $grandchild == 0;
        waitpid $grandchild, 0;
        POSIX::_exit(0);
    }
    wait_for($pid);
    is logged(),
        {
        P => [ 'a prepare', 'a parent' ],
        C => bag { item 'a child' for 1 .. 2; item 'a prepare'; item 'a parent'; end() }
        },
        'a grandchild';
}

# fork leaves what it says in $! and nothing else behind; what hooks do to it is theirs.
{
    my $spoils =
        EventLoop::Fork::at_fork(prepare => sub { $! = 5; $@ = 'x' }, parent => sub { $! = 6; $@ = 'y'; $_ = 'z' });
    local $_ = 'topic';
    local $@ = 'error';
    $! = 0;
    my @got = (1, fork, 2);
    POSIX::_exit(0) if $got[1] == 0;
    is [ @got[ 0, 2 ], $@, scalar @got ], [ 1, 2, 'error', 3 ], 'hooks leave $@ and the stack alone';
    wait_for($got[1]);
    $spoils->cancel;
    logged();
}

# Deep in expressions, with the stack about to grow in a hook.
{
    my $grows = EventLoop::Fork::at_fork(
        prepare => sub { my @list = (1 .. 5000); scalar @list },
        parent  => sub {
            my @list = map { $_ } 1 .. 20000;
            1;
        }
    );
    my @list = map { my $pid = fork; POSIX::_exit($_) if $pid == 0; wait_for($pid) } 1 .. 3;
    is \@list, [ 1, 2, 3 ], 'a hook whose list needs more of the stack than there is';
    $grows->cancel;
    logged();
}

# What a hook prints comes once.
{
    my $result = run_program(<<'PROGRAM');
        use EventLoop::Fork qw(at_fork);
        at_fork(prepare => sub { print "prepare\n" }, child => sub { print "child\n" });
        print "start\n";
        my $pid = fork;
        exit 0 unless $pid;
        waitpid $pid, 0;
        print "end\n";
PROGRAM
    logged();
    is $result->{stdout}, "start\nprepare\nchild\nend\n", 'output of hooks is not doubled';
}

$hook->cancel;
is child_exits(fork), 7, 'a fork without hooks';
is logged(), { P => [], C => [] }, 'a cancelled hook does not run';

# The first fork of code that was compiled before us is told too late to be refused; it is said, and the next ones are.
{
    my $result = run_program(<<'PROGRAM');
        my $early;
        BEGIN { $early = sub { return fork } }
        use EventLoop::Fork qw(at_fork);
        at_fork(name => 'no', prepare => sub { die "not now\n" }, on_failure => 'cancel', child => sub { print "child of no\n" });
        at_fork(name => 'child', child => sub { print "child\n" });
        $| = 1;
        for (1 .. 3) {
            my $pid = $early->();
            if (!defined $pid) { print 'refused: ', $!{ECANCELED} ? 'ECANCELED' : $!, "\n"; next }
            if (!$pid) { print "went on\n"; exit }
            waitpid $pid, 0;
        }
PROGRAM
    is $result->{stdout}, "child\nwent on\nrefused: ECANCELED\nrefused: ECANCELED\n",
        'a refusal of code compiled before us holds from its second fork on';
    my $refused = qr/EventLoop::Fork: fork: prepare hook 'no' \(-e line \d+\) refused: not now\n/;
    like $result->{stderr},
        qr/\A${refused}EventLoop::Fork: process \d+ was forked by code older than EventLoop::Fork \(near -e line \d+\), where no hook can refuse the first time; these did not run: 'no' \(-e line \d+\)\n$refused$refused\z/,
        'and its first child is told what did not run';
}

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
