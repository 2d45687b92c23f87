package EventLoop::Fork;

use strict;
use warnings;

use EventLoop::Fork::Child;
use EventLoop::Fork::Hook;
use EventLoop::Fork::Loop;
use Exporter     ();
use Scalar::Util qw(blessed);

our $VERSION   = '0.001';
our @EXPORT_OK = qw(at_fork guard);

# ---- Import ---------------------------------------------------------------------------------------------------------

my %SWITCHES = (
    '-io_async' => sub { require EventLoop::Fork::IOAsync; EventLoop::Fork::IOAsync->install },
    '-isolate'  => sub { _isolate_always(1) },
);

sub import {
    my ($class, @names) = @_;
    for my $switch (grep {/\A-/} @names) {
        $SWITCHES{$switch}
            or _throw('EVF_EINVAL', 'import', $switch, "unknown switch '$switch'; there are: @{[ sort keys %SWITCHES ]}");
        $SWITCHES{$switch}->();
    }
    @_ = ($class, grep { !/\A-/ } @names);
    goto &Exporter::import;
}

sub _throw {
    my ($name, $operation, $value, $message) = @_;
    return EventLoop::Fork::Loop::_throw(EventLoop::Fork::Loop::_error_code($name), $operation, $value, $message);
}

# ---- Hooks and guards -----------------------------------------------------------------------------------------------

sub at_fork {
    @_ = ('EventLoop::Fork::Hook', @_);
    goto &EventLoop::Fork::Hook::register;
}

# Before every hook of the program: what must be right when those run.
sub _internal_hook {
    my ($name, %code) = @_;
    return EventLoop::Fork::Hook->_new($name, @code{qw(prepare parent child object)}, -1, 0, 0);
}

sub guard {
    require EventLoop::Fork::Guard;
    return EventLoop::Fork::Guard->new(@_);
}

# ---- Fork -----------------------------------------------------------------------------------------------------------

my %KNOWN = map { $_ => 1 } qw(code on_exit loop name keep_signals keep_srand loop_in_child);

sub _check_options {
    my ($pairs) = @_;
    @$pairs % 2 and _throw('EVF_EINVAL', 'fork', undef, 'arguments are not pairs of name => value');
    my %args = @$pairs;
    for my $name (sort keys %args) {
        $KNOWN{$name} or _throw('EVF_EINVAL', 'fork', $name, "unknown option '$name'");
    }
    EventLoop::Fork::Loop::_check_code('fork', code    => $args{code});
    EventLoop::Fork::Loop::_check_code('fork', on_exit => $args{on_exit}) if defined $args{on_exit};
    my $kind = defined $args{loop_in_child} ? $args{loop_in_child} : 'fresh';
    $kind eq 'fresh' || $kind eq 'keep'
        or _throw('EVF_EINVAL', 'fork', $kind, "'loop_in_child' is 'fresh' or 'keep', not '$kind'");
    return (%args, keeps_loop => $kind eq 'keep');
}

sub fork {
    my ($class, @pairs) = @_;
    my %args    = _check_options(\@pairs);
    my $native  = blessed $args{loop} && _is_our_loop($args{loop}) ? $args{loop} : undef;
    my $adapter = $native ? undef : _adapter($args{loop});
    $native = $adapter->loop if $adapter && _is_our_loop($adapter->loop);
    my ($code, $on_exit, $keeps) = @args{qw(code on_exit keeps_loop)};
    my $child = EventLoop::Fork::Child->_new(name => $args{name});
    my $inner = sub {
        $child->{pid} = $$;
        $child->{loop_maker} =
              $keeps && $native ? sub {$native}
            : $native           ? do { my $loop_class = ref $native; sub { _adapter($loop_class)->loop } }
            :                     sub { $adapter->loop_for_child($keeps) };
        return $code->($child);
    };
    my $ended = sub {
        my ($pid, $wait_status) = @_;
        $child->{wait_status} = $wait_status;
        $on_exit->($child, $wait_status) if $on_exit;
    };
    # A kept loop goes on with its signal watches.
    my $keeps_signals = defined $args{keep_signals} ? $args{keep_signals} : $keeps;
    my ($pid, $fd) = _fork(
        $native, $inner, $native ? $ended : undef, $args{name}, !$native,
        $keeps_signals ? 1 : 0, $args{keep_srand} ? 1 : 0, $keeps,
        $keeps && $adapter ? $adapter->family : undef,
    );
    $child->{pid} = $pid;
    $adapter->watch_process($pid, $fd, $ended) unless $native;
    return $child;
}

sub _adapter {
    my ($loop) = @_;
    require EventLoop::Fork::Adapter;
    return EventLoop::Fork::Adapter::for_loop($loop);
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
