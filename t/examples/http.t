# examples/multiworker-http.pl with real clients, on every backend: what it answers, what it refuses, and that
# no request, descriptor or process is lost when workers are killed and when it stops.

use strict;
use warnings;

use Test2::V0;

use File::Temp qw(tempdir);
use FindBin;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use lib "$FindBin::Bin/../lib";

BEGIN {
    plan skip_all => 'HTTP::Parser::XS is not installed (libhttp-parser-xs-perl)' if !eval { require HTTP::Parser::XS };
}

use EventLoop::Fork::Loop;
use ForkTest qw(is_stopped pause);
use HTTPClient;

my $has_curl = grep { -x "$_/curl" } split /:/, $ENV{PATH};
my $has_proc = -d "/proc/$$/fd";

my $backends = EventLoop::Fork::Loop->backends;
for my $backend (sort keys %{$backends}) {
    my ($method, @others) = @{ $backends->{$backend} };
    my %common = (arguments => [ '--backend', $backend, '--method', $method ]);
    subtest "$backend/$method" => sub {
        serves(%common);
        times_out(%common);
        survives_kills(%common);
        stops_while_starting(%common);
        finishes_requests(%common);
        cuts_off(%common);
        survives_descriptor_shortage(%common);
    };
    for my $other (@others) {
        subtest "$backend/$other" => sub { survives_kills(arguments => [ '--backend', $backend, '--method', $other ]) };
    }
}
subtest 'UNIX socket'       => \&listens_on_unix_socket;
subtest 'workers that fail' => \&backs_off;
subtest 'options'           => \&refuses_bad_options;

done_testing;

sub server {
    my ($common, @arguments) = @_;
    my %argument = @arguments % 2 ? (arguments => shift @arguments, @arguments) : @arguments;
    return HTTPClient::Server->start(
        %argument, arguments => [ @{ $common->{arguments} }, @{ $argument{arguments} || [] } ],
    );
}

# ---- requests and answers

sub serves {
    my (%common) = @_;
    my $server   = server(\%common, [ '--workers', 1, '--header-limit', 2048, '--body-limit', 65_536 ], workers => 1);
    my ($worker) = $server->workers;
    my $first    = $server->connect;
    is(text($first, '/pid'), "$worker\n", 'a worker answers');
    my $before = descriptors($worker);

    subtest 'keep-alive and the end of a connection' => sub { keeps_alive($server) };
    subtest 'pipelining'                             => sub { pipelines($server) };
    subtest 'request bodies'                         => sub { reads_bodies($server) };
    subtest 'response bodies'                        => sub { writes_bodies($server) };
    subtest 'Expect'                                 => sub { continues($server) };
    subtest 'bad requests'                           => sub { refuses($server) };
    subtest 'curl'                                   => sub { answers_curl($server) };

    is(text($first, '/pid'), "$worker\n", 'the first connection and its worker are still there');
    settles($worker, $before);
    undef $first;
    stops_clean($server);
    return;
}

sub keeps_alive {
    my ($server) = @_;
    my $client = $server->connect;
    like(text($client, '/'), qr/^Hello from worker \d+$/, 'first request');
    is(text($client, '/nowhere', 404), match(qr/no such page/), 'second request, no such page');
    $client->get('/pid', 'Connection: close');
    my $last = $client->response;
    is($last->{fields}{connection}, 'close', 'the last answer says so');
    ok($client->is_ended, 'and is the last one');

    $client = $server->connect;
    $client->send("GET /pid HTTP/1.0\r\n\r\n");
    is($client->response->{status}, 200, 'HTTP/1.0 without Host');
    ok($client->is_ended, 'ends the connection');

    $client = $server->connect;
    $client->send("GET /pid HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" x 2);
    is($client->response->{fields}{connection}, 'keep-alive', 'HTTP/1.0 keeps it when asked') for 1 .. 2;

    $client = $server->connect;
    $client->get('/slow?ms=1');
    $client->end_sending;
    is($client->response->{status}, 200, 'a client that has ended its sending gets its answer');
    ok($client->is_ended, 'and then the end');
    return;
}

sub pipelines {
    my ($server) = @_;
    my @requests = (
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none",
        "GET /slow?ms=20 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            . "2;ext=1\r\nth\r\n03\r\nree\r\n0\r\nT: 1\r\n\r\n",
        "\r\nHEAD /sized?bytes=10 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/chunked?chunks=2&size=2 HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /echo HTTP/1.1\nHost: a\nContent-Length: 4\n\nlast",
    );
    for my $way ('at once', 'byte by byte') {
        my $client = $server->connect;
        $client->send($_) for $way eq 'at once' ? join '', @requests : map { split // } @requests;
        my @bodies = map { $client->response($_ == 3 ? 'HEAD' : 'GET')->{body} } 0 .. $#requests;
        is(
            \@bodies, [ 'one', match(qr/after 20 ms/), 'three', '', "x\nx\n", 'last' ],
            "six requests $way, six answers in order"
        );
    }

    my $client = $server->connect;
    my $count  = 500;
    $client->send(
        map { my $body = "n$_"; "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: @{[length $body]}\r\n\r\n$body" }
            1 .. $count);
    is(
        [ map { $client->response->{body} } 1 .. $count ], [ map { "n$_" } 1 .. $count ],
        "$count requests at once, in order"
    );

    $client = $server->connect;
    $client->get('/sized?bytes=4000000') for 1 .. 3;
    is(
        [ map { length $client->response->{body} } 1 .. 3 ], [ (4_000_000) x 3 ],
        'three answers larger than any buffer'
    );
    return;
}

sub reads_bodies {
    my ($server) = @_;
    my $client   = $server->connect;
    my $body     = join '', map { chr $_ % 256 } 1 .. 65_536;
    is(post($client, 'Content-Length: 65536', $body)->{body}, $body, 'a sized body at the limit');
    my $chunked = join('', map { "1000\r\n" . substr($body, $_ * 4096, 4096) . "\r\n" } 0 .. 15) . "0\r\n\r\n";
    is(post($client, 'Transfer-Encoding: chunked', $chunked)->{body}, $body, 'a chunked body at the limit');
    is(post($client, 'Content-Length: 0', '')->{body}, '', 'an empty body');
    is(post($client, 'X: none', '')->{body}, '', 'no body');

    is(ends_with($server, 'Content-Length: 65537', ''), 413, 'a sized body over the limit');
    is(ends_with($server, 'Content-Length: 99999999999999999999', ''), 413, 'a length that no number holds');
    my $over = "8000\r\n" . 'x' x 32_768 . "\r\n8001\r\n" . 'x' x 32_769 . "\r\n0\r\n\r\n";
    is(ends_with($server, 'Transfer-Encoding: chunked', $over), 413, 'a chunked body over the limit');
    is(
        ends_with($server, 'Transfer-Encoding: chunked', "FFFFFFFFFFFFFFFFFF\r\n"), 413,
        'a chunk size that no number holds'
    );
    my $trailer = "0\r\n" . "T: 1\r\n" x 400;
    is(ends_with($server, 'Transfer-Encoding: chunked', $trailer), 431, 'a trailer over the limit');
    is(ends_with($server, 'Transfer-Encoding: chunked', $_), 400, "chunk refused: @{[quoted($_)]}")
        for "-1\r\n", "0x1\r\n", "g\r\n", "\r\n", " 1\r\n", "1\n", "1\r\nab\r\n", "1\r\na\n", '1' x 300, "0\r\n\n";
    return;
}

sub writes_bodies {
    my ($server) = @_;
    my $client = $server->connect;
    $client->get('/chunked?chunks=300&size=1000');
    my $response = $client->response;
    is([ length $response->{body}, $response->{chunks} ], [ 300_000, 301 ], '300 chunks and the last one');
    $client->get('/chunked?chunks=3&ms=5');
    is($client->response->{chunks}, 4, 'chunks at intervals');
    for my $path ('/chunked', '/sized?bytes=100', '/slow?ms=1') {
        $client->send("HEAD $path HTTP/1.1\r\nHost: a\r\n\r\n");
        is($client->response('HEAD')->{status}, 200, "HEAD $path");
    }
    is(text($client, '/pid'), match(qr/^\d+$/), 'nothing but heads came');

    $client->send("GET /chunked?chunks=3&size=10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    $response = $client->response;
    is(
        [ length $response->{body}, $response->{fields}{'transfer-encoding'} ], [ 30, undef ],
        'HTTP/1.0 gets no chunks'
    );
    ok($client->is_ended, 'but the end of the connection');
    return;
}

sub continues {
    my ($server) = @_;
    my $client   = $server->connect;
    my $head     = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n";
    $client->send($head, "Content-Length: 5\r\n\r\n");
    is($client->response->{status}, 100, '100 before the body');
    $client->send('hello');
    is($client->response->{body}, 'hello', 'and the answer after it');
    $client->send($head, "Content-Length: 100000\r\n\r\n");
    is($client->response->{status}, 413, 'a body that is too large is not asked for');
    ok($client->is_ended, 'connection ended');
    is(ends_with($server, "Expect: cake\r\nContent-Length: 5", ''), 417, 'another expectation');
    return;
}

sub refuses {
    my ($server) = @_;
    my $host     = "Host: a\r\n";
    my @cases    = (
        [ 400, "nonsense\r\n\r\n" ],
        [ 400, "GET  / HTTP/1.1\r\n$host\r\n" ],
        [ 400, "GET /%zz HTTP/1.1\r\n$host\r\n" ],
        [ 400, "\0\1\2\r\n\r\n" ],
        [ 400, "GET / HTTP/1.1\r\n\r\n" ],
        [ 400, "GET / HTTP/1.1\r\n$host$host\r\n" ],
        [ 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n" ],
        [ 400, "GET / HTTP/1.10\r\n$host\r\n" ],
        [ 400, "GET / HTTP/1.1\r\n${host}no colon\r\n\r\n" ],
        [ 400, "POST /echo HTTP/1.1\r\n${host}Content-Length: +1\r\n\r\na" ],
        [ 400, "POST /echo HTTP/1.1\r\n${host}Content-Length:\r\n\r\na" ],
        [ 400, "POST /echo HTTP/1.1\r\n${host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab" ],
        [ 400, "POST /echo HTTP/1.1\r\n${host}Content-Length : 1\r\n\r\na" ],
        [ 400, "POST /echo HTTP/1.1\r\n${host}Content_Length: 1\r\n\r\na" ],
        [ 400, "POST /echo HTTP/1.1\r\n${host}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" ],
        [ 400, "POST /echo HTTP/1.1\r\n${host}Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n" ],
        [ 400, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" ],
        [ 501, "POST /echo HTTP/1.1\r\n${host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" ],
        [ 505, "GET / HTTP/2.0\r\n$host\r\n" ],
        [ 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" ],
        [ 431, "GET / HTTP/1.1\r\n${host}X: " . 'x' x 2048 . "\r\n\r\n" ],
        [ 431, 'GET /' . 'x' x 2048 ],
        [ 431, "GET / HTTP/1.1\r\n" . "X: y\r\n" x 200 . "\r\n" ],
    );
    for my $case (@cases) {
        my ($status, $bytes) = @{$case};
        my $client = $server->connect;
        $client->send($bytes, "GET /pid HTTP/1.1\r\n$host\r\n");
        my $response = $client->response;
        is(
            $response,
            hash {
                field status => $status;
                field fields => hash { field connection => 'close'; etc };
                etc
            },
            "$status and the end: @{[quoted($bytes)]}"
        );
        ok($client->is_ended, 'what follows is not looked at');
    }

    my $client = $server->connect;
    my %answer = (GET => 200, DELETE => 405, OPTIONS => 405, BREW => 501);
    for my $method (sort keys %answer) {
        $client->send("$method / HTTP/1.1\r\n$host\r\n");
        is($client->response->{status}, $answer{$method}, "$method, and the connection stays");
    }
    is(text($client, '/slow?ms=x', 400), match(qr/must be a number/), 'a wrong query is not fatal either');

    $server->connect->send('GET / HT');    # closed at once, half a request
    $client = $server->connect;
    $client->get('/sized?bytes=8000000');
    undef $client;                         # closed with an answer under way
    is(text($server->connect, '/pid'), match(qr/^\d+$/), 'clients that leave early harm nobody');
    return;
}

sub answers_curl {
    my ($server) = @_;
    skip_all('curl is not installed') if !$has_curl;
    my ($code, $text) =
        HTTPClient::curl('-w', ' %{num_connects} %{http_version}|', map { $server->url($_) } qw(pid pid chunked));
    my ($pid) = $server->workers;
    is(
        [ $code, $text ], [ 0, "$pid\n 1 1.1|$pid\n 0 1.1|" . ('x' x 15 . "\n") x 5 . ' 0 1.1|' ],
        'three requests on one connection'
    );

    my $file = tempdir(CLEANUP => 1) . '/body';
    open my $out, '>', $file or die $!;
    print {$out} 'data ' x 10_000;
    close $out;
    for my $way ([], [ '-H', 'Transfer-Encoding: chunked' ], [ '-H', 'Expect: 100-continue' ], ['-0'], [ '-X', 'PUT' ])
    {
        ($code, $text) = HTTPClient::curl('--data-binary', "\@$file", @{$way}, $server->url('echo'));
        is([ $code, $text ], [ 0, 'data ' x 10_000 ], "50 kB there and back @{$way}");
    }
    ($code, $text) =
        HTTPClient::curl('-o', '/dev/null', '-w', '%{http_code}', '-F', 'a=' . 'x' x 100_000, $server->url('echo'));
    is($text, 413, 'an upload over the limit gets its 413');
    return;
}

# ---- timeouts

sub times_out {
    my (%common) = @_;
    my $server = server(
        \%common,
        [ '--workers', 1, map { ("--$_-timeout", 0.3) } qw(header body idle write) ],
        workers => 1,
    );
    my ($worker) = $server->workers;
    my $first = $server->connect;
    text($first, '/pid');
    my $before = descriptors($worker);
    my $began  = clock_gettime(CLOCK_MONOTONIC);
    my %client = map { $_ => $server->connect } qw(header body chunk silent idle slow stuck);
    $client{header}->send('GET / HT');
    $client{body}->send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf");
    $client{chunk}->send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf");
    text($client{idle}, '/pid');
    $client{slow}->get('/slow?ms=450');
    $client{stuck}->get('/sized?bytes=30000000');

    for my $name (qw(header body chunk)) {
        my $response = $client{$name}->response;
        is(
            [ $response->{status}, $response->{fields}{connection} ], [ 408, 'close' ],
            "408 for a $name that does not end"
        );
        ok($client{$name}->is_ended, 'and the end');
    }
    ok($client{$_}->is_ended, "$_: the end without a word") for qw(silent idle);
    cmp_ok(clock_gettime(CLOCK_MONOTONIC) - $began, '>=', 0.3, 'none of it early');
    is($client{slow}->response->{status}, 200, 'a slow handler has no limit');
    ok($client{slow}->is_ended && $first->is_ended, 'idle again: the end');
    if ($has_proc) {
        settles($worker, $before - 1);
        ok($client{stuck}->response->{is_cut}, 'a client that does not read is cut off');
    }
    is([ $server->workers ], [$worker], 'the worker is the same as before');
    stops_clean($server);
    return;
}

# ---- killed workers, stops

sub survives_kills {
    my (%common) = @_;
    my $server   = server(\%common, [ '--workers', 2 ], workers => 2);
    my $before   = descriptors($server->pid);
    my ($client, $killed, $other) = answering_and_other($server);

    kill INT  => $other->{pid};    # as by Ctrl-C: workers leave that to the parent
    kill KILL => $killed;
    ok($client->response->{is_cut}, 'a killed worker leaves its client with half an answer');
    my ($reason) = $server->wait_for(qr/worker $killed in slot \d exited after \S+ s: (.*)/);
    is($reason, 'killed by SIGKILL', 'the parent logs why');
    is(text($other->{client}, '/pid'), "$other->{pid}\n", 'the other worker goes on');
    my ($replacement) = $server->wait_for(qr/worker (\d+) started/);

    kill KILL => $other->{pid};
    is(text($server->connect, '/pid'), "$replacement\n", 'the replacement answers');
    ok($other->{client}->is_ended, 'the client of the second victim has lost its connection');
    $server->wait_for(qr/worker $other->{pid} .* SIGKILL/);
    $server->wait_for(qr/worker \d+ started/);

    # Half a request is under way when this worker is asked to leave; the other half still gets its answer.
    $client = $server->connect;
    chomp(my $leaving = text($client, '/pid'));
    $client->send("GET /pid HTTP/1.1\r\n");
    kill TERM => $leaving;
    $client->send("Host: a\r\n\r\n");
    my $response = $client->response;
    is(
        [ $response->{body}, $response->{fields}{connection} ], [ "$leaving\n", 'close' ],
        'TERM to a worker: the request is finished'
    );
    ok($client->is_ended, 'then the connection');
    ($reason) = $server->wait_for(qr/worker $leaving in slot \d exited after \S+ s: (.*)/);
    is($reason, 'exit 0', 'then the worker');
    $server->wait_for(qr/worker \d+ started/);

    is(scalar $server->workers, 2, 'two workers');
    settles($server->pid, $before);
    stops_clean($server);
    return;
}

# A client with an answer under way, its worker, and a client of another worker. The first worker is stopped (SIGSTOP)
# so that only the other one can accept.
sub answering_and_other {
    my ($server) = @_;
    my $client = $server->connect;
    chomp(my $pid = text($client, '/pid'));
    $client->get('/chunked?chunks=100000&ms=5');
    $client->response_begun or die 'no chunk came';
    kill STOP => $pid;
    is_stopped($pid) or die "worker $pid is not stopped\n" if $has_proc;
    my $other_client = $server->connect;
    chomp(my $other = text($other_client, '/pid'));
    return ($client, $pid, { client => $other_client, pid => $other });
}

# The parent may still be forking, and the workers are not ready: nobody is left, nobody dies of the signal.
sub stops_while_starting {
    my (%common) = @_;
    for my $signal (qw(TERM INT)) {
        my $server = server(\%common, [ '--workers', 8 ]);
        kill $signal => $signal eq 'INT' ? -$server->pid : $server->pid;
        ended_clean($server, $server->wait_for_end);
        is(
            [ $server->log =~ /exited after \S+ s: (.*)/g ], [ ('exit 0') x 8 ],
            "$signal at once: every worker leaves by itself"
        );
    }
    return;
}

# TERM to the parent, Ctrl-C to the whole group, and a parent that is killed: the requests under way are finished.
# The three servers stop at the same time.
sub finishes_requests {
    my (%common) = @_;
    my @stops = map { under_way($_, server(\%common, [ '--workers', 2 ], workers => 2)) } qw(TERM INT KILL);
    for my $stop (@stops) {
        my ($signal, $server) = @{$stop}{qw(signal server)};
        kill $signal => $signal eq 'INT' ? -$server->pid : $server->pid;
        $server->wait_for(qr/stopping 2 workers/) if $signal ne 'KILL';
        $stop->{half}->send('the body');
    }
    for my $stop (@stops) {
        my ($signal, $server, $half, $slow, $stream, $idle) = @{$stop}{qw(signal server half slow stream idle)};
        is($half->response->{body}, 'the body', "$signal: the request that was coming in is answered");
        is($slow->response->{status}, 200, "$signal: the one in the handler is answered");
        is($stream->response->{chunks}, 31, "$signal: the stream comes to its end");
        ok($_->is_ended, "$signal: the connection ends") for $half, $slow, $stream, $idle;
    }
    for my $stop (@stops) {
        my ($signal, $server) = @{$stop}{qw(signal server)};
        my $status = $server->wait_for_end;
        ok(!eval { $server->connect }, "$signal: nobody listens any more");
        if ($signal eq 'KILL') {
            is($status & 127, 9, 'KILL: the workers are gone, too');
            next;
        }
        ended_clean($server, $status);
        is(
            [ $server->log =~ /exited after \S+ s: (.*)/g ], [ 'exit 0', 'exit 0' ],
            "$signal: both workers left by themselves"
        );
    }
    return;
}

# Four clients, each with its request in another state.
sub under_way {
    my ($signal, $server) = @_;
    my %stop = (signal => $signal, server => $server, map { $_ => $server->connect } qw(half slow stream idle));
    text($stop{idle}, '/pid');
    $stop{half}->send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\nExpect: 100-continue\r\n\r\n");
    is($stop{half}->response->{status}, 100, 'one client has yet to send its body');
    text($stop{slow}, '/pid');
    $stop{slow}->get('/slow?ms=300');
    $stop{stream}->get('/chunked?chunks=30&ms=10');
    $stop{stream}->response_begun or die 'no chunk came';
    return \%stop;
}

sub cuts_off {
    my (%common) = @_;

    my $server = server(\%common, [ '--workers', 2, '--graceful-timeout', 0.1 ], workers => 2);
    my $client = $server->connect;
    chomp(my $pid = text($client, '/pid'));
    $client->get('/chunked?chunks=100000&ms=5');
    $client->response_begun or die 'no chunk came';
    kill TERM => $server->pid;
    ok($client->response->{is_cut}, 'an answer that takes too long is cut off');
    ended_clean($server, $server->wait_for_end);
    like($server->log, qr/worker $pid in slot \d exited after \S+ s: exit 1/, 'its worker says so');

    $server = server(\%common, [ '--workers', 2, '--graceful-timeout', 0 ], workers => 2);
    my ($stuck, $other) = $server->workers;
    kill STOP => $stuck;
    kill TERM => $server->pid;
    ended_clean($server, $server->wait_for_end);
    like($server->log, qr/killing worker $stuck: still there/, 'a worker that does not react is killed');
    unlike($server->log, qr/killing worker $other/, 'the other one was not');

    $server = server(\%common, [ '--workers', 2 ], workers => 2);
    $client = $server->connect;
    $client->get('/chunked?chunks=100000&ms=5');
    $client->response_begun or die 'no chunk came';
    kill TERM => $server->pid;
    $server->wait_for(qr/stopping 2 workers/);
    kill TERM => $server->pid;
    ended_clean($server, $server->wait_for_end);
    like($server->log, qr/killing worker \d+: asked again/, 'a second TERM does not wait');
    ok($client->response->{is_cut}, 'the answer is cut off');
    return;
}

sub survives_descriptor_shortage {
    my (%common) = @_;
    my $server = server(
        \%common,
        arguments => [ '--workers', 1 ],
        workers   => 1,
        wrapper   => [ '/bin/sh', '-c', 'ulimit -n 24; exec "$@"', 'sh' ],
    );
    my @client = map { $server->connect } 1 .. 40;
    $_->get('/pid') for @client;
    my $first = shift @client;
    is($first->response->{status}, 200, 'the first of 41 clients is answered');
    my ($reason) = $server->wait_for(qr/accepting paused: (.*)/);
    ok($reason, "accepting is paused: $reason");
    is(text($first, '/pid'), match(qr/^\d+$/), 'who is connected is served meanwhile');
    my $answered = 0;

    while (my $client = shift @client) {
        $answered++ if $client->response->{status} == 200;    # and leave, for another one to come in
    }
    undef $first;
    is($answered, 39, 'all others are, one after the other');
    is(scalar(() = $server->log =~ /started/g), 1, 'by the first worker');
    stops_clean($server);
    return;
}

# ---- not on every backend

sub listens_on_unix_socket {
    my $path   = tempdir(CLEANUP => 1) . '/socket';
    my $listen = [ '--workers', 1, '--listen', "unix:$path", '--listen', '127.0.0.1:0' ];
    my $server = HTTPClient::Server->start(listen => 1, workers => 1, arguments => $listen);
    is($server->url, "unix:$path", 'the log names it');
    is((stat $path)[2] & 0777, 0600, 'for its owner only');
    is(text($server->connect, '/pid'), match(qr/^\d+$/), 'it answers');
    my ($tcp) = $server->log =~ m{(http://\S+)};
    is(text(HTTPClient->new($tcp), '/pid'), match(qr/^\d+$/), 'and so does the second address');

    my $second = HTTPClient::Server->start(listen => 1, fails => 1, arguments => $listen);
    is($second->wait_for_end >> 8, 1, 'a second server does not start');
    like($second->log, qr/another server listens there/, 'and says why');
    is(text($server->connect, '/pid'), match(qr/^\d+$/), 'the first one is unharmed');

    kill KILL => $server->pid, $server->workers;
    $server->wait_for_end;
    ok(-S $path, 'a killed server leaves its file');
    $server = HTTPClient::Server->start(listen => 1, workers => 1, arguments => $listen);
    is(text($server->connect, '/pid'), match(qr/^\d+$/), 'the next one replaces it');
    stops_clean($server);
    ok(!-e $path, 'and removes it when it stops');
    return;
}

sub backs_off {
    my $program = "$FindBin::Bin/../../examples/multiworker-http.pl";
    my $failing = q{BEGIN { $0 = shift @ARGV } use FindBin; use lib "$FindBin::Bin/lib"; require Example::HTTP::Worker;}
        . q{ no warnings; *Example::HTTP::Worker::run = sub { exit 7 }; do $0 or die $@;};
    my $server = HTTPClient::Server->start(program => [ '-e', $failing, $program ], arguments => [ '--workers', 1 ]);
    my @delays = map { $server->wait_for(qr/starts again in (\S+) s/) } 1 .. 4;
    is(\@delays, [ '0.1', '0.2', '0.4', '0.8' ], 'each time later');
    is([ $server->log =~ /exited after \S+ s: (.*)/g ], [ ('exit 7') x 4 ], 'with the reason');
    stops_clean($server);
    return;
}

sub refuses_bad_options {
    my $taken  = HTTPClient::Server->start(arguments => [ '--workers', 1 ], workers => 1);
    my ($port) = $taken->url =~ /:(\d+)/;
    my @cases  = (
        [ [ '--backend', 'glib' ]           => qr/backend 'glib'/ ],
        [ [ '--method', 'wishful' ]         => qr/method 'wishful'/ ],
        [ [ '--workers', '0' ]              => qr/--workers .* '0'/ ],
        [ [ '--workers', '2x' ]             => qr/--workers .* '2x'/ ],
        [ [ '--graceful-timeout', '-1' ]    => qr/--graceful-timeout .* '-1'/ ],
        [ [ '--body-limit', 'big' ]         => qr/--body-limit .* 'big'/ ],
        [ [ '--listen', 'nowhere' ]         => qr/'nowhere'/ ],
        [ [ '--listen', '127.0.0.1:70000' ] => qr/'127\.0\.0\.1:70000'/ ],
        [ [ '--listen', "127.0.0.1:$port" ] => qr/'127\.0\.0\.1:$port': Address already in use/ ],
        [ [ '--listen', "unix:$0" ]         => qr/not a socket/ ],
        [ ['--frobnicate']                  => qr/frobnicate/ ],
        [ ['extra']                         => qr/'extra'/ ],
    );
    for my $case (@cases) {
        my ($arguments, $message) = @{$case};
        my $server = HTTPClient::Server->start(listen => 1, fails => 1, arguments => $arguments);
        is($server->wait_for_end, 1 << 8, "@{$arguments}: exit 1");
        like($server->log, qr/\Amultiworker-http\.pl: .*$message.*\n\z/, 'one line that names the value');
    }
    my $help = HTTPClient::Server->start(listen => 1, fails => 1, arguments => ['--help']);
    is($help->wait_for_end, 0, '--help: exit 0');
    like($help->log, qr/--graceful-timeout/, 'the options');
    stops_clean($taken);
    return;
}

# ---- helpers

# The body of one GET, after looking at its status.
sub text {
    my ($client, $path, $status) = @_;
    $client->get($path);
    my $response = $client->response or return 'connection ended';
    return $response->{status} == ($status // 200) ? $response->{body} : "status $response->{status}";
}

sub post {
    my ($client, $fields, $body) = @_;
    $client->send("POST /echo HTTP/1.1\r\nHost: a\r\n$fields\r\n\r\n$body");
    return $client->response;
}

# The status of an answer that must end the connection.
sub ends_with {
    my ($server, $fields, $body) = @_;
    my $client   = $server->connect;
    my $response = post($client, $fields, $body);
    return $response->{status} if $client->is_ended && $response->{fields}{connection} eq 'close';
    return 'the connection stays';
}

sub stops_clean {
    my ($server) = @_;
    return ended_clean($server, $server->stop);
}

sub ended_clean {
    my ($server, $status) = @_;
    my $context = context();
    is($status, 0, 'the server exits 0');
    like($server->log, qr/stopped, every worker reaped\n\z/, 'and says it is done');
    is([ $server->workers ], [], 'each worker that started has exited');
    unlike($server->log, qr/ at \S+ line \d+/, 'no warning');
    $context->release;
    return;
}

sub descriptors {
    my ($pid) = @_;
    my @entries = glob "/proc/$pid/fd/*";
    return scalar @entries;
}

sub settles {
    my ($pid, $wanted) = @_;
    return if !$has_proc;
    my $context = context();
    eventually(sub { descriptors($pid) == $wanted }, "$wanted descriptors, not @{[descriptors($pid)]}");
    is(descriptors($pid), $wanted, "process $pid has as many descriptors as before");
    $context->release;
    return;
}

# For what sends no event.
sub eventually {
    my ($condition, $what) = @_;
    my $until = clock_gettime(CLOCK_MONOTONIC) + HTTPClient::WAIT;
    while (!$condition->()) {
        die "waited in vain: $what\n" if clock_gettime(CLOCK_MONOTONIC) > $until;
        pause();
    }
    return;
}

sub quoted {
    my ($bytes) = @_;
    $bytes = substr($bytes, 0, 60) . ' ...' if length $bytes > 60;
    $bytes =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    return $bytes;
}
