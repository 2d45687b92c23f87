# A Mojolicious::Lite application with a page, and a WebSocket at /echo.
#
#     evfork run --mojo examples/servers/mojo.pl --workers 4 --listen 127.0.0.1:3000
#     curl http://127.0.0.1:3000/

use Mojolicious::Lite;

get '/' => sub {
    my ($c) = @_;
    my $worker = $c->worker;
    $c->render(text => sprintf "hello from slot %d, generation %d\n", $worker->slot, $worker->generation);
};

websocket '/echo' => sub {
    my ($c) = @_;
    $c->on(message => sub { my ($connection, $text) = @_; $connection->send($text) });
};

app->log->level('warn');
app->start;
