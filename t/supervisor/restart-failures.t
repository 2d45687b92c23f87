# A hot restart that does not succeed leaves everything as it was, tells why, and the next one works.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use IO::Socket::INET;
use POSIX ();
use RestartTest;
use SoakTest ();
use SupervisorTest;
use Test2::V0;

my $LISTENING = RestartTest->listening;
my $PROGRAM   = RestartTest->program;

# The supervisor goes on as before: it serves, with the same files and descriptors, and the next restart succeeds.
sub goes_on {
    my ($restarted, $before) = @_;
    my $pid = $restarted->pid;
    is([ $restarted->pids ], [ $pid, $pid ], 'the old one is in charge');
    is([ $restarted->files ], $before->{files}, 'the files are the same, and nothing else');
    is((RestartTest::ask($_) =~ / ([0-9]+)/)[0], $pid, "its workers answer on $_") for @{ $before->{names} };
    ok(
        SupervisorTest::wait_until(sub { SoakTest::children_of($pid) == 2 && !groups_others($restarted) }),
        'no process is left of the new one'
    );
SKIP: {
        skip 'the system does not tell', 1 unless defined $before->{fds};
        is(SoakTest::count_fds($pid), $before->{fds}, 'no descriptor either');
    }
    return;
}

# Processes of the test's program that are neither the supervisor nor its workers.
sub groups_others {
    my ($restarted) = @_;
    my $pid         = $restarted->pid;
    my @all         = map { [split] } grep { /\A\s*[0-9]/ } qx(ps -A -o pid= -o ppid= -o pgid= -o stat=);
    return grep { $_->[2] == $pid && $_->[0] != $pid && $_->[1] != $pid && $_->[3] !~ /\AZ/ } @all;
}

sub start {
    my (%how) = @_;
    my $restarted = RestartTest->start(%how);
    $restarted->wait_until_ready or die $restarted->stderr;
    my $before = {
        names => [ $restarted->names ],
        files => [ $restarted->files ],
        fds   => SoakTest::count_fds($restarted->pid),
    };
    return ($restarted, $before);
}

sub refuses {
    my ($restarted, $before, $reason, $name) = @_;
    $restarted->signal('USR2');
    my $event = $restarted->wait_for('restart_failed');
    like($event && $event->{reason}, $reason, $name);
    return goes_on($restarted, $before);
}

sub succeeds {
    my ($restarted) = @_;
    $restarted->write('program.pl', $PROGRAM);
    $restarted->write('config.pl', $LISTENING);
    $restarted->restart('mended');
    ok($restarted->finish, 'no process is left');
    is([ $restarted->files ], [], 'no file either');
    return;
}

# ---- The new one fails ----------------------------------------------------------------------------------------------

subtest 'it does not compile' => sub {
    my ($restarted, $before) = start();
    $restarted->write('program.pl', $PROGRAM =~ s/my \$json /my my \$json /r);
    refuses($restarted, $before, qr/\Aexit 255: No such class my at program\.pl line 8/, 'after its modules');
    like($restarted->stderr, qr/at program\.pl line 8/, 'it could say so itself');
    $restarted->write('program.pl', $PROGRAM =~ s/use strict;/use No::Such::Module;/r);
    refuses(
        $restarted, $before, qr/\Aexit 2: .*BEGIN failed.* at program\.pl line 1/,
        'before there is anybody who could tell'
    );
    like($restarted->stderr, qr/^Can't locate No.Such.Module/m, 'it could say so itself');
    succeeds($restarted);
};

subtest 'it ends' => sub {
    my ($restarted, $before) = start();
    $restarted->write('config.pl', 'before => sub { exit 7 },');
    refuses($restarted, $before, qr/\Aexit 7\z/, 'with an exit code');
    $restarted->write('config.pl', 'before => sub { exit 0 },');
    refuses($restarted, $before, qr/\Aexit 0\z/, 'with a good one');
    $restarted->write('config.pl', 'before => sub { die "no database\n" },');
    refuses($restarted, $before, qr/\Aexit \d+: no database\z/, 'by an exception');
    $restarted->write('config.pl', 'before => sub { kill KILL => $$; sleep 10 },');
    refuses($restarted, $before, qr/\Akilled by SIGKILL\z/, 'by a signal');
    $restarted->write('config.pl', 'workers => -1,');
    refuses($restarted, $before, qr/\Aexit \d+: .*'workers'/, 'by an option that is wrong');
    succeeds($restarted);
};

subtest 'it cannot bind, or has no place for its files' => sub {
    my ($restarted, $before) = start();
    my $taken = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "listen: $!";
    my $port  = $taken->sockport;
    $restarted->write('config.pl', $LISTENING =~ s/listen => \[/listen => ["127.0.0.1:$port", /r);
    refuses($restarted, $before, qr/127\.0\.0\.1:$port is in use/, 'an address');
    $restarted->write('config.pl', "$LISTENING pid_file => '/no/such/folder/pid',");
    refuses($restarted, $before, qr/there is no folder/, 'a pid file');
    $restarted->write('config.pl', "$LISTENING status_file => '/no/such/folder/status',");
    refuses($restarted, $before, qr/No such file/, 'a status file');
    my $board = EventLoop::Fork::Scoreboard->new(path => $restarted->folder . '/other', rows => 1);
    $restarted->write('config.pl', "$LISTENING status_file => \"\$main::folder/other\",");
    $restarted->signal('USR2');
    my $event = $restarted->wait_for('restart_failed');
    like($event && $event->{reason}, qr/belongs to a process that runs/, 'the status file of somebody else');
    undef $board;
    goes_on($restarted, $before);
    succeeds($restarted);
};

subtest 'a worker of it does not start' => sub {
    my ($restarted, $before) = start();
    $restarted->write(
        'config.pl',
        "$LISTENING worker => sub { die qq(no queue\\n) if \$_[0]->slot; main::serve(\@_) },"
    );
    refuses($restarted, $before, qr/\Aexit 0: worker 1 ended: exception: .*no queue/, 'why');
    $restarted->write('config.pl', "$LISTENING startup_timeout => 0.5, worker => sub { sleep 60 while 1 },");
    refuses($restarted, $before, qr/\Aexit 0: worker [01] ended: killed by SIGKILL/, 'it hangs');
    succeeds($restarted);
};

subtest 'it does not get ready in time' => sub {
    my ($restarted, $before) = start(config => <<"CONFIG");
        $LISTENING
        startup_timeout => 0.5,
        before          => sub { \$EventLoop::Fork::Supervisor::Restart::margin = 1 },
CONFIG
    $restarted->write('config.pl', 'before => sub { sleep 100 },');
    refuses($restarted, $before, qr/\Aits workers were not ready after 1\.5 s\z/, 'the program hangs');
    $restarted->signal('USR2');
    ok($restarted->wait_for('restart_started'), 'the next one starts');
    ok($restarted->finish, 'no process is left');
    is([ $restarted->files ], [], 'no file either');
};

# PAGI::Server (U9): a new master that died left a flag set, and every later USR2 was refused.
subtest 'it is killed while its workers start' => sub {
    my ($restarted, $before) = start();
    $restarted->write('config.pl', "$LISTENING worker => \\&main::serve_later,");
    for my $signal (qw(KILL TERM)) {
        $restarted->signal('USR2');
        my $started = $restarted->wait_for('restart_started');
        my $new     = $started->{pid};
        $restarted->wait_for_by($new, 'worker_started') for 1 .. 2;
        cmp_ok(scalar($restarted->files), '>', @{ $before->{files} }, "$signal: it has files beside the others");
        is([ $restarted->pids ], [ ($restarted->pid) x 2 ], 'which are not in use yet');
        kill $signal => $new;
        my $event = $restarted->wait_for_by($restarted->pid, 'restart_failed');
        like(
            $event && $event->{reason},
            $signal eq 'KILL' ? qr/\Akilled by SIGKILL\z/ : qr/\Aexit 0: it was asked to stop\z/,
            'why'
        );
        goes_on($restarted, $before);
    }
    succeeds($restarted);
};

# ---- There is nothing to start --------------------------------------------------------------------------------------

subtest 'the program is gone' => sub {
    my ($restarted, $before) = start();
    my $folder = $restarted->folder;
    rename "$folder/program.pl", "$folder/gone" or die "rename: $!";
    push @{ $before->{files} }, 'gone';
    @{ $before->{files} } = sort @{ $before->{files} };
    refuses($restarted, $before, qr/\Athe program 'program\.pl' is gone\z/, 'why');
    unlink "$folder/gone";
    succeeds($restarted);
};

subtest 'it came from standard input' => sub {
    my ($restarted) = RestartTest->start(
        command => [ '-e', 'open STDIN, "<", "program.pl"; exec $^X, map({ "-I$_" } grep { !ref } @INC), "-", "."' ]);
    $restarted->wait_until_ready or die $restarted->stderr;
    $restarted->signal('USR2');
    my $event = $restarted->wait_for('restart_failed');
    like($event && $event->{reason}, qr/from standard input/, 'why');
    ok($restarted->finish, 'no process is left');
};

subtest 'two supervisors in one program' => sub {
    my $restarted = RestartTest->start(config => <<'CONFIG');
        listen => ['127.0.0.1:0'],
        loop   => our $loop = EventLoop::Fork::Loop->new,
        before => sub {
            our $other = EventLoop::Fork::Supervisor->new(
                workers  => 1,
                loop     => our $loop,
                worker   => sub { $_[0]->ready; $_[0]->loop->run },
                on_event => sub { },
            )->start;
        },
CONFIG
    $restarted->wait_until_ready or die $restarted->stderr;
    $restarted->signal('USR2');
    my $event = $restarted->wait_for('restart_failed');
    like($event && $event->{reason}, qr/2 supervisors in this process/, 'why');
    ok($restarted->finish, 'no process is left');
};

# ---- Meanwhile ------------------------------------------------------------------------------------------------------

# USR2, and the new one is there but not ready; its pid.
sub begin {
    my ($restarted) = @_;
    $restarted->write('config.pl', "$LISTENING worker => \\&main::serve_later,");
    $restarted->signal('USR2');
    my $started = $restarted->wait_for('restart_started') or return;
    $restarted->wait_for_by($started->{pid}, 'worker_started') for 1 .. 2;
    return $started->{pid};
}

subtest 'a second USR2' => sub {
    my ($restarted) = start();
    my $new = begin($restarted);
    kill USR2 => $restarted->pid, $new;
    ok(
        SupervisorTest::wait_until(sub { $restarted->stderr =~ /no restart: process $new is about to take over/ }),
        'the old one says that one is under way'
    );
    ok(
        SupervisorTest::wait_until(sub { $restarted->stderr =~ /no restart: .*not taken over itself yet/ }),
        'so does the new one'
    );
    $restarted->write('go', '');
    my $taken = $restarted->wait_for('taken_over');
    is($taken && $taken->{by}, $new, 'and that one takes over');
    is(scalar(grep { $_->{event} eq 'restart_started' } $restarted->events), 1, 'it was the only one');
    $restarted->wait_for_by($restarted->pid, 'stopped');
    ok($restarted->finish, 'no process is left');
};

for my $signal (qw(TERM QUIT)) {
    subtest "$signal to the old one" => sub {
        my ($restarted) = start();
        my $new = begin($restarted);
        $restarted->signal($signal);
        is($restarted->end, 0, 'it ends with exit code 0');
        ok(!EventLoop::Fork::Supervisor::Process::is_alive($new), 'and has waited for the new one');
        ok($restarted->is_gone, 'no process is left');
        is([ $restarted->files ], [], 'no file either');
    };
}

subtest 'TERM to the old one when the new one has taken over' => sub {
    my ($restarted) = start();
    my $new = begin($restarted);
    $restarted->write('go', '');
    $restarted->wait_for('taken_over');
    $restarted->signal('TERM');
    my $end = $restarted->end;
    # When it has stopped TERM is the program's, which may have no more to do than to end.
    my $ends_well = $end eq '0' || $end eq 'signal ' . POSIX::SIGTERM() && $restarted->told($restarted->pid, 'stopped');
    ok($ends_well, 'it ends with exit code 0') or diag($end);
    is([ $restarted->pids ], [ $new, $new ], 'the new one is in charge');
    is((RestartTest::ask($_) =~ / ([0-9]+)/)[0], $new, "its workers answer on $_") for $restarted->names;
    ok($restarted->finish, 'no process is left');
    is([ $restarted->files ], [], 'no file either');
};

subtest 'the old one is killed' => sub {
    my ($restarted, $before) = start();
    my $new     = begin($restarted);
    my @clients = $restarted->start_clients(@{ $before->{names} });
    $restarted->signal('KILL');
    is($restarted->end, 'signal 9', 'it is gone');
    $restarted->write('go', '');
    my $taken = $restarted->wait_for('taken_over');
    is($taken && $taken->{by}, $new, 'the new one takes over all the same');
    is([ $restarted->pids ], [ $new, $new ], 'pid file and status file tell it');
    is([ $restarted->files ], $before->{files}, 'the files are the same, and nothing else');
    $restarted->check_clients(@clients);
    ok($restarted->finish, 'no process is left');
    is([ $restarted->files ], [], 'no file either');
};

done_testing;
