# The smallest HTTP server for `evfork run --workers 4 --listen 127.0.0.1:8080 examples/apps/hello.pl`. It answers any
# request with one line and closes. On the native loop or IO::Async's. apps/http.pl is a real one.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);

use constant HEAD_LIMIT => 8192;    # bytes

my ($greeting) = @ARGV ? "@ARGV" : 'hello';

sub {
    my ($worker) = @_;
    my $loop = $worker->loop;
    my %request;    # by connection: what has come so far
    my $is_stopping;

    my $close = sub {
        my ($client) = @_;
        $loop->unwatch_io(handle => $client, on_read_ready => 1);
        delete $request{$client};
        close $client;
        $worker->request_done;
        $loop->stop if $is_stopping && !%request;
    };
    my $read = sub {
        my ($client) = @_;
        my $count = sysread $client, $request{$client}, 4096, length $request{$client};
        return                   if !defined $count && ($! == EAGAIN || $! == EINTR);
        return $close->($client) if !$count || length $request{$client} > HEAD_LIMIT;
        return                   if $request{$client} !~ /\r?\n\r?\n/;
        my $body = "$greeting from process $$, slot " . $worker->slot . ', generation ' . $worker->generation . "\n";
        syswrite $client, join "\r\n", 'HTTP/1.1 200 OK', 'Content-Type: text/plain', 'Content-Length: ' . length $body,
            'Connection: close', '', $body;
        $close->($client);
    };
    for my $listener ($worker->listeners) {
        $loop->watch_io(
            handle        => $listener,
            on_read_ready => sub {
                my $client = $listener->accept or return;    # another worker was faster
                $request{$client} = '';
                $worker->request_started;
                $loop->watch_io(handle => $client, on_read_ready => sub { $read->($client) });
            },
        );
    }
    $worker->on_stop(sub {
        $is_stopping = 1;
        $loop->unwatch_io(handle => $_, on_read_ready => 1) for $worker->listeners;
        $loop->stop if !%request;
    });
    $worker->ready;
    $loop->run;
    return 0;
};
