package EventLoop::Fork::Test::Loop::IO;

# Descriptors.

use strict;
use warnings;

our $VERSION = '0.001';

use Errno qw(EAGAIN ECONNREFUSED EINPROGRESS EWOULDBLOCK);
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use Fcntl      qw(F_GETFL O_NONBLOCK SEEK_SET);
use IO::Handle ();
use POSIX      ();
use Socket     qw(AF_INET INADDR_LOOPBACK SOCK_DGRAM SOCK_STREAM SOL_SOCKET SO_ERROR pack_sockaddr_in);

contract io => read => 'a readable descriptor calls on_read_ready, in a turn and only then' => sub {
    my ($one, $other) = pair();
    my $called = 0;
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    turns();
    is($called, 0, 'not while there is nothing to read');
    give($other);
    is($called, 0, 'not outside of a turn');
    $loop->loop_once(1);
    is($called, 1, 'once in a turn');
    $loop->loop_once(1);
    is($called, 2, 'again in the next while there is something to read');
    take($one);
    turns();
    is($called, 2, 'no more when it is read');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    give($other);
    turns();
    is($called, 2, 'no more when it is unwatched');
};

contract io => write => 'a writable descriptor calls on_write_ready, a full one does not' => sub {
    my ($one, $other) = pair();
    my $called = 0;
    $loop->watch_io(handle => $one, on_write_ready => sub { $called++ });
    $loop->loop_once(1);
    is($called, 1, 'once in a turn');
    my $chunk = 'x' x 65536;
    while (defined syswrite $one, $chunk) { }
    ok($! == EAGAIN || $! == EWOULDBLOCK, 'filled without blocking');
    $called = 0;
    turns();
    is($called, 0, 'not while it is full');
    $other->blocking(0);
    while (sysread $other, my $data, 1_048_576) { }
    ok(wait_until { $called }, 'again when there is room');
    $loop->unwatch_io(handle => $one, on_write_ready => 1);
};

contract io => both => 'read and write are watched apart, on one descriptor' => sub {
    my ($one, $other) = pair();
    my %called = (read => 0, write => 0, replaced => 0);
    $loop->watch_io(handle => $one, on_read_ready  => sub { $called{read}++ });
    $loop->watch_io(handle => $one, on_write_ready => sub { $called{write}++ });
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 0, 1 ], 'only writable');
    give($other);
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 1, 2 ], 'readable, too');
    $loop->unwatch_io(handle => $one, on_write_ready => 1);
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 2, 2 ], 'one unwatched, the other stays');
    $loop->watch_io(handle => $one, on_read_ready => sub { $called{replaced}++ });
    $loop->loop_once(1);
    is_list([ @called{qw(read replaced)} ], [ 2, 1 ], 'a second callback replaces the first');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    $loop->unwatch_io(handle => $one, on_read_ready => 1, on_write_ready => 1);
    ok(1, 'unwatching what is not watched is no error');
};

contract io => cancel_each_other => 'the read callback can cancel the write callback of its descriptor' => sub {
    my ($one, $other) = pair();
    my $called = 0;
    my $cancel = sub { $called++; $loop->unwatch_io(handle => $one, on_read_ready => 1, on_write_ready => 1) };
    $loop->watch_io(handle => $one, on_read_ready => $cancel, on_write_ready => $cancel);
    close $other;
    turns();
    is($called, 1, 'one of the two is called');
};

contract io => nonblocking => 'watch_io makes the handle non-blocking' => sub {
    my ($reader, $writer) = pipe_pair();
    my ($one, $other)     = pair();
    my %watched = (
        'reading a pipe'   => [ $reader, 'on_read_ready' ],
        'writing a pipe'   => [ $writer, 'on_write_ready' ],
        'reading a socket' => [ $one, 'on_read_ready' ],
        'writing a socket' => [ $other, 'on_write_ready' ],
    );
    for my $name (sort keys %watched) {
        my ($handle, $event) = @{ $watched{$name} };
        $loop->watch_io(handle => $handle, $event => sub { });
        ok(fcntl($handle, F_GETFL, 0) & O_NONBLOCK, $name);
        $loop->unwatch_io(handle => $handle, $event => 1);
    }
};

contract io => spurious => 'readiness that somebody else has used up does no harm' => sub {
    my ($one, $other) = pair();
    open my $copy, '+<&', $one or die "dup: $!";
    my @got;
    for my $handle ($one, $copy) {
        $loop->watch_io(
            handle        => $handle,
            on_read_ready => sub { my $got = sysread $handle, my $data, 10; push @got, defined $got ? $got : 'again' }
        );
    }
    give($other);
    ok(wait_until { @got }, 'called');
    turns();
    is($got[0], 1, 'the first gets the data');
    ok(!(grep { $_ ne 'again' } @got[ 1 .. $#got ]), 'the second does not block');
    $loop->unwatch_io(handle => $_, on_read_ready => 1) for $one, $copy;
};

contract io => reused => 'a number closed and reused in a turn never delivers the old event' => sub {
    my @pairs = map { [ pair() ] } 0, 1;
    my (@old, $new, @kept);
    $new = 0;
    give($_->[1]) for @pairs;
    for my $number (0, 1) {
        $loop->watch_io(
            handle        => $pairs[$number][0],
            on_read_ready => sub {
                push @old, $number;
                return if @kept;
                take($pairs[$number][0]);
                my $closed = $pairs[ 1 - $number ];
                my $fd     = fileno $closed->[0];
                $loop->unwatch_io(handle => $closed->[0], on_read_ready => 1);
                close $closed->[0];
                @kept = pair_on($fd);
                $loop->watch_io(handle => $kept[0], on_read_ready => sub { $new++; take($kept[0]) });
            }
        );
    }
    turns();
    is(scalar @old, 1, 'the closed one is not called');
    is($new, 0, 'its event is not taken for that of the new file');
    give($kept[1]);
    ok(wait_until { $new }, 'the new file has events of its own');
    is(scalar @old, 1, 'and they are not delivered to the old watcher');
    $loop->unwatch_io(handle => $_, on_read_ready => 1) for $kept[0], $pairs[ $old[0] ][0];
};

contract io => reused_without_unwatch => 'the same, when the old one is closed without unwatch_io' => sub {
    my @pairs = map { [ pair() ] } 0, 1;
    my (@old, @kept);
    my $new = 0;
    give($_->[1]) for @pairs;
    for my $number (0, 1) {
        $loop->watch_io(
            handle        => $pairs[$number][0],
            on_read_ready => sub {
                push @old, $number;
                return if @kept;
                take($pairs[$number][0]);
                my $fd = fileno $pairs[ 1 - $number ][0];
                close $pairs[ 1 - $number ][0];
                @kept = pair_on($fd);
                $loop->watch_io(handle => $kept[0], on_write_ready => sub { $new++ });
            }
        );
    }
    turns();
    is(scalar @old, 1, 'the closed one is not called');
    ok($new, 'the new one is');
    give($kept[1]);
    turns();
    is(scalar @old, 1, 'the old callback is not called for the new file');
    $loop->unwatch_io(handle => $kept[0], on_write_ready            => 1);
    $loop->unwatch_io(handle => $pairs[ $old[0] ][0], on_read_ready => 1);
};

contract io => reused_unwatched => 'the same, when nobody watches the new file' => sub {
    my @pairs = map { [ pair() ] } 0, 1;
    my (@old, @kept);
    give($_->[1]) for @pairs;
    for my $number (0, 1) {
        $loop->watch_io(
            handle        => $pairs[$number][0],
            on_read_ready => sub {
                push @old, $number;
                return if @kept;
                take($pairs[$number][0]);
                my $fd = fileno $pairs[ 1 - $number ][0];
                close $pairs[ 1 - $number ][0];
                @kept = pair_on($fd);
            }
        );
    }
    turns();
    is(scalar @old, 1, 'the closed one is not called');
    give($kept[1]);
    turns();
    is(scalar @old, 1, 'nor when the new file becomes readable');
    quiet_ok('and the loop does not spin');
    $loop->unwatch_io(handle => $pairs[ $old[0] ][0], on_read_ready => 1);
};

# Closed under its watcher in four ways; the loop must go on as if the watcher were not there.
sub closed_ok {
    my ($close) = @_;
    my ($one, $other)    = pair();
    my ($second, $third) = pair();
    my ($called, $alive) = (0, 0);
    $loop->watch_io(handle => $one, on_read_ready    => sub { $called++ });
    $loop->watch_io(handle => $second, on_read_ready => sub { $alive++; take($second) });
    turns(2);
    my ($kept, $clean_up) = $close->($one, $other);
    quiet_ok('the loop does not spin');
    is($called, 0, 'the callback is not called');
    give($third);
    ok(wait_until { $alive }, 'other watchers go on');
    quiet_ok('nor later');
    is($called, 0, 'nor is it called later');
    $loop->unwatch_io(handle => $second, on_read_ready => 1);
    $clean_up->() if $clean_up;
    return;
}

contract io => closed => 'a descriptor closed while it is watched is dropped' => sub {
    closed_ok(sub { my ($one, $other) = @_; close $one; return $other });
};

contract io => closed_by_both => 'the same, when its peer is closed, too' => sub {
    closed_ok(sub { my ($one, $other) = @_; close $other; close $one; return });
};

contract io => closed_by_number => 'the same, when its number is closed under the handle' => sub {
    closed_ok(sub {
        my ($one, $other) = @_;
        my $fd = fileno $one;
        POSIX::close($fd);
        # The handle will close its number once more: let it be nobody else's then.
        return ([ $one, $other ], sub { POSIX::dup2(0, $fd) });
    });
};

contract io => closed_with_copy => 'the same, when the file stays open under another number' => sub {
    closed_ok(sub {
        my ($one, $other) = @_;
        open my $copy, '+<&', $one or die "dup: $!";
        close $one;
        give($other);
        return [ $other, $copy ];
    });
};

contract io => reopened => 'a handle that was closed while it was watched can be opened and watched again' => sub {
    my ($one, $other) = pair();
    my ($new, $peer)  = pair();
    my $fd     = fileno $one;
    my %called = (read => 0, write => 0);
    $loop->watch_io(handle => $one, on_read_ready => sub { $called{read}++ });
    turns();
    close $one;
    turns();
    open $one, '+<&', $new or die "dup: $!";
    return skip_rest('its number has another owner') if fileno $one != $fd;
    $loop->watch_io(handle => $one, on_write_ready => sub { $called{write}++ });
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 0, 1 ], 'for what was not watched before');
    give($peer);
    $loop->watch_io(handle => $one, on_read_ready => sub { $called{read}++ });
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 1, 2 ], 'and for what was');
    $loop->unwatch_io(handle => $one, on_read_ready => 1, on_write_ready => 1);
};

contract io => unwatched_with_copy => 'nor does a file spin that was unwatched, closed, and stays open elsewhere' =>
    sub {
    my ($one, $other) = pair();
    my $called = 0;
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    turns(2);
    open my $copy, '+<&', $one or die "dup: $!";
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    close $one;
    give($other);
    quiet_ok('the loop does not spin');
    is($called, 0, 'nothing is called');
    };

contract io => regular_file => 'a regular file is always ready, for reading and writing' => sub {
    open my $file, '+>', undef or die "temporary file: $!";
    print {$file} "content\n";
    seek $file, 0, SEEK_SET;
    my %called = (read => 0, write => 0);
    $loop->watch_io(
        handle         => $file,
        on_read_ready  => sub { $called{read}++ },
        on_write_ready => sub { $called{write}++ }
    );
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 1, 1 ], 'both in the first turn');
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 2, 2 ], 'both in the next');
    $loop->unwatch_io(handle => $file, on_write_ready => 1);
    $loop->loop_once(1);
    is_list([ @called{qw(read write)} ], [ 3, 2 ], 'one unwatched, the other stays');
    my $timer = 0;
    $loop->watch_time(after => 0.01, code => sub { $timer++ });
    ok(wait_until { $timer }, 'timers are not starved');
    $loop->unwatch_io(handle => $file, on_read_ready => 1);
    $called{read} = 0;
    quiet_ok('unwatched, it lets the loop wait');
    is($called{read}, 0, 'and is not called');

    open my $reader, '<', $0 or return;
    my $read = 0;
    $loop->watch_io(handle => $reader, on_read_ready => sub { $read++ });
    close $reader;
    quiet_ok('closed while it is watched, it is dropped');
    is($read, 0, 'and is not called');
};

contract io => end_of_file => 'the end of a pipe or socket is readable' => sub {
    my ($reader, $writer) = pipe_pair();
    my ($one, $other)     = pair();
    my ($half, $peer)     = pair();
    my %called;
    for my $watched ([ pipe => $reader ], [ socket => $one ], [ half => $half ]) {
        my ($name, $handle) = @$watched;
        $loop->watch_io(
            handle        => $handle,
            on_read_ready => sub {
                $called{$name} = sysread $handle, my $data, 10;
                $loop->unwatch_io(handle => $handle, on_read_ready => 1);
            }
        );
    }
    turns();
    is_list([ keys %called ], [], 'not before');
    close $writer;
    close $other;
    shutdown $peer, 1;
    ok(wait_until { 3 == keys %called }, 'all are called');
    is_list([ map { $called{$_} } qw(pipe socket half) ], [ 0, 0, 0 ], 'and read end of file');
};

contract io => hangup => 'a hang-up calls on_hangup' => sub {
    my ($one, $other)     = pair();
    my ($reader, $writer) = pipe_pair();
    my %called = (socket => 0, pipe => 0);
    $loop->watch_io(
        handle    => $one,
        on_hangup => sub { $called{socket}++; $loop->unwatch_io(handle => $one, on_hangup => 1) }
    );
    $loop->watch_io(
        handle    => $writer,
        on_hangup => sub { $called{pipe}++; $loop->unwatch_io(handle => $writer, on_hangup => 1) }
    );
    turns();
    is_list([ @called{qw(socket pipe)} ], [ 0, 0 ], 'not before');
    close $other;
    close $reader;
    ok(wait_until { $called{socket} && $called{pipe} }, 'of a socket, and of the write end of a pipe');
    turns();
    is_list([ @called{qw(socket pipe)} ], [ 1, 1 ], 'once, unwatched then');
};

contract io => hangup_with_data => 'data that nobody reads neither is a hang-up nor makes the loop spin' => sub {
    my ($one, $other) = pair();
    my $called = 0;
    $loop->watch_io(handle => $one, on_hangup => sub { $called++ });
    give($other, 'unread');
    quiet_ok('the loop waits');
    is($called, 0, 'no hang-up yet');
    close $other;
    ok(wait_until { $called }, 'the hang-up is found behind the data');
    $loop->unwatch_io(handle => $one, on_hangup => 1);
};

contract io => datagram_refused => 'an error that waits in a datagram socket is readable' => sub {
    my ($socket, $peer);
    for my $handle ($socket, $peer) {
        socket $handle, AF_INET, SOCK_DGRAM, 0             or return skip_rest("no datagram socket: $!");
        bind $handle, pack_sockaddr_in(0, INADDR_LOOPBACK) or return skip_rest("no loopback: $!");
    }
    connect $socket, getsockname $peer or die "connect: $!";
    close $peer;
    my @errors;
    $loop->watch_io(
        handle        => $socket,
        on_read_ready => sub {
            defined sysread $socket, my $data, 10 or push @errors, 0 + $!;
            $loop->unwatch_io(handle => $socket, on_read_ready => 1);
        }
    );
    syswrite $socket, 'x';
    ok(wait_until { @errors }, 'on_read_ready is called');
    is_list(\@errors, [ ECONNREFUSED + 0 ], 'reading tells the error');
};

contract io => connect_refused => 'a connection that is refused is writable' => sub {
    my ($closed, $socket);
    for my $handle ($closed, $socket) {
        socket $handle, AF_INET, SOCK_STREAM, 0 or return skip_rest("no stream socket: $!");
    }
    bind $closed, pack_sockaddr_in(0, INADDR_LOOPBACK) or return skip_rest("no loopback: $!");
    my $called = 0;
    $loop->watch_io(
        handle         => $closed,
        on_write_ready => sub { $loop->unwatch_io(handle => $closed, on_write_ready => 1) }
    );
    $loop->watch_io(handle => $socket, on_read_ready => sub { });    # makes it non-blocking
    $loop->unwatch_io(handle => $socket, on_read_ready => 1);
    if (connect($socket, getsockname $closed) || $! != EINPROGRESS) {
        $loop->unwatch_io(handle => $closed, on_write_ready => 1);
        return skip_rest('connect answers at once here');
    }
    $loop->watch_io(handle => $socket, on_write_ready => sub { $called++ });
    ok(wait_until { $called }, 'on_write_ready is called');
    is(unpack('i', getsockopt $socket, SOL_SOCKET, SO_ERROR), ECONNREFUSED + 0, 'the socket tells the error');
    $loop->unwatch_io(handle => $_, on_write_ready => 1) for $socket, $closed;
};

contract io => many => '500 sockets: each event comes to its own callback' => sub {
    my $most = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
    return skip_rest("only $most descriptors are allowed") if defined $most && $most < 1_100;
    my @pairs  = map { [ pair() ] } 1 .. 500;
    my @called = (0) x @pairs;
    for my $number (0 .. $#pairs) {
        my $handle = $pairs[$number][0];
        $loop->watch_io(handle => $handle, on_read_ready => sub { $called[$number]++; take($handle) });
    }
    turns(2);
    is(scalar(grep { $_ } @called), 0, 'nobody before there is data');
    give($_->[1]) for @pairs;
    my $missing = sub {
        return scalar grep { !$_ } @called;
    };
    ok(wait_until { !$missing->() }, 'everybody when there is');
    turns();
    is(scalar(grep { $_ != 1 } @called), 0, 'once each');

    @called = (0) x @pairs;
    $loop->unwatch_io(handle => $pairs[ $_ * 2 ][0], on_read_ready => 1) for 0 .. 249;
    give($_->[1]) for @pairs;
    ok(wait_until { 250 == $missing->() }, 'the ones that are still watched');
    turns();
    is_list([ grep { $called[$_] != $_ % 2 } 0 .. $#called ], [], 'and no others');
    $loop->unwatch_io(handle => $_->[0], on_read_ready => 1) for @pairs;
};

contract io => freed => 'unwatch_io lets go of the callback and of the handle' => sub {
    my $gone = 0;
    my ($one, $other) = pair();
    $loop->watch_io(handle => $one, on_read_ready => counting_code(\$gone));
    is($gone, 0, 'held while watched');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    is($gone, 1, 'freed when unwatched');
    $loop->watch_io(handle => $one, on_read_ready => counting_code(\$gone));
    $loop->watch_io(handle => $one, on_read_ready => sub { });
    is($gone, 2, 'freed when replaced');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    undef $one;
    is(sysread($other, my $data, 1), 0, 'the handle was not kept open');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::IO - tests of a loop: descriptors

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'io');

=head1 DESCRIPTION

The suite C<io> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

=head2 io

Descriptors.

=over 4

=item io.read

A readable descriptor calls on_read_ready, in a turn and only then.

=item io.write

A writable descriptor calls on_write_ready, a full one does not.

=item io.both

Read and write are watched apart, on one descriptor.

=item io.cancel_each_other

The read callback can cancel the write callback of its descriptor.

=item io.nonblocking

C<watch_io> makes the handle non-blocking.

=item io.spurious

Readiness that somebody else has used up does no harm.

=item io.reused

A number closed and reused in a turn never delivers the old event.

=item io.reused_without_unwatch

The same, when the old one is closed without unwatch_io.

=item io.reused_unwatched

The same, when nobody watches the new file.

=item io.closed

A descriptor closed while it is watched is dropped.

=item io.closed_by_both

The same, when its peer is closed, too.

=item io.closed_by_number

The same, when its number is closed under the handle.

=item io.closed_with_copy

The same, when the file stays open under another number.

=item io.reopened

A handle that was closed while it was watched can be opened and watched again.

=item io.unwatched_with_copy

Nor does a file spin that was unwatched, closed, and stays open elsewhere.

=item io.regular_file

A regular file is always ready, for reading and writing.

=item io.end_of_file

The end of a pipe or socket is readable.

=item io.hangup

A hang-up calls on_hangup.

=item io.hangup_with_data

Data that nobody reads neither is a hang-up nor makes the loop spin.

=item io.datagram_refused

An error that waits in a datagram socket is readable.

=item io.connect_refused

A connection that is refused is writable.

=item io.many

500 sockets: each event comes to its own callback.

=item io.freed

C<unwatch_io> lets go of the callback and of the handle.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
