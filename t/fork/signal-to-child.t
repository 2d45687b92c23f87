# A signal that is sent to a child, however early, arrives in the child and nowhere else.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

# The fork takes its time; the signals hit all of it.
sub send_to_fresh_children {
    my ($loop, $count)         = @_;
    my ($in_parent, %statuses) = (0);
    $loop->watch_signal(USR1 => sub { $in_parent++ });
    for (1 .. $count) {
        my $pid = $loop->fork(
            code    => sub { alarm 2 * BOUND; sleep 2 * BOUND; 0 },
            on_exit => sub { $statuses{ $_[1] }++ },
        );
        kill USR1 => $pid;
        $loop->loop_once(0);
    }
    my $all = sub { my $sum = 0; $sum += $_ for values %statuses; $sum };
    wait_until($loop, sub { $all->() == $count });
    $loop->loop_once(0);
    is \%statuses, { POSIX::SIGUSR1, $count }, "$count fresh children end by the signal that is sent to them";
    is $in_parent, 0, 'and the callback of the parent does not hear of it';
    kill USR1 => $$;
    wait_until($loop, sub { $in_parent });
    is $in_parent, 1, 'it hears of its own';
    $loop->unwatch_signal('USR1');
    return;
}

each_loop sub {
    my ($new, $kind) = @_;
    send_to_fresh_children($new->(), $kind->{is_best} ? 400 : 60);
};

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my ($in_parent, $handled) = (0, 0);
    $loop->watch_signal(USR1 => sub { $in_parent++ });
    local $SIG{USR2} = sub { $handled++ };
    my ($seen) = in_child(
        $loop,
        sub {
            my $in_child = $new->();
            my %got      = (USR1 => 0, USR2 => 0);
            $in_child->watch_signal(USR1 => sub { $got{USR1}++ });
            $SIG{USR2} = sub { $got{USR2}++ };
            for my $count (1 .. 20) {
                kill $_ => $$ for qw(USR1 USR2);
                wait_until($in_child, sub { $got{USR1} == $count && $got{USR2} == $count });
            }
            return \%got;
        }
    );
    is $seen, { USR1 => 20, USR2 => 20 }, 'what a child sends to itself it gets';
    is [ $in_parent, $handled ], [ 0, 0 ], 'and the parent does not';
    $loop->unwatch_signal('USR1');
};

for my $class (qw(IO::Async::Loop::Poll IO::Async::Loop::Select)) {
    control "$class calls the parent for signals that were sent to fresh children", [$class],
        qr/\A[1-9][0-9]* phantoms\n\z/,
        <<'EOP', $class;
use strict;
use IO::Async::Loop;
my $class = shift;
eval "require $class; 1" or die;
my $loop = $class->new;
my ($phantoms, $ended) = (0, 0);
$loop->watch_signal(USR1 => sub { $phantoms++ });
for my $started (1 .. 50) {
    my $pid = $loop->fork(code => sub { alarm 30; sleep 30; 0 }, on_exit => sub { $ended++ });
    kill USR1 => $pid;
    # It comes when the child runs, unless the child is past its handlers and dies of it.
    my $deadline = time + 20;
    $loop->loop_once(0.1) until $phantoms || $ended == $started || time > $deadline;
    kill KILL => $pid;
    $loop->loop_once(1) until $ended == $started;
    last if $phantoms;
}
print "$phantoms phantoms\n";
EOP
}

done_testing;
