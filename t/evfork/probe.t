# evfork probe: what a container platform asks, and what it gets for an answer.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use BoardTest;
use EventLoop::Fork::Supervisor::Process;
use EvforkTest;
use ProcessTest qw(wait_until);
use Test2::V0;

my $number = 0;

sub start {
    my (@arguments) = @_;
    my $path        = "$EvforkTest::folder/probe-" . ++$number . '.status';
    my $supervisor  = EvforkTest->start('--status-file', $path, @arguments);
    return ($supervisor, $path);
}

sub probe { return EvforkTest::evfork('probe', @_) }

sub answers {
    my ($question, $exit_code, $text, $name) = @_;
    my @got = probe(@$question);
    is([ @got[ 0, 2 ] ], [ $exit_code, '' ], "$name: exit code $exit_code");
    like($got[1], $text, "$name: the answer");
    return;
}

# Ready when one file is there, and left when another one is.
my ($ready, $gate) = map { "$EvforkTest::folder/$_" } qw(ready gate);
my $slow = EvforkTest::write_file('slow.pl', <<"APP");
sub {
    my (\$worker) = \@_;
    my \$loop = \$worker->loop;
    my (\$get_ready, \$leave);
    \$get_ready = sub { -e '$ready' ? \$worker->ready : \$loop->watch_time(after => 0.01, code => \$get_ready) };
    \$leave     = sub { -e '$gate'  ? \$loop->stop : \$loop->watch_time(after => 0.01, code => \$leave) };
    \$worker->on_stop(\$leave);
    \$get_ready->();
    \$loop->run;
    return 0;
};
APP

subtest 'a life' => sub {
    my ($supervisor, $path) = start('--workers', 2, $slow);
    ok($supervisor->wait_for(qr/worker 1 .*started/), 'workers start');
    answers([ 'ready', $path ], 1, qr/\Aslow: not ready: 0 of 2 workers ready, wanted are 1\n\z/, 'none is ready');
    answers([ 'live', $path ], 0, qr/\Aslow: live: 0 of 2 workers ready, running\n\z/, 'and it lives');
    EvforkTest::write_file($ready, '');
    ok($supervisor->wait_for_workers(2), 'they are ready');
    answers([ 'ready', $path ], 0, qr/\Aslow: ready: 2 of 2 workers ready, running\n\z/, 'two are ready');
    answers([ 'ready', '--workers', 2, $path ], 0, qr/: ready: /, 'two were wanted');
    answers([ 'ready', '--workers', 3, $path ], 1, qr/: not ready: 2 of 2 workers ready, wanted are 3\n/, 'three were');
    $supervisor->signal('TERM');
    ok($supervisor->wait_for(qr/stopping/), 'it stops');
    answers([ 'ready', $path ], 1, qr/: not ready: it is stopping\n/, 'no more');
    answers([ 'live', $path ], 0, qr/: live: /, 'and it lives yet');
    EvforkTest::write_file($gate, '');
    is($supervisor->exit_code, 0, 'exit code');
    my ($exit_code, undef, $err) = probe('ready', $path);
    is($exit_code, 3, 'gone: exit code 3');
    like($err, qr/not running: there is no file/, 'and why');
};

subtest 'a process that is stopped' => sub {
    my ($supervisor, $path) = start('--workers', 1, $EvforkTest::idle);
    ok($supervisor->wait_for_workers(1), 'it runs');
    my $pid = $supervisor->pid;
    $supervisor->signal('STOP');
    ok(wait_until(sub { EventLoop::Fork::_process_is_stopped($pid) }), 'it is stopped');
    answers([ 'live', $path ], 1, qr/: not live: process $pid is stopped\n/, 'then');
    $supervisor->signal('CONT');
    ok(wait_until(sub { (probe('live', $path))[0] == 0 }), 'it lives again');
    $supervisor->signal('TERM');
    is($supervisor->exit_code, 0, 'exit code');
};

subtest 'one that is behind' => sub {
    my $path  = "$EvforkTest::folder/behind.status";
    my $board = EventLoop::Fork::Scoreboard->new(path => $path, rows => 12);
    BoardTest::fill($board);
    answers([ 'live', $path ], 0, qr/: live: /, 'without a plan');
    $board->set_header(due => BoardTest::now() + 5);
    answers([ 'live', $path ], 0, qr/: live: /, 'before its time');
    $board->set_header(due => BoardTest::now() - 5);
    answers([ 'live', $path ], 0, qr/: live: /, 'a bit late');
    answers(
        [ 'live', '--late', 2, $path ], 1, qr/: not live: process $$ is 5\.\d s behind: its loop does not turn\n/,
        'too late'
    );
};

subtest 'killed' => sub {
    my ($supervisor, $path) = start('--workers', 1, $EvforkTest::idle);
    ok($supervisor->wait_for_workers(1), 'it runs');
    $supervisor->signal('KILL');
    $supervisor->exit_code;
    answers([ $_, $path ], 3, qr/: not $_: it is not running\n/, $_) for qw(live ready);
};

subtest 'usage' => sub {
    my %errors = (
        ''                  => qr/which question\?/,
        'redy'              => qr/unknown question 'redy'.*ready/,
        'ready --late 3'    => qr/--late is not for 'ready'/,
        'live --workers 3'  => qr/--workers is not for 'live'/,
        'ready --workers 0' => qr/--workers must be a whole number from 1 to 512, not '0'/,
        'live --late x'     => qr/--late must be a number of seconds/,
        'live a b'          => qr/unexpected argument 'b'/,
    );
    for my $words (sort keys %errors) {
        my ($exit_code, $out, $err) = probe(split / /, $words);
        is([ $exit_code, $out ], [ 1, '' ], "probe $words: exit code 1");
        like($err, $errors{$words}, 'and why');
    }
};

done_testing;
