package EventLoop::Fork::Test::Adapter;

# The contract of an adapter as tests, for any family of loops. It forks through EventLoop::Fork and by perl's own fork,
# and looks at both sides. EventLoop::Fork::Test::Loop exports run_adapter_tests, which is here; each suite is a module.

use strict;
use warnings;

our $VERSION = '0.001';

use Carp                                     qw(croak);
use EventLoop::Fork::Test::Adapter::Contract qw(contracts);
use EventLoop::Fork::Test::Adapter::Watchers qw($adapter $bound new_adapter);
use EventLoop::Fork::Test::Loop::Children    qw(guarded);
use EventLoop::Fork::Test::Loop::Helpers     qw(ok);
use Exporter                                 qw(import);
use Test::More                               ();

# The suites, in their order.
use EventLoop::Fork::Test::Adapter::Class   ();
use EventLoop::Fork::Test::Adapter::IO      ();
use EventLoop::Fork::Test::Adapter::Timer   ();
use EventLoop::Fork::Test::Adapter::Signal  ();
use EventLoop::Fork::Test::Adapter::Fork    ();
use EventLoop::Fork::Test::Adapter::Inherit ();

our @EXPORT    = qw(run_adapter_tests);
our @EXPORT_OK = qw(run_adapter_tests adapter_tests);

sub adapter_tests {
    return map { { name => $_->{name}, promise => $_->{promise} } } contracts();
}

sub run_adapter_tests {
    my ($constructor, @options) = @_;
    ref $constructor eq 'CODE' or croak 'run_adapter_tests needs code that makes a loop';
    my %options = @options == 1 && ref $options[0] ? %{ $options[0] } : @options;
    my $skip    = delete $options{skip} || {};
    my $only    = delete $options{only};
    my %known   = map { $_->{name} => 1 } contracts();
    for my $name (keys %$skip, @{ $only || [] }) {
        $known{$name} or croak "No test '$name'";
    }
    my ($unknown) = sort keys %options;
    croak "Unknown option '$unknown'" if defined $unknown;
    my %wanted = map { $_ => 1 } @{ $only || [ keys %known ] };
    for my $test (grep { $wanted{ $_->{name} } } contracts()) {
        my $reason = $skip->{ $test->{name} };
        if (defined $reason) {
        SKIP: { Test::More::skip("$test->{name}: $reason", 1) }
            next;
        }
        Test::More::subtest(
            "$test->{name}: $test->{promise}" => sub { _run_one($test, $constructor); Test::More::done_testing() });
    }
    return;
}

sub _run_one {
    my ($test, $constructor) = @_;
    $adapter = new_adapter($constructor->());
    my $done  = eval { guarded($test->{code}); 1 };
    my $error = $@;
    undef $adapter;
    ok(0, "$test->{name}: died: $error") unless $done;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Test::Adapter - acceptance tests for adapters

=head1 SYNOPSIS

    use Test::More;
    use EventLoop::Fork::Loop;
    use EventLoop::Fork::Test::Loop;

    # use My::Adapter;    # has called EventLoop::Fork::Adapter::register
    run_adapter_tests(sub { EventLoop::Fork::Loop->new });
    done_testing;

=head1 DESCRIPTION

What L<EventLoop::Fork::Adapter> asks of an adapter, each promise a test, for authors of adapters. Most tests fork, and
look at both sides. Each waits for events, ends after a minute at the latest, and ends its children.

=head1 FUNCTIONS

=head2 run_adapter_tests

    run_adapter_tests($code);
    run_adapter_tests($code, { skip => { keep => 'the library has no way to' } });

L<EventLoop::Fork::Test::Loop> exports it, too. The code returns a loop, or what stands for one: an object or a name
that C<< EventLoop::Fork->fork(loop => ...) >> takes. It is called once for each test. Each test is a subtest. Options:

=over 4

=item skip

A hash of names of tests, with reasons.

=item only

An array of names: no others are run.

=back

=head2 adapter_tests

The tests in their order: for each a hash with its C<name> and its C<promise>.

=head1 TESTS

=over 4

=item class

C<for_loop> answers with the adapter, which has every method and accepts its own loops only.

=item io

A readable handle calls back, and only a readable one.

=item unwatch_io

An unwatched handle does not call back.

=item held

A watch goes on when the adapter object goes.

=item time

A timer fires once, not early, and in order. When the system tells that this process was kept from its processor, the
order is looked at once more.

=item unwatch_time

An unwatched timer does not fire.

=item run

C<run> blocks until C<stop>, and may be run again.

=item signal

A signal that is watched calls back at once, also in a loop that waits for nothing else.

=item unwatch_signal

What a signal did before it was watched, it does afterwards.

=item signal_in_child

A watch of a signal is not for a child, which may have its own; that of the parent goes on.

=item signal_kept

In a child of a raw fork a watch of a signal goes on; that of the parent, too.

=item fork

The end of a child arrives once, with its status, through the loop.

=item child_loop

The loop of a child works, is new, and of the same family.

=item renew

No inherited watcher fires in a child, whatever is ready; those of the parent go on.

=item stale

A child that unwatches what it has inherited disturbs nobody.

=item in_callback

A fork in a callback is a fork like others.

=item generations

A child may fork in its turn.

=item keep

With C<< loop_in_child => 'keep' >> the inherited watchers go on in the child; those of the parent, too.

=item raw

In a child of a raw fork the loop goes on, as in a daemon; that of the parent, too.

=back

=head1 SEE ALSO

L<EventLoop::Fork::Adapter>, L<EventLoop::Fork::Test::Loop>

=cut
