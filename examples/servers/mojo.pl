# A Mojolicious::Lite application with a page, and a WebSocket at /echo.
#
#     evfork run --mojo examples/servers/mojo.pl --workers 4 --listen 127.0.0.1:3000
#     curl http://127.0.0.1:3000/

use Mojolicious::Lite -signatures;

get '/' => sub ($c) {
    my $worker = $c->worker;
    $c->render(text => sprintf "hello from slot %d, generation %d\n", $worker->slot, $worker->generation);
};

websocket '/echo' => sub ($c) {
    $c->on(message => sub ($c, $text) { $c->send($text) });
};

app->log->level('warn');
app->start;
