# A server with workers of its own, as PAGI::Server is one, that knows nothing of us: on our loops, and with -io_async on those
# of IO::Async on which it fails without.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ForkTest qw(has_module);
use IO::Socket::INET;
use ProcessTest qw(BOUND);
use Test2::V0;

has_module('IO::Async::Loop') or skip_all 'IO::Async is not installed';

# A line of it is a list of words.
package Server {
    our @ISA = 'ProcessTest';
    sub parse { return [ split / /, $_[1] ] }

    sub launch {
        my ($class, $loop, $workers, @switches) = @_;
        return $class->start_process(sub {
            my ($writer) = @_;
            open STDOUT, '>&', $writer or return;
            exec $^X, (map { "-I$_" } grep { !ref } @INC), @switches, '-MPreforkServer', '-e',
                'PreforkServer->run(@ARGV)', $loop, $workers;
        });
    }

    # The words after that one, of the next line that begins so.
    sub wait_for {
        my ($self, $word) = @_;
        my ($line) = $self->next_match(sub { $_[0][0] eq $word ? $_[0] : () });
        return [ @{ $line || [] }[ 1 .. $#{ $line || [] } ] ];
    }

    # So many have got ready since it began.
    sub has_started {
        my ($self, $count) = @_;
        return ProcessTest::wait_until(sub { $self->_read(0.01); $count == $self->started });
    }

    sub started {
        my ($self) = @_;
        return scalar grep { $_->[0] eq 'ready' } @{ $self->{seen} };
    }

    # pid => number
    sub wait_for_workers {
        my ($self, $count) = @_;
        return map { @{ $self->wait_for('ready') }[ 0, 1 ] } 1 .. $count;
    }
}

# [ pid, number, class ] of the worker that answers.
sub ask {
    my ($address) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $address) or return [];
    print {$socket} "who\n";
    IO::Select->new($socket)->can_read(BOUND) or return [];
    return [ split / /, (readline $socket // '') =~ s/\n//r ];
}

my @LOOPS = (
    (map { ["IO::Async::Loop::$_"] } qw(Libev Libevent)),
    (map { [ "IO::Async::Loop::$_", '-MEventLoop::Fork=-io_async' ] } qw(Poll Select Epoll Glib Mojo)),
);
push @LOOPS,
    [
    'IO::Async::Loop::Mojo', '-MEventLoop::Fork=-io_async', '-MMojo::Reactor::Poll',
    { MOJO_REACTOR => 'Mojo::Reactor::Poll' }
    ];

for my $case (@LOOPS) {
    my ($loop, @switches) = @$case;
    my $environment = ref $switches[-1] ? pop @switches : {};
    subtest join(' ', $loop, %$environment) => sub {
        has_module($_) or skip_all "$_ is not installed" for $loop;
        local @ENV{ keys %$environment } = values %$environment;
        my $server    = Server->launch($loop, 3, @switches);
        my ($address) = @{ $server->wait_for('listening') };
        my %workers   = $server->wait_for_workers(3);
        is([ sort values %workers ], [ 1, 2, 3 ], 'three workers are ready');
        my $answer = ask($address);
        is(
            [ $workers{ $answer->[0] // 0 }, $answer->[2] ], [ $answer->[1], $loop ],
            'one of them answers, on a loop of that class'
        );

        my ($first, @others) = sort keys %workers;
        kill KILL => $first;
        is($server->wait_for('ended'), [ $first, 9 ], 'one is killed: its status');
        my $new = $server->wait_for('ready')->[0];
        ok($new, 'another one in its place');

        $server->signal('HUP');
        my %ended = map { @{ $server->wait_for('ended') } } 1 .. 3;
        is(\%ended, { map { $_ => 0 } $new, @others }, 'HUP: all leave by themselves');
        ok($server->has_started(7), 'and are replaced, each once');

        $server->signal('TTIN');
        ok($server->has_started(8), 'TTIN: one more');
        $server->signal('TTOU');
        is($server->wait_for('ended')->[1], 0, 'TTOU: one leaves');

        my ($stopped) = @{ ask($address) };
        kill STOP => $stopped;
        is($server->wait_for('ended'), [ $stopped, 9 ], 'one that hangs is found by its heartbeat');
        ok($server->has_started(9), 'and replaced');

        kill INT => -$server->pid;
        is([ map { $server->wait_for('ended')->[1] } 1 .. 3 ], [ 0, 0, 0 ], 'Ctrl-C: all leave in order');
        is($server->wait_for('stopped'), [], 'and the parent');
        is($server->exit_code, 0, 'exit code');
        ok($server->is_gone, 'no process is left');
        is($server->started, 9, 'no worker has started workers');
    };
}

done_testing;
