# A worker that asks a flag for each request, one line of HTTP. Flags is the SDK in this folder, which must be built first:
#   perl Makefile.PL && make
# README.md tells what happens where it is loaded before the fork.

use strict;
use warnings;

use Cwd            qw(abs_path);
use File::Basename qw(dirname);

# Also in a worker that is a new perl: it starts here, with a client of its own.
my $folder = dirname(abs_path(__FILE__));
unshift @INC, map { "$folder/blib/$_" } qw(arch lib);
require Flags;
Flags->start;

sub {
    my ($worker)   = @_;
    my $loop       = $worker->loop;
    my ($listener) = $worker->listeners;
    $loop->watch_io(
        handle        => $listener,
        on_read_ready => sub {
            my $client = $listener->accept or return;    # another worker was faster
            $client->blocking(1);
            $worker->request_started;
            while (defined(my $line = readline $client)) { last if $line !~ /\S/ }
            my $body = 'new page: ' . (Flags::is_on('new-page') ? 'on' : 'off') . ", from process $$\n";
            print {$client} "HTTP/1.1 200 OK\r\nContent-Length: "
                . length($body)
                . "\r\nConnection: close\r\n\r\n$body";
            close $client;
            $worker->request_done;
        },
    );
    $worker->ready;
    $loop->run;
    return 0;
};
