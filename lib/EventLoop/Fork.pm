package EventLoop::Fork;

use strict;
use warnings;

use EventLoop::Fork::Child;
use EventLoop::Fork::Hook;
use EventLoop::Fork::Loop;
use EventLoop::Fork::Section;
use Exporter     ();
use Scalar::Util qw(blessed);

our $VERSION   = '0.001';
our @EXPORT_OK = qw(at_fork guard prevent_fork);

# ---- Import ---------------------------------------------------------------------------------------------------------

my %SWITCHES = (
    '-io_async' => sub { require EventLoop::Fork::IOAsync; EventLoop::Fork::IOAsync->install },
    '-isolate'  => sub { _isolate_always(1) },
);

sub import {
    my ($class, @names) = @_;
    for my $switch (grep { /\A-/ } @names) {
        $SWITCHES{$switch}
            or EventLoop::Fork::Loop::_throw(
            'EVF_EINVAL', 'import', $switch,
            "unknown switch '$switch'; there are: @{[ sort keys %SWITCHES ]}"
            );
        $SWITCHES{$switch}->();
    }
    @_ = ($class, grep { !/\A-/ } @names);
    goto &Exporter::import;
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

# Also a class method. The section ends with this call, however that is left.
sub prevent_fork (&) {    ## no critic (SubroutinePrototypes): called with a block
    my $code = pop;
    EventLoop::Fork::Loop::_check_code('prevent_fork', code => $code);
    my $section = EventLoop::Fork::Section->enter($code);
    return $code->();
}

# ---- Fork -----------------------------------------------------------------------------------------------------------

my %KNOWN = map { $_ => 1 } qw(code on_exit loop name keep_signals keep_srand loop_in_child _row);

sub _check_options {
    my ($pairs) = @_;
    @$pairs % 2
        and EventLoop::Fork::Loop::_throw('EVF_EINVAL', 'fork', undef, 'arguments are not pairs of name => value');
    my %args = @$pairs;
    for my $name (sort keys %args) {
        $KNOWN{$name} or EventLoop::Fork::Loop::_throw('EVF_EINVAL', 'fork', $name, "unknown option '$name'");
    }
    EventLoop::Fork::Loop::_check_code('fork', code    => $args{code});
    EventLoop::Fork::Loop::_check_code('fork', on_exit => $args{on_exit}) if defined $args{on_exit};
    my $kind = defined $args{loop_in_child} ? $args{loop_in_child} : 'fresh';
    $kind eq 'fresh' || $kind eq 'keep'
        or EventLoop::Fork::Loop::_throw(
        'EVF_EINVAL', 'fork', $kind,
        "'loop_in_child' is 'fresh' or 'keep', not '$kind'"
        );
    return (%args, keeps_loop => $kind eq 'keep');
}

sub fork {
    my ($class, @pairs) = @_;
    my %args    = _check_options(\@pairs);
    my $native  = blessed $args{loop} && _is_our_loop($args{loop}) ? $args{loop} : undef;
    my $adapter = $native             && !$args{keeps_loop}        ? undef       : _adapter($args{loop});
    $native = $adapter->loop if $adapter && _is_our_loop($adapter->loop);
    my ($code, $on_exit, $keeps) = @args{qw(code on_exit keeps_loop)};
    my $row   = $args{_row};                    # of a supervisor's worker: it has a record
    my $child = EventLoop::Fork::Child->_new(
        name => $args{name},
        $row ? () : (record => EventLoop::Fork::Record->new),
    );
    my $inner = sub {
        $child->{pid} = $$;
        $child->{loop_maker} =
            $keeps && $native
            ? sub { $native }
            : $native ? do {
            my $loop_class = ref $native;
            sub { _adapter($loop_class)->loop }
            }
            : sub { $adapter->loop_for_child($keeps) };
        return $code->($child);
    };
    my $ended = sub {
        my ($pid, $wait_status) = @_;
        $child->_end($wait_status);
        $on_exit->($child, $wait_status) if $on_exit;
    };
    # A kept loop goes on with its signal watches.
    my $keeps_signals = defined $args{keep_signals} ? $args{keep_signals} : $keeps;
    my ($pid, $fd) = _fork(
        $native, $inner, $native ? $ended : undef, $args{name}, !$native,
        $keeps_signals           ? 1                : 0, $args{keep_srand} ? 1 : 0, $keeps,
        $keeps && $adapter       ? $adapter->family : undef,
        $child->{record}, $row   ? @$row            : (),
    );
    $child->{pid} = $pid;
    $adapter->watch_process($pid, $fd, $ended) unless $native;
    return $child;
}

# What a fork of this program would share or break, before it is done.
sub doctor {
    my ($class, @options) = @_;
    { local ($@, $!); require EventLoop::Fork::Doctor }
    return EventLoop::Fork::Doctor->examine(@options);
}

sub _adapter {
    my ($loop) = @_;
    require EventLoop::Fork::Adapter;
    return EventLoop::Fork::Adapter::for_loop($loop);
}

1;

__END__

=head1 NAME

EventLoop::Fork - fork correctly under any event loop

=head1 SYNOPSIS

    use EventLoop::Fork qw(at_fork guard);
    use EventLoop::Fork::Loop;

    my $loop = EventLoop::Fork::Loop->new;    # or one of IO::Async, EV, AnyEvent, Mojo::IOLoop

    my $hook = at_fork(
        name    => 'numbers',
        prepare => sub { print "a fork comes\n" },
        child   => sub { print "in the child\n" },
    );

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
behind it, signal handlers and masks, pending signals, random numbers, buffered output, connections. This distribution
forks so that parent and child each have their own. L<EventLoop::Fork::ForkSafety> says what is safe and what is not.

=over 4

=item L<EventLoop::Fork::Loop>

The loop: libev, libevent or poll behind one interface.

=item L<IO::Async::Loop::Libev>, L<IO::Async::Loop::Libevent>

The same for programs on IO::Async.

=item L<EventLoop::Fork::Adapter>

What is known of the loops of others, and how to teach it another one.

=item L<EventLoop::Fork::Guard>

What a child must not touch: database handles, sockets, streams.

=item L<EventLoop::Fork::Test::Loop>

The tests that a loop or an adapter must pass, for their authors.

=back

=head1 SWITCHES

    use EventLoop::Fork -io_async;

C<fork>, C<watch_process> and C<watch_child> of every IO::Async loop class go through this module, with IO::Async's
contract. Also for a program that does not know: C<perl -MEventLoop::Fork=-io_async program.pl>.

    use EventLoop::Fork -isolate;

In the child of perl's own C<fork>, too, each inherited epoll descriptor of an unknown library is replaced by an empty
one. Not for programs that become a daemon with such a library's loop: its watches would be gone.

=head1 CLASS METHODS

=head2 fork

    my $child = EventLoop::Fork->fork(code => sub { ... }, %options);

Forks, and runs C<code> in the child, which is cleaned first as C<fork> of L<EventLoop::Fork::Loop> describes. Returns an
L<EventLoop::Fork::Child>. The options:

=over 4

=item C<code>

Gets the L<EventLoop::Fork::Child>. What it returns, 0 to 255, is the exit code.

=item C<loop>

An object of a loop, or its class: L<EventLoop::Fork::Loop>, any class of L<IO::Async::Loop>, L<EV> (C<EV::default_loop>,
or an L<EV::Loop|EV>), C<AnyEvent>, L<Mojo::IOLoop>, or what an adapter has been registered for. The default is the one
in use. If several are, all of them are safe in the child, one is chosen, and a warning says which.

=item C<on_exit>

Called through that loop when the child has ended, with the L<EventLoop::Fork::Child> and the wait status. Statuses of
other children are left alone.

=item C<loop_in_child>

C<fresh>, the default: the child's C<loop> is a new one of the same family; no inherited watch fires. C<keep>: the
inherited loop and its watches go on in the child, on kernel objects of its own, and in the parent. Signal handlers stay
then, unless C<keep_signals> says otherwise.

=item C<name>

For messages about the child.

=item C<keep_signals>, C<keep_srand>

As in L<EventLoop::Fork::Loop>.

=back

=head2 doctor

    my $report = EventLoop::Fork->doctor(%options);
    print $report->as_text;

Forks canaries, and tells what a fork of this program would share or break: an L<EventLoop::Fork::Doctor::Report>. See
L<EventLoop::Fork::Doctor>, and C<evfork doctor> in L<evfork>.

=head1 FUNCTIONS

Exported on request.

=head2 at_fork

    my $hook = at_fork(
        name       => 'flags',
        prepare    => sub { ... },
        parent     => sub { ... },
        child      => sub { ... },
        object     => $client,
        priority   => 50,
        timeout    => 5,
        on_failure => 'report',
        fork_safe  => sub { ... },
    );

Calls the code around every fork of this process after which Perl code goes on in the child: of this module, perl's own
C<fork>, C<open> to C<-|> or C<|->, L<IPC::Open3>. Not for C<system>, backticks, and C<open> with a command. Returns an
L<EventLoop::Fork::Hook>.

=over 4

=item C<prepare>, C<parent>, C<child>

Called before the fork; after it in the parent, also when the fork failed; after it in the child. One of them, or
C<fork_safe>, is needed.

=item C<object>

Passed to the callbacks. The hook does not keep it, and goes with it: let the callbacks not hold it either.

=item C<priority>

0 to 100, 50 if it is not given. C<prepare> runs from high to low, the others from low to high.

=item C<timeout>

Seconds. A C<child> callback that takes longer is reported on STDERR, and goes on.

=item C<on_failure>

A callback that dies is reported on STDERR with the hook's name and place, and the fork goes on. With C<cancel>, when
C<prepare> dies, there is no fork: C<fork> of this module throws C<EVF_ECANCELED>, perl's own returns undef with C<$!>
ECANCELED. C<skip> is for a supervisor (L<EventLoop::Fork::Supervisor>): when C<child> has ended worker after worker, and the
breaker would open, that callback is left out until the next reload.

=item C<fork_safe>

For what cannot be made right in a child: a library with threads of its own, say. With a false value there is no fork as
long as the hook is there, which is as long as its C<object> lives: C<fork> of this module throws C<EVF_ECANCELED>, perl's
own returns undef with C<$!> ECANCELED, and warns once for each place. The message names the hook. Code is asked before
each fork, gets the C<object>, and says by a true value that the fork may go on; an exception is the reason why not. All
are asked before any C<prepare> runs.

    my $client = My::Threads->new;
    at_fork(name => 'threads', object => $client, fork_safe => sub { $_[0]->is_idle });

=back

A hook may register and cancel hooks; a new one takes part in the next fork. C<fork> of this module throws C<EVF_EBUSY>
inside a hook; perl's own works there, without hooks.

A fork by C code is noticed in the child. Its hooks run when Perl goes on there, but for those with C<prepare>, which are
named in a warning. So is a copy that C code makes by a system call of its own, at its next use of a loop, a hook or a guard;
see L<EventLoop::Fork::ForkSafety/WHAT WE CANNOT DO>.

=head2 prevent_fork

    my @found = prevent_fork {
        My::Library::lookup($name)    # holds locks that a child would find locked
    };
    EventLoop::Fork->prevent_fork(sub { ... });

Runs the code, and returns what it returns. Until it is left, by whatever way, this thread does not fork: C<fork> of this
module throws an L<EventLoop::Fork::Error> of the name C<EVF_EPREVENTED>, perl's own and C<open> to a copy of the program
return undef with C<$!> ECANCELED and a warning. (Not EAGAIN: who then waits and tries again would wait for ever.) Both name
the place of the section. C<system>, backticks and what else only executes a program go on, but not L<IPC::Open3>, whose
child runs Perl code first. Sections nest.

A supervisor that is to start a worker meanwhile, because a loop runs in the section, starts it afterwards; that is no
failed start. A fork by C code cannot be prevented: its child is not in the section, and warns of it.

=head2 guard

    guard($dbh);

The child will neither speak on it nor close it politely. See L<EventLoop::Fork::Guard>.

=head1 SEE ALSO

L<EventLoop::Fork::ForkSafety>, L<EventLoop::Fork::Child>, L<EventLoop::Fork::Hook>, L<EventLoop::Fork::Error>

=head1 LICENSE

The same terms as Perl itself.

=cut
