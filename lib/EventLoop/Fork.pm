package EventLoop::Fork;

use strict;
use warnings;

use EventLoop::Fork::Child;
use EventLoop::Fork::Loop;
use Scalar::Util qw(blessed);

our $VERSION = '0.001';

# The one that IO::Async uses, if it is ours; else one of our own.
my $own_loop;

sub _loop_in_use {
    no warnings 'once';
    my $one = $IO::Async::Loop::ONE_TRUE_LOOP;
    return $one if blessed $one && $one->isa('EventLoop::Fork::Loop::IOAsync');
    return $own_loop ||= EventLoop::Fork::Loop->new;
}

sub _check_loop {
    my ($loop) = @_;
    return $loop if blessed $loop
        && ($loop->isa('EventLoop::Fork::Loop') || $loop->isa('EventLoop::Fork::Loop::IOAsync'));
    EventLoop::Fork::Loop::_throw(EventLoop::Fork::Loop::_error_code('EVF_ENOTSUP'), 'fork', $loop,
        "'loop' is " . (ref $loop || "'$loop'") . '; supported are EventLoop::Fork::Loop, IO::Async::Loop::Libev and '
            . 'IO::Async::Loop::Libevent');
}

my %KNOWN = map { $_ => 1 } qw(code on_exit loop name keep_signals keep_srand);

sub _check_options {
    my ($pairs) = @_;
    my $invalid = EventLoop::Fork::Loop::_error_code('EVF_EINVAL');
    @$pairs % 2
        and EventLoop::Fork::Loop::_throw($invalid, 'fork', undef, 'arguments are not pairs of name => value');
    my %args = @$pairs;
    for my $name (sort keys %args) {
        $KNOWN{$name} or EventLoop::Fork::Loop::_throw($invalid, 'fork', $name, "unknown option '$name'");
    }
    return %args;
}

sub fork {
    my ($class, @pairs) = @_;
    my %args  = _check_options(\@pairs);
    my $given = delete $args{loop};
    my $loop  = defined $given ? _check_loop($given) : _loop_in_use();
    my ($code, $on_exit) = delete @args{qw(code on_exit)};
    EventLoop::Fork::Loop::_check_code('fork', code    => $code);
    EventLoop::Fork::Loop::_check_code('fork', on_exit => $on_exit) if defined $on_exit;
    my $child = EventLoop::Fork::Child->_new(name => $args{name});
    my $inner = sub {
        $own_loop = undef;
        $child->{pid}        = $$;
        $child->{loop_class} = ref $loop;
        return $code->($child);
    };
    $child->{pid} = EventLoop::Fork::Loop::fork(
        $loop, %args,
        code    => $inner,
        on_exit => sub {
            my ($pid, $wait_status) = @_;
            $child->{wait_status} = $wait_status;
            $on_exit->($child, $wait_status) if $on_exit;
        },
    );
    return $child;
}

1;

__END__

=head1 NAME

EventLoop::Fork - fork correctly under an event loop

=head1 SYNOPSIS

    use EventLoop::Fork;
    use EventLoop::Fork::Loop;

    my $loop = EventLoop::Fork::Loop->new;

    my $child = EventLoop::Fork->fork(
        loop    => $loop,
        name    => 'sum',
        code    => sub { my ($self) = @_; return 3 },    # $self->loop is a new loop
        on_exit => sub {
            my ($child, $wait_status) = @_;
            print $child->name, ': ', $child->exit_reason, "\n";    # sum: exit 3
            $loop->stop;
        },
    );
    $loop->run;

=head1 DESCRIPTION

A program on an event loop that forks shares more with its child than it means to: the loop object, the kernel object
behind it, signal handlers and masks, pending signals, random numbers, buffered output. This distribution forks so that
parent and child each have their own.

=over 4

=item L<EventLoop::Fork::Loop>

The loop: libev, libevent or poll behind one interface.

=item L<IO::Async::Loop::Libev>, L<IO::Async::Loop::Libevent>

The same for programs on IO::Async.

=item L<EventLoop::Fork::Test::Loop>

The tests that a loop must pass, for authors of backends.

=back

=head1 CLASS METHODS

=head2 fork

    my $child = EventLoop::Fork->fork(code => sub { ... }, %options);

As C<fork> of L<EventLoop::Fork::Loop>, with the same options, and:

=over 4

=item C<loop>

A loop of this distribution. The default is the one that IO::Async uses, if it is ours, or one that is made on first use.

=item C<code>

Gets the L<EventLoop::Fork::Child>; its C<loop> is a new loop.

=item C<on_exit>

Gets the L<EventLoop::Fork::Child> and the wait status.

=back

Returns an L<EventLoop::Fork::Child>.

=head1 SEE ALSO

L<EventLoop::Fork::Loop>, L<EventLoop::Fork::Child>, L<EventLoop::Fork::Error>

=head1 LICENSE

The same terms as Perl itself.

=cut
