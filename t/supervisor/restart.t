# Hot restart: USR2 executes the program again, which takes over when its workers are ready. Nobody who connects meanwhile
# sees it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Spec ();
use File::Temp ();
use RestartTest;
use SoakTest ();
use SupervisorTest;
use Test2::V0;

sub mode_of { return sprintf '%04o', (stat $_[0])[2] & oct 7777 }

# What the kernel tells of a process, by its word there.
sub kernel_says {
    my ($pid, $word) = @_;
    open my $file, '<', "/proc/$pid/status" or return;
    my ($value) = map { /\A$word:\s+(\S+)/ } readline $file;
    return $value;
}

subtest 'three in a row, with clients' => sub {
    my $restarted = RestartTest->start(switches => ['-w']);
    $restarted->wait_until_ready or return;
    my $folder  = $restarted->folder;
    my $before  = $restarted->in_charge;
    my @names   = $restarted->names;
    my @files   = $restarted->files;
    my @clients = $restarted->start_clients(@names);
    is($before, $restarted->pid, 'the first one is in charge');
    my (@pids, @counts);

    for my $number (1 .. 3) {
        push @pids, my $pid = $restarted->restart("restart $number") || last;
        is([ $restarted->names ], \@names, 'it listens on the same');
        is([ $restarted->files ], \@files, 'the files are the same, and nothing else');
        is([ map { mode_of("$folder/$_") } qw(pid status) ], [ '0644', '0600' ], 'with the same modes');
        push @counts, SoakTest::count_fds($pid);
        is((RestartTest::ask($_) =~ / ([0-9]+)/)[0], $pid, "its workers answer on $_") for @names;
    }
    my %different = map { $_ => 1 } $before, @pids;
    is(scalar keys %different, 4, 'each of them was another process');
    is($restarted->told($pids[-1], 'taken_over')->{warns}, 1, 'the switches are the same');
SKIP: {
        skip 'the system does not tell', 2 unless defined $counts[0];
        is(\@counts, [ ($counts[0]) x 3 ], 'each has as many descriptors as the one before');
        is(kernel_says($pids[-1], 'SigBlk'), '0' x 16, 'no signal is blocked in it');
    }
    $restarted->check_clients(@clients);
    is($restarted->end, 0, 'the first process has ended with exit code 0');
    ok($restarted->finish, 'no process is left');
    is([ $restarted->files ], [], 'no file either');
    is($restarted->stderr, '', 'nobody has complained');
};

for my $family (SupervisorTest::families()) {
    my ($name) = @$family;
    subtest $name => sub {
        my $restarted = RestartTest->start(config => <<"CONFIG");
            listen => ['127.0.0.1:0'],
            loop   => do {
                require SupervisorTest;
                my (\$family) = grep { \$_->[0] eq '$name' } SupervisorTest::families();
                \$family->[1]->();
            },
CONFIG
        $restarted->wait_until_ready or return diag $restarted->stderr;
        my @clients = $restarted->start_clients($restarted->names);
        $restarted->restart('restart');
        $restarted->check_clients(@clients);
        ok($restarted->finish, 'no process is left');
        is($restarted->stderr, '', 'nobody has complained');
    };
}

# Each of their workers leaves when nothing waits at its own socket any more.
subtest 'a socket for each worker' => sub {
    skip_all 'reuseport is for Linux' if $^O ne 'linux';
    my $restarted = RestartTest->start(config => "listen => ['127.0.0.1:0'], reuseport => 1,");
    $restarted->wait_until_ready or return;
    my @clients = $restarted->start_clients($restarted->names);
    $restarted->restart("restart $_") || last for 1 .. 2;
    $restarted->check_clients(@clients);
    ok($restarted->finish, 'no process is left');
};

subtest 'requests under way are finished' => sub {
    my $restarted = RestartTest->start(config => <<'CONFIG');
        listen => ['127.0.0.1:0'],
        worker => sub {
            my ($worker) = @_;
            my ($socket) = $worker->listeners;
            my $client;
            $worker->loop->watch_io(handle => $socket, on_read_ready => sub { $client ||= $socket->accept });
            $worker->on_stop(sub { syswrite $client, "$$ 1\n" if $client; $worker->loop->stop });
            $worker->ready;
            $worker->loop->run;
            return 0;
        },
CONFIG
    $restarted->wait_until_ready                          or return;
    my $client = IO::Socket::INET->new($restarted->names) or die "connect: $!";
    ok($restarted->restart('restart'), 'restart');
    like(
        scalar readline $client, qr/\A[0-9]+ 1\n\z/,
        'who had connected to the old one gets the answer of the old one'
    );
    ok($restarted->finish, 'no process is left');
};

# A descriptor that perl did not open, a signal that is blocked and one that is ignored.
subtest 'what the old process has is not passed on' => sub {
    my $restarted = RestartTest->start(config => <<'CONFIG');
        workers => 1,
        before  => sub {
            return if EventLoop::Fork::Supervisor->is_successor;
            POSIX::dup2(1, 77);
            $SIG{USR1} = $SIG{WINCH} = 'IGNORE';
            POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(POSIX::SIGALRM(), POSIX::SIGVTALRM()));
            $ENV{LISTEN_FDS} = 3;
        },
        worker => sub {
            my ($worker) = @_;
            $worker->ready;
            $worker->loop->run;
            return 0;
        },
CONFIG
    $restarted->wait_for('worker_ready') or return diag $restarted->stderr;
    my $old = $restarted->pid;
    skip_all 'the system does not tell' unless defined kernel_says($old, 'SigBlk');
    ok(-e "/proc/$old/fd/77", 'the old one has that descriptor');
    isnt(kernel_says($old, 'SigBlk'), '0' x 16, 'and blocks signals');
    my $new = $restarted->restart('restart') or return;
    ok(!-e "/proc/$new/fd/77", 'the new one has it not');
    is(kernel_says($new, 'SigBlk'), '0' x 16, 'blocks none');
    is(hex(kernel_says($new, 'SigIgn')) & 1 << POSIX::SIGUSR1() - 1, 0, 'ignores none');
    ok($restarted->finish, 'no process is left');
};

# The folder is a link that leads elsewhere by then.
subtest 'a new release' => sub {
    my $root = File::Temp->newdir;
    mkdir "$root/$_"           or die "mkdir: $!" for 1, 2;
    symlink 1, "$root/current" or skip_all "no symbolic links: $!";
    my $state = File::Temp->newdir;
    my $config =
        "listen => ['127.0.0.1:0'], name => 'release-NUMBER', status_file => '$state/status', pid_file => '$state/pid',";
    local $ENV{PWD} = "$root/current";
    my $restarted = RestartTest->start(folder => "$root/current", config => $config);
    $restarted->{folder} = "$state";
    $restarted->wait_until_ready or return;

    for my $file (qw(program.pl config.pl)) {
        open my $from, '<', "$root/1/$file" or die "$file: $!";
        open my $to, '>', "$root/2/$file"   or die "$file: $!";
        print {$to} map { s/NUMBER/two/r } readline $from;
        close $to;
    }
    symlink 2, "$root/new"              or die "symlink: $!";
    rename "$root/new", "$root/current" or die "rename: $!";
    ok($restarted->restart('restart'), 'restart');
    my $info = EventLoop::Fork::Scoreboard->open("$state/status")->header->{info};
    like($info, qr/release-two/, 'what the link leads to is run');
    ok($restarted->finish, 'no process is left');
};

# Where it was given by a number, that is another one then; by a handle of the program's own it cannot be found again.
subtest 'a descriptor' => sub {
    my $listener  = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 10) or die "listen: $!";
    my $number    = POSIX::dup2(fileno $listener, 60);
    my $restarted = RestartTest->start(config => "listen => ['fd:$number', '127.0.0.1:0'],");
    POSIX::close($number);
    $restarted->wait_until_ready or return diag $restarted->stderr;
    my @names = $restarted->names;
    for my $number (1 .. 2) {
        $restarted->restart("restart $number") or last;
        is([ $restarted->names ], \@names, 'it listens on the same');
    }
    ok($restarted->finish, 'no process is left');
};

done_testing;
