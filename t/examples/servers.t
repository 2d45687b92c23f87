# The servers of examples/servers, as evfork run starts them: they answer, a reload leaves nobody without an answer, a stop
# ends all. With WebSockets and event streams where they have some.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EventLoop::Fork::Server;
use EvforkTest;
use ForkTest ();
use HTTPClient;
use ProcessTest qw(BOUND wait_until);
use Test2::V0;

my $examples = "$EvforkTest::apps/../servers";

# Its file, the switches, what it needs.
my @SERVERS = (
    [ 'pagi.pl', ['--pagi'], 'PAGI' ],
    [ 'mojo.pl', ['--mojo'], 'Mojo' ],
    [ 'hello.psgi', [ '--server', 'Twiggy' ], 'Twiggy' ],
    [ 'hello.psgi', ['--psgi'], 'PSGI' ],
    [ 'net-async-http.pl', [ '--server', 'NetAsyncHTTP' ], 'NetAsyncHTTP' ],
    [ 'ev.pl', [ '--loop', 'EV' ] ],
);

sub why_not {
    my ($kind) = @_;
    return defined ForkTest::has_version('EV') ? undef : 'EV is not installed' if !defined $kind;
    return if eval { EventLoop::Fork::Server::find($kind); 1 };
    return $@->message;
}

sub answer {
    my ($address) = @_;
    my $client = HTTPClient->new("http://$address/");
    $client->get('/', 'Connection: close');
    my $response = $client->response || { status => 'no answer', body => '' };
    return "$response->{status} $response->{body}";
}

# A client that keeps its connection, and what it hears until it is told to go.
my %MORE = (
    'pagi.pl' => sub {
        my ($address) = @_;
        subtest 'an event stream' => sub {
            my $client = HTTPClient->new("http://$address/");
            $client->get('/events', 'Accept: text/event-stream');
            my $text = '';
            wait_until(sub { sysread $client->{socket}, $text, 4096, length $text; $text =~ /data: 2\n/ });
            like($text, qr/^content-type: text\/event-stream\r\n/mi, 'its type');
            like($text, qr/event: tick\ndata: 1\n\n.*event: tick\ndata: 2\n\n/s, 'two events');
        };
        websocket($address);
    },
    'mojo.pl' => \&websocket,
);

sub websocket {
    my ($address) = @_;
    subtest 'a WebSocket' => sub {
        skip_all 'Mojolicious is not installed' if !defined ForkTest::has_version('Mojo::UserAgent');
        my $said = EvforkTest::end_in_words(client_of($address, "$EvforkTest::folder/said"));
        is($said, 0, 'the client has ended');
        is(EvforkTest::slurp("$EvforkTest::folder/said"), "one\ntwo\nclosed\n", 'what it says comes back');
    };
    return;
}

# In a process of its own: its loop is none of ours.
sub client_of {
    my ($address, $path) = @_;
    my $pid = fork // die "fork: $!";
    return $pid if $pid;
    open STDOUT, '>', $path or POSIX::_exit(99);
    my $bound = BOUND;
    exec $^X, '-e', <<"PERL", $address or POSIX::_exit(99);
use Mojo::UserAgent;
use Mojo::IOLoop;
\$| = 1;
my \$agent = Mojo::UserAgent->new;
Mojo::IOLoop->timer($bound => sub { print "too late\\n"; Mojo::IOLoop->stop });
\$agent->websocket("ws://\$ARGV[0]/echo" => sub {
    my (undef, \$connection) = \@_;
    if (!\$connection->is_websocket) { print "no WebSocket\\n"; return Mojo::IOLoop->stop }
    \$connection->on(message => sub {
        print "\$_[1]\\n";
        \$_[1] eq 'one' ? \$connection->send('two') : \$connection->finish;
    });
    \$connection->on(finish => sub { print "closed\\n"; Mojo::IOLoop->stop });
    \$connection->send('one');
});
Mojo::IOLoop->start;
PERL
}

for my $server (@SERVERS) {
    my ($file, $switches, $kind) = @$server;
    subtest "@$switches $file" => sub {
        my $why_not = why_not($kind);
        skip_all $why_not if defined $why_not;
        my $status     = "$EvforkTest::folder/status-$file";
        my $supervisor = EvforkTest->start(
            '--workers', 2, '--listen', '127.0.0.1:0', '--status-file', $status, @$switches,
            "$examples/$file"
        );
        my ($address) = $supervisor->wait_for(qr/listening on (\S+)/) or return fail('it listens');
        ok($supervisor->wait_for_workers(2), 'two workers')           or return;
        like(answer($address), qr/\A200 hello from slot [01], generation 1\n\z/, 'one of them answers');
        $MORE{$file}->($address) if $MORE{$file};
        my $reload = fork // die "fork: $!";
        if (!$reload) {
            open STDOUT, '>', '/dev/null';
            exec EvforkTest::command('reload', '--wait', $status) or POSIX::_exit(99);
        }
        my @answers;
        wait_until(sub { push @answers, answer($address); waitpid $reload, 1 });
        is($?, 0, 'a reload');
        is([ grep { !/\A200 / } @answers ], [], 'everybody was answered meanwhile: ' . @answers);
        like(answer($address), qr/\A200 hello from slot [01], generation 2\n\z/, 'by new workers then');
        $supervisor->signal('TERM');
        is($supervisor->exit_code, 0, 'exit code');
        ok($supervisor->is_gone, 'no process is left');
    };
}

done_testing;
