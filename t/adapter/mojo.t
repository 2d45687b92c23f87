# Mojo::IOLoop around a fork: the child's reactor is of the parent's class, its clients and servers are hidden and alive,
# and those who listen for a reset hear of it.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use ForkTest qw(children_left control);
use Test2::V0;

my $prelude = <<'PERL';
    use strict; use warnings;
    use POSIX ();
    my ($reactor, $way);
    BEGIN { ($reactor, $way) = @ARGV; $ENV{MOJO_REACTOR} = "Mojo::Reactor::$reactor" }
    use Mojo::IOLoop;
    alarm 60;
    sub until_so (&;$) {
        my ($so, $seconds) = @_;
        my $is_late = 0;
        my $late = Mojo::IOLoop->timer($seconds || 20 => sub { $is_late = 1 });
        my $tick = Mojo::IOLoop->recurring(0.01 => sub { });
        Mojo::IOLoop->singleton->reactor->one_tick until $so->() || $is_late;
        Mojo::IOLoop->remove($_) for $late, $tick;
        return !$is_late;
    }
    # Runs the code in a child, and returns what it says. Plain: as Mojo's own subprocesses do it.
    sub in_child {
        my ($code) = @_;
        pipe my $report, my $to or die;
        my $inner = sub { alarm 60; syswrite $to, join '', eval { $code->(@_) }, $@; return 0 };
        if ($way eq 'ours') {
            my $status;
            EventLoop::Fork->fork(loop => 'Mojo::IOLoop', code => $inner, on_exit => sub { $status = $_[1] });
            until_so { defined $status };
        }
        else {
            my $pid = fork // die;
            if (!$pid) {
                if ($way eq 'reset') { Mojo::IOLoop->reset({ freeze => 1 }) } else { Mojo::IOLoop->singleton }
                $inner->();
                POSIX::_exit(0);
            }
            waitpid $pid, 0;
        }
        close $to;
        return readline($report) // '';
    }
PERL
my $ours = "BEGIN { require EventLoop::Fork } $prelude";

my $class = <<'PERL';
    print in_child(sub {
        my $fired = 0;
        Mojo::IOLoop->timer(0.01 => sub { $fired++; Mojo::IOLoop->stop });
        Mojo::IOLoop->start;
        return ref(Mojo::IOLoop->singleton->reactor) . " $fired";
    }), "\n";
PERL
control(
    'after a reset the reactor is another one', [ 'Mojolicious', 'EV' ], qr/Mojo::Reactor::Poll/,
    "$prelude $class", 'EV', 'reset'
);

my $in_callback = <<'PERL';
    my $said;
    Mojo::IOLoop->next_tick(sub {
        $said = in_child(sub { Mojo::IOLoop->timer(0.01 => sub { Mojo::IOLoop->stop }); Mojo::IOLoop->start; 'started' });
        Mojo::IOLoop->stop;
    });
    Mojo::IOLoop->start;
    print "$said\n";
PERL
control(
    'a child that is forked in a callback cannot start the loop', ['Mojolicious'], qr/already running/,
    "$prelude $in_callback", 'Poll', 'plain'
);

# A server, a client and a timer of the parent.
my $server = <<'PERL';
    my ($got, $timed) = ('', 0);
    my $id = Mojo::IOLoop->server({ address => '127.0.0.1' } => sub {
        my ($loop, $stream) = @_;
        $stream->on(read => sub { my ($stream, $bytes) = @_; $got .= $bytes; $stream->write('ok') });
    });
    my $port = Mojo::IOLoop->acceptor($id)->port;
    my ($client, $answer) = (undef, '');
    Mojo::IOLoop->client({ address => '127.0.0.1', port => $port } => sub {
        my ($loop, $error, $stream) = @_;
        $client = $stream->timeout(0);
        $stream->on(read => sub { $answer .= $_[1] });
        $stream->write('a');
    });
    until_so { $answer eq 'ok' };
    Mojo::IOLoop->timer(0.05 => sub { $timed++ });
    my $said = in_child(sub {
        until_so { 0 } 0.15;
        my $seen = "timers $timed";
        undef $client;
        return $seen;
    });
    $client->write('b');
    until_so { $got eq 'ab' && $answer eq 'okok' && $timed };
    print "child: $said; parent: got $got, answer $answer, timers $timed\n";
PERL
control(
    'the timers of the parent run in the child', ['Mojolicious'], qr/child: timers 1/, "$prelude $server", 'Poll',
    'plain'
);

my $listeners = <<'PERL';
    my $heard = 0;
    Mojo::IOLoop->singleton->on(reset => sub { $heard++ });
    my $other = Mojo::IOLoop->new;
    $other->timer(0.01 => sub { $heard += 10 });
    my $before = ref $other->reactor;
    print in_child(sub {
        until_so { 0 } 0.02;
        my $fired = 0;
        $other->timer(0.01 => sub { $fired++; $other->stop });
        $other->start;
        return "heard $heard, the other loop fired $fired, " . ($before eq ref $other->reactor ? 'same class' : 'another class');
    }), "; parent $heard\n";
PERL

my $failing = <<'PERL';
    Mojo::IOLoop->singleton->on(reset => sub { die "no reset\n" });
    print in_child(sub { ref Mojo::IOLoop->singleton->reactor }), "\n";
PERL

for my $reactor (qw(Poll EV)) {
    my ($missing) = grep { !defined ForkTest::has_version($_) } 'Mojolicious', $reactor eq 'EV' ? 'EV' : ();
SKIP: {
        skip("Mojo::Reactor::$reactor: $missing is not installed", 5) if defined $missing;
        program_says(
            "$reactor: the reactor of the child is of the same class", "Mojo::Reactor::$reactor 1\n",
            "$ours $class", $reactor, 'ours'
        );
        program_says(
            "$reactor: a child that is forked in a callback starts its loop", "started\n",
            "$ours $in_callback", $reactor, 'ours'
        );
        program_says(
            "$reactor: connections and timers of the parent stay there",
            "child: timers 0; parent: got ab, answer okok, timers 1\n",
            "$ours $server", $reactor, 'ours'
        );
        program_says(
            "$reactor: reset is told, and every loop is new",
            "heard 1, the other loop fired 1, same class; parent 0\n", "$ours $listeners", $reactor, 'ours'
        );
        my $result = ForkTest::run_program("$ours $failing", $reactor, 'ours');
        is($result->{stdout}, "Mojo::Reactor::$reactor\n", "$reactor: a listener that fails stops nothing");
        like($result->{stderr}, qr/Mojo->renew.*no reset/, "$reactor: and is reported");
    }
}

is(children_left(), '', 'no child is left');

done_testing;
