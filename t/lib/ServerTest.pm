package ServerTest;

# What every server of EventLoop::Fork::Server keeps to, whatever its framework: a supervisor runs it, raw connections ask.

use strict;
use warnings;

use EventLoop::Fork::Server;
use Exporter   qw(import);
use File::Temp ();
use HTTPClient;
use IO::Socket::INET;
use ProcessTest qw(wait_until write_file);
use SupervisorTest;
use Test2::V0;

our @EXPORT = qw(answer_on ask client contract needs_server start_server);

# A file that lets a slow request go on, and one that says it has begun.
our $folder = File::Temp->newdir;
our ($gate, $begun) = map { "$folder/$_" } qw(gate begun);

sub needs_server {
    my ($kind) = @_;
    return if eval { EventLoop::Fork::Server::find($kind); 1 };
    $@->message =~ /is not installed\z/ ? skip_all $@->message : die $@;
}

my $count = 0;

# An app of that text; two workers on a free port unless the options say otherwise.
sub start_server {
    my ($kind, $text, %options) = @_;
    my $app = write_file("$folder/app" . ++$count . '.pl', $text);
    return SupervisorTest->start(server => $kind, app => $app, workers => 2, listen => ['127.0.0.1:0'], %options);
}

# Where it listens: ADDRESS of its first listener.
sub url {
    my ($supervisor) = @_;
    my ($name)       = $supervisor->names;
    return $name =~ /\Aunix:/ ? $name : "http://$name/";
}

sub client { return HTTPClient->new(url($_[0])) }

# Status and text of the answer on a connection of its own.
sub ask {
    my ($supervisor, $path) = @_;
    my $response = answer_on(client($supervisor), $path, 'Connection: close');
    return join ' ', grep { defined } @$response{qw(status body)};
}

# The app answers '/' with its process id and its slot, and '/slow' as soon as there is the gate.
sub contract {
    my ($kind, $text, %how) = @_;
    subtest 'it serves' => sub {
        my $supervisor = start_server($kind, $text);
        is(scalar $supervisor->wait_for_count(worker_ready => 2), 2, 'ready');
        my %slot_of = map { $_->{pid} => $_->{slot} } grep { $_->{event} eq 'worker_ready' } $supervisor->events;
        my ($pid, $slot) = ask($supervisor, '/') =~ /\A200 ([0-9]+) ([0-9]+)\n\z/;
        is($slot, $slot_of{ $pid // 0 }, 'a worker answers, and knows its slot');
        ok(wait_until(sub { is_asleep($_) }), "worker $slot_of{$_} sleeps when there is nothing to do")
            for keys %slot_of;
        is($supervisor->finish, 0, 'exit code');
        is(
            [ map { $_->{reason} } grep { $_->{event} eq 'worker_exited' } $supervisor->events ], [ ('exit 0') x 2 ],
            'both have left'
        );
        ok($supervisor->is_gone, 'no process is left');
    };
    subtest 'a stop waits for what is under way, and takes nothing more' => sub {
        unlink $gate, $begun;
        my $supervisor = start_server($kind, $text, workers => 1);
        $supervisor->wait_for('worker_ready') or return fail('ready');
        my $slow = client($supervisor);
        $slow->get('/slow', 'Connection: close');
        ok(wait_until(sub { -e $begun }), 'a request is under way');
        $supervisor->signal('TERM');
        $supervisor->wait_for('worker_draining') or return fail('draining');
        # The worker has its TERM when it has said so; a connection that comes after that is not its own.
        ok(wait_until(sub { is_deaf($supervisor) }), 'nothing more is accepted');
        write_file($gate, '');
        my $response = $slow->response;
        is([ @$response{qw(status body)} ], [ 200, "slow\n" ], 'it is answered');
        is($supervisor->exit_code, 0, 'exit code');
        is(
            [ map { $_->{reason} } grep { $_->{event} eq 'worker_exited' } $supervisor->events ], ['exit 0'],
            'the worker has left by itself'
        );
    };
    subtest 'requests are counted' => sub {
        my $supervisor = start_server($kind, $text, workers => 1, max_requests => 3, min_lifetime => 0);
        $supervisor->wait_for('worker_ready') or return fail('ready');
        my @answers = map { ask($supervisor, '/') } 1 .. 3;
        is([ grep { !/\A200 / } @answers ], [], 'all are answered');
        is(($supervisor->wait_for('worker_draining') || {})->{cause}, 'max requests', 'and the worker is replaced');
        like(ask($supervisor, '/'), qr/\A200 /, 'the next one is, too');
        is($supervisor->finish, 0, 'exit code');
    };
    # A connection whose request is still on its way when the worker is told to leave.
    subtest 'a connection that has been accepted' => sub {
        my $supervisor = start_server($kind, $text, workers => 1);
        $supervisor->wait_for('worker_ready') or return fail('ready');
        my @clients = map { client($supervisor) } 1 .. 5;
        is([ map { answer_on($_, '/', 'Connection: close')->{status} } $clients[0] ], [200], 'one is answered');
        $supervisor->signal('TERM');
        $supervisor->wait_for('worker_draining') or return fail('draining');
        is(
            [ map { answer_on($_, '/', 'Connection: close')->{status} } @clients[ 1 .. 4 ] ], [ (200) x 4 ],
            'all others, too'
        );
        is($supervisor->exit_code, 0, 'exit code');
        }
        if !$how{is_blocking};
    subtest 'on a unix socket' => sub {
        my $supervisor = start_server($kind, $text, listen => ["unix:$folder/$kind.sock"]);
        $supervisor->wait_for('worker_ready') or return fail('ready');
        like(ask($supervisor, '/'), qr/\A200 [0-9]+ [01]\n\z/, 'answered');
        is($supervisor->finish, 0, 'exit code');
    };
    subtest 'an app that does not load' => sub {
        my $supervisor = start_server($kind, "die qq(no such luck\\n);", workers => 1, crash_limit => 1);
        like($supervisor->wait_for('worker_exited')->{reason}, qr/no such luck/, 'why is told');
        is($supervisor->exit_code, 2, 'exit code');
    };
    return;
}

# A process that asks again and again is never found so.
sub is_asleep {
    my ($pid) = @_;
    open my $file, '<', "/proc/$pid/stat" or return 1;    # where there is none nobody knows
    return readline($file) =~ /.*\) S/;
}

# On a connection that is kept.
sub answer_on {
    my ($client, $path, @fields) = @_;
    $client->get($path, @fields);
    return $client->response || { status => 'no answer' };
}

# No answer comes to a connection made now: the worker that is left does not take it. (A worker that still accepts answers
# within a moment, and this is asked again.)
sub is_deaf {
    my ($supervisor) = @_;
    my $client = client($supervisor);
    $client->get('/');
    return !IO::Select->new($client->{socket})->can_read(0.3);
}

1;
