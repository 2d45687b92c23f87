package EventLoop::Fork::Loop;

use strict;
use warnings;

use EventLoop::Fork::Error;
use Time::HiRes ();

our $VERSION = '0.001';

require XSLoader;
XSLoader::load('EventLoop::Fork', $VERSION);

# Best first. The built-in one is always there.
my @BACKENDS = qw(libev libevent poll);
my %MODULES  = (libev => 'EventLoop::Fork::Backend::Libev', libevent => 'EventLoop::Fork::Backend::Libevent');
my %PACKAGES = (libev => 'libev-dev', libevent                       => 'libevent-dev');

# The address of a backend's table (0: the built-in one), or nothing where it was not built.
sub _address {
    my ($backend) = @_;
    return 0 if $backend eq 'poll';
    my $module = $MODULES{$backend};
    local ($@, $!);
    return eval "require $module; 1" ? $module->can('address')->() : undef;    ## no critic: a fixed list of names
}

sub _fail { return _throw(shift, 'new', @_) }

# Backend and method of a new loop: what was asked for, or what the parent's loop had, or the environment, or the best.
sub _choose {
    my ($backend, $method)   = @_;
    my ($from, $method_from) = ('', '');
    my $is_asked_for = defined $backend;
    my ($parent_backend, $parent_method) = (_parent_backend(), _parent_method());
    if (!defined $backend && defined $parent_backend) {
        $backend = $parent_backend;
    }
    elsif (!defined $backend && length($ENV{EVENTLOOP_FORK_BACKEND} // '')) {
        ($backend, $from) = ($ENV{EVENTLOOP_FORK_BACKEND}, ' (from EVENTLOOP_FORK_BACKEND)');
    }
    my $address;
    if (defined $backend) {
        grep { $_ eq $backend } @BACKENDS
            or _fail('EVF_EINVAL', $backend, "unknown backend '$backend'$from; there are: @BACKENDS");
        $address = _address($backend);
        defined $address
            or _fail(
            'EVF_ENOTSUP', $backend,
            "backend '$backend'$from was not built; install $PACKAGES{$backend} and build EventLoop::Fork again"
            );
    }
    else {
        for (@BACKENDS) {
            ($backend, $address) = ($_, _address($_));
            last if defined $address;
        }
    }

    if (!defined $method && defined $parent_method && $backend eq $parent_backend) {
        $method = $parent_method;
    }
    elsif (!defined $method && length($ENV{EVENTLOOP_FORK_METHOD} // '')) {
        ($method, $method_from) = ($ENV{EVENTLOOP_FORK_METHOD}, ' (from EVENTLOOP_FORK_METHOD)');
    }
    if (defined $method) {
        my @methods = _methods($address);
        my $has     = grep { $_ eq $method } @methods;
        # The environment speaks of the backend that the program leaves open.
        return ($address, undef) if !$has && $is_asked_for && $method_from;
        $has
            or _fail(
            'EVF_EINVAL', $method,
            "backend '$backend' has no method '$method'$method_from here; " . "there are: @methods"
            );
    }
    return ($address, $method);
}

sub new {
    my ($class, %args)     = @_;
    my ($backend, $method) = delete @args{qw(backend method)};
    for my $name (sort keys %args) {
        _fail('EVF_EINVAL', $name, "unknown option '$name'");
    }
    my ($address, $chosen) = _choose($backend, $method);
    my $self = bless {}, $class;
    $self->_attach($address, $chosen, 0, 0);
    return $self;
}

sub backends {
    my %methods;
    for my $backend (@BACKENDS) {
        my $address = _address($backend);
        $methods{$backend} = [ _methods($address) ] if defined $address;
    }
    return \%methods;
}

sub time { return Time::HiRes::time() }

# ---- For the glue; what these throw has nowhere to go ---------------------------------------------------------------

sub _exception_text {
    my ($error) = @_;
    my $text = eval { "$error" };
    $text = 'an exception of class ' . ref($error) . ', whose text cannot be had' unless defined $text;
    $text =~ s/\n*\z/\n/;
    return $text;
}

# One string, so one write: processes that share STDERR would mix their words.
sub _complain {
    my ($text) = @_;
    print STDERR "EventLoop::Fork: $text";
    return;
}

# For a child that has died or returned what is no exit code: the parent sees only 255.
sub _child_name {
    my ($name) = @_;
    return defined $name ? "child '$name' (pid $$)" : "child (pid $$)";
}

sub _report_exception {
    my ($name, $error) = @_;
    my $text = _exception_text($error);
    EventLoop::Fork::Record::_note_error($text);
    _complain(_child_name($name) . ": $text");
    return;
}

sub _report_exit_value {
    my ($name, $value) = @_;
    _complain(_child_name($name) . ": '$value' is not an exit code (0 to 255)\n");
    return;
}

sub _report_hook {
    my ($phase, $label, $error) = @_;
    _complain("process $$: $phase hook $label failed: " . _exception_text($error));
    return;
}

sub _warn {
    my ($text) = @_;
    $text =~ s/\n*\z/\n/;
    warn "EventLoop::Fork: $text";
    return;
}

sub _call_adapter {
    my ($function, $result, @arguments) = @_;
    require EventLoop::Fork::Adapter;
    $$result = [ EventLoop::Fork::Adapter->can($function)->(@arguments) ];
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Loop - a C event loop on libev, libevent or poll, that forks correctly

=head1 SYNOPSIS

    use EventLoop::Fork::Loop;

    my $loop = EventLoop::Fork::Loop->new;

    $loop->watch_signal(INT => sub { $loop->stop });
    $loop->watch_io(handle => \*STDIN, on_read_ready => sub { print "input\n"; $loop->stop });

    my $pid = $loop->fork(
        code    => sub { print "in the child\n"; return 3 },
        on_exit => sub {
            my ($pid, $wait_status) = @_;
            print 'exit code ', $wait_status >> 8, "\n";    # exit code 3
            $loop->stop;
        },
    );
    $loop->run;

=head1 DESCRIPTION

A loop with the method names of L<IO::Async::Loop>, in C. Child processes and signals are events like any other. Programs
on IO::Async use L<IO::Async::Loop::Libev> or L<IO::Async::Loop::Libevent> instead, which are this loop with IO::Async's
whole interface.

All backends behave alike: they wait for descriptors, and everything else is done in one place. No Perl code runs inside
libev or libevent.

=head1 CONSTRUCTION

=head2 new

    my $loop = EventLoop::Fork::Loop->new(backend => 'libev', method => 'poll');

C<backend> is C<libev>, C<libevent> or C<poll>; the default is C<EVENTLOOP_FORK_BACKEND> of the environment, or the first
of them that is here. C<method> is how the backend asks the kernel; the default is C<EVENTLOOP_FORK_METHOD>, or the best.
In a forked child both default to those of the parent's loop.

=head2 backends

    my $methods = EventLoop::Fork::Loop->backends;    # { libev => ['epoll', 'poll', ...], poll => ['poll'] }

What is built and works on this machine, the best method first.

=head2 backend

=head2 method

What the loop is on, as words.

=head1 RUNNING

=head2 run

Runs until C<stop>; returns what was given to it. May be called again inside a callback.

=head2 stop

    $loop->stop(@result);

Ends the innermost C<run> after the callbacks that are due.

=head2 loop_once

    my $count = $loop->loop_once($timeout);

One turn: waits up to C<$timeout> seconds (C<undef>: until something happens) and runs what is due. Returns how many
callbacks it ran. It also returns after a handler of C<%SIG> has run.

=head2 is_running

True inside C<run>.

=head2 time

The wall-clock time, in seconds with a fraction.

=head1 WATCHES

After an C<unwatch_...> has returned, its callback is not called, even if its event was due. What is started in a turn is
first looked at in the next. An exception of a callback leaves C<run> or C<loop_once>; the loop stays usable, and what was
due is not lost.

=head2 watch_io

    $loop->watch_io(
        handle         => $handle,
        on_read_ready  => sub { ... },
        on_write_ready => sub { ... },
        on_hangup      => sub { ... },
    );

One watch for each descriptor. A second call adds or replaces callbacks. The handle becomes non-blocking. An end of file
or an error makes it ready for both; regular files are always ready. Unwatch a handle before you close it; one that was
closed first is dropped in silence.

=head2 unwatch_io

    $loop->unwatch_io(handle => $handle, on_read_ready => 1);

Removes the callbacks that are named with a true value.

=head2 watch_time

    my $id = $loop->watch_time(after => 1.5, code => sub { ... });
    my $id = $loop->watch_time(at => time + 60, code => sub { ... });

Calls C<code> once, never early. C<after> does not mind changes of the clock; C<at> follows them. Watches of one deadline
fire in the order of their start.

=head2 unwatch_time

    $loop->unwatch_time($id);

An id that has fired, or is undefined, is fine.

=head2 watch_idle

    my $id = $loop->watch_idle(when => 'later', code => sub { ... });

Calls C<code> once at the end of the next turn, which does not wait. C<later> is the only C<when>.

=head2 unwatch_idle

    $loop->unwatch_idle($id);

=head2 later

    my $id = $loop->later(sub { ... });

A short C<watch_idle>.

=head2 watch_signal

    $loop->watch_signal(TERM => sub { ... });

Calls the code in a turn, once for all deliveries since the last. While it is watched, C<$SIG{TERM}> holds a code
reference: a program may save it, set another, and put it back. A second call replaces the code. Several loops may watch
one signal. No signal is blocked.

=head2 unwatch_signal

    $loop->unwatch_signal('TERM');

Puts back what C<%SIG> held before, unless the program has set something else since.

=head2 watch_process

    $loop->watch_process($pid => sub { my ($pid, $wait_status) = @_; ... });

Calls the code once, when the child has ended, also if it had ended before. C<$wait_status> is as C<$?> after
C<waitpid>; it is -1 when somebody else took the status and the kernel does not tell it any more (Linux 6.15 and later
does). Other children are left alone: C<system>, backticks and your own C<waitpid> get theirs.

=head2 unwatch_process

    $loop->unwatch_process($pid);

The child is yours to wait for again.

=head2 watch_child

=head2 unwatch_child

IO::Async's older names of the two.

=head1 FORKING

=head2 fork

    my $pid = $loop->fork(
        code         => sub { ...; return $exit_code },
        on_exit      => sub { my ($pid, $wait_status) = @_; ... },
        name         => 'resizer',
        keep_signals => 0,
        keep_srand   => 0,
    );

Forks, and runs C<code> in the child. Before it runs:

=over 4

=item *

Signals have the parent's mask and default actions (ignored ones stay ignored; C<keep_signals> keeps handlers). No signal
meant for the parent is pending.

=item *

All loops of this class and their IO::Async cousins belong to the parent: starting a watch on one throws, stopping one
does nothing. A new loop is like the parent's. Every inherited epoll descriptor, of whichever library, has been replaced
by a private and empty one.

=item *

C<rand> gives other numbers than in the parent and in its siblings, unless C<keep_srand> is set.

=back

The value of C<code>, 0 to 255, is the exit code. An exception is printed to STDERR with C<name>, and the code is 255;
no value is 255 too. C<exit> works as one expects. The child's output is written; no END block and no destructor of the
parent's objects runs.

When no child can be made, an exception of the name C<EVF_EFORK> is thrown and the loop goes on.

=head2 post_fork

Gives the loop new kernel objects with the same watches. Not needed: a loop that finds itself in the child of a raw
C<fork> does so at its next use, and a daemon goes on with its loop. Watches of processes end there, because they are not
the child's children.

=head1 ERRORS

All are thrown as L<EventLoop::Fork::Error>, with the line of the caller.

=head1 ENVIRONMENT

C<EVENTLOOP_FORK_BACKEND> and C<EVENTLOOP_FORK_METHOD>, as in C<new>. A method that the backend lacks is an error, unless
the program has asked for that backend by name: then the method was meant for another one, and is passed over.

=head1 LIMITS

A loop belongs to the thread that made it. Signals can be watched in perl's main thread only. A handler that was
installed by C<POSIX::sigaction> without C<safe> runs at once, but does not end a wait.

=head1 SEE ALSO

L<EventLoop::Fork>, L<IO::Async::Loop::Libev>, L<IO::Async::Loop::Libevent>, L<EventLoop::Fork::Test::Loop>

=cut
