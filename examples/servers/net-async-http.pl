# An application of Net::Async::HTTP::Server.
#
#     evfork run --server NetAsyncHTTP examples/servers/net-async-http.pl --workers 4 --listen 127.0.0.1:8080
#     curl http://127.0.0.1:8080/

use strict;
use warnings;

use HTTP::Response;

sub {
    my ($server, $request, $worker) = @_;
    my $response = HTTP::Response->new(200);
    $response->add_content(sprintf "hello from slot %d, generation %d\n", $worker->slot, $worker->generation);
    $response->content_type('text/plain');
    $response->content_length(length $response->content);
    $request->respond($response);
    return;
};
