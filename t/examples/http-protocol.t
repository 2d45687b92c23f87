# examples/multiworker-http.pl with real clients, on every backend: what it answers, what it refuses, and when it ends a
# connection.

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

use HTTPClient;
use HTTPTest;

my $has_curl = grep { -x "$_/curl" } split /:/, $ENV{PATH};

each_backend(sub {
    my (%common) = @_;
    serves(%common);
    times_out(%common);
});

done_testing;

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
    if (has_proc()) {
        settles($worker, $before - 1);
        ok($client{stuck}->response->{is_cut}, 'a client that does not read is cut off');
    }
    is([ $server->workers ], [$worker], 'the worker is the same as before');
    stops_clean($server);
    return;
}

# ---- helpers

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

sub quoted {
    my ($bytes) = @_;
    $bytes = substr($bytes, 0, 60) . ' ...' if length $bytes > 60;
    $bytes =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ge;
    return $bytes;
}
