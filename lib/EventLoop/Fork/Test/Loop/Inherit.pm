package EventLoop::Fork::Test::Loop::Inherit;

# A child of a raw fork has the loop of its parent, and may go on with it.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use POSIX ();

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

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Inherit - tests of a loop: the loop in a child of a raw fork

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'inherit');

=head1 DESCRIPTION

The suite C<inherit> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

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

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
