#!/usr/bin/env perl

# For Server::Starter: one process that accepts, and tells who it is.
use strict;
use warnings;

use IO::Socket::UNIX;
use Server::Starter qw(server_ports);

my ($fd)     = values %{ server_ports() };
my $listener = IO::Socket::UNIX->new_from_fd($fd, 'r+') or die "descriptor $fd: $!";
my $body     = "hello from process $$\n";
my $answer   = "HTTP/1.0 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
$SIG{TERM} = sub { exit 0 };
while (1) {
    my $client = $listener->accept or next;
    sysread $client, my $request, 4096;
    syswrite $client, $answer;
    close $client;
}
