# What the supervisor can say of a worker that has ended, or of its own end: the hook, the step, the line.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EventLoop::Fork::Command::Snapshot;
use File::Temp ();
use POSIX      ();
use SupervisorTest;
use Test2::V0;

my $after = qr/[0-9.]+ m?s after fork/;
my %ONCE  = (workers => 1, respawn_delay => 0, respawn_delay_max => 0);

sub hook {
    my (%options) = @_;
    return sub { require EventLoop::Fork; EventLoop::Fork::at_fork(%options) };
}

sub first_end {
    my (%options)  = @_;
    my $supervisor = SupervisorTest->start(%ONCE, %options);
    my $exited     = $supervisor->wait_for('worker_exited');
    $supervisor->signal('QUIT');
    $supervisor->exit_code;
    return $exited->{reason} =~ s/ \(core dumped\)//r;
}

sub end_soon {
    my ($worker) = @_;
    $worker->ready;
    $worker->loop->later(sub { exit 3 });
    return $worker->loop->run;
}

my $registered = qr/\(priority 40, registered at \S+last-words\.t line \d+\)/;

my %deaths = (
    'killed by SIGSEGV' => [ sub { kill SEGV => $$ }, qr/, at \S+last-words\.t line \d+ \(kill\)/ ],
    'killed by SIGABRT' => [ sub { POSIX::abort() }, qr/, at \S+last-words\.t line \d+ \(entersub\)/ ],
    'killed by SIGKILL' => [ sub { kill KILL => $$ }, '' ],
    'exit 5'            => [ sub { exit 5 }, '' ],
);
for my $end (sort keys %deaths) {
    my ($code, $where) = @{ $deaths{$end} };
    subtest $end => sub {
        like(
            first_end(
                before => hook(name => 'flags', priority => 40, child => $code), worker => \&SupervisorTest::serve
            ),
            qr/\A$end $after in child hook 'flags' $registered$where\z/,
            'in a hook'
        );
        like(first_end(worker => sub { $code->(); 0 }), qr/\A$end$where\z/, 'before it was ready') if $end !~ /exit/;
        my $late = sub { my ($worker) = @_; $worker->ready; $worker->loop->later($code); $worker->loop->run };
        like(first_end(worker => $late), qr/\A$end$where\z/, 'when it was');
    };
}

subtest 'an exception' => sub {
    my $reason = first_end(worker => sub { die 'no database' });
    like($reason, qr/\Aexception: no database at \S+last-words\.t line \d+\.\z/, 'has its text');
};

subtest 'no memory' => sub {
    skip_all('AddressSanitizer reports that itself') if ($ENV{LD_PRELOAD} // '') =~ /asan/;
    my $eats    = sub { my @all;                                             push @all, 'x' x 1e7 while 1 };
    my $limited = sub { system 'prlimit', "--pid=$$", '--as=' . 300 * 2**20; $eats->() };
    like(
        first_end(
            before => hook(name => 'flags', priority => 40, child => $limited), worker => \&SupervisorTest::serve
        ),
        qr/ $after in child hook 'flags' $registered/,
        'the hook'
    );
};

subtest 'one that hangs' => sub {
    for my $case (
        [ 'in a hook, in a system call' => qr/\(sleep\)/, qr/in system call \w*nanosleep/, sub { sleep 600 while 1 } ],
        [ 'in a hook, in Perl'          => qr/ line \d+ /, qr/running/, sub { 1 while 1 } ],
        [
            'in a hook, in a regular expression' => qr/\(match\)/, qr/running/,
            sub { ('a' x 60 . '!b') =~ /\A(a+)+(?:\1)?b/ }
        ],
        )
    {
        my ($name, $place, $activity, $code) = @$case;
        subtest $name => sub {
            my $supervisor = SupervisorTest->start(
                %ONCE,
                startup_timeout => 0.3,
                before          => hook(name => 'flags', priority => 40, child => $code),
                worker          => \&SupervisorTest::serve,
            );
            my $stuck = $supervisor->wait_for('worker_stuck');
            like($stuck->{place}, qr/last-words\.t line \d+ $place|last-words\.t$place/, 'where');
            like($stuck->{activity}, $activity, 'and what it did') if -r "/proc/$$/syscall";
            my $exited = $supervisor->wait_for('worker_exited');
            like($exited->{reason}, qr/\Akilled by SIGKILL $after in child hook 'flags' $registered\z/, 'the hook');
            $supervisor->signal('QUIT');
            $supervisor->exit_code;
        };
    }
};

subtest 'the end of the supervisor' => sub {
    my $folder     = File::Temp->newdir;
    my $path       = "$folder/status";
    my $forks      = 0;
    my $supervisor = SupervisorTest->start(
        %ONCE,
        status_file => $path,
        stderr      => "$folder/stderr",
        before      => hook(name => 'flags', priority => 40, prepare => sub { POSIX::abort() if $forks++ }),
        worker      => \&end_soon,
    );
    is($supervisor->exit_code, 'signal ' . POSIX::SIGABRT(), 'it has died');
    my $data = EventLoop::Fork::Command::Snapshot->new($path)->take;
    is($data->{state}, 'dead', 'its status file says so');
    like(
        $data->{died},
        qr/\Aby SIGABRT in prepare hook 'flags' $registered, at \S+last-words\.t line \d+ \(entersub\)\z/,
        'and where'
    );
    like(
        do { open my $file, '<', "$folder/stderr" or die "stderr: $!"; local $/; readline $file },
        qr/^EventLoop::Fork: SIGABRT in prepare hook 'flags' \(.*\) at /m, 'it said so itself'
    );
};

subtest 'the last deaths' => sub {
    my $folder     = File::Temp->newdir;
    my $supervisor = SupervisorTest->start(
        %ONCE,
        status_file => "$folder/status",
        worker      => \&end_soon,
    );
    my @exited = $supervisor->wait_for_count(worker_exited => 20);
    my @deaths = @{ EventLoop::Fork::Command::Snapshot->new("$folder/status")->take->{deaths} };
    is(scalar @deaths, 16, 'so many are kept');
    my ($index) = grep { $exited[$_]{pid} == $deaths[0]{pid} } 0 .. $#exited;
    is(
        [ map { $_->{pid} } @deaths[ 0 .. $#exited - $index ] ], [ map { $_->{pid} } @exited[ $index .. $#exited ] ],
        'in order'
    );
    is([ @{ $deaths[0] }{qw(slot generation reason)} ], [ 0, 1, 'exit 3' ], 'what they say');
    ok(abs($deaths[-1]{time} - time) < 60, 'when');
    $supervisor->signal('TERM');
    is($supervisor->exit_code, 0, 'exit code');
};

done_testing;
