# Guarded streams, servers and user agents of Mojo, on both reactors: in the child nothing is sent, accepted or emitted;
# the parent goes on.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

BEGIN { has_module('Mojo::IOLoop') or skip_all 'Mojolicious is not installed' }

# One reactor per process, and it is chosen when Mojo::IOLoop is loaded.
my $program = <<'EOP';
use strict;
use warnings;
BEGIN { $ENV{MOJO_REACTOR} = $ARGV[0]; $ENV{MOJO_PROXY} = 0 }
use EventLoop::Fork qw(guard);
use File::Temp ();
use ForkTest;
use GuardTest;
use IO::Socket::UNIX ();
use Mojo::IOLoop;
use Mojo::UserAgent;
use POSIX ();

my ($reactor, $how, $is_guarded) = @ARGV;
$| = 1;
open STDERR, '>&', \*STDOUT or die "STDERR: $!";
my $singleton = Mojo::IOLoop->singleton;
print 'reactor ', ref $singleton->reactor, "\n";
my $native = EventLoop::Fork::Loop->new;

sub until_true {
    my ($condition) = @_;
    my $deadline = now() + BOUND;
    my $tick = Mojo::IOLoop->recurring(0.01 => sub { });
    Mojo::IOLoop->one_tick until $condition->() || now() > $deadline;
    Mojo::IOLoop->remove($tick);
    return $condition->() ? 1 : 0;
}

sub told_by_child {
    my ($code) = @_;
    my $inner = sub {
        my $wrong = $code->();
        return join ', ', map { "$_: $wrong->{$_}" } sort keys %$wrong;
    };
    my ($said, $status) = $how eq 'raw' ? in_raw_child($inner) : in_child($native, $inner);
    return ($said // 'nothing') . " status $status";
}

# Turns of the loop that the child has.
sub turns {
    return if $how ne 'raw';
    for (1 .. 2) {
        Mojo::IOLoop->timer(0 => sub { });
        Mojo::IOLoop->one_tick;
    }
    return;
}

{
    my ($socket, $peer) = connected();
    $socket->blocking(0);
    my ($got, @events) = ('');
    my $stream = Mojo::IOLoop::Stream->new($socket);
    $stream->on(read => sub { $got .= $_[1] });
    for my $event (qw(close error timeout)) { $stream->on($event => sub { push @events, $event }) }
    Mojo::IOLoop->stream($stream);
    $stream->write('from the parent');
    guard($stream) if $is_guarded;
    print 'stream: ', told_by_child(
        sub {
            my $wrong = {};
            if ($is_guarded) {
                $wrong = refusal('Mojo::IOLoop::Stream' => write => sub { $stream->write('x') }, start => sub { $stream->start }, handle => sub { $stream->handle });
                $wrong = { %$wrong, %{ refusal(handle => print => sub { print {$socket} 'x' }) } };
            }
            else { $stream->write('x') }
            turns();
            $stream->close_gracefully;
            $stream->close;
            undef $stream;
            turns();
            $wrong->{events} = "@events" if @events;
            return $wrong;
        }
    ), "\n";
    print 'peer: ', nothing_to_read($peer), "\n";
    until_true(sub { !$stream->bytes_waiting });
    print 'parent writes: ', nothing_to_read($peer), "\n";
    syswrite $peer, 'answer';
    until_true(sub { length $got });
    print "parent reads: $got @events\n";
    $stream->close;
}
exit 0 unless $is_guarded;

{
    my $folder = File::Temp->newdir;
    my $accepted = 0;
    my $id     = Mojo::IOLoop->server(path => "$folder/socket", sub { my ($loop, $stream) = @_; $accepted++; $stream->on(read => sub { $_[0]->write('served') }) });
    my $server = Mojo::IOLoop->acceptor($id);
    until_true(sub { $server->is_accepting });
    guard($server);
    my $client = IO::Socket::UNIX->new(Peer => "$folder/socket") or die "connect: $!";
    print 'server: ', told_by_child(
        sub {
            my $wrong = refusal('Mojo::IOLoop::Server' => start => sub { $server->start }, port => sub { $server->port });
            turns();
            undef $server;
            $wrong->{accepted} = 1 if $accepted;
            $wrong->{reuse} = $ENV{MOJO_REUSE} if $ENV{MOJO_REUSE};
            # The address again, for a server of the child's own.
            my $own = Mojo::IOLoop->server(path => "$folder/own", sub { });
            $wrong->{own} = 'not listening' unless Mojo::IOLoop->acceptor($own) && IO::Socket::UNIX->new(Peer => "$folder/own");
            return $wrong;
        }
    ), "\n";
    until_true(sub { $accepted });
    print "accepted: $accepted\n";

    # The user agent: first non-blocking with a kept connection, which the child would reuse.
    my $held;
    my $answer = sub {
        my ($stream, $text) = @_;
        $stream->write("HTTP/1.1 200 OK\r\nContent-Length: " . length($text) . "\r\n\r\n$text");
    };
    my $http = Mojo::IOLoop->server(
        path => "$folder/http",
        sub {
            my ($loop, $stream) = @_;
            my $requests = 0;
            $stream->on(
                read => sub {
                    $requests++;
                    if ($_[1] =~ m{\AGET /held }) { $held = $stream }
                    else                          { $answer->($stream, "request $requests") }
                }
            );
        }
    );
    my $url = 'http+unix://' . ("$folder/http" =~ s{/}{%2F}gr) . '/';
    my $agent = Mojo::UserAgent->new;
    guard($agent);
    my $ask = sub {
        my $answer;
        $agent->get($url => sub { my ($ua, $tx) = @_; $answer = $tx->error ? "error $tx->{res}{error}{message}" : $tx->res->body });
        until_true(sub { defined $answer });
        return $answer // 'none';
    };
    my $pending = 'waits';
    $agent->get("${url}held" => sub { my ($ua, $tx) = @_; $pending = $tx->error ? 'failed' : $tx->res->body });
    until_true(sub { $held });
    print 'agent: ', $ask->(), ', ', $ask->(), "\n";
    print 'agent in child: ', told_by_child(
        sub {
            my $answer = 'not asked';
            $answer = $ask->() if $how eq 'raw';
            undef $agent;
            return { answer => $answer, held => $pending };
        }
    ), "\n";
    print 'agent: ', $ask->(), "\n";
    $answer->($held, 'at last');
    until_true(sub { $pending ne 'waits' });
    print "held: $pending\n";
}
EOP

for my $reactor (qw(Mojo::Reactor::Poll Mojo::Reactor::EV)) {
    for my $how (qw(raw ours)) {
        subtest "$reactor, $how" => sub {
            skip_all 'EV is not installed' if $reactor =~ /EV/ && !ForkTest::has_version('EV');
            my $result = run_program($program, $reactor, $how, 1);
            is [ split /\n/, $result->{stdout} ],
                [
                "reactor $reactor",
                'stream:  status 0',
                'peer: 1',
                q(parent writes: 'from the parent'),
                'parent reads: answer ',
                'server:  status 0',
                'accepted: 1',
                'agent: request 1, request 2',
                # A second connection, to the server that the child shares with its parent.
                'agent in child: answer: ' . ($how eq 'raw' ? 'request 1' : 'not asked') . ', held: waits status 0',
                'agent: request 3',
                'held: at last',
                ],
                'the stream, the server and the user agent';
            is $result->{status}, 0, 'it ends well';

            $result = run_program($program, $reactor, $how, 0);
            like $result->{stdout}, qr/^peer: 'from the parentx?'$/m,
                'control: without a guard the child writes what is the parent\'s'
                if $how eq 'raw';
        };
    }
}

done_testing;
