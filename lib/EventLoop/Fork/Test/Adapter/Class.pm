package EventLoop::Fork::Test::Adapter::Class;

# Which methods an adapter has, and which loops are its own.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork::Adapter ();
use EventLoop::Fork::Test::Adapter::Contract;
use EventLoop::Fork::Test::Adapter::Watchers;
use EventLoop::Fork::Test::Loop::Helpers qw(is_list ok);

contract class => 'for_loop answers with the adapter, which has every method' => sub {
    my $class = ref $adapter;
    ok($adapter->isa('EventLoop::Fork::Adapter'), "$class is an EventLoop::Fork::Adapter");
    my @missing = grep { !$adapter->can($_) } EventLoop::Fork::Adapter::contract();
    is_list(\@missing, [], 'no method is missing');
    ok(length $class->family, 'the family has a name');
    ok($class->is_loaded, 'its library is loaded');
    ok($class->accepts($adapter->loop), 'it accepts its loop');
    ok(!$class->accepts('No::Such::Loop'), 'it does not accept what is none');
    ok(!$class->accepts(bless {}, 'EventLoop::Fork::Test::Adapter::NoLoop'), 'nor an object of another class');
};

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter::Class - tests of an adapter: its methods and its loops

=head1 SYNOPSIS

    use EventLoop::Fork::Test::Loop;

    run_adapter_tests($code, { only => ['class'] });

=head1 DESCRIPTION

Tests of L<EventLoop::Fork::Test::Adapter>, which lists them.

=head1 SEE ALSO

L<EventLoop::Fork::Test::Adapter>

=cut
