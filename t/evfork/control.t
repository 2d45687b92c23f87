# evfork stop, reload, restart and scale: asked of a real supervisor, and of none.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use BoardTest;
use EvforkTest;
use JSON::PP ();
use Test2::V0;

sub json_of { my (undef, $out) = EvforkTest::evfork('status', '--json', @_); return JSON::PP->new->decode($out) }

my $number = 0;

# A supervisor and its status file.
sub start {
    my (@arguments) = @_;
    my $path        = "$EvforkTest::folder/control-" . ++$number . '.status';
    my $supervisor  = EvforkTest->start('--status-file', $path, @arguments);
    return ($supervisor, $path);
}

subtest 'stop waits until it has ended' => sub {
    my ($supervisor, $path) = start('--workers', 2, $EvforkTest::idle);
    ok($supervisor->wait_for_workers(2), 'it runs');
    my $pid = $supervisor->pid;
    is(
        [ EvforkTest::evfork('stop', $path) ], [ 0, 'control-' . "$number (pid $pid) has stopped\n", '' ],
        'exit code 0'
    );
    is([ waitpid($pid, 1), $? ], [ $pid, 0 ], 'the process has ended with exit code 0 by then');
    $supervisor->{exit_code} = 0;
    ok(!kill(0, -$pid), 'and its workers');
    is((EvforkTest::evfork('stop', $path))[0], 3, 'a second stop: exit code 3');
};

# Its worker leaves when the file is there: not by itself.
my $gate     = "$EvforkTest::folder/gate";
my $stubborn = EvforkTest::write_file('stubborn.pl', <<"APP");
sub {
    my (\$worker) = \@_;
    my \$loop = \$worker->loop;
    my \$look;
    \$look = sub { -e '$gate' ? \$loop->stop : \$loop->watch_time(after => 0.01, code => \$look) };
    \$worker->on_stop(\$look);
    \$worker->ready;
    \$loop->run;
    return 0;
};
APP

subtest 'stop --timeout, and --fast' => sub {
    my ($supervisor, $path) = start('--workers', 1, $stubborn);
    ok($supervisor->wait_for_workers(1), 'it runs');
    my ($exit_code, $out, $err) = EvforkTest::evfork('stop', '--timeout', '0.1', $path);
    is([ $exit_code, $out ], [ 1, '' ], 'exit code 1 when the time is over');
    like($err, qr/\Aevfork: control-\d+ \(pid \d+\) still runs after 0\.1 s; --fast stops it/, 'which is said');
    is(json_of($path)->{state}, 'stopping', 'it is stopping');
    for my $command (
        [ 'scale', 3, $path ],
        [ 'reload', $path ], [ 'reload', '--wait', $path ],
        [ 'restart', $path ], [ 'restart', '--wait', $path ]
        )
    {
        ($exit_code, $out, $err) = EvforkTest::evfork(@$command);
        is($exit_code, 1, "$command->[0] now: exit code 1");
        like($err, qr/does not (?:scale|reload|restart): it is stopping\n\z/, 'and why');
    }
    is((EvforkTest::evfork('stop', '--fast', $path))[0], 0, '--fast: exit code 0');
    is($supervisor->exit_code, 0, 'it has ended');
    ok((grep { /stopping now/ } $supervisor->lines), 'by QUIT');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'stop --delay' => sub {
    my ($supervisor, $path) = start('--workers', 1, $EvforkTest::idle);
    ok($supervisor->wait_for_workers(1), 'it runs');
    my $before = ProcessTest::now();
    is((EvforkTest::evfork('stop', '--delay', 0.5, $path))[0], 0, 'exit code 0');
    cmp_ok(ProcessTest::now() - $before, '>=', 0.5, 'not before');
    is($supervisor->exit_code, 0, 'it has ended');
    like((EvforkTest::evfork('stop', '--delay', 'x', $path))[2], qr/--delay must be a number of seconds/, 'usage');
};

subtest scale => sub {
    my ($supervisor, $path) = start('--workers', 1, $EvforkTest::idle);
    ok($supervisor->wait_for_workers(1), 'it runs');
    my $pid = $supervisor->pid;
    is(
        [ EvforkTest::evfork('scale', 4, $path) ],
        [ 0, "control-$number (pid $pid): 4 workers wanted, 1 before\n", '' ], 'up'
    );
    is(json_of($path)->{workers_wanted}, 4, 'taken when the command has ended');
    ok($supervisor->wait_for_workers(3), 'three more');
    is((EvforkTest::evfork('scale', 4, $path))[0], 0, 'the number that there is');
    is(json_of($path)->{workers_wanted}, 4, 'changes nothing');
    is((EvforkTest::evfork('scale', 1, $path))[0], 0, 'down');
    is(json_of($path)->{workers_wanted}, 1, 'exactly');
    ok($supervisor->wait_for(qr/ended after/), 'workers leave') for 1 .. 3;

    subtest 'many calls at once' => sub {
        my %wanted;
        my $before  = $supervisor->lines;
        my @numbers = (5, 2, 7, 3, 6, 4, 8, 2, 5, 3);
        for my $count (@numbers) {
            my $child = fork // die "fork: $!";
            if (!$child) {
                open STDOUT, '>', '/dev/null';
                exec EvforkTest::command('scale', $count, $path) or POSIX::_exit(99);
            }
            $wanted{$child} = $count;
        }
        my @codes;
        for my $child (keys %wanted) {
            waitpid $child, 0;
            push @codes, $?;
        }
        is(\@codes, [ (0) x @numbers ], 'all succeed');
        ok(
            (EvforkTest::evfork('scale', 9, $path))[0] == 0 && $supervisor->wait_for(qr/\b9 workers wanted/),
            'and one that is the last'
        );
        my @lines     = $supervisor->lines;
        my @taken     = map { /(\d+) workers wanted/ } @lines[ $before .. $#lines ];
        my %is_wished = map { $_ => 1 } @numbers, 9;
        is([ grep { !$is_wished{$_} } @taken ], [], 'no number that nobody wished');
        is(json_of($path)->{workers_wanted}, 9, 'the last one is what it has');
        is((EvforkTest::evfork('scale', $_, $path))[0], 0, "scale $_") for 2 .. 6;
        is(json_of($path)->{workers_wanted}, 6, 'one after the other: the last one');
    };
    is((EvforkTest::evfork('stop', $path))[0], 0, 'stop');
    ok($supervisor->is_gone, 'no process is left') if defined $supervisor->exit_code;
};

subtest reload => sub {
    my $app = EvforkTest::write_file(
        'reloaded.pl',
        'sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };'
    );
    my ($supervisor, $path) = start('--workers', 3, '--respawn-delay', '0.01', $app);
    ok($supervisor->wait_for_workers(3), 'it runs');
    my $pid = $supervisor->pid;
    is(
        [ EvforkTest::evfork('reload', '--wait', $path) ],
        [ 0, "control-$number (pid $pid) has reloaded: generation 2, workers ready: 3\n", '' ], '--wait: exit code 0'
    );
    is([ map { $_->{generation} } @{ json_of($path)->{workers} } ], [ 2, 2, 2 ], 'all are new by then');
    my @before = map { $_->{pid} } @{ json_of($path)->{workers} };

    EvforkTest::write_file($app, "die 'no database';\n");
    my ($exit_code, $out, $err) = EvforkTest::evfork('reload', '--wait', $path);
    is([ $exit_code, $out ], [ 1, '' ], 'broken code: exit code 1');
    like(
        $err,
        qr/\Aevfork: reload of control-\d+ \(pid $pid\) was rolled back: .*no database.*; the old ones go on\n\z/,
        'which is said, and why'
    );
    is([ map { $_->{pid} } @{ json_of($path)->{workers} } ], \@before, 'the same workers as before');

    EvforkTest::write_file($app, 'sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };');
    for (1 .. 3) {
        is((EvforkTest::evfork('reload', '--wait', $path))[0], 0, 'mended: exit code 0');
    }
    is(
        [ EvforkTest::evfork('reload', $path) ], [ 0, "control-$number (pid $pid) is asked to reload\n", '' ],
        'without --wait'
    );
    is((EvforkTest::evfork('reload', '--wait', '--timeout', 60, $path))[0], 0, 'a second one waits for the first, too');
    is([ grep { $_->{state} ne 'ready' } @{ json_of($path)->{workers} } ], [], 'and all are ready then');
    is((EvforkTest::evfork('stop', $path))[0], 0, 'stop');
    is($supervisor->exit_code, 0, 'it has ended');
    ok($supervisor->is_gone, 'no process is left');
};

# The status file is one that evfork has chosen, and the app is given by a relative name.
subtest restart => sub {
    my $app = EvforkTest::write_file(
        'restarted.pl',
        'sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };'
    );
    my $supervisor = EvforkTest->start('--workers', 2, '--listen', '127.0.0.1:0', $app);
    ok($supervisor->wait_for_workers(2), 'it runs');
    my $before = json_of('restarted');
    my $pid    = $supervisor->pid;
    is($before->{pid}, $pid, 'evfork finds it by its name');

    my ($exit_code, $out, $err) = EvforkTest::evfork('restart', '--wait', 'restarted');
    is([ $exit_code, $err ], [ 0, '' ], 'restart --wait: exit code 0') or return;
    like($out, qr/\Arestarted \(pid $pid\) has restarted: pid [0-9]+ has taken over\n\z/, 'which is said');
    my ($next) = $out =~ /: pid ([0-9]+)/;
    my $after = json_of('restarted');
    is($after->{pid}, $next, 'by the same name there is the new one now');
    is([ @$after{qw(file listeners workers_ready)} ], [ @$before{qw(file listeners workers_ready)} ], 'just as before');
    is(EvforkTest::end_in_words($pid), 0, 'the old one has ended');
    $supervisor->{wait_status} = 0;

    EvforkTest::write_file($app, "die 'no database';\n");
    ($exit_code, $out, $err) = EvforkTest::evfork('restart', '--wait', 'restarted');
    is([ $exit_code, $out ], [ 1, '' ], 'broken code: exit code 1');
    like(
        $err,
        qr/\Aevfork: restart of restarted \(pid $next\) failed: exit 0: worker \d ended: .*no database.*; it goes on\n\z/,
        'which is said, and why'
    );
    is(json_of('restarted')->{pid}, $next, 'it goes on');
    is(
        [ EvforkTest::evfork('restart', 'restarted') ], [ 0, "restarted (pid $next) is asked to restart\n", '' ],
        'without --wait'
    );
    unlink $app;
    ($exit_code, $out, $err) = EvforkTest::evfork('restart', '--wait', 'restarted');
    is($exit_code, 1, 'no code at all: exit code 1');
    is((EvforkTest::evfork('stop', 'restarted'))[0], 0, 'stop');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'whoever does not own the file is not signalled' => sub {
    my $path = "$EvforkTest::folder/stale.status";
    BoardTest::leave_stale($path);
    pipe my $reader, my $writer or die "pipe: $!";
    my $bystander = fork // die "fork: $!";
    if (!$bystander) {
        close $writer;
        $SIG{$_} = sub { POSIX::_exit(77) }
            for qw(TERM QUIT HUP TTIN USR2);
        my $end;
        1 until defined sysread $reader, $end, 1;
        POSIX::_exit(0);
    }
    close $reader;
    EventLoop::Fork::Scoreboard->open($path, writable => 1)->set_header(supervisor_pid => $bystander);
    for my $command (
        [ 'stop', $path ], [ 'stop', '--fast', $path ], [ 'reload', $path ],
        [ 'restart', $path ], [ 'restart', '--wait', $path ],
        [ 'reload', '--wait', $path ], [ 'scale', 2, $path ]
        )
    {
        my ($exit_code, $out, $err) = EvforkTest::evfork(@$command);
        is(
            [ $exit_code, $out, $err ], [ 3, '', "evfork: stale is not running: nobody holds $path\n" ],
            "@$command[0 .. $#$command - 1]: exit code 3"
        );
    }
    close $writer;
    waitpid $bystander, 0;
    is($?, 0, 'the process that has its number now got no signal');
    is(EventLoop::Fork::Scoreboard->open($path)->header->{wanted_workers}, 0, 'nothing was written');
};

subtest 'a supervisor that does not answer' => sub {
    my ($supervisor, $path) = start('--workers', 1, $EvforkTest::idle);
    ok($supervisor->wait_for_workers(1), 'it runs');
    $supervisor->signal('STOP');
    my ($exit_code, $out, $err) = EvforkTest::evfork('scale', 2, '--timeout', '0.1', $path);
    is([ $exit_code, $out ], [ 1, '' ], 'exit code 1');
    like($err, qr/has not answered within 0\.1 s\n\z/, 'and why');
    ($exit_code, $out, $err) = EvforkTest::evfork('reload', '--wait', '--timeout', '0.1', $path);
    is($exit_code, 1, 'reload --wait: exit code 1');
    like($err, qr/has not finished its reload after 0\.1 s\n\z/, 'and why');
    is((EvforkTest::evfork('status', $path))[0], 0, 'status does not need it');
    $supervisor->signal('CONT');
    is((EvforkTest::evfork('scale', 3, $path))[0], 0, 'when it goes on it answers');
    ok($supervisor->wait_for_workers(2), 'two more');
    is(json_of($path)->{workers_wanted}, 3, 'exactly');
    is([ grep { /\b[24] workers wanted/ } $supervisor->lines ], [], 'the wish that failed is forgotten');
    is((EvforkTest::evfork('stop', $path))[0], 0, 'stop');
    is($supervisor->exit_code, 0, 'it has ended');
};

done_testing;
