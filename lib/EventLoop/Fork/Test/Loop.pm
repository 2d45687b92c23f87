package EventLoop::Fork::Test::Loop;

# The contract of a loop as tests: one for each promise, for any loop that speaks the interface. Knows nothing about
# backends; a loop comes out of the constructor it is given. The suites first, then run_tests.

use strict;
use warnings;

our $VERSION = '0.001';

use Carp  qw(croak);
use Errno qw(EAGAIN ECONNREFUSED EINPROGRESS EMFILE ENFILE EWOULDBLOCK);
use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract qw(:DEFAULT suites tests_of);
use EventLoop::Fork::Test::Loop::Helpers  qw(:DEFAULT $seed);
use EventLoop::Fork::Test::Loop::Watchers qw(:DEFAULT $new_loop);
use Exporter                              qw(import);
use Fcntl                                 qw(F_GETFL O_NONBLOCK SEEK_SET);
use IO::Handle                            ();
use POSIX                                 qw(WNOHANG);
use Scalar::Util                          qw(refaddr reftype);
use Socket      qw(AF_INET INADDR_LOOPBACK SOCK_DGRAM SOCK_STREAM SOL_SOCKET SO_ERROR pack_sockaddr_in);
use Test::More  ();
use Time::HiRes ();

our @EXPORT    = qw(run_tests run_adapter_tests);
our @EXPORT_OK = qw(run_tests suites tests run_adapter_tests);

# How many descriptors are filled up at most to see what happens without a free one.
use constant MOST_DESCRIPTORS => 100_000;

sub tests {
    my ($suite) = @_;
    my @tests = tests_of($suite) or croak "No suite '$suite'";
    return map { { name => $_->{name}, promise => $_->{promise} } } @tests;
}

# An exception that is false and empty.
{
    package    # not for the index
        EventLoop::Fork::Test::Loop::False;
    use overload bool => sub { return 0 }, '""' => sub { return '' }, fallback => 1;
}

# ---- turn: what a callback may do -----------------------------------------------------------------------------------

contract turn => unwatch => 'an unwatched callback is not called, though it was ready in this turn' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my (@called, @watchers);
        @watchers = map {
            my $number = $_;
            make_ready(
                ($one, $other)[$number],
                sub { push @called, $number; $watchers[ 1 - $number ]{stop}->(); $watchers[$number]{calm}->() },
                ('USR1', 'USR2')[$number]
            );
        } 0, 1;
        ok(wait_until { @called }, "$one and $other: one is called");
        turns();
        is(scalar @called, 1, "$one and $other: the other is not");
        my $spared = $watchers[ 1 - $called[0] ];
        is(reap($spared->{pid}), 5 << 8, "$one and $other: the child is left to its owner") if $spared->{pid};
        stop_all_ready(@watchers);
    });
};

contract turn => unwatch_before => 'an unwatched callback is not called, though it was ready before the turn' => sub {
    for my $kind (@kinds) {
        my $called  = 0;
        my $watcher = make_ready($kind, sub { $called++ }, 'URG');    # a signal that nobody minds
        $watcher->{stop}->();
        turns();
        is($called, 0, $kind);
        stop_all_ready($watcher);
    }
};

contract turn => start => 'a watcher that is started in a turn is looked at in the next' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my (@watchers, $started_in, $called_in);
        my $turn = 0;
        $watchers[0] = make_ready(
            $one,
            sub {
                return if $watchers[1];
                $watchers[0]{calm}->();
                $started_in = $turn;
                $watchers[1] = make_ready($other, sub { $called_in = $turn; $watchers[1]{calm}->() }, 'USR2');
            }
        );
        for (1 .. 20) {
            $turn++;
            $loop->loop_once(1);
            last if defined $called_in;
        }
        is(defined $called_in ? $called_in - $started_in : 'never', 1, "$one starts $other: turns until it is called");
        stop_all_ready(@watchers);
    });
};

contract turn => restart => 'unwatched and watched again in a turn, it is looked at in the next' => sub {
    my (@pairs, @old, @new);
    for my $number (0, 1) {
        my @pair = pair();
        give($pair[1]);
        push @pairs, \@pair;
    }
    for my $number (0, 1) {
        $loop->watch_io(
            handle        => $pairs[$number][0],
            on_read_ready => sub {
                push @old, $number;
                my $handle = $pairs[ 1 - $number ][0];
                $loop->unwatch_io(handle => $handle, on_read_ready => 1);
                $loop->watch_io(handle => $handle, on_read_ready => sub { push @new, 1 - $number });
                take($pairs[$number][0]);
            }
        );
    }
    $loop->loop_once(1);
    is(scalar @old, 1, 'one of two is called');
    is_list(\@new, [], 'the other is looked at in the next turn');
    $loop->loop_once(1);
    is_list(\@new, [ 1 - $old[0] ], 'then it is called');
    $loop->unwatch_io(handle => $_->[0], on_read_ready => 1) for @pairs;
};

contract turn => free_itself => 'a callback may end its own watcher, and goes on to its end' => sub {
    for my $kind (@kinds) {
        my ($gone, $reached) = (0, 0);
        my $watcher;
        my $sentinel = sentinel(\$gone);
        my $code     = sub {
            $watcher->{stop}->() if $watcher;
            undef $watcher;
            $reached++ if ref $sentinel;    # what it holds is still there
        };
        $watcher = make_ready($kind, $code);
        undef $code;
        my $pid = $watcher->{pid};
        ok(wait_until { $reached }, "$kind: called to the end");
        turns();
        is($reached, 1, "$kind: once");
        undef $sentinel;
        is($gone, 1, "$kind: freed") if $kind ne 'io';
        waitpid $pid, 0              if $pid;
    }
};

contract turn => nested => 'a callback may run a turn of its own: each event is delivered once' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my (%called, %watchers, $depth, $deepest);
        $depth = $deepest = 0;
        for my $number (0, 1) {
            $watchers{$number} = make_ready(
                ($one, $other)[$number],
                sub {
                    $watchers{$number}{calm}->();
                    $called{$number}++;
                    $deepest = $depth if ++$depth > $deepest;
                    $loop->loop_once(0) for 1 .. 3;
                    $depth--;
                },
                ('USR1', 'USR2')[$number]
            );
        }
        ok(wait_until { 2 == keys %called }, "$one and $other: both are called");
        turns();
        is_list([ map { $called{$_} } 0, 1 ], [ 1, 1 ], "$one and $other: once each");
        stop_all_ready(values %watchers);
    });
};

contract turn => stop => 'a callback may stop the loop' => sub {
    for my $kind (@kinds) {
        my $watcher;
        $watcher = make_ready($kind, sub { $watcher->{calm}->(); $loop->stop("by $kind") });
        is(scalar $loop->run, "by $kind", $kind);
        stop_all_ready($watcher);
    }
};

contract turn => fork => 'a callback may fork, and both processes go on' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my ($pid, $handle, @watchers, %called);
        my $main = $$;
        $watchers[0] = make_ready(
            $one,
            sub {
                $watchers[0]{calm}->();
                $called{0}++;
                ($pid, $handle) = fork_here() unless defined $pid;
            }
        );
        $watchers[1] = make_ready($other, sub { $watchers[1]{stop}->() if $other eq 'io'; $called{1}++ }, 'USR2');
        # What was pending in the parent stays there; what the kernel tells, it tells both.
        my $done = eval {
            wait_until { $called{0} && ($called{1} || $$ != $main && $other =~ /\A(?:signal|process)\z/) }
        };
        my $error = $@;
        if ($$ != $main) {
            my $time = 0;
            $loop->watch_time(after => 0, code => sub { $time++ });
            $done = eval {
                wait_until { $time }
            } if $done;
            leave($handle, $done ? 'went on' : "stuck $error$@");
        }
        ok($done, "$one, before $other: the parent goes on") or diag($error);
        is_list([ words_of($pid, $handle) ], ['went on'], "$one, before $other: the child goes on");
        is_list([ map { $called{$_} } 0, 1 ], [ 1, 1 ], "$one, before $other: each is called once");
        stop_all_ready(@watchers);
    });
};

contract turn => random => 'random starts and stops in callbacks: nothing that was stopped is ever called' => sub {
    start_draws();
    my (@pairs, %io, %timers, %idles, @violations);
    my ($called, $serial) = (0, 0);
    @pairs = map { [ pair() ] } 1 .. 12;

    my $act;
    my @actions = (
        sub {    # watch
            my $number = draw(scalar @pairs);
            my $event  = (qw(on_read_ready on_write_ready))[ draw(2) ];
            my $mark   = ++$serial;
            $io{"$number $event"} = $mark;
            $loop->watch_io(
                handle => $pairs[$number][0],
                $event => sub {
                    my $wanted = $io{"$number $event"};
                    push @violations, "$event of $number" unless defined $wanted && $wanted == $mark;
                    $called++;
                    take($pairs[$number][0]) if draw(2);
                    $act->() for 1 .. 3;
                }
            );
        },
        sub {    # unwatch
            my $number = draw(scalar @pairs);
            my $event  = (qw(on_read_ready on_write_ready))[ draw(2) ];
            $loop->unwatch_io(handle => $pairs[$number][0], $event => 1) if delete $io{"$number $event"};
        },
        sub { my $number = draw(scalar @pairs); give($pairs[$number][1]) },
        sub {    # another file takes the number
            my $number = draw(scalar @pairs);
            my @events = grep { delete $io{"$number $_"} } qw(on_read_ready on_write_ready);
            $loop->unwatch_io(handle => $pairs[$number][0], map { $_ => 1 } @events) if @events;
            $pairs[$number] = [ pair() ];
        },
        sub {
            my $mark = ++$serial;
            $timers{$mark} = $loop->watch_time(
                after => draw(3) / 1000,
                code  => sub { push @violations, 'timer' unless delete $timers{$mark}; $called++; $act->() }
            );
        },
        sub { my ($mark) = sort keys %timers; $loop->unwatch_time(delete $timers{$mark}) if $mark },
        sub {
            my $mark = ++$serial;
            $idles{$mark} = $loop->watch_idle(
                when => 'later',
                code => sub { push @violations, 'idle' unless delete $idles{$mark}; $called++; $act->() }
            );
        },
        sub { my ($mark) = sort keys %idles; $loop->unwatch_idle(delete $idles{$mark}) if $mark },
    );
    $act = sub { $actions[ draw(scalar @actions) ]->() };

    $act->() for 1 .. 40;
    for (1 .. 150) {
        $loop->loop_once(0.001);
        $act->();
    }
    is_list(\@violations, [], 'nothing is called after it was stopped');
    ok($called > 100, "enough is called ($called)");

    for my $key (keys %io) {
        my ($number, $event) = split / /, $key;
        $loop->unwatch_io(handle => $pairs[$number][0], $event => 1);
    }
    $loop->unwatch_time($_) for values %timers;
    $loop->unwatch_idle($_) for values %idles;
    (%io, %timers, %idles) = ();
    $called = 0;
    turns();
    is($called, 0, 'nothing is called when all is stopped');
    undef $act;
    @actions = ();
};

# ---- io -------------------------------------------------------------------------------------------------------------

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

# ---- timer ----------------------------------------------------------------------------------------------------------

contract timer => after => 'a timer fires once, and never early' => sub {
    for my $delay (0, 0.001, 0.0205, 0.05) {
        my $called = 0;
        my $start  = now();
        my $took;
        $loop->watch_time(after => $delay, code => sub { $called++; $took = now() - $start });
        is($called, 0, "$delay s: not before a turn");
        ok(wait_until { $called }, "$delay s: fires");
        ok($took >= $delay, "$delay s: not early") or diag("after $took s");
        turns();
        is($called, 1, "$delay s: once");
    }
};

contract timer => prompt => 'a timer ends a longer wait' => sub {
    my $called = 0;
    my $start  = now();
    $loop->watch_time(after => 0.02, code => sub { $called++ });
    until ($called || now() - $start > EVENT_BOUND) { $loop->loop_once(EVENT_BOUND) }
    ok($called && now() - $start < PROMPT_BOUND, 'when it is due');
};

contract timer => at => 'a timer "at" fires at that time of the wall clock' => sub {
    my $called = 0;
    my ($due, $fired);
    $due = Time::HiRes::time() + 0.04;
    $loop->watch_time(at => $due, code => sub { $called++; $fired = Time::HiRes::time() });
    turns();
    is($called, 0, 'not before');
    ok(wait_until { $called }, 'fires');
    ok($fired >= $due, 'not early') or diag($due - $fired, ' s early');
    $loop->watch_time(at => Time::HiRes::time() - 100, code => sub { $called++ });
    $loop->loop_once(EVENT_BOUND);
    is($called, 2, 'a time that has passed is due in the next turn');
    my $time = $loop->time;
    ok(abs($time - Time::HiRes::time()) < PROMPT_BOUND, 'time is that of the wall clock') or diag("time $time");
};

contract timer => order => 'equal deadlines fire in the order of their start' => sub {
    my @called;
    my $past = Time::HiRes::time() - 1;
    for my $number (1 .. 20) {
        $loop->watch_time(at => $past, code => sub { push @called, $number });
    }
    turns();
    is_list(\@called, [ 1 .. 20 ], 'passed ones');

    @called = ();
    my $due = Time::HiRes::time() + 0.02;
    my @ids;
    for my $number (1 .. 20) {
        $ids[$number] = $loop->watch_time(at => $due, code => sub { push @called, $number });
    }
    $loop->unwatch_time($ids[$_]) for 3, 11, 20;
    ok(wait_until { @called >= 17 }, 'all fire');
    is_list(\@called, [ grep { $_ != 3 && $_ != 11 && $_ != 20 } 1 .. 20 ], 'future ones, some stopped');

    @called = ();
    for my $number (1 .. 20) {
        $loop->watch_time(after => 0, code => sub { push @called, $number });
    }
    ok(wait_until { @called >= 20 }, 'all fire');
    is_list(\@called, [ 1 .. 20 ], 'after 0');
};

contract timer => thousands => 'thousands of timers fire in the order of their deadlines' => sub {
    start_draws();
    my $count = 3000;
    my @ranks = map { draw(400) } 1 .. $count;
    my $base  = Time::HiRes::time() - 1000;
    my (@fired, @ids);
    for my $number (0 .. $#ranks) {
        push @ids, $loop->watch_time(at => $base + $ranks[$number], code => sub { push @fired, $number });
    }
    my %stopped = map { draw($count) => 1 } 1 .. 700;
    $loop->unwatch_time($ids[$_]) for sort { $a <=> $b } keys %stopped;
    my @expected = sort { $ranks[$a] <=> $ranks[$b] || $a <=> $b } grep { !$stopped{$_} } 0 .. $#ranks;
    ok(wait_until { @fired >= @expected }, 'all fire that are left');
    my $first = 0;
    $first++ while $first < @expected && defined $fired[$first] && $fired[$first] == $expected[$first];
    is($first, scalar @expected, 'in order');
    is(scalar @fired, scalar @expected, 'once each');
};

contract timer => unwatch => 'unwatch_time prevents, and minds no id that is over' => sub {
    my $called = 0;
    my $id     = $loop->watch_time(after => 0, code => sub { $called++ });
    $loop->unwatch_time($id);
    turns();
    is($called, 0, 'not called');
    $loop->unwatch_time($id);
    $id = $loop->watch_time(after => 0, code => sub { $called++ });
    ok(wait_until { $called }, 'another one fires');
    $loop->unwatch_time($id);
    ok(1, 'stopped and fired ids are no error');

    my @ids;
    @ids = map {
        $loop->watch_time(after => 0, code => sub { $called++; $loop->unwatch_time($_) for @ids })
    } 1 .. 50;
    $called = 0;
    turns();
    is($called, 1, 'the first of fifty that are due stops the others');
};

contract timer => far => 'a deadline far away does not fire' => sub {
    my $called = 0;
    my @ids    = map {
        $loop->watch_time(after => $_, code => sub { $called++ })
    } 86_400, 1e9;
    push @ids, $loop->watch_time(at => 8e9, code => sub { $called++ });
    quiet_ok('the loop waits');
    is($called, 0, 'not called');
    $loop->unwatch_time($_) for @ids;
};

contract timer => freed => 'a timer lets go of its callback when it has fired or is unwatched' => sub {
    my ($gone, $called) = (0, 0);
    my $id = $loop->watch_time(after => 0, code => counting_code(\$gone));
    is($gone, 0, 'held while it waits');
    $loop->unwatch_time($id);
    is($gone, 1, 'freed when unwatched');
    $loop->watch_time(after => 0, code => counting_code(\$gone, \$called));
    ok(wait_until { $called }, 'fires');
    is($gone, 2, 'freed when fired');
};

# ---- idle -----------------------------------------------------------------------------------------------------------

contract idle => later => 'what is put off is called once, in the next turn, which does not wait' => sub {
    my $called = 0;
    my $id     = $loop->watch_idle(when => 'later', code => sub { $called++ });
    ok(defined $id, 'there is an id');
    is($called, 0, 'not at once');
    my $start = now();
    $loop->loop_once(EVENT_BOUND);
    is($called, 1, 'called');
    ok(now() - $start < PROMPT_BOUND, 'without waiting');
    turns();
    is($called, 1, 'once');
    $loop->later(sub { $called++ });
    $loop->loop_once(EVENT_BOUND);
    is($called, 2, 'later is the short form');
    my $timer = $loop->watch_time(after => EVENT_BOUND, code => sub { });
    $loop->later(sub { $called++ });
    $loop->loop_once(EVENT_BOUND);
    is($called, 3, 'a timer that waits does not hold it up');
    $loop->unwatch_time($timer);
};

contract idle => later_in_later => 'what is put off in such a callback comes in the turn after' => sub {
    my @called;
    $loop->later(sub {
        push @called, 1;
        $loop->later(sub {
            push @called, 2;
            $loop->later(sub { push @called, 3 });
        });
    });
    for my $turn (1 .. 3) {
        $loop->loop_once(EVENT_BOUND);
        is_list(\@called, [ 1 .. $turn ], "turn $turn");
    }
};

contract idle => order => 'in the order of their start' => sub {
    my @called;
    for my $number (1 .. 30) {
        $loop->later(sub { push @called, $number });
    }
    turns();
    is_list(\@called, [ 1 .. 30 ], 'thirty of them');
};

contract idle => unwatch => 'unwatch_idle prevents, and lets the loop wait' => sub {
    my ($gone, $called) = (0, 0);
    my $id = $loop->watch_idle(when => 'later', code => counting_code(\$gone, \$called));
    is($gone, 0, 'the callback is held');
    $loop->unwatch_idle($id);
    is($gone, 1, 'the callback is freed');
    $loop->loop_once(0);
    quiet_ok('the loop waits');
    is($called, 0, 'not called');
};

# ---- signal ---------------------------------------------------------------------------------------------------------

contract signal => watch => 'a watched signal calls back, in a turn and only then' => sub {
    my %called = (USR1 => 0, USR2 => 0);
    for my $name (qw(USR1 USR2)) {
        $loop->watch_signal($name => sub { $called{$name}++ });
    }
    turns();
    is_list([ @called{qw(USR1 USR2)} ], [ 0, 0 ], 'not before');
    kill USR1 => $$;
    is($called{USR1}, 0, 'not outside of a turn');
    ok(wait_until { $called{USR1} }, 'called in a turn');
    turns();
    is_list([ @called{qw(USR1 USR2)} ], [ 1, 0 ], 'once, and no other');
    kill USR1 => $$;
    kill USR2 => $$;
    ok(wait_until { $called{USR1} > 1 && $called{USR2} }, 'both');
    $loop->watch_signal(USR1 => sub { $called{replaced}++ });
    kill USR1 => $$;
    ok(wait_until { $called{replaced} }, 'a second callback');
    is($called{USR1}, 2, 'replaces the first');
    $loop->unwatch_signal($_) for qw(USR1 USR2);
};

contract signal => merged => 'deliveries between two turns are one call' => sub {
    my $called = 0;
    $loop->watch_signal(USR1 => sub { $called++ });
    kill USR1 => $$ for 1 .. 5;
    ok(wait_until { $called }, 'called');
    turns();
    is($called, 1, 'once');
    $loop->unwatch_signal('USR1');
};

contract signal => in_callback => 'a signal that arrives in a callback is delivered in the next turn' => sub {
    my $called = 0;
    my $inside = 'not run';
    $loop->watch_signal(USR1 => sub { $called++ });
    $loop->later(sub { kill USR1 => $$; $inside = $called });
    $loop->loop_once(EVENT_BOUND);
    is($inside, 0, 'not while the callback runs');
    ok(wait_until { $called }, 'but soon');
    $loop->unwatch_signal('USR1');
};

contract signal => visible => 'a watched signal is a code ref in %SIG' => sub {
    local $SIG{USR1} = 'DEFAULT';
    $loop->watch_signal(USR1 => sub { });
    is(reftype($SIG{USR1}) || 'none', 'CODE', 'watched');
    $loop->unwatch_signal('USR1');
    ok(!ref $SIG{USR1}, 'unwatched');
};

sub named_handler { return $EventLoop::Fork::Test::Loop::named_handler_calls++ }
our $named_handler_calls = 0;

contract signal => restored => 'unwatch_signal restores what %SIG held' => sub {
    my $called  = 0;
    my $handler = sub { $called++ };
    local $SIG{USR1};
    for my $held ('DEFAULT', 'IGNORE', $handler, __PACKAGE__ . '::named_handler') {
        $SIG{USR1} = $held;
        $loop->watch_signal(USR1 => sub { });
        $loop->unwatch_signal('USR1');
        is(defined $SIG{USR1} ? "$SIG{USR1}" : 'DEFAULT', "$held", ref $held ? 'a code ref' : $held);
    }
    $SIG{USR1} = $handler;
    $loop->watch_signal(USR1 => sub { });
    $loop->unwatch_signal('USR1');
    kill USR1 => $$;
    is($called, 1, 'the handler that was there works again');
    $SIG{USR1} = 'IGNORE';
    $loop->watch_signal(USR1 => sub { $called++ });
    kill USR1 => $$;
    ok(wait_until { $called == 2 }, 'a signal that was ignored is watched');
    $loop->unwatch_signal('USR1');
    kill USR1 => $$;
    ok(1, 'and ignored again');
};

contract signal => dance => 'a program that saves, ignores and restores %SIG around a fork loses nothing' => sub {
    my $called = 0;
    local $SIG{INT} = 'IGNORE';
    $loop->watch_signal(INT => sub { $called++ });
    for my $round (1 .. 3) {
        my $saved = $SIG{INT};
        $SIG{INT} = 'IGNORE';
        my @words = in_child { return $SIG{INT} };
        is_list(\@words, ['IGNORE'], "round $round: the child ignores it");
        $SIG{INT} = $saved;
        kill INT => $$;
        ok(wait_until { $called >= $round }, "round $round: the parent watches on");
        {
            local $SIG{INT} = 'IGNORE';
            kill INT => $$;
        }
        turns();
        is($called, $round, "round $round: ignored for a while");
    }
    $loop->unwatch_signal('INT');
    is($SIG{INT}, 'IGNORE', 'and what was there before is restored');
};

contract signal => replaced => 'a handler that somebody installs later is his' => sub {
    my ($watched, $his) = (0, 0);
    local $SIG{USR1} = 'DEFAULT';
    $loop->watch_signal(USR1 => sub { $watched++ });
    {
        local $SIG{USR1} = sub { $his++ };
        kill USR1 => $$;
        turns();
        is_list([ $watched, $his ], [ 0, 1 ], 'it gets the signal');
    }
    kill USR1 => $$;
    ok(wait_until { $watched }, 'the watcher gets it again afterwards');
    $loop->unwatch_signal('USR1');
};

contract signal => two_loops => 'two loops may watch one signal' => sub {
    local $SIG{USR1} = 'IGNORE';
    my $other  = new_loop();
    my %called = (one => 0, other => 0);
    $loop->watch_signal(USR1 => sub { $called{one}++ });
    $other->watch_signal(USR1 => sub { $called{other}++ });
    kill USR1 => $$;
    ok(wait_until { $called{one} }, 'the first is called');
    ok((wait_until { $called{other} } $other), 'the second, too');
    is_list([ @called{qw(one other)} ], [ 1, 1 ], 'once each');
    $loop->unwatch_signal('USR1');
    kill USR1 => $$;
    ok((wait_until { $called{other} == 2 } $other), 'one unwatched, the other watches on');
    is($called{one}, 1, 'alone');
    $other->unwatch_signal('USR1');
    is($SIG{USR1}, 'IGNORE', 'when both are gone, what was there before is restored');
};

# Another process sends signals, each as soon as the one before has been answered. What has to be answered is long done
# when the loop waits again, or it is late: then the sender goes on without.
sub prompt_ok {
    my ($name, $rounds, $delay, $watch) = @_;
    my ($reader, $writer) = pipe_pair();
    my $parent  = $$;
    my $called  = 0;
    my $unwatch = $watch->(sub { $called++; give($writer) });
    my ($pid, $handle) = fork_here();
    if (!$pid) {
        my $late = 0;
        for (1 .. $rounds) {
            pause($delay) if $delay;
            kill $name => $parent;
            vec(my $wanted = '', fileno $reader, 1) = 1;
            my $answered = select $wanted, undef, undef, PROMPT_BOUND;
            if   ($answered > 0) { sysread $reader, my $byte, 1 }
            else                 { $late++; last }
        }
        leave($handle, "late $late");
    }
    my $ended = 0;
    $loop->watch_io(
        handle        => $handle,
        on_read_ready => sub { $ended++; $loop->unwatch_io(handle => $handle, on_read_ready => 1) }
    );
    my $deadline = now() + EVENT_BOUND;
    $loop->loop_once(EVENT_BOUND) until $ended || now() > $deadline;
    is_list([ words_of($pid, $handle) ], ['late 0'], 'no call is late');
    is($called, $rounds, 'each signal is a call');
    $unwatch->();
    return;
}

sub watched_signal {
    my ($code) = @_;
    $loop->watch_signal(USR1 => $code);
    return sub { $loop->unwatch_signal('USR1') };
}

sub handled_signal {
    my ($code) = @_;
    my $held = $SIG{USR1};
    $SIG{USR1} = $code;
    return sub { $SIG{USR1} = defined $held ? $held : 'DEFAULT' };
}

contract signal => prompt => 'a watched signal ends a wait at once' =>
    sub { prompt_ok('USR1', 3, 0.01, \&watched_signal) };

contract signal => handler_is_prompt => 'a %SIG handler of the program runs at once while the loop waits' =>
    sub { prompt_ok('USR1', 3, 0.01, \&handled_signal) };

contract signal => none_lost => 'no watched signal gets lost between two turns' =>
    sub { prompt_ok('USR1', 150, 0, \&watched_signal) };

contract signal => none_late => 'no %SIG handler waits until the loop has something to do' =>
    sub { prompt_ok('USR1', 150, 0, \&handled_signal) };

contract signal => interrupted_wait => 'an interrupted wait is no error' => sub {
    my $called = 0;
    my $parent = $$;
    local $SIG{USR1} = sub { $called++ };
    local $SIG{USR2} = 'IGNORE';
    my ($one, $other) = pair();
    my $read = 0;
    $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $read++ });
    my ($pid, $handle) = fork_here();

    if (!$pid) {
        for (1 .. 20) {
            kill $_ => $parent for qw(USR1 USR2);
            pause(0.001);
        }
        kill STOP => $parent;
        kill CONT => $parent;
        give($other);
        leave($handle, 'done');
    }
    my $done = eval {
        wait_until { $read }
    };
    ok($done, 'the wait goes on to its event') or diag($@);
    ok($called, 'the handler has run');
    is_list([ words_of($pid, $handle) ], ['done'], 'the sender is content');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
};

contract signal => not_blocked => 'a watched signal is blocked nowhere, in a program that is run neither' => sub {
    local $SIG{TERM} = 'DEFAULT';
    $loop->watch_signal(TERM => sub { });
    turns();
    is_list([ blocked() ], [], 'not here');
    is_list([ in_child { return blocked() } ], [], 'not in a child');
    my $status = system 'sh', '-c', 'kill -TERM $$; exit 3';
    is($status & 127, POSIX::SIGTERM(), 'not in a program');
    $loop->unwatch_signal('TERM');
};

contract signal => freed => 'unwatch_signal lets go of the callback' => sub {
    my $gone = 0;
    $loop->watch_signal(USR1 => counting_code(\$gone));
    is($gone, 0, 'held while watched');
    $loop->unwatch_signal('USR1');
    is($gone, 1, 'freed when unwatched');
};

# ---- process --------------------------------------------------------------------------------------------------------

# The suite process; under the name sigchld once more, with a core of ours that makes do without process descriptors.
sub contract_process {
    my ($name, $promise, $code) = @_;
    contract(process => $name, $promise, $code);
    contract(sigchld => $name, $promise, sub { without_pidfd($code) });
    return;
}

sub without_pidfd {
    my ($code) = @_;
    my $knob = EventLoop::Fork::Loop->can('_use_pidfd');
    return skip_rest('a loop that does not run on the core of EventLoop::Fork') unless $knob;
    $knob->(0);
    my $done  = eval { $code->(); 1 };
    my $error = $@;
    $knob->(1);
    die $error unless $done;
    return;
}

# Watches until the child has ended: the arguments of the callback.
sub ending_of {
    my ($pid) = @_;
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    wait_until { @ending };
    return @ending;
}

contract_process status => 'tells the pid and the wait status, once' => sub {
    for my $exit (0, 1, 42, 255) {
        my ($pid, $release) = waiting_child($exit);
        my @endings;
        $loop->watch_process($pid => sub { push @endings, "@_" });
        turns(2);
        is_list(\@endings, [], "exit $exit: not before");
        give($release);
        ok(wait_until { @endings }, "exit $exit: called");
        turns(2);
        is_list(\@endings, [ "$pid " . ($exit << 8) ], "exit $exit: once, with pid and status");
    }
    for my $name (qw(KILL TERM)) {
        my ($pid, $release) = waiting_child(0);
        kill $name => $pid;
        my (undef, $status) = ending_of($pid);
        is($status & 127, { KILL => 9, TERM => 15 }->{$name}, "killed by $name");
    }
};

contract_process ended_before => 'a child that has ended already is told of, too' => sub {
    my $pid    = ended_child(3);
    my $called = 0;
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_; $called++ });
    is($called, 0, 'not at once');
    ok(wait_until { $called }, 'but in a turn');
    is_list(\@ending, [ $pid, 3 << 8 ], 'with its status');
};

contract_process prompt => 'the end of a child ends a wait at once' => sub {
    my ($pid, $release) = waiting_child(sub { pause(0.01); return 0 });
    my $called;
    $loop->watch_process($pid => sub { $called = now() });
    give($release);
    my $start = now();
    $loop->loop_once(EVENT_BOUND) until defined $called || now() > $start + 2 * EVENT_BOUND;
    ok(defined $called && $called - $start < PROMPT_BOUND, 'within a moment');
};

contract_process fifty => 'fifty children, each with its own status' => sub {
    my (%expected, %status, @release);
    my $count = SLOW ? 10 : 50;
    for my $number (1 .. $count) {
        my ($pid, $release) = waiting_child($number);
        $expected{$pid} = $number << 8;
        push @release, $release;
        $loop->watch_process($pid => sub { my ($ended, $status) = @_; $status{$ended} = $status });
    }
    give($_) for @release;
    ok(wait_until { $count == keys %status }, 'all are told of');
    is_list([ grep { $status{$_} != $expected{$_} } keys %status ], [], 'each with its status');
};

contract_process stolen => 'a status that somebody else has taken is told as gone, and no error' => sub {
    my ($pid, $release) = waiting_child(7);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    turns(2);
    give($release);
    is(reap($pid), 7 << 8, 'somebody else takes it');
    ok(wait_until { @ending }, 'the callback is called');
    is($ending[0], $pid, 'with the pid');
    ok($ending[1] == -1 || $ending[1] == 7 << 8, 'with no wrong status') or diag("status $ending[1]");
    turns();
};

contract_process own_pids_only => 'children that are not watched are left to their owners' => sub {
    my ($watched, $watched_release) = waiting_child(0);
    my ($owned, $owned_release)     = waiting_child(9);
    my @ending;
    $loop->watch_process($watched => sub { @ending = @_ });
    give($owned_release);
    wait_for_end($owned);
    turns();
    is(reap($owned), 9 << 8, 'another reaper');
    is(system('sh', '-c', 'exit 3'), 3 << 8, 'system');
    my $output = `sh -c 'echo out; exit 4'`;
    is_list([ $output, $? ], [ "out\n", 4 << 8 ], 'backticks');
    open my $pipe, '-|', 'sh', '-c', 'exit 5' or die "sh: $!";
    turns();
    close $pipe;
    is($?, 5 << 8, 'close of a pipe');
    is_list(\@ending, [], 'the watched one is still there');
    give($watched_release);
    ok(wait_until { @ending }, 'the watched one is told of');
};

contract_process in_callback => 'a callback may run programs while watched children end' => sub {
    my (@pids, %status, @results);
    my @children = map { [ waiting_child($_) ] } 1 .. 4;
    for my $child (@children) {
        $loop->watch_process(
            $child->[0] => sub {
                my ($pid, $status) = @_;
                $status{$pid} = $status >> 8;
                push @results, system('sh', '-c', "exit $status{$pid}") >> 8;
                give($children[ $status{$pid} ][1]) if $status{$pid} < 4;
            }
        );
    }
    give($children[0][1]);
    ok(wait_until { 4 == keys %status }, 'all are told of');
    is_list(\@results, [ 1 .. 4 ], 'and the programs end as they do');
};

contract_process unwatch => 'unwatch_process leaves the child to its owner' => sub {
    my ($pid, $release) = waiting_child(6);
    my $called = 0;
    $loop->watch_process($pid => sub { $called++ });
    turns(2);
    $loop->unwatch_process($pid);
    give($release);
    wait_for_end($pid);
    turns();
    is($called, 0, 'not called');
    is(reap($pid), 6 << 8, 'the status is there');

    $pid = ended_child(6);
    $loop->watch_process($pid => sub { $called++ });
    $loop->unwatch_process($pid);
    turns();
    is($called, 0, 'not called when it had ended before');
    is(reap($pid), 6 << 8, 'the status is there');

    $pid = ended_child(8);
    $loop->watch_process($pid => sub { $called++ });
    $loop->unwatch_process($pid);
    $loop->watch_process($pid => sub { $called += $_[1] });
    ok(wait_until { $called }, 'watched again, it is told of');
    is($called, 8 << 8, 'once, with its status');
};

contract_process unwatch_in_turn => 'so it does when both have ended in the same turn' => sub {
    my @pids = map { ended_child(10 + $_) } 0 .. 5;
    my @ended;
    for my $pid (@pids) {
        $loop->watch_process(
            $pid => sub {
                push @ended, $pid;
                $loop->unwatch_process($_) for grep { $_ != $pid } @pids;
            }
        );
    }
    ok(wait_until { @ended }, 'one is told of');
    turns();
    is(scalar @ended, 1, 'only one');
    my %status = map { $_ => reap($_) } @pids;
    is_list(
        [ map { $status{$_} } @pids ],
        [ map { $pids[$_] == $ended[0] ? -1 : (10 + $_) << 8 } 0 .. $#pids ],
        'the others are left to their owner'
    );
};

contract_process respawn => 'a callback may fork and watch the next one' => sub {
    my @status;
    my $spawn;
    $spawn = sub {
        my ($number) = @_;
        my ($pid, $release) = waiting_child($number);
        give($release);
        $loop->watch_process($pid => sub { push @status, $_[1] >> 8; $spawn->($number + 1) if $number < 20 });
    };
    $spawn->(1);
    ok(wait_until { @status >= 20 }, 'twenty generations');
    is_list(\@status, [ 1 .. 20 ], 'each with its status');
    undef $spawn;
};

contract_process sigchld_handler => 'a $SIG{CHLD} of the program stays, and runs' => sub {
    my $called  = 0;
    my $handler = sub { $called++ };
    local $SIG{CHLD} = $handler;
    my ($pid, $release) = waiting_child(2);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    is("$SIG{CHLD}", "$handler", 'it stays');
    give($release);
    ok(wait_until { @ending && $called }, 'it runs');
    is_list(\@ending, [ $pid, 2 << 8 ], 'and the status is told');
};

contract_process sigchld_handler_later => 'also when it is installed, or taken away, after watch_process' => sub {
    for my $later (sub { }, 'DEFAULT') {
        my ($pid, $release) = waiting_child(2);
        my @ending;
        local $SIG{CHLD} = sub { };
        $loop->watch_process($pid => sub { @ending = @_ });
        turns(1);
        $SIG{CHLD} = $later;
        give($release);
        ok(wait_until { @ending }, 'called');
        is_list(\@ending, [ $pid, 2 << 8 ], 'with its status');
    }
    my ($pid, $release) = waiting_child(2);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    {
        local $SIG{CHLD} = sub { };    # restored at the end of the block, whatever that means for the loop
        turns(1);
    }
    give($release);
    ok(wait_until { @ending }, 'called after local $SIG{CHLD}');
};

contract_process sigchld_ignored => 'with $SIG{CHLD} ignored the end of a child is told, its status perhaps not' =>
    sub {
    local $SIG{CHLD} = 'IGNORE';
    my ($pid, $release) = waiting_child(2);
    my @ending;
    $loop->watch_process($pid => sub { @ending = @_ });
    turns(2);
    give($release);
    ok(wait_until { @ending }, 'called');
    ok(@ending && ($ending[1] == -1 || $ending[1] == 2 << 8), 'with no wrong status');
    is($SIG{CHLD}, 'IGNORE', 'it stays ignored');
    };

contract_process no_descriptor => 'without a free descriptor children are watched, too' => sub {
    my $most = POSIX::sysconf(POSIX::_SC_OPEN_MAX());
    return skip_rest('the limit of descriptors is too high to reach it: lower it with ulimit -n')
        if !defined $most || $most > MOST_DESCRIPTORS;
    my @children = map { [ waiting_child($_) ] } 1 .. 5;
    turns(1);
    my (%status, @copies, $reason);
    my $done = eval {
        while (defined(my $copy = POSIX::dup(0))) { push @copies, $copy }
        $reason = 0 + $!;
        for my $child (@children) {
            $loop->watch_process($child->[0] => sub { my ($pid, $status) = @_; $status{$pid} = $status });
        }
        turns(2);
        give($_->[1]) for @children;
        wait_until { 5 == keys %status };
        1;
    };
    my $error = $@;
    POSIX::close($_) for @copies;
    ok($done, 'no exception') or diag($error);
    ok($reason == EMFILE || $reason == ENFILE, 'there was none left');
    is_list(
        [ map { $status{ $_->[0] } } @children ],
        [ map { $_ << 8 } 1 .. 5 ],
        'all are told of, each with its status'
    );
};

contract_process freed => 'the callback is let go when it was called or is unwatched' => sub {
    my ($gone, $called) = (0, 0);
    my $pid = ended_child(0);
    $loop->watch_process($pid => counting_code(\$gone));
    is($gone, 0, 'held while watched');
    $loop->unwatch_process($pid);
    is($gone, 1, 'freed when unwatched');
    $loop->watch_process($pid => counting_code(\$gone, \$called));
    ok(wait_until { $called }, 'called');
    is($gone, 2, 'freed then');
};

# ---- control --------------------------------------------------------------------------------------------------------

contract control => run => 'run returns what stop was given' => sub {
    $loop->later(sub { $loop->stop(1, 'two', 3) });
    is_list([ $loop->run ], [ 1, 'two', 3 ], 'a list');
    $loop->later(sub { $loop->stop('first', 'second') });
    is(scalar $loop->run, 'first', 'the first in scalar context');
    $loop->later(sub { $loop->stop });
    is_list([ $loop->run ], [], 'nothing');
    $loop->stop('outside');
    my $later = 0;
    $loop->watch_time(after => 0.005, code => sub { $later++; $loop->stop('inside') });
    is_list([ $loop->run, $later ], [ 'inside', 1 ], 'a stop outside of run does not end the next one');
};

contract control => stop_by_handler => 'a %SIG handler may stop the loop, at any moment' => sub {
    guarded(sub {
        for my $delay (0.02, 0.01, map { $_ / 100_000 } 1 .. 60) {
            local $SIG{ALRM} = sub { $loop->stop('stopped') };
            $loop->later(sub { Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), $delay) });
            my $result = $loop->run;
            return ok(0, "after $delay s") unless defined $result && $result eq 'stopped';
        }
        ok(1, 'after 0.01 to 20 ms');
    });
};

contract control => nested_run => 'runs may be nested, each with its own result' => sub {
    my @inner;
    $loop->later(sub {
        $loop->watch_time(after => 0.001, code => sub { $loop->stop('inner') });
        @inner = $loop->run;
        $loop->watch_time(after => 0.001, code => sub { $loop->stop(@inner, 'outer') });
    });
    is_list([ $loop->run ], [qw(inner outer)], 'two deep');

    my $depth = 0;
    my $down;
    $down = sub {
        my $level = ++$depth;
        if ($level < 30) {
            $loop->later($down);
            my @result = $loop->run;
            $loop->stop(@result, $level);
        }
        else {
            $loop->stop($level);
        }
    };
    $loop->later($down);
    my @levels = $loop->run;
    is_list(\@levels, [ reverse 1 .. 30 ], 'thirty deep');
    undef $down;
};

contract control => is_running => 'is_running is true inside of run' => sub {
    ok(!$loop->is_running, 'not before');
    my $inside;
    $loop->later(sub { $inside = $loop->is_running; $loop->stop });
    $loop->run;
    ok($inside, 'inside');
    ok(!$loop->is_running, 'not after');
};

contract control => idle_wait => 'an idle loop_once does not come back early' => sub {
    my $start = now();
    my $count = $loop->loop_once(0.3);
    my $took  = now() - $start;
    ok($took >= 0.299, 'without any watcher')  or diag("after $took s");
    ok($took < 0.3 + PROMPT_BOUND, 'nor late') or diag("after $took s");
    ok(!$count, 'nothing was called');

    my ($one, $other)   = pair();
    my ($pid, $release) = waiting_child(0);
    $loop->watch_io(handle => $one, on_read_ready => sub { });
    $loop->watch_signal(USR1 => sub { });
    $loop->watch_process($pid => sub { });
    my $id = $loop->watch_time(after => 1000, code => sub { });
    $loop->unwatch_time($loop->watch_time(after => 0.01, code => sub { }));
    $start = now();
    $loop->loop_once(0.1);
    $took = now() - $start;
    ok($took >= 0.099, 'with a watcher of each kind') or diag("after $took s");
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
    $loop->unwatch_process($pid);
    $loop->unwatch_time($id);
    give($release);
    reap($pid);
};

contract control => no_wait => 'loop_once(0) does not wait' => sub {
    my $start = now();
    $loop->loop_once(0) for 1 .. 20;
    ok(now() - $start < PROMPT_BOUND, 'without any watcher');
    my ($one, $other) = pair();
    my $called = 0;
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    $start = now();
    $loop->loop_once(0) for 1 .. 20;
    ok(now() - $start < PROMPT_BOUND, 'with a watcher that is not ready');
    give($other);
    $loop->loop_once(0);
    is($called, 1, 'but delivers what is ready');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
};

contract control => endless_wait => 'loop_once without a timeout waits until something happens' => sub {
    my $called = 0;
    my $start  = now();
    $loop->watch_time(after => 0.03, code => sub { $called++ });
    $loop->loop_once until $called || now() - $start > EVENT_BOUND;
    ok($called && now() - $start >= 0.03, 'a timer');
    my ($one, $other) = pair();
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    my ($pid, $handle) = fork_here();

    if (!$pid) {
        pause(0.01);
        give($other);
        leave($handle);
    }
    $loop->loop_once until $called > 1 || now() - $start > EVENT_BOUND;
    is($called, 2, 'another process');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    words_of($pid, $handle);
};

contract control => count => 'loop_once returns the number of callbacks it called' => sub {
    $loop->later(sub { }) for 1 .. 3;
    $loop->watch_time(after => 0, code => sub { }) for 1 .. 2;
    my $count = 0;
    $count += $loop->loop_once(0) || 0 for 1 .. 5;
    is($count, 5, 'idle and time');
    is($loop->loop_once(0) || 0, 0, 'nothing');
};

contract control => post_fork => 'post_fork in the same process changes nothing' => sub {
    my ($one, $other) = pair();
    my %called = map { $_ => 0 } qw(io time idle signal process);
    my ($pid, $release) = waiting_child(0);
    $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $called{io}++ });
    $loop->watch_time(after => 0.001, code => sub { $called{time}++ });
    $loop->later(sub { $called{idle}++ });
    $loop->watch_signal(USR1 => sub { $called{signal}++ });
    $loop->watch_process($pid => sub { $called{process}++ });
    $loop->post_fork;
    give($other);
    give($release);
    kill USR1 => $$;
    ok(
        wait_until {
            !grep { !$_ } values %called
        },
        'all watchers are called'
    );
    turns();
    is_list([ map { "$_=$called{$_}" } sort keys %called ], [qw(idle=1 io=1 process=1 signal=1 time=1)], 'once each');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
};

contract control => undisturbed_variables => 'callbacks leave $@ and $_ of the program alone' => sub {
    my $called = 0;
    eval { die "mine\n" };
    for my $value ('kept') {
        local $_ = $value;
        $loop->later(sub {
            $called++;
            eval { die "not mine\n" }
        });
        $loop->watch_time(
            after => 0,
            code  => sub {
                $called++;
                eval { 1 }
            }
        );
        $loop->loop_once(0) for 1 .. 3;
        is($_, 'kept', '$_');
    }
    is($called, 2, 'called');
    is($@, "mine\n", '$@');
};

contract control => two_loops => 'a callback of one loop may run another loop' => sub {
    my $other = new_loop();
    my @called;
    $other->watch_time(after => 0.005, code => sub { push @called, 'other'; $other->stop('inner') });
    $loop->later(sub { push @called, 'one'; push @called, $other->run; $loop->stop('outer') });
    is_list([ $loop->run ], ['outer'], 'the outer one goes on');
    is_list(\@called, [qw(one other inner)], 'the inner one has run');
};

contract control => many_loops => 'loops come and go without leaving anything' => sub {
    my $before = keys %{ descriptors() };
    for (1 .. 20) {
        my $other = new_loop();
        my ($one, $peer) = pair();
        $other->watch_io(handle => $one, on_read_ready => sub { });
        $other->watch_signal(USR2 => sub { });
        $other->watch_time(after => 10, code => sub { });
        $other->loop_once(0);
    }
    is(scalar keys %{ descriptors() }, $before, 'descriptors');
    ok(!ref $SIG{USR2}, 'no signal is left watched');
};

contract control => destroyed => 'a loop that goes frees its callbacks and leaves the children' => sub {
    my $other = new_loop();
    my ($one, $peer)    = pair();
    my ($gone, $called) = (0, 0);
    my $pid = ended_child(4);
    for my $number (1 .. 5) {
        my $code = counting_code(\$gone, \$called);
        $other->watch_io(handle => $one, on_read_ready => $code) if $number == 1;
        $other->watch_time(after => 10, code => $code)           if $number == 2;
        $other->later($code)                                     if $number == 3;
        $other->watch_signal(USR2 => $code)                      if $number == 4;
        $other->watch_process($pid => $code)                     if $number == 5;
    }
    is($gone, 0, 'held by the loop');
    undef $other;
    is($gone, 5, 'freed with it');
    is($called, 0, 'without a call');
    is(reap($pid), 4 << 8, 'the child is left to its owner');
    ok(!ref $SIG{USR2}, 'the signal, too');
};

contract control => destroyed_in_callback => 'a loop may go inside a callback of its own' => sub {
    for my $kind (@kinds) {
        my ($pid, $handle) = fork_here();
        if (!$pid) {
            my $called = 0;
            eval {
                my $watcher;
                $watcher = make_ready($kind, sub { $watcher->{calm}->(); undef $watcher; $called++; undef $loop });
                for (1 .. 5) { $loop->loop_once(0) if $loop }
            };
            leave($handle, "called $called");
        }
        is_list([ words_of($pid, $handle) ], ['called 1'], "$kind, in loop_once");

        ($pid, $handle) = fork_here();
        if (!$pid) {
            my $called = 0;
            my $watcher;
            eval {
                $watcher = make_ready($kind, sub { $watcher->{calm}->(); $called++; $loop->stop; undef $loop });
                $loop->run;
            };
            leave($handle, "called $called");
        }
        is_list([ words_of($pid, $handle) ], ['called 1'], "$kind, in run");
    }
};

# ---- exception ------------------------------------------------------------------------------------------------------

my %exceptions = (
    'a string'       => "the reason\n",
    'a hash'         => { code => 7 },
    'an object'      => bless({}, 'EventLoop::Fork::Test::Loop::Exception'),
    'a false object' => bless({}, 'EventLoop::Fork::Test::Loop::False'),
);

sub same {
    my ($one, $other) = @_;
    return ref $one && ref $other ? refaddr($one) == refaddr($other) : !ref $one && !ref $other && $one eq $other;
}

sub still_usable_ok {
    my ($name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($one, $other) = pair();
    my %called;
    give($other);
    $loop->watch_io(
        handle        => $one,
        on_read_ready => sub { $called{io}++; $loop->unwatch_io(handle => $one, on_read_ready => 1) }
    );
    $loop->watch_time(after => 0.001, code => sub { $called{time}++ });
    $loop->later(sub { $called{idle}++ });
    $loop->watch_signal(USR2 => sub { $called{signal}++ });
    kill USR2 => $$;
    my $done = wait_until { 4 == keys %called };
    $loop->unwatch_signal('USR2');
    $loop->watch_time(after => 0, code => sub { $loop->stop('stopped') });
    my $result = $loop->run;
    return ok($done && $result eq 'stopped' && !$loop->is_running, $name);
}

for my $method (qw(loop_once run)) {
    contract exception => $method => "an exception leaves $method, and the loop stays usable" => sub {
        for my $kind (@kinds) {
            for my $what (sort keys %exceptions) {
                my $exception = $exceptions{$what};
                my $watcher;
                $watcher = make_ready($kind, sub { $watcher->{calm}->(); die $exception });
                my $left = !eval {
                    if   ($method eq 'run') { $loop->run }
                    else                    { $loop->loop_once(0) for 1 .. 5 }
                    1;
                };
                my $error = $@;
                ok($left && same($error, $exception), "$kind: $what");
                ok(!$loop->is_running, "$kind: the loop does not run") if $left;
                stop_all_ready($watcher);
            }
            still_usable_ok("$kind: the loop is usable");
        }
    };
}

contract exception => nested => 'an exception leaves nested runs one by one' => sub {
    my @seen;
    $loop->later(sub {
        $loop->later(sub {
            $loop->later(sub { die "deep\n" });
            eval { $loop->run; 1 } or push @seen, "inner $@";
            die "again\n";
        });
        eval { $loop->run; 1 } or push @seen, "middle $@";
        push @seen, $loop->is_running ? 'running' : 'not running';
        $loop->stop('outer');
    });
    push @seen, $loop->run;
    is_list(\@seen, [ "inner deep\n", "middle again\n", 'running', 'outer' ], 'each with its own');
    still_usable_ok('the loop is usable');
};

contract exception => others_are_delivered => 'what was ready beside it is delivered in the next turn' => sub {
    each_pair_of_kinds(sub {
        my ($one, $other) = @_;
        my (@watchers, %called);
        $watchers[0] = make_ready($one, sub { $called{0}++; $watchers[0]{calm}->(); die "the first\n" });
        $watchers[1] = make_ready($other, sub { $called{1}++; $watchers[1]{calm}->() }, 'USR2');
        my $left = 0;
        for (1 .. 20) {
            eval { $loop->loop_once(0); 1 } or $left++;
            last if $left && $called{1};
        }
        is_list([ $left, map { $called{$_} || 0 } 0, 1 ], [ 1, 1, 1 ], "$one throws, $other is ready");
        stop_all_ready(@watchers);
    });
};

contract exception => loop_control => '"last", "next" and "goto" out of a callback do no harm' => sub {
    for my $kind (@kinds) {
        for my $how (qw(last next redo goto)) {
            my ($pid, $handle) = fork_here();
            if (!$pid) {
                no warnings 'exiting';
                my ($left, $called) = (0, 0);
                open STDERR, '>', '/dev/null' or leave($handle, "STDERR: $!");
                my $watcher;
                eval {
                    for my $round (1 .. 2) {
                        last if $called;
                        $watcher = make_ready(
                            $kind,
                            sub {
                                $watcher->{calm}->();
                                return if $called++;
                                last   if $how eq 'last';
                                next   if $how eq 'next';
                                redo   if $how eq 'redo';
                                goto OUTSIDE;
                            }
                        );
                        $loop->loop_once(0) for 1 .. 5;
                    }
                    1;
                } or $left++;
            OUTSIDE:
                $watcher->{stop}->() if $watcher && $kind =~ /\A(?:io|signal)\z/;
                my $after = 0;
                my $done  = eval {
                    $loop->watch_time(after => 0, code => sub { $after++ });
                    wait_until { $after };
                };
                my $result = eval {
                    $loop->later(sub { $loop->stop('stopped') });
                    $loop->run;
                } || "died $@";
                leave($handle, $called ? 'called' : 'not called', $done ? 'usable' : "unusable $@", $result);
            }
            is_list([ words_of($pid, $handle) ], [qw(called usable stopped)], "$how, $kind");
        }
    }
};

contract exception => signal_handler => 'an exception of a %SIG handler leaves the wait' => sub {
    guarded(sub {
        for my $method (qw(run loop_once)) {
            local $SIG{ALRM} = sub { die "alarm\n" };
            my $start = now();
            my $left  = !eval {
                Time::HiRes::setitimer(Time::HiRes::ITIMER_REAL(), 0.02);
                $method eq 'run' ? $loop->run : $loop->loop_once(EVENT_BOUND);
                1;
            };
            is($@, "alarm\n", "$method: it is the handler's");
            ok($left && now() - $start < PROMPT_BOUND, "$method: at once");
            ok(!$loop->is_running, "$method: the loop does not run");
        }
    });
    still_usable_ok('the loop is usable');
};

contract exception => exit => 'exit in a callback ends the process as it should' => sub {
    for my $kind (@kinds) {
        my ($pid, $handle) = fork_here();
        if (!$pid) {
            my $watcher;
            $watcher = make_ready($kind, sub { exit 7 });
            eval { $loop->run };
            leave($handle, "went on $@");
        }
        is_list([ words_of($pid, $handle) ], [ '(wait status ' . (7 << 8) . ')' ], $kind);
    }
};

# ---- inherit: a child of a raw fork goes on with the loop -----------------------------------------------------------

contract inherit => goes_on => 'a child goes on with the watchers that it inherits' => sub {
    my %seen;
    my ($one, $other) = pair();
    $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $seen{io}++ });
    $loop->watch_signal(USR1 => sub { $seen{signal}++ });
    turns(2);
    $loop->watch_time(after => 0.02, code => sub { $seen{time}++ });
    $loop->later(sub { $seen{idle}++ });
    my $go = sub {
        give($other);
        kill USR1 => $$;
        wait_until { 4 == keys %seen };
        turns();
        return map { "$_=$seen{$_}" } sort keys %seen;
    };
    my $all = [qw(idle=1 io=1 signal=1 time=1)];
    is_list([ in_child { return $go->() } ], $all, 'the child');
    is_list([ $go->() ], $all, 'the parent');
    %seen = ();
    $loop->watch_time(after => 0.001, code => sub { $seen{time}++ });
    $loop->later(sub { $seen{idle}++ });
    is_list(
        [
            in_child {
                return in_child { return $go->() }
            }
        ],
        $all,
        'a grandchild'
    );
    is_list(
        [
            in_child {
                turns(2);
                (%seen) = (map { $_ => 1 } qw(time idle));
                return in_child { return $go->() }
            }
        ],
        $all,
        'a grandchild, after its parent used the loop'
    );
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
};

contract inherit => new_watchers => 'a child may watch what it likes, its own children, too' => sub {
    my %parent;
    my $watched = watch_all(\%parent);
    my @words   = in_child {
        my %seen;
        my ($one, $other)   = pair();
        my ($pid, $release) = waiting_child(3);
        $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $seen{io}++ });
        $loop->watch_signal(USR2 => sub { $seen{signal}++ });
        $loop->watch_time(after => 0.001, code => sub { $seen{time}++ });
        $loop->later(sub { $seen{idle}++ });
        $loop->watch_process($pid => sub { $seen{process} = $_[1] >> 8 });
        give($other);
        give($release);
        kill USR2 => $$;
        wait_until { 5 == keys %seen };
        turns();
        return map { "$_=$seen{$_}" } sort keys %seen;
    };
    is_list(\@words, [qw(idle=1 io=1 process=3 signal=1 time=1)], 'the child');
    all_seen_ok($watched, \%parent, 'then');
};

my %child_actions = (
    exits     => [ 'lives and exits' => sub { } ],
    unwatches => [
        'unwatches all' => sub {
            my ($watched) = @_;
            $loop->unwatch_io(handle => $watched->{one}, on_read_ready => 1);
            $loop->unwatch_signal('USR1');
            $loop->unwatch_process($watched->{pid});
            turns(2);
        }
    ],
    unwatches_unused => [
        'unwatches a descriptor and closes it, and does no turn' => sub {
            my ($watched) = @_;
            $loop->unwatch_io(handle => $watched->{one}, on_read_ready => 1);
            close $watched->{one};
        }
    ],
    adds => [
        'watches more, under numbers that are free in its parent' => sub {
            my ($watched) = @_;
            my @pairs = map { [ pair() ] } 1 .. 5;
            $loop->watch_io(handle => $_->[0], on_read_ready => sub { }, on_write_ready => sub { }) for @pairs;
            $loop->watch_signal(USR2 => sub { });
            give($_->[1]) for @pairs;
            turns(3);
            return \@pairs;
        }
    ],
    destroys      => [ 'destroys its copy' => sub { undef $loop; return } ],
    destroys_used => [ 'uses and destroys its copy' => sub { turns(2); undef $loop; return } ],
    runs          => [
        'runs the loop' => sub {
            $loop->watch_time(after => 0.005, code => sub { $loop->stop });
            $loop->run;
            kill USR1 => $$;
            turns();
        }
    ],
    replaces => [
        'makes a loop of its own' => sub {
            my $called = 0;
            my $other  = new_loop();
            my ($one, $peer) = pair();
            give($peer);
            $other->watch_io(handle => $one, on_read_ready => sub { take($one); $called++ });
            $other->watch_signal(USR1 => sub { $called++ });
            kill USR1 => $$;
            wait_until { $called >= 2 } $other;
            die "only $called events in the child's own loop\n" if $called < 2;
            return;
        }
    ],
    post_fork => [ 'calls post_fork' => sub { $loop->post_fork; turns(2); return } ],
);

for my $action (sort keys %child_actions) {
    my ($does, $code) = @{ $child_actions{$action} };
    contract inherit => "child_$action" => "a child that $does disturbs nothing of its parent's" => sub {
        my %seen;
        my $watched = watch_all(\%seen);
        my ($reader, $writer) = pipe_pair();
        my ($pid, $handle)    = fork_here();
        if (!$pid) {
            close $writer;
            my $kept;
            my $done = eval { $kept = $code->($watched); 1 };
            say_words($handle, $done ? 'done' : "died: $@");
            sysread $reader, my $byte, 1;    # stays, so that the kernel keeps what it has made
            leave($handle);
        }
        sysread $handle, my $word, 4096;
        is($word, "done\n", 'the child has done it');
        all_seen_ok($watched, \%seen, 'meanwhile');
        give($writer);
        is_list([ words_of($pid, $handle) ], [], 'the child has ended well');
    };
}

contract inherit => processes => 'process watches of the parent are dropped in a child' => sub {
    my @ending;
    my ($kid, $release) = waiting_child(7);
    $loop->watch_process($kid => sub { @ending = @_ });
    turns(2);
    my ($reader, $writer) = pipe_pair();
    my ($pid, $handle)    = fork_here();
    if (!$pid) {
        my $read = 0;
        my $done = eval {
            $loop->watch_io(handle => $reader, on_read_ready => sub { take($reader); $read++ });
            wait_until { $read };
            turns();
            $loop->unwatch_process($kid);
            1;
        };
        leave($handle, $done ? 'done' : "died: $@", "called " . scalar @ending);
    }
    give($release);
    ok(wait_until { @ending }, 'the parent is told');
    is_list(\@ending, [ $kid, 7 << 8 ], 'with the status');
    give($writer);
    is_list([ words_of($pid, $handle) ], [ 'done', 'called 0' ], 'the child is not');
};

contract inherit => signals => 'signals of a child come to the child alone' => sub {
    my $called = 0;
    $loop->watch_signal(USR1 => sub { $called++ });
    turns(2);
    my ($reader, $writer) = pipe_pair();
    my ($pid, $handle)    = fork_here();
    if (!$pid) {
        my $rounds = 0;
        kill USR1 => $$;    # before the child has used the loop
        my $done = eval {
            wait_until { $called };
            for my $round (1 .. 20) {
                $called = 0;
                say_words($handle, 'ready');
                my $start = now();
                $loop->loop_once(PROMPT_BOUND * 2) until $called || now() - $start > EVENT_BOUND;
                $rounds++ if now() - $start < PROMPT_BOUND;
            }
            1;
        };
        leave($handle, $done ? "prompt $rounds" : "died: $@");
    }
    for my $round (1 .. 20) {
        sysread $handle, my $word, 6;
        kill USR1 => $pid;
    }
    is_list([ words_of($pid, $handle) ], ['prompt 20'], 'the child gets each at once');
    turns();
    is($called, 0, 'the parent gets none');
    quiet_ok('and is not disturbed');
    kill USR1 => $$;
    ok(wait_until { $called }, 'it gets its own');
    $loop->unwatch_signal('USR1');
};

contract inherit => pending => 'what was pending in the parent stays there' => sub {
    my $called = 0;
    $loop->watch_signal(USR1 => sub { $called++ });
    kill USR1 => $$;
    is_list([ in_child { turns(); return $called } ], [0], 'a signal does not fire in the child');
    turns();
    is($called, 1, 'but in the parent');
    $loop->unwatch_signal('USR1');
};

contract inherit => daemon => 'a program that becomes a daemon goes on with its loop' => sub {
    my %seen;
    my ($one, $other)     = pair();
    my ($reader, $writer) = pipe_pair();
    my $main = $$;
    my ($pid, $handle) = fork_here();
    if (!$pid) {
        eval {
            close $reader;
            $loop->watch_io(handle => $one, on_read_ready => sub { take($one); $seen{io}++ });
            $loop->watch_signal(TERM => sub { $seen{signal}++ });
            $loop->watch_time(after => 0.01, code => sub { $seen{time}++ });
            turns(2);
            my $first = fork;
            die "fork: $!" unless defined $first;
            POSIX::_exit(0) if $first;
            alarm TEST_BOUND;
            POSIX::setsid();
            my $second = fork;
            die "fork: $!" unless defined $second;
            POSIX::_exit(0) if $second;
            alarm TEST_BOUND;
            close $handle;
            chdir '/';
            my ($kid, $release) = waiting_child(3);
            $loop->watch_process($kid => sub { $seen{process} = $_[1] >> 8 });
            $loop->later(sub { $seen{idle}++; give($release) });
            say_words($writer, "pid $$");
            wait_until { 5 == keys %seen };
            say_words($writer, map { "$_=$seen{$_}" } sort keys %seen);
            1;
        } or say_words($writer, "died: $@");
        POSIX::_exit(0);
    }
    close $writer;
    is_list([ words_of($pid, $handle) ], [], 'the parents have left');
    my $text = '';
    1 while $text !~ /\n/ && sysread $reader, $text, 4096, length $text;
    my ($daemon) = $text =~ /\Apid ([0-9]+)\n/;
    if (ok($daemon, 'the daemon is there')) {
        kill TERM => $daemon;
        give($other);
    }
    1 while sysread $reader, $text, 4096, length $text;
    my (undef, @words) = split /\n/, $text;
    is_list(\@words, [qw(idle=1 io=1 process=3 signal=1 time=1)], 'and goes on with its watchers');
};

contract inherit                                                                  => closed_descriptors =>
    'a child that has closed all descriptors goes on, and its files stay its own' => sub {
    my %seen;
    my ($one, $other) = pair();
    $loop->watch_io(handle => $one, on_read_ready => sub { $seen{inherited}++ });
    $loop->watch_signal(USR1 => sub { $seen{signal}++ });
    turns(2);
    my @words = in_child {
        for my $fd (grep { $_ > 2 && $_ != $report_fd } keys %{ descriptors() }) {
            POSIX::close($fd);
        }
        my @files;
        for (1 .. 8) {
            my $fd = POSIX::open('/dev/null', POSIX::O_RDWR());
            push @files, $fd if defined $fd;
        }
        my ($new, $peer) = pair();
        $loop->watch_io(handle => $new, on_read_ready => sub { take($new); $seen{io}++ });
        $loop->watch_time(after => 0.001, code => sub { $seen{time}++ });
        give($peer);
        kill USR1 => $$;
        wait_until { $seen{io} && $seen{time} && $seen{signal} };
        my @broken = grep { !defined POSIX::write($_, 'x', 1) } @files;
        return (map({ "$_=$seen{$_}" } qw(io signal time)), 'broken: ' . scalar @broken);
    };
    is_list(\@words, [ qw(io=1 signal=1 time=1), 'broken: 0' ], 'the child');
    %seen = ();
    give($other);
    ok(wait_until { $seen{inherited} }, 'the parent goes on');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
    };

contract inherit => number_taken => 'a child that has closed a watched descriptor goes on, whoever gets its number' =>
    sub {
    my $called = 0;
    my ($one, $other) = pair();
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    turns(2);
    my @words = in_child {
        my $fd = fileno $one;
        POSIX::close($fd);
        my $copy;
        1 while defined($copy = POSIX::dup(0)) && $copy < $fd;
        POSIX::close($copy);    # now it is the lowest free number, which the next file gets: one of the loop's own
        my $time = 0;
        $loop->watch_time(after => 0, code => sub { $time++ });
        wait_until { $time };
        turns();
        return "called $called", "time $time";
    };
    is_list(\@words, [ 'called 0', 'time 1' ], 'the child');
    give($other);
    ok(wait_until { $called }, 'the parent goes on');
    $loop->unwatch_io(handle => $one, on_read_ready => 1);
    };

# ---- fork: the loop's own fork --------------------------------------------------------------------------------------

# Forks through the loop and waits for on_exit: its arguments and what the child wrote to the handle it is given.
sub fork_by_loop {
    my ($code, %options)  = @_;
    my ($reader, $writer) = pipe_pair();
    my @ending;
    my $pid = $loop->fork(
        code => sub {
            alarm TEST_BOUND;
            close $reader;
            return $code->($writer);
        },
        on_exit => sub { @ending = @_ },
        %options,
    );
    $children{$pid} = 1;
    close $writer;
    return { pid => $pid, reader => $reader, ending => \@ending };
}

sub read_word { my ($child) = @_; sysread $child->{reader}, my $word, 4096; return defined $word ? $word : '' }

contract fork => exit_code => 'the value of code is the exit code, and on_exit is told' => sub {
    for my $exit (0, 3, 255) {
        my $child = fork_by_loop(sub { return $exit });
        ok(wait_until { @{ $child->{ending} } }, "exit $exit: on_exit is called");
        is_list($child->{ending}, [ $child->{pid}, $exit << 8 ], "exit $exit: with pid and status");
    }
    my $child = fork_by_loop(sub { open STDERR, '>', '/dev/null'; die "the reason\n" });
    ok(wait_until { @{ $child->{ending} } }, 'exception: on_exit is called');
    is_list($child->{ending}, [ $child->{pid}, 255 << 8 ], 'exception: the exit code is 255');
    $child = fork_by_loop(sub { exit 9 });
    ok(wait_until { @{ $child->{ending} } }, 'exit: on_exit is called');
    is_list($child->{ending}, [ $child->{pid}, 9 << 8 ], 'exit: with its exit code');
};

contract fork => signals => 'the child starts with default signals, none of them blocked' => sub {
    my $called = 0;
    local $SIG{USR2} = sub { $called++ };
    local $SIG{HUP}  = 'IGNORE';
    $loop->watch_signal(TERM => sub { $called++ });
    my $child = fork_by_loop(sub {
        my ($writer) = @_;
        my @words = map { "$_ " . (defined $SIG{$_} && length $SIG{$_} ? $SIG{$_} : 'DEFAULT') } qw(TERM USR2 HUP);
        say_words($writer, join ', ', @words, blocked());
        pause(TEST_BOUND);
        return 0;
    });
    is(read_word($child), "TERM DEFAULT, USR2 DEFAULT, HUP IGNORE\n", 'what %SIG holds');
    kill TERM => $child->{pid};
    ok(wait_until { @{ $child->{ending} } }, 'it ends');
    is_list($child->{ending}, [ $child->{pid}, POSIX::SIGTERM() ], 'by the default action');
    is($called, 0, 'no handler of the parent has run');
    $loop->unwatch_signal('TERM');
};

contract fork => own_loop => 'the child can make a loop, in which no watcher of the parent fires' => sub {
    my %seen;
    my $watched = watch_all(\%seen);
    $loop->watch_time(after => 0.001, code => sub { $seen{time}++ });
    $loop->later(sub { $seen{idle}++ });
    give($watched->{other});
    my $child = fork_by_loop(sub {
        my ($writer) = @_;
        my ($kid, $release) = waiting_child(4);
        my %mine;
        my $fresh = new_loop();
        $fresh->watch_process($kid => sub { $mine{process} = $_[1] >> 8 });
        $fresh->watch_time(after => 0.005, code => sub { $mine{time}++ });
        $fresh->watch_signal(USR1 => sub { $mine{signal}++ });
        kill USR1 => $$;
        give($release);
        wait_until { 3 == keys %mine } $fresh;
        $fresh->loop_once(0) for 1 .. 3;
        say_words($writer, join ' ', map({ "$_=$mine{$_}" } sort keys %mine), sort keys %seen);
        return 0;
    });
    is(read_word($child), "process=4 signal=1 time=1\n", 'in the child');
    ok(wait_until { @{ $child->{ending} } && $seen{time} && $seen{idle} && $seen{io} }, 'the parent goes on');
    is_list([ @seen{qw(time idle io)} ], [ 1, 1, 1 ], 'with each of its events once');
    give($watched->{release});
    ok(wait_until { $seen{process} }, 'and its other children');
    $loop->unwatch_io(handle => $watched->{one}, on_read_ready => 1);
    $loop->unwatch_signal('USR1');
};

contract fork => undisturbed => 'the child disturbs nothing of its parent\'s' => sub {
    my %seen;
    my $watched = watch_all(\%seen);
    my ($reader, $writer) = pipe_pair();
    my $child = fork_by_loop(sub {
        my ($words) = @_;
        close $writer;
        eval { $loop->unwatch_io(handle => $watched->{one}, on_read_ready => 1) };
        eval { $loop->unwatch_signal('USR1') };
        eval { undef $loop };
        say_words($words, 'done');
        sysread $reader, my $byte, 1;
        return 0;
    });
    is(read_word($child), "done\n", 'the child has tried');
    all_seen_ok($watched, \%seen, 'meanwhile');
    give($writer);
    ok(wait_until { @{ $child->{ending} } }, 'the child ends');
};

contract fork => in_callback => 'a callback may fork through the loop' => sub {
    for my $kind (@kinds) {
        my ($child, $watcher);
        my $main = $$;
        $watcher = make_ready(
            $kind,
            sub {
                $watcher->{calm}->();
                $child ||= fork_by_loop(sub { return 6 });
            }
        );
        my $done = wait_until { $child && @{ $child->{ending} } };
        POSIX::_exit(99) if $$ != $main;
        ok($done, "$kind: on_exit is called");
        is_list($child->{ending}, [ $child->{pid}, 6 << 8 ], "$kind: with pid and status") if $done;
        stop_all_ready($watcher);
    }
};

# ---- Running --------------------------------------------------------------------------------------------------------

my @watched_signals = qw(HUP INT TERM USR1 USR2 CHLD ALRM PIPE);

sub state_of_process {
    return {
        descriptors => descriptors(),
        mask        => join(' ', blocked()),
        handlers    =>
            join(' ', map { "$_=" . (defined $SIG{$_} && length $SIG{$_} ? $SIG{$_} : 'DEFAULT') } @watched_signals),
    };
}

sub nothing_left_ok {
    my ($before) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @left;
    for my $pid (sort { $a <=> $b } keys %children) {
        my $reaped = waitpid $pid, WNOHANG;
        next if $reaped < 0;
        push @left, "child $pid " . ($reaped ? 'unreaped' : 'running');
        if (!$reaped) {
            kill KILL => $pid;
            waitpid $pid, 0;
        }
    }
    %children = ();
    my $after = state_of_process();
    my ($open, $was_open) = ($after->{descriptors}, $before->{descriptors});
    if (keys %$open != keys %$was_open) {
        push @left,
            map { "descriptor $_ ($open->{$_})" } grep { !exists $was_open->{$_} } sort { $a <=> $b } keys %$open;
        push @left, map { "no descriptor $_ ($was_open->{$_})" }
            grep { !exists $open->{$_} } sort { $a <=> $b } keys %$was_open;
    }
    for my $what (qw(mask handlers)) {
        push @left, "$what '$after->{$what}' instead of '$before->{$what}'" if $after->{$what} ne $before->{$what};
    }
    return ok(!@left, 'no descriptor, child, handler or blocked signal is left') || diag(map { "left: $_\n" } @left);
}

# %SIG handlers wait for the loop; this one does not.
sub start_watchdog {
    my ($name)  = @_;
    my $owner   = $$;
    my $give_up = sub {
        POSIX::_exit(255) if $$ != $owner;
        my $text = "# $name hangs: gave up after " . TEST_BOUND . " s\n";
        syswrite STDERR, $text;
        kill KILL => keys %children;
        POSIX::_exit(255);
    };
    my $action = POSIX::SigAction->new($give_up, POSIX::SigSet->new, 0);
    my $old    = POSIX::SigAction->new;
    POSIX::sigaction(POSIX::SIGALRM(), $action, $old);
    alarm TEST_BOUND;
    return $old;
}

sub stop_watchdog {
    my ($old) = @_;
    alarm 0;
    POSIX::sigaction(POSIX::SIGALRM(), $old);
    return;
}

sub run_one {
    my ($test) = @_;
    my $owner = $$;
    local $SIG{PIPE} = 'IGNORE';
    my $watchdog = start_watchdog($test->{name});
    my $before   = state_of_process();
    %children = ();
    my $done = eval {
        $loop = new_loop();
        $test->{code}->();
        1;
    };
    my $error = $@;
    if ($$ != $owner) {    # a child that lost its way must not go on with the tests of its parent
        syswrite STDERR, "# $test->{name}: a child left its test: $error\n";
        POSIX::_exit(98);
    }
    undef $loop;
    ok(0, 'no exception') || diag($error) unless $done;
    nothing_left_ok($before);
    stop_watchdog($watchdog);
    return;
}

# What a process keeps once it has used a loop is opened before anything is counted.
sub warm_up {
    $loop = new_loop();
    $loop->watch_signal(URG => sub { });
    $loop->loop_once(0);
    $loop->unwatch_signal('URG');
    undef $loop;
    return;
}

sub run_tests {
    my ($constructor, @arguments) = @_;
    croak 'run_tests needs code that makes a loop' unless (reftype($constructor) || '') eq 'CODE';
    croak 'run_tests is running' if $new_loop;
    my %options = map  { %$_ } grep { ref } @arguments;
    my @wanted  = grep { !ref } @arguments;
    @wanted = suites() unless @wanted;
    my %known = map { $_->{name} => 1 } map { tests_of($_) } suites();
    for my $suite (@wanted) { croak "No suite '$suite'" unless tests_of($suite) }
    my $skip = delete $options{skip} || {};
    my %only = map { $_ => 1 } @{ delete $options{only} || [] };
    for my $name (keys %$skip, keys %only) { croak "No test '$name'" unless $known{$name} }
    $seed = delete $options{seed};
    $seed = $ENV{EVENTLOOP_FORK_TEST_SEED}   unless defined $seed;
    $seed = (time ^ $$ << 8) % 2_147_483_648 unless defined $seed;
    my ($unknown) = sort keys %options;
    croak "Unknown option '$unknown'" if defined $unknown;

    $new_loop = $constructor;
    my $done = eval {
        warm_up();
        for my $suite (@wanted) {
            my @run = grep { !%only || $only{ $_->{name} } } tests_of($suite);
            run_suite($suite, $skip, @run) if @run;
        }
        1;
    };
    my $error = $@;
    undef $new_loop;
    die $error unless $done;
    return;
}

sub run_suite {
    my ($suite, $skip, @run) = @_;
    return Test::More::subtest(
        $suite => sub {
            Test::More::plan(tests => scalar @run);
            Test::More::note("EVENTLOOP_FORK_TEST_SEED=$seed") if grep { $_->{name} =~ /random|thousands/ } @run;
            for my $test (@run) {
                my $reason = $skip->{ $test->{name} };
                if (defined $reason) {
                SKIP: { Test::More::skip("$test->{name}: $reason", 1) }
                    next;
                }
                Test::More::subtest(
                    "$test->{name}: $test->{promise}" => sub { run_one($test); Test::More::done_testing() });
            }
        }
    );
}

# The other contract: how a fork deals with the loops of other people.
sub run_adapter_tests {
    require EventLoop::Fork::Test::Adapter;
    goto &EventLoop::Fork::Test::Adapter::run_adapter_tests;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop - acceptance tests for loops

=head1 SYNOPSIS

    use Test::More;
    use EventLoop::Fork::Loop;
    use EventLoop::Fork::Test::Loop;

    run_tests(sub { EventLoop::Fork::Loop->new(backend => 'poll') }, 'timer', 'idle');
    done_testing;

=head1 DESCRIPTION

What L<EventLoop::Fork::Loop> promises about a loop, each promise a test. It is for authors of backends and adapters,
and knows nothing of either: it gets code that makes a loop, and asks for no more than the interface. So the same tests
serve the native loop on each of its backends, L<IO::Async::Loop::Libev>, L<IO::Async::Loop::Libevent>, and whatever
class has these methods:

    watch_io  unwatch_io  watch_time  unwatch_time  watch_idle  unwatch_idle  later
    watch_signal  unwatch_signal  watch_process  unwatch_process
    loop_once  run  stop  is_running  time  fork  post_fork

It uses L<Test::More> and other modules of perl's own, nothing else. Most tests fork. Each waits for events and not for
time to pass, ends after a minute at the latest, ends its children, and looks at what it has left behind: descriptors,
children, handlers, blocked signals.

=head1 FUNCTIONS

=head2 run_tests

    run_tests($code);
    run_tests($code, 'io', 'timer');
    run_tests($code, 'io', { skip => { 'io.hangup' => 'the library does not tell' } });

Exported by default. Runs these suites, or all of them. Each suite is a subtest, and each test is a subtest in it. The
code is called with no argument, once for each test or more often, and returns a new loop that nobody else holds. Should
it be an L<IO::Async::Loop>, C<run_tests> makes IO::Async forget that there is one. The plan of the program is its own:
call C<done_testing> afterwards.

A hash after the code holds options:

=over 4

=item skip

A hash of names of tests, with reasons: these are skipped. For differences that are documented.

=item only

An array of names of tests: no others are run.

=item seed

Where the tests with random choices start, a number. The default is the environment variable
C<EVENTLOOP_FORK_TEST_SEED>, or another one each time. It is printed, so that a failure can be repeated.

=back

A name that does not exist is an exception.

The environment variable C<EVF_TEST_SLOW>, if it is true, allows ten times as long for everything, as under valgrind.

=head2 run_adapter_tests

    run_adapter_tests($code);

Exported by default. The tests of an adapter, for the loop that the code returns: see L<EventLoop::Fork::Test::Adapter>.

=head2 suites

    use EventLoop::Fork::Test::Loop qw(suites tests);

    my @names = suites();

Exported on request. The names of the suites.

=head2 tests

    print "$_->{name}: $_->{promise}\n" for tests('io');

Exported on request. What is in a suite: for each test a hash with its C<name>, which C<skip> and C<only> take, and with
the C<promise> that it keeps to.

=head1 SUITES

=head2 turn

What a callback may do, for every kind of watcher beside every other kind.

=over 4

=item turn.unwatch

An unwatched callback is not called, though it was ready in this turn.

=item turn.unwatch_before

An unwatched callback is not called, though it was ready before the turn.

=item turn.start

A watcher that is started in a turn is looked at in the next.

=item turn.restart

Unwatched and watched again in a turn, it is looked at in the next.

=item turn.free_itself

A callback may end its own watcher, and goes on to its end.

=item turn.nested

A callback may run a turn of its own: each event is delivered once.

=item turn.stop

A callback may stop the loop.

=item turn.fork

A callback may fork, and both processes go on.

=item turn.random

Random starts and stops in callbacks: nothing that was stopped is ever called.

=back

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

=head2 timer

Deadlines.

=over 4

=item timer.after

A timer fires once, and never early.

=item timer.prompt

A timer ends a longer wait.

=item timer.at

A timer "at" fires at that time of the wall clock.

=item timer.order

Equal deadlines fire in the order of their start.

=item timer.thousands

Thousands of timers fire in the order of their deadlines.

=item timer.unwatch

C<unwatch_time> prevents, and minds no id that is over.

=item timer.far

A deadline far away does not fire.

=item timer.freed

A timer lets go of its callback when it has fired or is unwatched.

=back

=head2 idle

What is put off to the next turn.

=over 4

=item idle.later

What is put off is called once, in the next turn, which does not wait.

=item idle.later_in_later

What is put off in such a callback comes in the turn after.

=item idle.order

In the order of their start.

=item idle.unwatch

C<unwatch_idle> prevents, and lets the loop wait.

=back

=head2 signal

Watched signals, and handlers in C<%SIG>.

=over 4

=item signal.watch

A watched signal calls back, in a turn and only then.

=item signal.merged

Deliveries between two turns are one call.

=item signal.in_callback

A signal that arrives in a callback is delivered in the next turn.

=item signal.visible

A watched signal is a code ref in %SIG.

=item signal.restored

C<unwatch_signal> restores what %SIG held.

=item signal.dance

A program that saves, ignores and restores %SIG around a fork loses nothing.

=item signal.replaced

A handler that somebody installs later is his.

=item signal.two_loops

Two loops may watch one signal.

=item signal.prompt

A watched signal ends a wait at once.

=item signal.handler_is_prompt

A %SIG handler of the program runs at once while the loop waits.

=item signal.none_lost

No watched signal gets lost between two turns.

=item signal.none_late

No %SIG handler waits until the loop has something to do.

=item signal.interrupted_wait

An interrupted wait is no error.

=item signal.not_blocked

A watched signal is blocked nowhere, in a program that is run neither.

=item signal.freed

C<unwatch_signal> lets go of the callback.

=back

=head2 process

Children. A loop on the core of EventLoop::Fork does it with process descriptors where the kernel has them.

=over 4

=item process.status

Tells the pid and the wait status, once.

=item process.ended_before

A child that has ended already is told of, too.

=item process.prompt

The end of a child ends a wait at once.

=item process.fifty

Fifty children, each with its own status.

=item process.stolen

A status that somebody else has taken is told as gone, and no error.

=item process.own_pids_only

Children that are not watched are left to their owners.

=item process.in_callback

A callback may run programs while watched children end.

=item process.unwatch

C<unwatch_process> leaves the child to its owner.

=item process.unwatch_in_turn

So it does when both have ended in the same turn.

=item process.respawn

A callback may fork and watch the next one.

=item process.sigchld_handler

A $SIG{CHLD} of the program stays, and runs.

=item process.sigchld_handler_later

Also when it is installed, or taken away, after watch_process.

=item process.sigchld_ignored

With $SIG{CHLD} ignored the end of a child is told, its status perhaps not.

=item process.no_descriptor

Without a free descriptor children are watched, too.

=item process.freed

The callback is let go when it was called or is unwatched.

=back

=head2 sigchld

The tests of L</process> once more, under this name, with SIGCHLD instead of process descriptors. Only a loop on the
core of EventLoop::Fork can be told to; for others each test is skipped.

=head2 control

Turns, C<run> and C<stop>, and the life of a loop.

=over 4

=item control.run

C<run> returns what stop was given.

=item control.stop_by_handler

A %SIG handler may stop the loop, at any moment.

=item control.nested_run

Runs may be nested, each with its own result.

=item control.is_running

C<is_running> is true inside of run.

=item control.idle_wait

An idle loop_once does not come back early.

=item control.no_wait

C<loop_once>(0) does not wait.

=item control.endless_wait

C<loop_once> without a timeout waits until something happens.

=item control.count

C<loop_once> returns the number of callbacks it called.

=item control.post_fork

C<post_fork> in the same process changes nothing.

=item control.undisturbed_variables

Callbacks leave $@ and $_ of the program alone.

=item control.two_loops

A callback of one loop may run another loop.

=item control.many_loops

Loops come and go without leaving anything.

=item control.destroyed

A loop that goes frees its callbacks and leaves the children.

=item control.destroyed_in_callback

A loop may go inside a callback of its own.

=back

=head2 exception

What leaves a callback other than by its end.

=over 4

=item exception.loop_once

An exception leaves loop_once, and the loop stays usable.

=item exception.run

An exception leaves run, and the loop stays usable.

=item exception.nested

An exception leaves nested runs one by one.

=item exception.others_are_delivered

What was ready beside it is delivered in the next turn.

=item exception.loop_control

"last", "next" and "goto" out of a callback do no harm.

=item exception.signal_handler

An exception of a %SIG handler leaves the wait.

=item exception.exit

Exit in a callback ends the process as it should.

=back

=head2 inherit

A child of a raw C<fork> has the loop of its parent, and may go on with it.

=over 4

=item inherit.goes_on

A child goes on with the watchers that it inherits.

=item inherit.new_watchers

A child may watch what it likes, its own children, too.

=item inherit.child_adds

A child that watches more, under numbers that are free in its parent disturbs nothing of its parent's.

=item inherit.child_destroys

A child that destroys its copy disturbs nothing of its parent's.

=item inherit.child_destroys_used

A child that uses and destroys its copy disturbs nothing of its parent's.

=item inherit.child_exits

A child that lives and exits disturbs nothing of its parent's.

=item inherit.child_post_fork

A child that calls post_fork disturbs nothing of its parent's.

=item inherit.child_replaces

A child that makes a loop of its own disturbs nothing of its parent's.

=item inherit.child_runs

A child that runs the loop disturbs nothing of its parent's.

=item inherit.child_unwatches

A child that unwatches all disturbs nothing of its parent's.

=item inherit.child_unwatches_unused

A child that unwatches a descriptor and closes it, and does no turn disturbs nothing of its parent's.

=item inherit.processes

Process watches of the parent are dropped in a child.

=item inherit.signals

Signals of a child come to the child alone.

=item inherit.pending

What was pending in the parent stays there.

=item inherit.daemon

A program that becomes a daemon goes on with its loop.

=item inherit.closed_descriptors

A child that has closed all descriptors goes on, and its files stay its own.

=item inherit.number_taken

A child that has closed a watched descriptor goes on, whoever gets its number.

=back

=head2 fork

Forks through the loop.

=over 4

=item fork.exit_code

The value of code is the exit code, and on_exit is told.

=item fork.signals

The child starts with default signals, none of them blocked.

=item fork.own_loop

The child can make a loop, in which no watcher of the parent fires.

=item fork.undisturbed

The child disturbs nothing of its parent's.

=item fork.in_callback

A callback may fork through the loop.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Loop>, L<IO::Async::LoopTests>

=cut
