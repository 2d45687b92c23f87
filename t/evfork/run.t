# evfork run: the app, what it is given, where it says it is, how it ends.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EvforkTest;
use ForkTest qw(has_module);
use IO::Socket::INET;
use JSON::PP ();
use Test2::V0;

sub json_of { my (undef, $out) = EvforkTest::evfork('status', '--json', @_); return JSON::PP->new->decode($out) }

# An app that tells what it sees in its worker, on STDERR, which is the log.
my $teller = EvforkTest::write_file('teller.pl', <<'APP');
sub {
    my ($worker) = @_;
    my $loop = $worker->loop;
    my $how  = ref $loop eq 'EventLoop::Fork::Loop' ? 'how ' . $loop->backend . ' ' . $loop->method . "\n" : '';
    print STDERR join('|', 'seen', @ARGV) . "\nloop " . (ref $loop || $loop) . "\n$how";    # one write
    $worker->ready;
    EventLoop::Fork::Adapter::for_loop($loop)->run;
    return 0;
};
APP

# TERM, and what must be so afterwards.
sub finish {
    my ($supervisor) = @_;
    $supervisor->signal('TERM');
    is($supervisor->exit_code, 0, 'TERM: exit code 0') or diag join "\n", $supervisor->lines;
    ok($supervisor->is_gone, 'no process is left');
    return;
}

subtest 'hello, and the status file that nobody has named' => sub {
    my $supervisor =
        EvforkTest->start('--workers', 2, '--listen', '127.0.0.1:0', "$EvforkTest::apps/hello.pl", '--', 'good', 'day');
    my ($address) = $supervisor->wait_for(qr/hello \[\d+\] listening on (127\.0\.0\.1:\d+)/);
    my ($file)    = $supervisor->wait_for(qr/its status file is (.*)/);
    is($file, "$EvforkTest::folder/run/hello.status", 'the file is told');
    ok($supervisor->wait_for_workers(2), 'ready');
    my $client = IO::Socket::INET->new(PeerAddr => $address) or die "connect: $!";
    print {$client} "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    my $answer = do { local $/; readline $client };
    like(
        $answer, qr/\AHTTP\/1\.1 200 OK\r\n.*\r\n\r\ngood day from process \d+, slot [01], generation 1\n\z/s,
        'it answers'
    );
    my $data = json_of();
    is([ @$data{qw(name pid state file)} ], [ 'hello', $supervisor->pid, 'running', $file ], 'evfork status finds it');
    is($data->{listeners}, [$address], 'with its address');
    ok(EvforkTest::wait_until(sub { json_of()->{requests} == 1 }), 'one request was counted');
    my $second = EvforkTest->start('--workers', 1, '--name', 'hello', $EvforkTest::idle);
    is(
        [ $second->wait_for(qr/its status file is (.*)/) ],
        [ "$EvforkTest::folder/run/hello-" . $second->pid . '.status' ], 'a second one of that name'
    );
    finish($second);
    finish($supervisor);
    ok(!-e $file, 'the file is removed');
};

subtest 'what the worker gets' => sub {
    my $supervisor =
        EvforkTest->start('--workers', 1, '--backend', 'poll', $teller, '--', '--colour', 'red', '--', '--workers');
    is(
        [ $supervisor->wait_for(qr/\Aseen\|(.*)/) ], ['--colour|red|--|--workers'],
        '@ARGV is what comes after the first --'
    );
    is([ $supervisor->wait_for(qr/\Aloop (.*)/) ], ['EventLoop::Fork::Loop'], 'a native loop');
    like([ $supervisor->wait_for(qr/\Ahow (.*)/) ], [qr/\Apoll /], 'the backend that was asked for');
    finish($supervisor);
};

my %LOOPS = (
    'IO::Async'               => [ 'IO::Async', qr/\AIO::Async::Loop/ ],
    'IO::Async::Loop::Select' => [ 'IO::Async', qr/\AIO::Async::Loop::Select\z/ ],
    'EV'                      => [ 'EV', qr/\AEV/ ],
    'AnyEvent'                => [ 'AnyEvent', qr/\AAnyEvent/ ],
    'Mojo::IOLoop'            => [ 'Mojolicious', qr/\AMojo::IOLoop/ ],
);
for my $loop (sort keys %LOOPS) {
    my ($module, $class) = @{ $LOOPS{$loop} };
SKIP: {
        skip "$module is not installed here" unless has_module($module);
        subtest "--loop $loop" => sub {
            my $supervisor = EvforkTest->start('--loop', $loop, '--workers', 1, $teller);
            like([ $supervisor->wait_for(qr/\Aloop (.*)/) ], [$class], 'the worker has one of it')
                or diag join "\n", $supervisor->lines;
            ok($supervisor->wait_for_workers(1), 'ready');
            finish($supervisor);
        };
    }
}

subtest 'a module, found by -I' => sub {
    mkdir "$EvforkTest::folder/lib" or die "mkdir: $!";
    EvforkTest::write_file(
        'lib/TestApp.pm',
        'package TestApp; sub worker { my ($worker) = @_[-1, -1]; $worker->ready; $worker->loop->run; 0 } 1;'
    );
    my $supervisor = EvforkTest->start('-I', "$EvforkTest::folder/lib", '--workers', 1, 'TestApp');
    ok($supervisor->wait_for_workers(1), 'ready') or diag join "\n", $supervisor->lines;
    is(json_of('TestApp')->{app}, 'TestApp', 'it runs under its name');
    finish($supervisor);
};

subtest 'options from the environment' => sub {
    local %ENV = (
        %ENV, EVENTLOOP_FORK_APP   => $EvforkTest::idle, EVENTLOOP_FORK_WORKERS => 3,
        EVENTLOOP_FORK_STATUS_FILE => "$EvforkTest::folder/env.status"
    );
    my $supervisor = EvforkTest->start();
    ok($supervisor->wait_for_workers(3), 'three workers of that app');
    ok(
        EvforkTest::wait_until(sub { json_of("$EvforkTest::folder/env.status")->{workers_ready} == 3 }),
        'under that file'
    );
    ok(!(grep { /its status file/ } $supervisor->lines), 'which need not be told');
    finish($supervisor);
};

subtest 'a name that is not ASCII' => sub {
    my $supervisor = EvforkTest->start('--workers', 1, '--name', "caf\xc3\xa9", $EvforkTest::idle);
    ok($supervisor->wait_for_workers(1), 'it runs');
    my (undef, $out) = EvforkTest::evfork('status');
    like($out, qr/\Acaf\xc3\xa9: running/, 'is printed as it was given');
    finish($supervisor);
};

subtest 'nothing starts' => sub {
    my $app        = EvforkTest::write_file('broken.pl', 'this is not Perl;');
    my $supervisor = EvforkTest->start('--workers', 1, '--respawn-delay', '0.01', '--respawn-delay-max', '0.05', $app);
    is($supervisor->exit_code, 2, 'exit code 2');
    ok((grep { /broken\.pl line 1/ } $supervisor->lines), 'the log has the place');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'without any folder for a status file' => sub {
    local $ENV{EVENTLOOP_FORK_RUNTIME_DIR} = '/no/such/folder';
    my $supervisor = EvforkTest->start('--workers', 1, $EvforkTest::idle);
    ok($supervisor->wait_for_workers(1), 'it runs all the same');
    is((grep { /\Aevfork: no status file, .*: \/no\/such\/folder: / } $supervisor->lines), 1, 'and says so');
    finish($supervisor);
};

done_testing;
