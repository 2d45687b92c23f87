package SoakTest;

# What must not add up: deaths of workers, and deaths of supervisors. How many is up to the test that asks.

use strict;
use warnings;

use EventLoop::Fork::Scoreboard;
use File::Temp ();
use FindBin;
use SupervisorTest;
use Test2::V0;

use constant WORKERS => 3;

# Of the bytes that an allocator takes ahead, and of pages that the kernel counts late.
use constant MEMORY_GRAIN => 256 * 1024;

# ---- Workers --------------------------------------------------------------------------------------------------------

my @ENDS = ([ KILL => 'killed by SIGKILL' ], [ USR2 => 'killed by SIGUSR2' ], [ TERM => 'exit 0' ]);

# So many deaths in a row. Each is reported once and for what it was, and the supervisor is afterwards as it was before.
sub deaths {
    my ($count) = @_;
    my $supervisor = SupervisorTest->start(
        workers           => WORKERS,
        respawn_delay     => 0,
        crash_limit       => 0,
        heartbeat_timeout => 0,
        worker            => \&SupervisorTest::serve,
    );
    my %state = (supervisor => $supervisor, alive => {}, kills => 0, exits => 0, wrong => []);
    follow(\%state, int($count / 5));    # until all is loaded, and the tables have their size
    my $before = footprint($supervisor->pid);
    follow(\%state, $count);
    my $after = footprint($supervisor->pid);
    is($state{wrong}, [], 'each worker was reported when it started and when it ended, once, and why');
    is($state{exits}, $count, "$count deaths");
    is($after->{children}, WORKERS, 'its children are the workers that live: no zombie');
SKIP: {
        skip 'descriptors: the system does not tell which ones a process has', 1 unless defined $before->{fds};
        is($after->{fds}, $before->{fds}, 'no descriptor more than before');
    }

SKIP: {
        skip 'memory: the system does not tell what a process has', 1 unless defined $before->{rss};
        skip 'memory: EVF_TEST_SLOW is set, and a memory checker keeps what was freed', 1 if SupervisorTest::SLOW;
        my $grown = $after->{rss} - $before->{rss};
        my $limit = MEMORY_GRAIN + 8 * $count;
        cmp_ok($grown, '<=', $limit, "its memory has grown by $grown bytes");
    }
    is($supervisor->finish, 0, 'exit code');
    ok($supervisor->is_gone, 'no process is left');
    return;
}

# Kills each worker as soon as it is ready, up to so many in all. Comes back when there are workers again in all places.
sub follow {
    my ($state, $count)      = @_;
    my ($supervisor, $alive) = @$state{qw(supervisor alive)};
    kill_one($state, $_) for $state->{kills} < $count ? grep { $alive->{$_}{is_ready} } keys %$alive : ();
    until ($state->{exits} == $count && WORKERS == grep { $_->{is_ready} } values %$alive) {
        my $event = $supervisor->wait_for(sub { $_[0]{event} =~ /\Aworker_/ });
        if (!$event) {
            my @told = map { "$_: " . ($alive->{$_}{reason} // 'not asked') } sort keys %$alive;
            push @{ $state->{wrong} }, "nothing more after $state->{exits} deaths; there are @told";
            return;
        }
        splice @{ $supervisor->{seen} };    # they add up, too
        note_event($state, $event);
        kill_one($state, $event->{pid}) if $event->{event} eq 'worker_ready' && $state->{kills} < $count;
    }
    return;
}

sub kill_one {
    my ($state, $pid)     = @_;
    my ($signal, $reason) = @{ $ENDS[ $state->{kills}++ % @ENDS ] };
    $state->{alive}{$pid}{reason} = $reason;
    kill $signal => $pid;
    return;
}

sub note_event {
    my ($state, $event) = @_;
    my ($name, $pid)    = @$event{qw(event pid)};
    my $worker = $state->{alive}{$pid};
    my $wrong  = sub { push @{ $state->{wrong} }, "$name of $pid: $_[0]" };
    if ($name eq 'worker_started') {
        $wrong->('it runs already') if $worker;
        $state->{alive}{$pid} = {};
    }
    elsif (!$worker) {
        $wrong->('it does not run');
    }
    elsif ($name eq 'worker_ready') {
        $wrong->('once more') if $worker->{is_ready}++;
    }
    elsif ($name eq 'worker_exited') {
        $state->{exits}++;
        my $reason = $worker->{reason} // 'none';
        $wrong->("$event->{reason}, but was killed by $reason") if $event->{reason} ne $reason;
        delete $state->{alive}{$pid};
    }
    return;
}

# What a process holds, as far as the system tells.
sub footprint {
    my ($pid) = @_;
    my ($rss) = EventLoop::Fork::Scoreboard::memory($pid);
    return { children => scalar children_of($pid), fds => count_fds($pid), rss => $rss };
}

# With those that have ended and were not waited for.
sub children_of {
    my ($parent) = @_;
    my @pairs    = map { [split] } grep { /\A\s*[0-9]/ } qx(ps -A -o pid= -o ppid=);
    return map { $_->[0] } grep { $_->[1] == $parent } @pairs;
}

sub count_fds {
    my ($pid) = @_;
    opendir my $folder, "/proc/$pid/fd" or return;
    return scalar grep { !/\A\./ } readdir $folder;
}

# ---- Supervisors ----------------------------------------------------------------------------------------------------

# So many supervisors are killed while their workers serve; each next one finds nothing of the one before that matters.
sub supervisor_deaths {
    my ($count, $wrk) = @_;
    my $folder      = File::Temp->newdir;
    my $status_file = "$folder/status";
    for my $number (1 .. $count) {
        my $supervisor = SupervisorTest->start(
            workers     => WORKERS,
            listen      => ['127.0.0.1:0'],
            status_file => $status_file,
            app         => "$FindBin::Bin/../../examples/apps/http.pl",
        );
        ok($supervisor->wait_for_count(worker_ready => WORKERS), "start $number works") or return;
        my ($name) = $supervisor->names;
        my $load = open my $output, '-|', $wrk, qw(-t1 -c16 -d600s), "http://$name/" or die "wrk: $!";
        ok(serves($status_file), 'requests are answered');
        my @shared = shared_names($supervisor->pid, $supervisor->workers);
        $supervisor->signal('KILL');
        is($supervisor->exit_code, 'signal 9', 'it is killed');
        my $is_gone = $supervisor->is_gone;
        kill KILL => $load;
        close $output;
        ok($is_gone, 'its workers have gone by themselves');
        is([ files_in($folder) ], ['status'], 'the status file is all that is left');
        is([ grep { $_ ne $status_file && -e } @shared ], [], 'no shared memory is left');
    }
    is(EventLoop::Fork::Scoreboard->open($status_file)->owner, 0, 'and it tells that its supervisor has gone');
    return;
}

# Workers have answered some.
sub serves {
    my ($status_file) = @_;
    my $board = EventLoop::Fork::Scoreboard->open($status_file);
    return SupervisorTest::wait_until(sub {
        my $answered = 0;
        $answered += $board->row($_)->{requests_done} for 0 .. 2 * WORKERS - 1;
        return $answered >= 200;
    });
}

sub files_in {
    my ($path) = @_;
    opendir my $folder, $path or return;
    my @names = sort grep { !/\A\.\.?\z/ } readdir $folder;
    return @names;
}

# What memory those processes share by a name and write to, and thus can leave behind.
sub shared_names {
    my %names;
    for my $pid (@_) {
        open my $maps, '<', "/proc/$pid/maps" or next;
        while (defined(my $line = readline $maps)) {
            my ($name) = $line =~ m{\A\S+ .w[-x]s \S+ \S+ \d+\s+(\S+)$} or next;    # "(deleted)" has none any more
            $names{$name} = 1;
        }
        close $maps;
    }
    return sort keys %names;
}

1;
