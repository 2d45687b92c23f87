# A server on plain EV, without a framework: it answers any request with one line and closes.
#
#     evfork run --loop EV examples/servers/ev.pl --workers 4 --listen 127.0.0.1:8080
#     curl http://127.0.0.1:8080/

use strict;
use warnings;

use EV;

my %clients;    # by number: the connection, its watcher, what has come so far

sub answer {
    my ($worker, $number) = @_;
    my $client = $clients{$number};
    my $count  = sysread $client->{socket}, $client->{request}, 4096, length $client->{request};
    return if !defined $count && $!{EAGAIN};
    return if $count          && $client->{request} !~ /\r\n\r\n/;
    my $text = sprintf "hello from slot %d, generation %d\n", $worker->slot, $worker->generation;
    syswrite $client->{socket},
        "HTTP/1.1 200 OK\r\nContent-Length: " . length($text) . "\r\nConnection: close\r\n\r\n$text"
        if $count;
    delete $clients{$number};
    $worker->request_done;
    EV::break if $worker->stopping && !%clients;
    return;
}

my $last = 0;

sub accept_one {
    my ($worker, $listener) = @_;
    my $socket = $listener->accept or return;    # another worker has it
    my $number = ++$last;
    $socket->blocking(0);
    $worker->request_started;
    $clients{$number} =
        { socket => $socket, request => '', watcher => EV::io($socket, EV::READ, sub { answer($worker, $number) }) };
    return;
}

sub {
    my ($worker) = @_;
    $worker->loop;                               # EV's, private to this process
    my @watchers = map {
        my $listener = $_;
        EV::io($listener, EV::READ, sub { accept_one($worker, $listener) })
    } $worker->listeners;
    $worker->on_stop(sub { @watchers = (); EV::break if !%clients });
    $worker->ready;
    EV::run;
    return 0;
};
