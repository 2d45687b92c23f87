# Guarded notifiers of IO::Async, with what is below them: streams with bytes to write, listeners, TLS streams. In the child
# no event of theirs fires and nothing is sent; in the parent they go on.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork qw(guard);
use ForkTest;
use GuardTest;
use IO::Socket::UNIX ();
use File::Temp       ();
use Test2::V0;

BEGIN {
    has_module('IO::Async::Loop') or skip_all 'IO::Async is not installed';
    require IO::Async::Handle;
    require IO::Async::Listener;
    require IO::Async::Notifier;
    require IO::Async::Stream;
    require IO::Async::Timer::Periodic;
}

my @classes = grep { has_module("IO::Async::Loop::$_") } qw(Poll Select Epoll Libev Libevent);

# The same for each loop class and both forks; in_child may go on with the loop after a raw fork.
sub each_class {
    my ($name, $code) = @_;
    for my $class (@classes) {
        for my $kind ('a raw fork', 'our fork') {
            subtest "$name, $class, $kind" => sub {
                ForkTest::forget_io_async();
                my $native = EventLoop::Fork::Loop->new;
                my @before = open_fds();
                my $loop   = "IO::Async::Loop::$class"->new;
                my $run    = sub {
                    my ($inner) = @_;
                    my ($value, $status) = $kind eq 'a raw fork' ? in_raw_child($inner) : in_child($native, $inner);
                    is $status, 0, 'the child ends well';
                    return $value;
                };
                $code->($loop, $run, $kind);
                undef $loop;
                ForkTest::forget_io_async();
                is [ open_fds() ], \@before, 'no descriptor is left';
                is children_left(), '', 'no child and no zombie is left';
            };
        }
    }
    return;
}

# Turns of the loop in the child: nothing of the guarded things may happen there.
sub turns {
    my ($loop, $kind) = @_;
    return if $kind eq 'our fork';    # there it is the parent's
    $loop->loop_once(0) for 1 .. 3;
    return;
}

# Turns until a new timer fires. Those that were due before it have fired then, if they do at all.
sub later_timer_fires {
    my ($loop) = @_;
    my $has_fired;
    $loop->watch_time(after => 0.01, code => sub { $has_fired = 1 });
    return wait_until($loop, sub { $has_fired });
}

each_class 'a stream' => sub {
    my ($loop, $run, $kind) = @_;
    my ($socket, $peer) = connected();
    my (@events, $got);
    my $stream = IO::Async::Stream->new(
        handle         => $socket,
        on_read        => sub { my ($self, $buffer) = @_; $got .= $$buffer; $$buffer = ''; return 0 },
        on_closed      => sub { push @events, 'closed' },
        on_write_error => sub { push @events, 'write error' },
        on_read_error  => sub { push @events, 'read error' },
        on_read_eof    => sub { push @events, 'eof' },
    );
    $loop->add($stream);
    $loop->loop_once(0);
    guard($stream);
    $stream->write('from the parent');    # queued, not yet written
    my $wrong = $run->(sub {
        my $wrong = refusal(
            'IO::Async::Stream' => write => sub { $stream->write('x') },
            configure           => sub {
                $stream->configure(on_read => sub { 0 });
            },
            handle => sub { $stream->read_handle },
            add    => sub { $loop->add($stream) },
        );
        $wrong = { %$wrong, %{ refusal(handle => print => sub { print {$socket} 'x' }) } };
        turns($loop, $kind);
        $SIG{__WARN__} = sub { $wrong->{warning} = $_[0] };
        $stream->close;
        $stream->close_now;
        $stream->close_when_empty;
        undef $stream;
        turns($loop, $kind);
        $wrong->{events} = "@events" if @events;
        return $wrong;
    });
    is $wrong, {}, 'every use throws; closing and dropping it is silent, no event fires';
    is nothing_to_read($peer), 1, 'nothing arrives, also not what the parent has still to write';
    ok wait_until($loop, sub { nothing_to_read($peer) ne 1 }), 'the parent writes it';
    syswrite $peer, 'answer';
    ok wait_until($loop, sub { defined $got }), 'and reads';
    is [ $got, @events ], ['answer'], 'the answer';
    $loop->remove($stream);
};

each_class 'children' => sub {
    my ($loop, $run, $kind) = @_;
    my ($socket, $peer)     = connected();
    my ($second, $beside)   = connected();
    my $ticks  = 0;
    my $got    = '';
    my $client = IO::Async::Notifier->new;
    my $stream = IO::Async::Stream->new(
        handle  => $socket,
        on_read => sub { my ($self, $buffer) = @_; $got .= $$buffer; $$buffer = ''; 0 }
    );
    my $handle = IO::Async::Handle->new(
        handle         => $second, on_read_ready   => sub { sysread $second, $got, 100, length $got },
        on_write_ready => sub { }, want_writeready => 0
    );
    my $timer = IO::Async::Timer::Periodic->new(interval => 0.001, on_tick => sub { $ticks++ });
    my $group = IO::Async::Notifier->new;
    $timer->start;
    $client->add_child($stream);
    $client->add_child($group);
    $group->add_child($_) for $handle, $timer;
    $loop->add($client);
    guard($client);
    syswrite $beside, '1';
    my $wrong = $run->(sub {
        my $wrong = refusal('IO::Async::Notifier' => loop => sub { $client->loop }, group => sub { $group->children });
        $wrong = { %$wrong, %{ refusal('IO::Async::Stream' => stream => sub { $stream->write('x') }) } };
        $wrong = { %$wrong, %{ refusal('IO::Async::Handle' => handle => sub { $handle->want_writeready(1) }) } };
        $wrong = { %$wrong, %{ refusal('IO::Async::Timer::Periodic' => timer => sub { $timer->stop }) } };
        $ticks = 0;
        turns($loop, $kind);
        $wrong->{'a later timer'} = 'does not fire' if $kind eq 'a raw fork' && !later_timer_fires($loop);
        turns($loop, $kind);
        $wrong->{ticks} = $ticks if $ticks;
        $wrong->{got}   = $got   if length $got;
        undef $_ for $stream, $handle, $timer, $group, $client;
        return $wrong;
    });
    is $wrong, {}, 'all below a guarded notifier is guarded';
    is [ nothing_to_read($peer), nothing_to_read($beside) ], [ 1, 1 ], 'nothing arrives';
    syswrite $peer, '2';
    $ticks = 0;
    ok wait_until($loop, sub { $ticks > 2 && length $got == 2 }), 'the parent goes on with all of them';
    $loop->remove($client);
};

each_class 'one of several' => sub {
    my ($loop, $run, $kind) = @_;
    my @pairs = map { [ connected() ] } 1, 2;
    my %got;
    my @streams = map {
        my $number = $_;
        IO::Async::Stream->new(
            handle  => $pairs[$number][0],
            on_read => sub { my ($self, $buffer) = @_; $got{$number} .= $$buffer; $$buffer = ''; 0 }
        );
    } 0, 1;
    my $parent = IO::Async::Notifier->new;
    $parent->add_child($_) for @streams;
    $loop->add($parent);
    $loop->loop_once(0);
    guard($streams[0]);
    syswrite $_->[1], 'x' for @pairs;
    my $seen = $run->(sub {
        return [ {}, scalar $parent->children ] if $kind eq 'our fork';
        wait_until($loop, sub { $got{1} });
        $loop->loop_once(0);
        return [ \%got, scalar(() = $parent->children) ];
    });
    is $seen->[0], $kind eq 'our fork' ? {} : { 1 => 'x' }, 'a child that goes on with the loop has only the other one';
    my $expected = $kind eq 'our fork' ? { 0 => 'x', 1 => 'x' } : { 0 => 'x' };
    ok wait_until($loop, sub { $got{0} && ($kind eq 'a raw fork' || $got{1}) }), 'the parent has both';
    is \%got, $expected, 'what each is sent';
    $loop->remove($parent);
};

each_class 'a listener' => sub {
    my ($loop, $run, $kind) = @_;
    my $folder   = File::Temp->newdir;
    my $socket   = IO::Socket::UNIX->new(Local => "$folder/socket", Listen => 5) or die "socket: $!";
    my $accepted = 0;
    my $listener = IO::Async::Listener->new(handle => $socket, on_socket => sub { $accepted++ });
    $loop->add($listener);
    $loop->loop_once(0);
    guard($listener);
    my $client = IO::Socket::UNIX->new(Peer => "$folder/socket") or die "connect: $!";
    is $run->(sub {
        my $wrong = refusal('IO::Async::Listener' => sockname => sub { $listener->sockname });
        turns($loop, $kind);
        $wrong->{accepted} = 1 if $accepted;
        $wrong;
        }),
        {}, 'the child accepts nothing';
    ok wait_until($loop, sub { $accepted }), 'the parent does';
    $loop->remove($listener);
};

# ---- Controls -------------------------------------------------------------------------------------------------------

subtest 'control' => sub {
    ForkTest::forget_io_async();
    require IO::Async::Loop::Poll;
    my $loop = IO::Async::Loop::Poll->new;
    my ($socket, $peer) = connected();
    my $stream = IO::Async::Stream->new(handle => $socket, on_read => sub { 0 });
    $loop->add($stream);
    $stream->write('queued');
    in_raw_child(sub { $loop->loop_once(0); 'done' });
    is nothing_to_read($peer), "'queued'", 'a child that goes on with the loop writes what is the parent\'s';
    $loop->loop_once(0);
    is nothing_to_read($peer), "'queued'", 'so it arrives twice';
    $loop->remove($stream);
    ForkTest::forget_io_async();
};

done_testing;
