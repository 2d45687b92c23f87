package EventLoop::Fork::Test::Adapter::Inherit;

# A child that goes on with the loop of its parent: one that asked for it, and one of a raw fork.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Adapter::Children;
use EventLoop::Fork::Test::Adapter::Contract;
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Helpers qw(give is_list ok pipe_pair take);

contract keep => "with loop_in_child => 'keep' the inherited watchers go on in the child; those of the parent, too" =>
    sub {
    my ($for_child, $for_parent) = map { watched_pipe() } 1, 2;
    my $fired = 0;
    $adapter->watch_time(2 * QUIET, sub { $fired++ });
    run_for(0);
    my @words = child_says(
        sub {
            my ($own, $writer) = @_;
            give($writer, "ready\n");
            wait_until(sub { $for_child->{got} ne '' && $fired }, $own);
            return ("got $for_child->{got}", "timer $fired", works($own));
        },
        loop_in_child => 'keep',
        meanwhile     => sub { $for_child->{end}->(); give($for_child->{writer}, 'k') },
    );
    is_list(\@words, [ 'got k', 'timer 1', 'works' ], 'in the child');
    give($for_parent->{writer}, 'p');
    ok(wait_until(sub { $for_parent->{got} eq 'p' && $fired == 1 }), 'in the parent');
    $for_parent->{end}->();
    };

contract raw => 'in a child of a raw fork the loop goes on, as in a daemon; that of the parent, too' => sub {
    my ($for_child, $for_parent) = map { watched_pipe() } 1, 2;
    run_for(0);
    my ($ready, $told) = pipe_pair();
    my $words = raw_child(sub {
        give($told, 'r');
        wait_until(sub { $for_child->{got} ne '' });
        return ("got $for_child->{got}", works($adapter));
    });
    close $told;
    take($ready);
    $for_child->{end}->();
    give($for_child->{writer}, 'd');
    is_list([ $words->() ], [ 'got d', 'works' ], 'in the child');
    give($for_parent->{writer}, 'p');
    ok(wait_until(sub { $for_parent->{got} eq 'p' }), 'in the parent');
    $for_parent->{end}->();
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Inherit - tests of an adapter: a child that keeps the loop of its parent

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_adapter_tests($code, { only => [ 'keep', 'raw' ] });

=head1 DESCRIPTION

Tests of L<EventLoop::Fork::Test::Adapter>, which lists them.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
