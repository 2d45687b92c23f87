package EventLoop::Fork::Test::Adapter::Fork;

# A child of a fork through EventLoop::Fork: its end, and its loop, which is new.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork ();
use EventLoop::Fork::Test::Adapter::Children;
use EventLoop::Fork::Test::Adapter::Contract;
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Helpers qw(give is is_list ok pipe_pair take);

contract fork => 'the end of a child arrives once, with its status, through the loop' => sub {
    my (%ends, @children);
    for my $code (0, 3, 'KILL') {
        push @children, EventLoop::Fork->fork(
            loop    => $adapter->loop,
            code    => sub { kill KILL => $$ if $code eq 'KILL'; return $code },
            on_exit => sub { my ($child, $status) = @_; push @{ $ends{ $child->pid } }, $status },
        );
    }
    ok(wait_until(sub { keys %ends >= 3 }), 'all arrive');
    run_for(QUIET);
    is_list([ map { "@{ $ends{ $_->pid } || [] }" } @children ], [ 0, 3 << 8, 9 ], 'each its own, once');
};

contract child_loop => 'the loop of a child works, is new, and of the same family' => sub {
    my @words = child_says(sub {
        my ($own) = @_;
        return (ref $own, works($own));
    });
    is_list(\@words, [ ref $adapter, 'works' ], 'in the child');
    is(works($adapter), 'works', 'the one of the parent goes on');
};

contract renew => 'no inherited watcher fires in a child, whatever is ready; those of the parent go on' => sub {
    my ($ready, $later) = map { watched_pipe() } 1, 2;
    my $fired = 0;
    my $me    = $$;
    my $told;
    $adapter->watch_time(0.01, sub { $fired++; $told->("timer\n") if $$ != $me });
    give($ready->{writer}, 'r');    # is ready at the fork, and seen by nobody
    my @words = child_says(sub {
        my ($own, $writer) = @_;
        $told = sub { give($writer, @_) };
        run_for(2 * QUIET, $own);
        my @seen = ((map { $_->{got} } $ready, $later), works($own));
        return join ' ', map { "'$_'" } @seen;
    });
    is_list(\@words, [qw('' '' 'works')], 'the child runs its loop, and hears nothing of its parent');
    give($later->{writer}, 'l');
    ok(wait_until(sub { $ready->{got} eq 'r' && $later->{got} eq 'l' && $fired }), 'the parent hears all');
    run_for(QUIET);
    is($fired, 1, 'its timer fires once');
    $_->{end}->() for $ready, $later;
};

contract stale => 'a child that unwatches what it has inherited disturbs nobody' => sub {
    my ($one, $other) = map { watched_pipe() } 1, 2;
    run_for(0);
    my $timed = 0;
    my $timer = $adapter->watch_time(4 * QUIET, sub { $timed++ });
    my @words = child_says(sub {
        my ($own) = @_;
        eval { $one->{end}->();                1 } or return "unwatch_io: $@";
        eval { $adapter->unwatch_time($timer); 1 } or return "unwatch_time: $@";
        close $one->{reader};
        my $files = watched_pipe($own);    # under a number that its parent watches
        run_for(QUIET, $own);
        undef $other;
        return works($own);
    });
    is_list(\@words, ['works'], 'in the child');
    give($_->{writer}, 's') for $one, $other;
    ok(wait_until(sub { $one->{got} eq 's' && $other->{got} eq 's' && $timed }), 'the watches of the parent work');
    $_->{end}->() for $one, $other;
};

contract in_callback => 'a fork in a callback is a fork like others' => sub {
    my $pipe = watched_pipe();
    my @words;
    my $done = 0;
    $adapter->watch_time(
        0,
        sub {
            my ($reader, $writer) = pipe_pair();
            EventLoop::Fork->fork(
                loop    => $adapter->loop,
                code    => sub { alarm 3 * $bound; give($writer, works(new_adapter($_[0]->loop)) . "\n"); return 0 },
                on_exit => sub { @words = split /\n/, take($reader); $done++ },
            );
            close $writer;
        }
    );
    ok(wait_until(sub { $done }), 'the end of the child arrives');
    is_list(\@words, ['works'], 'the loop of the child works');
    give($pipe->{writer}, 'p');
    ok(wait_until(sub { $pipe->{got} eq 'p' }), 'and that of the parent');
    $pipe->{end}->();
};

contract generations => 'a child may fork in its turn' => sub {
    my @words = child_says(sub {
        my ($own) = @_;
        my ($status, $grandchild);
        my ($reader, $writer) = pipe_pair();
        EventLoop::Fork->fork(
            loop    => $own->loop,
            code    => sub { give($writer, works(new_adapter($_[0]->loop))); return 5 },
            on_exit => sub { $status = $_[1] },
        );
        close $writer;
        wait_until(sub { defined $status }, $own);
        return ('grandchild ' . take($reader), 'exit ' . ($status >> 8), works($own));
    });
    is_list(\@words, [ 'grandchild works', 'exit 5', 'works' ], 'all three work');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Fork - tests of an adapter: a fork through EventLoop::Fork

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_adapter_tests($code, { only => [ 'fork', 'child_loop', 'renew', 'stale', 'in_callback', 'generations' ] });

=head1 DESCRIPTION

Tests of L<EventLoop::Fork::Test::Adapter>, which lists them.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
