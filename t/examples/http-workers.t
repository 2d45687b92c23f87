# The processes of examples/multiworker-http.pl, on every backend: no request, descriptor or process is lost when workers
# are killed, when it stops, and when descriptors run out.

use strict;
use warnings;

use Test2::V0;

use FindBin;

use lib "$FindBin::Bin/../lib";

BEGIN {
    plan skip_all => 'HTTP::Parser::XS is not installed (libhttp-parser-xs-perl)' if !eval { require HTTP::Parser::XS };
}

use ForkTest qw(is_stopped);
use HTTPClient;
use HTTPTest;

each_backend(
    sub {
        my (%common) = @_;
        survives_kills(%common);
        stops_while_starting(%common);
        finishes_requests(%common);
        cuts_off(%common);
        survives_descriptor_shortage(%common);
    },
    \&survives_kills
);
subtest 'workers that fail' => \&backs_off;

done_testing;

# ---- killed workers

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
    is_stopped($pid) or die "worker $pid is not stopped\n" if has_proc();
    my $other_client = $server->connect;
    chomp(my $other = text($other_client, '/pid'));
    return ($client, $pid, { client => $other_client, pid => $other });
}

# ---- stops

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

# ---- other trouble

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
