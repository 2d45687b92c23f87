package EventLoop::Fork::Test::Loop::Exception;

# What leaves a callback other than by its end.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Loop::Children;
use EventLoop::Fork::Test::Loop::Contract;
use EventLoop::Fork::Test::Loop::Helpers;
use EventLoop::Fork::Test::Loop::Watchers;
use Scalar::Util qw(refaddr);
use Time::HiRes  ();

# An exception that is false and empty.
{
    package    # not for the index
        EventLoop::Fork::Test::Loop::Exception::False;
    use overload bool => sub { return 0 }, '""' => sub { return '' }, fallback => 1;
}

my %exceptions = (
    'a string'       => "the reason\n",
    'a hash'         => { code => 7 },
    'an object'      => bless({}, 'EventLoop::Fork::Test::Loop::Exception::Object'),
    'a false object' => bless({}, 'EventLoop::Fork::Test::Loop::Exception::False'),
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

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Loop::Exception - tests of a loop: what leaves a callback

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_tests($code, 'exception');

=head1 DESCRIPTION

The suite C<exception> of L<EventLoop::Fork::Test::Loop>.

=head1 SUITE

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

=head1 SEE ALSO

L<EventLoop::Fork::Test::Loop>

=cut
