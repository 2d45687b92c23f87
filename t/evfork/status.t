# evfork status, of scoreboards that are made up: text, JSON, what a dead supervisor has left.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use BoardTest;
use EvforkTest;
use JSON::PP ();
use Test2::V0;

sub status { my ($exit_code, $out, $err) = EvforkTest::evfork('status', @_); return ($exit_code, $out, $err) }

sub json_of { my (undef, $out) = EvforkTest::evfork('status', '--json', @_); return JSON::PP->new->decode($out) }

my $path  = "$EvforkTest::folder/made-up.status";
my $board = BoardTest::fill(EventLoop::Fork::Scoreboard->new(path => $path, rows => 8));

subtest text => sub {
    my ($exit_code, $out, $err) = status($path);
    is([ $exit_code, $err ], [ 0, '' ], 'exit code 0');
    like($out, qr/\Amade-up app: running for \d+\.\d s, pid $$\n/, 'the supervisor');
    like($out, qr/^  listen   127\.0\.0\.1:8080, unix:.*a socket$/m, 'its listeners');
    like($out, qr/^  workers  3 wanted, 2 ready, generation 7$/m, 'its workers');
    like($out, qr/^  starts   start 3, died 2, reload 1$/m, 'starts by cause');
    like($out, qr/^  counters hits 20, misses 1$/m, 'counters, of all time');
    like($out, qr/^  requests 1305$/m, 'requests, of all time');
    like($out, qr/^  breaker  open/m, 'the breaker');
    my @rows = map { [ split / {2,}/, s/\A +//r ] } grep { /^ +\d/ } split /\n/, $out;
    is(
        [ map { [ @$_[ 0 .. 3 ] ] } @rows ], [ [ 0, $$, 'ready', 7 ], [ 1, 1, 'ready', 6 ], [ 2, '-', 'backoff', 7 ] ],
        'a line for each'
    );
    like($out, qr/^ +0 .* 1200 +2 +\d+(?:\.\d)? .* busy for 1\.[2-9] s/m, 'requests, in flight, rate, heartbeat')
        or diag $out;
    like($out, qr/^ +1 .* idle /m, 'idle');
    like(
        $out, qr/^ +2 .* exit 255: no \Q[31m\E database \(5\.\d s ago\)$/m,
        'the last exit, without control characters'
    );
    unlike($out, qr/[\x00-\x09\x0b-\x1f\x7f]/, 'nothing for a terminal');
};

subtest JSON => sub {
    my $data = json_of($path);
    is(
        [ sort keys %$data ],
        [
            sort
                qw(app breaker_open counters deaths died exit_code file generation has_fallen_back listeners loop name perl pid program requests
                running skipped_hooks start_method started starts state uptime version workers workers_ready workers_wanted)
        ],
        'keys'
    );
    is(
        [ sort keys %{ $data->{workers}[0] } ],
        [
            sort qw(age busy_for counters error generation heartbeat in_flight last_exit
                last_exit_age memory pid requests requests_per_second slot state stuck_at turns)
        ],
        'keys of a worker'
    );
    is($data->{running}, JSON::PP::true, 'a boolean');
    is($data->{breaker_open}, JSON::PP::true, 'another');
    is($data->{starts}, { start => 3, died => 2, reload => 1 }, 'starts');
    is([ @$data{qw(requests counters)} ], [ 1305, { hits => 20, misses => 1 } ], 'requests and counters, of all time');
    is([ map { $_->{heartbeat} } @{ $data->{workers} } ], [ 'busy', 'idle', undef ], 'heartbeats');
    is($data->{workers}[2]{pid}, undef, 'no process, no pid');
    cmp_ok($data->{workers}[0]{memory}, '>', 1e6, 'memory, of this process');
    my (undef, $out) = EvforkTest::evfork('status', '--json', $path);
    like($out, qr/"requests" : 1200,/, 'numbers are numbers');
    like($out, qr/"name" : "made-up app"/, 'texts are texts');
};

subtest 'a supervisor that was killed' => sub {
    my $stale = "$EvforkTest::folder/stale.status";
    my $pid   = BoardTest::leave_stale($stale);
    my ($exit_code, $out, $err) = status($stale);
    is([ $exit_code, $err ], [ 3, '' ], 'exit code 3');
    like($out, qr/\Amade-up app: not running: its supervisor \(pid $pid\) has died; this is what it left\n/, 'says so');
    like($out, qr/^ +2 +- +backoff .*no .* database/m, 'and what was last');
    my $data = json_of($stale);
    is([ @$data{qw(running state pid uptime)} ], [ JSON::PP::false, 'dead', $pid, undef ], 'the same as JSON');
    is((EvforkTest::evfork('status', '--json', $stale))[0], 3, 'exit code 3');
};

subtest 'none at all, as JSON' => sub {
    my ($exit_code, $out, $err) = EvforkTest::evfork('status', '--json', "$EvforkTest::folder/absent");
    is([ $exit_code, $err ], [ 3, '' ], 'exit code 3');
    my $data = JSON::PP->new->decode($out);
    is($data->{running}, JSON::PP::false, 'not running');
    like($data->{message}, qr/there is no file/, 'why');
};

subtest 'a stuck worker' => sub {
    $board->set_row(0, place => 'app.pl line 17 (sleep)', has_place => 1);
    my (undef, $out) = status($path);
    like($out, qr/busy for \S+ s at app\.pl line 17 \(sleep\)/, 'where it is');
    $board->set_row(0, has_place => 0);
};

subtest 'a replacement beside the worker that it replaces' => sub {
    $board->set_row(3, pid => $$, slot => 1, state => 1, generation => 8, spawned => BoardTest::now());
    my $workers = json_of($path)->{workers};
    is(
        [ map { "$_->{slot} $_->{state}" } @$workers ], [ '0 ready', '1 ready', '1 starting', '2 backoff' ],
        'both are shown'
    );
    $board->clear_row(3);
};

done_testing;
