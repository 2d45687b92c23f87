# A PAGI application with a page, an event stream at /events, and a WebSocket at /echo.
#
#     evfork run --pagi examples/servers/pagi.pl --workers 4 --listen 127.0.0.1:5000
#     curl http://127.0.0.1:5000/
#     curl --no-buffer --header 'Accept: text/event-stream' http://127.0.0.1:5000/events

use strict;
use warnings;

use Future::AsyncAwait;
use IO::Async::Loop;

my %handlers = (
    lifespan  => \&lifespan,
    http      => \&page,
    sse       => \&events,
    websocket => \&echo,
);

async sub lifespan {
    my ($scope, $receive, $send) = @_;
    while (1) {
        my $event = await $receive->();
        await $send->({ type => "$event->{type}.complete" });
        return if $event->{type} eq 'lifespan.shutdown';
    }
}

# The worker is there under evfork run; PAGI::Server's own workers have none.
async sub page {
    my ($scope, $receive, $send) = @_;
    my $worker = $scope->{state}{worker};
    my $text =
        $worker
        ? sprintf "hello from slot %d, generation %d\n", $worker->slot, $worker->generation
        : "hello from process $$\n";
    await $send->({
        type    => 'http.response.start',
        status  => 200,
        headers => [ [ 'content-type', 'text/plain' ], [ 'content-length', length $text ] ],
    });
    await $send->({ type => 'http.response.body', body => $text });
}

# A tick a tenth of a second, until the client leaves.
async sub events {
    my ($scope, $receive, $send) = @_;
    await $send->({ type => 'sse.start', status => 200, headers => [ [ 'content-type', 'text/event-stream' ] ] });
    my $has_left = leaving($receive);
    for (my $number = 1; !$has_left->is_ready; $number++) {
        await $send->({ type => 'sse.send', event => 'tick', data => $number });
        await IO::Async::Loop->new->delay_future(after => 0.1);
    }
}

async sub leaving {
    my ($receive) = @_;
    while (1) {
        my $event = await $receive->();
        return if $event->{type} eq 'sse.disconnect';
    }
}

async sub echo {
    my ($scope, $receive, $send) = @_;
    await $receive->();    # websocket.connect
    await $send->({ type => 'websocket.accept' });
    while (1) {
        my $event = await $receive->();
        return if $event->{type} eq 'websocket.disconnect';
        next   if $event->{type} ne 'websocket.receive';
        my ($kind) = grep { defined $event->{$_} } qw(text bytes);
        await $send->({ type => 'websocket.send', $kind => $event->{$kind} });
    }
}

sub {
    my ($scope, @channels) = @_;
    my $handler = $handlers{ $scope->{type} } or die "no scope of the type '$scope->{type}' is served\n";
    return $handler->($scope, @channels);
};
