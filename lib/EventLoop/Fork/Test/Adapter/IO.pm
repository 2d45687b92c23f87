package EventLoop::Fork::Test::Adapter::IO;

# Handles that are readable.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Test::Adapter::Contract;
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Helpers qw(give is ok pipe_pair);

contract io => 'a readable handle calls back, and only a readable one' => sub {
    my ($one, $other) = map { watched_pipe() } 1, 2;
    run_for(QUIET);
    is($one->{calls}, undef, 'not before there is something to read');
    give($one->{writer}, 'a');
    ok(wait_until(sub { $one->{got} eq 'a' }), 'then it does');
    is($other->{calls}, undef, 'the other one does not');
    give($_->{writer}, 'b') for $one, $other;
    ok(wait_until(sub { $one->{got} eq 'ab' && $other->{got} eq 'b' }), 'again, and both');
    close $one->{writer};
    my $calls = $one->{calls};
    ok(wait_until(sub { $one->{calls} > $calls }), 'the end of a pipe is readable');
    $_->{end}->() for $one, $other;
};

contract unwatch_io => 'an unwatched handle does not call back' => sub {
    my $pipe = watched_pipe();
    $pipe->{end}->();
    give($pipe->{writer});
    run_for(QUIET);
    is($pipe->{calls}, undef, 'unwatched before');
    my ($reader, $writer) = pipe_pair();
    my ($calls, $id)      = (0);
    $id = $adapter->watch_io($reader, sub { $calls++; $adapter->unwatch_io($id) });
    give($writer);
    ok(wait_until(sub { $calls }), 'watched again, it does');
    run_for(QUIET);
    is($calls, 1, 'unwatched in its own callback');
};

contract held => 'a watch goes on when the adapter object goes' => sub {
    my $own   = new_adapter($adapter->loop);
    my $pipe  = watched_pipe($own);
    my $fired = 0;
    $own->watch_time(0.001, sub { $fired++ });
    my $id = $pipe->{id};
    $pipe->{end} = sub { $adapter->unwatch_io($id) };
    undef $own;
    give($pipe->{writer}, 'h');
    ok(wait_until(sub { $pipe->{got} eq 'h' && $fired }), 'both call back');
    $pipe->{end}->();
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::IO - tests of an adapter: handles

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_adapter_tests($code, { only => [ 'io', 'unwatch_io', 'held' ] });

=head1 DESCRIPTION

Tests of L<EventLoop::Fork::Test::Adapter>, which lists them.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
