# The first process of a container adopts the orphans of others. That they do not stay zombies is its duty.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Config;
use EventLoop::Fork::Supervisor::Orphans;
use EventLoop::Fork::Supervisor::Process;
use EvforkTest;
use ForkTest    qw(is_zombie);
use ProcessTest qw(wait_until);
use Test2::V0;

# prctl(PR_SET_CHILD_SUBREAPER, 1)
my %PRCTL = ('x86_64-linux' => 157, 'aarch64-linux' => 167);
my ($prctl) = map { $PRCTL{$_} } grep { $Config{archname} =~ /\A\Q$_\E/ } keys %PRCTL;

sub become_subreaper { return syscall($prctl, 36, 1, 0, 0, 0) == 0 }

sub zombies { return EventLoop::Fork::Supervisor::Process::zombies_of($_[0]) }

# Its worker leaves an orphan behind, which ends when the file is there.
my $gate = "$EvforkTest::folder/gate";
my $app  = EvforkTest::write_file('orphan.pl', <<"APP");
use POSIX ();
sub {
    my (\$worker) = \@_;
    my \$child = fork // die;
    if (!\$child) {
        my \$orphan = fork // die;
        POSIX::_exit(0) if \$orphan;
        select undef, undef, undef, 0.01 until -e '$gate';
        POSIX::_exit(5);
    }
    waitpid \$child, 0;
    \$worker->ready;
    \$worker->loop->run;
    return 0;
};
APP

# Started by a command before it; the code tells which process is the supervisor.
sub check_orphan {
    my ($before, $pid_of) = @_;
    unlink $gate;
    my $supervisor = EvforkTest->start_process(sub {
        my ($writer) = @_;
        open STDERR, '>&', $writer or return;
        $before->(EvforkTest::command('run', '--workers', 1, $app));
    });
    ok($supervisor->wait_for_workers(1), 'the worker is ready') or return;
    my $pid = $pid_of->($supervisor);
    is([ zombies($pid) ], [], 'no zombie yet');
    EvforkTest::write_file($gate, '');
    ok(wait_until(sub { scalar zombies($pid) }), 'the orphan is a zombie of the supervisor');
    ok(wait_until(sub { !scalar zombies($pid) }), 'and is reaped');
    kill TERM => $pid;
    is($supervisor->exit_code, 0, 'the worker was not taken for one: exit code 0');
    ok($supervisor->is_gone, 'no process is left');
    return;
}

subtest 'a subreaper' => sub {
    plan skip_all => "the number of prctl on $Config{archname} is not known here" if !$prctl;
    check_orphan(sub { become_subreaper() or return; exec @_ }, sub { $_[0]->pid });
};

subtest 'the first process of a namespace' => sub {
    my @unshare = qw(unshare --pid --fork --kill-child --mount-proc);
    plan skip_all => 'no process namespaces for this user' if system("@unshare true 2>/dev/null");
    check_orphan(
        sub { exec @unshare, @_ },
        sub {
            my $pid = $_[0]->pid;
            open my $file, '<', "/proc/$pid/task/$pid/children" or die "children: $!";
            return (split / /, readline $file)[0];
        }
    );
};

# A supervisor in this process, as far as it is looked at.
{

    package EvfTest::Supervisor;
    sub new        { return bless { pids => $_[1] } }
    sub pids       { return @{ $_[0]{pids} } }
    sub is_running { return 1 }
    sub _adapter   { return $_[0] }
    sub watch_time { $_[0]{code} = $_[2]; return 1 }
}

subtest 'what others wait for' => sub {
    plan skip_all => "the number of prctl on $Config{archname} is not known here" if !$prctl;
    is(
        EventLoop::Fork::Supervisor::Orphans->watch(EvfTest::Supervisor->new([])), undef,
        'who adopts none does nothing'
    );
    my $process = EvforkTest->start_process(sub {
        my ($writer) = @_;
        become_subreaper() or return;
        my @children = map { my $pid = fork // return; POSIX::_exit($_) if !$pid; $pid } 1 .. 3;
        is_zombie($_) for @children;
        my $supervisor = EvfTest::Supervisor->new([ $children[0] ]);
        my $orphans    = EventLoop::Fork::Supervisor::Orphans->watch($supervisor);
        $supervisor->{code}->();
        my @statuses = map { waitpid($_, 0) == $_ ? $? >> 8 : 'taken' } $children[1];
        $supervisor->{code}->();
        push @statuses, map { waitpid($_, 0) == $_ ? $? >> 8 : 'taken' } @children[ 0, 2 ];
        syswrite $writer, "@statuses\n";
        POSIX::_exit(0);
    });
    is([ $process->next_match(sub { @_ }) ], ['2 1 taken'], 'one that is ours or is taken in time is left alone');
    is($process->exit_code, 0, 'exit code');
};

done_testing;
