# A handler of %SIG runs at once also while the loop waits, whatever the loop waits with. Handlers are as they were
# before the loop came, and after it has gone.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

my (@ran, $ran_at);
sub ran           { push @ran, $_[0]; $ran_at = now(); return }
sub named_handler { return ran('named') }

# A process that sends this one a signal each time it is asked: when we sleep, or at once, wherever we are then.
{

    package Sender;

    sub new {
        my ($class) = @_;
        pipe my $orders, my $writer or die "pipe: $!";
        my $target = $$;
        my $pid    = fork;
        defined $pid or die "fork: $!";
        if (!$pid) {
            alarm 4 * ForkTest::BOUND;
            close $writer;
            while (sysread $orders, my $order, 1) {
                ForkTest::is_asleep($target) if $order eq 's';
                kill USR1 => $target;
            }
            POSIX::_exit(0);
        }
        return bless { pid => $pid, writer => $writer }, $class;
    }
    sub order { my ($self, $when) = @_; return syswrite $self->{writer}, $when }
    sub end { my ($self) = @_; close $self->{writer}; waitpid $self->{pid}, 0; return }
}

my %handlers = (
    code => sub {
        $SIG{USR1} = sub { ran('code') }
    },
    name      => sub { $SIG{USR1} = 'main::named_handler' },
    sigaction => sub {
        my $action = POSIX::SigAction->new(sub { ran('sigaction') }, POSIX::SigSet->new, 0);
        $action->safe(1);
        POSIX::sigaction(POSIX::SIGUSR1, $action);
    },
);

each_loop sub {
    my ($new)  = @_;
    my $sender = Sender->new;
    my $loop   = $new->();
    for my $kind (sort keys %handlers) {
        local $SIG{USR1};
        $handlers{$kind}->();
        my $slowest = 0;
        for my $order (('s') x 5, ('n') x 20) {
            @ran = ();
            my $start = now();
            $sender->order($order);
            $loop->loop_once(2 * PROMPT) until @ran || now() - $start >= 2 * PROMPT;
            # The turn has to end, too. Only of a signal that comes at any time the handler's own time counts: one that
            # comes between the look at @ran and the wait does not end that wait.
            my $end  = $order eq 'n' && @ran ? $ran_at : now();
            my $took = $end - $start;
            $slowest = $took if $took > $slowest;
            last if $slowest >= PROMPT;
        }
        cmp_ok $slowest, '<', PROMPT, "a handler ($kind)";
    }

    # With something to wait for, and in nested turns.
    pipe my $reader, my $writer or die "pipe: $!";
    $loop->watch_io(handle => $reader, on_read_ready => sub { });
    $loop->watch_time(after => 3600, code => sub { });
    local $SIG{USR1} = sub { push @ran, 'code' };
    @ran = ();
    my $start = now();
    my $turns = sub { my ($count) = @_; $loop->loop_once(BOUND) until @ran >= $count || now() - $start >= BOUND };
    $loop->later(sub { $sender->order('s'); $turns->(1); $sender->order('s') });
    $turns->(2);
    is \@ran, [qw(code code)], 'in a nested turn, and in the one around it';
    cmp_ok now() - $start, '<', PROMPT, 'at once';

    $SIG{USR1} = sub { die "from the handler\n" };
    $start = now();
    is dies { $sender->order('s'); $loop->loop_once(BOUND) while now() - $start < BOUND }, "from the handler\n",
        'one that dies leaves the wait';
    cmp_ok now() - $start, '<', PROMPT, 'at once';
    my $fired = 0;
    $loop->watch_time(after => 0, code => sub { $fired++ });
    wait_until($loop, sub { $fired });
    is $fired, 1, 'and the loop goes on';

    my $timed = 0;
    @ran = ();
    $SIG{USR1} = sub {
        $loop->watch_time(after => 0, code => sub { $timed++ });
    };
    $sender->order('s');
    $start = now();
    $loop->loop_once(BOUND) until $timed || now() - $start >= BOUND;
    is $timed, 1, 'one that starts a timer: the loop knows of it';
    cmp_ok now() - $start, '<', PROMPT, 'at once';
    $loop->unwatch_io(handle => $reader, on_read_ready => 1);
    $sender->end;
};

# Saved, replaced and restored around a fork, as servers do, while the loop watches the signal.
each_loop sub {
    my ($new)  = @_;
    my $loop   = $new->();
    my $called = 0;
    $loop->watch_signal(INT => sub { $called++ });
    is ref $SIG{INT}, 'CODE', 'a watched signal is to be seen in %SIG';
    for my $round (1 .. 3) {
        my $saved = $SIG{INT};
        $SIG{INT} = 'IGNORE';
        my ($seen) = in_child($loop, sub { kill INT => $$; $SIG{INT} });
        is $seen, 'IGNORE', 'what is ignored around a fork is ignored in the child';
        $SIG{INT} = $saved;
        kill INT => $$;
        wait_until($loop, sub { $called == $round });
        is $called, $round, 'and watched again in the parent';
    }
    $loop->unwatch_signal('INT');
    is $SIG{INT}, in_set(undef, 'DEFAULT'), 'a watch leaves nothing behind';
};

# Handlers that were there before the product was loaded.
my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
my ($ran, $slowest) = (0, 0);
BEGIN { $SIG{USR1} = sub { $ran++ } }
my $loop = eval $ARGV[0] or die;
my $parent = $$;
pipe my $orders, my $writer or die "pipe: $!";
my $pid = fork;
if (!$pid) {
    close $writer;
    while (sysread $orders, my $order, 1) { is_asleep($parent); kill USR1 => $parent }
    POSIX::_exit(0);
}
for my $round (1 .. 5) {
    my $start = now();
    syswrite $writer, 's';
    $loop->loop_once(BOUND) until $ran == $round || now() - $start >= BOUND;
    $slowest = now() - $start if now() - $start > $slowest;
}
close $writer;
waitpid $pid, 0;
print $ran, ' ', $slowest < PROMPT ? 'at once' : 'late', "\n";
EOP

each_loop sub {
    my ($new, $kind) = @_;
    is run_program($program, $kind->{source}), { stdout => "5 at once\n", stderr => '', status => 0 },
        'a handler that was there before the loop was loaded';
};

control 'EV lets a handler wait for the end of its wait', ['EV'], qr/\Alate\n\z/, <<'EOP';
use strict;
use EV;
use ForkTest;
my ($ran, $parent, $is_late) = (0, $$, 0);
$SIG{USR1} = sub { $ran = now() };
# A sleep before the wait may be taken for it: then again.
for (1 .. 20) {
    pipe my $reader, my $writer;
    my $pid = fork;
    if (!$pid) { sysread $reader, my $byte, 1; is_asleep($parent); kill USR1 => $parent; POSIX::_exit(0) }
    my $start = now();
    my $timer = EV::timer(1, 0, sub { EV::break() });
    syswrite $writer, 'x';
    EV::run();
    waitpid $pid, 0;
    last if $is_late = $ran - $start > 0.9;
}
print $is_late ? "late\n" : "at once\n";
EOP

done_testing;
