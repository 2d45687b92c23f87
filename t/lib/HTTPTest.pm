package HTTPTest;

# What the tests of examples/multiworker-http.pl share: a server on each backend, single requests, and what is looked at
# when it has stopped or comes to rest.

use strict;
use warnings;

use Exporter              qw(import);
use EventLoop::Fork::Loop ();
use ForkTest              qw(pause);
use HTTPClient            ();
use Test2::V0;
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our @EXPORT = qw(descriptors each_backend ended_clean has_proc server settles stops_clean text);

# ---- The server -----------------------------------------------------------------------------------------------------

# A subtest for each backend: the code gets what the server needs for the best method. For the other methods there is
# other code, if any.
sub each_backend {
    my ($code, $code_of_others) = @_;
    my $backends = EventLoop::Fork::Loop->backends;
    for my $backend (sort keys %{$backends}) {
        my ($method, @others) = @{ $backends->{$backend} };
        subtest "$backend/$method" => sub { $code->(arguments => [ '--backend', $backend, '--method', $method ]) };
        next if !$code_of_others;
        for my $other (@others) {
            subtest "$backend/$other" =>
                sub { $code_of_others->(arguments => [ '--backend', $backend, '--method', $other ]) };
        }
    }
    return;
}

sub server {
    my ($common, @arguments) = @_;
    my %argument = @arguments % 2 ? (arguments => shift @arguments, @arguments) : @arguments;
    return HTTPClient::Server->start(
        %argument, arguments => [ @{ $common->{arguments} }, @{ $argument{arguments} || [] } ],
    );
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

# ---- Requests -------------------------------------------------------------------------------------------------------

# The body of one GET, after looking at its status.
sub text {
    my ($client, $path, $status) = @_;
    $client->get($path);
    my $response = $client->response or return 'connection ended';
    return $response->{status} == ($status // 200) ? $response->{body} : "status $response->{status}";
}

# ---- What a process has ---------------------------------------------------------------------------------------------

sub has_proc { return -d "/proc/$$/fd" }

sub descriptors {
    my ($pid) = @_;
    my @entries = glob "/proc/$pid/fd/*";
    return scalar @entries;
}

sub settles {
    my ($pid, $wanted) = @_;
    return if !has_proc();
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

1;
