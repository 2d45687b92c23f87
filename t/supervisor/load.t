# Real requests while workers are killed or reloaded, and while the supervisor is restarted. EVF_SOAK=1 takes as long as one should before a
# release.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../examples/lib";
use ForkTest qw(has_module);
use RestartTest;
use SupervisorTest;
use Test2::V0;

use constant CLIENTS => 64;

my $seconds  = $ENV{EVF_SOAK} ? 20 : 4;
my $reloads  = $ENV{EVF_SOAK} ? 10 : 3;
my $restarts = $ENV{EVF_SOAK} ? 20 : 3;

my ($wrk) = grep { -x } map { "$_/wrk" } split /:/, $ENV{PATH};
skip_all 'wrk is not installed here'              unless $wrk;
skip_all 'HTTP::Parser::XS is not installed here' unless has_module('HTTP::Parser::XS');

sub start {
    my (%options) = @_;
    my $supervisor = SupervisorTest->start(
        workers       => 3,
        respawn_delay => 0,
        listen        => ['127.0.0.1:0'],
        app           => "$FindBin::Bin/../../examples/apps/http.pl",
        %options,
    );
    $supervisor->wait_for_count(worker_ready => 3);
    return $supervisor;
}

sub start_wrk {
    my ($supervisor, $duration) = @_;
    my ($name) = $supervisor->names;
    my $pid = open my $output, '-|', $wrk, '-t1', '-c' . CLIENTS, "-d${duration}s", '--timeout', '20s', "http://$name/"
        or die "wrk: $!";
    return { pid => $pid, output => $output };
}

sub end_wrk {
    my ($load) = @_;
    my $output = $load->{output};
    my $text   = do { local $/; <$output> };
    close $output;
    my ($requests) = $text =~ /(\d+) requests in/;
    my %errors = $text =~ /Socket errors: (.*)/ ? $1 =~ /(\w+) (\d+)/g : map { $_ => 0 } qw(connect read write timeout);
    my ($refused) = $text =~ /Non-2xx or 3xx responses: (\d+)/;
    return ($requests // 0, $refused // 0, \%errors);
}

subtest 'workers are killed' => sub {
    my $supervisor = start();
    my $load       = start_wrk($supervisor, $seconds);
    my ($kills, $end) = (0, SupervisorTest::now() + $seconds - 1);
    while (SupervisorTest::now() < $end) {
        my $step = SupervisorTest::now() + 0.2;
        1 while $supervisor->_read($step - SupervisorTest::now());
        my @workers = $supervisor->workers or next;
        $kills += kill KILL => $workers[ rand @workers ];
    }
    my ($requests, $refused, $errors) = end_wrk($load);
    cmp_ok($requests, '>', 100, "$requests requests, $kills kills");
    is($refused, 0, 'every answer is a good one');
    is([ @$errors{qw(connect timeout)} ], [ 0, 0 ], 'everybody could connect, nobody waited for long');
    my $broken = $errors->{read} + $errors->{write};
    cmp_ok($broken, '<=', $kills * CLIENTS, "$broken connections were broken: those of killed workers");
    ok($supervisor->wait_for(sub { $_[0]{ready} == 3 }), 'all workers are there in the end');
    is($supervisor->finish, 0, 'exit code');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'workers are reloaded' => sub {
    my $supervisor = start();
    my $load       = start_wrk($supervisor, $seconds + $reloads);
    for (1 .. $reloads) {
        $supervisor->signal('HUP');
        ok($supervisor->wait_for('reloaded'), "reload $_");
    }
    my ($requests, $refused, $errors) = end_wrk($load);
    cmp_ok($requests, '>', 100, "$requests requests");
    is([ $refused, @$errors{qw(connect read write timeout)} ], [ (0) x 5 ], 'not one has failed');
    is($supervisor->finish, 0, 'exit code');
};

subtest 'the supervisor is restarted' => sub {
    my $restarted = RestartTest->start(config => <<"CONFIG");
        listen => ['127.0.0.1:0'], workers => 3, worker => undef, app => '$FindBin::Bin/../../examples/apps/http.pl',
CONFIG
    $restarted->wait_for_count(worker_ready => 3) or return diag $restarted->stderr;
    my $load = start_wrk($restarted, $seconds + $restarts);
    for (1 .. $restarts) { $restarted->restart("restart $_") or last }
    my ($requests, $refused, $errors) = end_wrk($load);
    cmp_ok($requests, '>', 100, "$requests requests");
    is([ $refused, @$errors{qw(connect read write timeout)} ], [ (0) x 5 ], 'not one has failed');
    ok($restarted->finish, 'no process is left');
    is([ $restarted->files ], [], 'no file either');
};

subtest 'workers are rotated' => sub {
    my $supervisor = start(max_requests => 300, max_requests_jitter => 300, min_lifetime => 0);
    my $load       = start_wrk($supervisor, $seconds);
    my ($requests, $refused, $errors) = end_wrk($load);
    is([ $refused, @$errors{qw(connect read write timeout)} ], [ (0) x 5 ], "$requests requests, not one has failed");
    ok($supervisor->wait_for('worker_draining'), 'workers were replaced');
    is($supervisor->finish, 0, 'exit code');
};

done_testing;
