package IsolationTest::Family;

# What t/isolation needs to know of each kind of event loop: how to make one and use it, in the words of its own manual.
# Loads a library when it is asked for it, and never this distribution, unless that is the loop.

use strict;
use warnings;

use ForkTest     qw(now);
use POSIX        ();
use Scalar::Util qw(refaddr);

# The environment and modules that each needs, and how a program asks it for its loop.
my %FAMILIES = (
    'native-libev' => { class => 'Native', loop_class => 'EventLoop::Fork::Loop', arguments => [ backend => 'libev' ] },
    'native-libevent' =>
        { class => 'Native', loop_class => 'EventLoop::Fork::Loop', arguments => [ backend => 'libevent' ] },
    'native-poll' => { class => 'Native', loop_class => 'EventLoop::Fork::Loop', arguments => [ backend => 'poll' ] },
    'io-async-libev'    => { class => 'IOAsync', loop_class => 'IO::Async::Loop::Libev' },
    'io-async-libevent' => { class => 'IOAsync', loop_class => 'IO::Async::Loop::Libevent' },
    'io-async-poll'     => { class => 'IOAsync', loop_class => 'IO::Async::Loop::Poll' },
    'io-async-select'   => { class => 'IOAsync', loop_class => 'IO::Async::Loop::Select' },
    'io-async-epoll'    => { class => 'IOAsync', loop_class => 'IO::Async::Loop::Epoll' },
    'io-async-glib'     => { class => 'IOAsync', loop_class => 'IO::Async::Loop::Glib' },
    'io-async-mojo'     => {
        class       => 'IOAsync',
        loop_class  => 'IO::Async::Loop::Mojo',
        environment => { MOJO_REACTOR => 'Mojo::Reactor::Poll' },
    },
    'ev-default' => { class => 'EV' },
    # On io_uring, EV hangs for ever after some hundred changes of watches, without any fork.
    'ev-io_uring'   => { class => 'EV', environment => { LIBEV_FLAGS => 128 }, leaves_out => { busy => 1 } },
    'ev-dynamic'    => { class => 'EVDynamic' },
    'anyevent-perl' => { class => 'AnyEvent', environment => { PERL_ANYEVENT_MODEL => 'Perl' } },
    'anyevent-ev'   => { class => 'AnyEvent', needs       => ['EV'], environment => { PERL_ANYEVENT_MODEL => 'EV' } },
    'mojo-poll'     => { class => 'Mojo', environment     => { MOJO_REACTOR => 'Mojo::Reactor::Poll' } },
    'mojo-ev'       => { class => 'Mojo', needs => ['EV'], environment => { MOJO_REACTOR => 'Mojo::Reactor::EV' } },
    'linux-epoll'   => { class => 'LinuxEpoll', switches => ['-isolate'] },
);

sub names { return sort keys %FAMILIES }

sub for_name {
    my ($base, $name) = @_;
    my $family = $FAMILIES{$name} or die "No family '$name'\n";
    return "$base\::$family->{class}"->new(name => $name, %$family);
}

sub new { my ($class, %self) = @_; return bless {%self}, $class }

sub environment { return %{ $_[0]{environment} || {} } }

# What must be installed, for the reason of a skip.
sub needs { my ($self) = @_; return ($self->modules, @{ $self->{needs} || [] }) }

# A reason why it does not work on this machine, asked in a process of its own.
sub lacks { return '' }

# The loop is this distribution's, so there is no plain tool.
sub is_ours { return 0 }

# In the first process.
sub start {
    my ($self) = @_;
    for my $module ($self->modules) {
        eval "require $module; 1" or die $@;    ## no critic (StringyEval): names from above
    }
    $self->{loop} = $self->make;
    return $self;
}

# For a child: the same kind, on another loop.
sub on {
    my ($self, $loop) = @_;
    return ref($self)->new(%$self, loop => $loop);
}

# What a program in a child gets that asks for its loop once more.
sub again { my ($self) = @_; return $self->on($self->{loop}) }

# For EventLoop::Fork->fork(loop => ...).
sub argument { return $_[0]{loop} }

# Two loops are one if this is the same; undef where a program has no object to ask for.
sub identity { return refaddr $_[0]{loop} }

# Turns until the condition holds; false: it did not within so many seconds.
sub wait_for {
    my ($self, $condition, $seconds) = @_;
    my $deadline = now() + $seconds;
    until ($condition->()) {
        my $left = $deadline - now();
        return 0 if $left <= 0;
        $self->turn($left > 0.02 ? 0.02 : $left);
    }
    return 1;
}

sub run_for {
    my ($self, $seconds) = @_;
    $self->wait_for(sub { 0 }, $seconds);
    return;
}

# A program's own fork, where the library has nothing better: what its manual says comes on top.
sub own_fork {
    my ($self, $code) = @_;
    my $pid = fork;
    defined $pid or die "fork: $!";
    return $pid if $pid;
    $self->after_fork;
    POSIX::_exit($code->($self));
}

# Loops that the library has beside the one under test become private when they are used.
sub use_others { return }

sub has_own_fork  { return $_[0]->can('after_fork') ? 1 : 0 }
sub has_processes { return 1 }
sub has_timers    { return 1 }

# A handler in %SIG, for libraries that leave signals to perl.
sub perl_signal {
    my ($self, $name, $code) = @_;
    $SIG{$name} = $code;    ## no critic (LocalizedPunctuationVars): as long as it is watched
    return { stop => sub { $SIG{$name} = 'DEFAULT' } };    ## no critic (LocalizedPunctuationVars)
}

# Lets the loop go, as far as a program can.
sub destroy { delete $_[0]{loop}; return }

# ---- IO::Async, and ours -------------------------------------------------------------------------------------------

{

    package IsolationTest::Family::IOAsync;
    our @ISA = ('IsolationTest::Family');

    sub modules {
        my ($self) = @_;
        return ('IO::Async::Loop', $self->{loop_class});
    }

    sub is_ours { return $_[0]{loop_class} =~ /::Libev(?:ent)?\z/ }

    # As a program does that names the class it wants.
    sub make {
        my ($self) = @_;
        require IO::Async::Loop;
        return $self->{loop_class}->new(@{ $self->{arguments} || [] });
    }

    sub again { my ($self) = @_; return $self->on(IO::Async::Loop->new) }

    sub read {
        my ($self, $handle, $code) = @_;
        my $loop = $self->{loop};
        $loop->watch_io(handle => $handle, on_read_ready => $code);
        return { stop => sub { $loop->unwatch_io(handle => $handle, on_read_ready => 1) } };
    }

    sub write {
        my ($self, $handle, $code) = @_;
        my $loop = $self->{loop};
        $loop->watch_io(handle => $handle, on_write_ready => $code);
        return { stop => sub { $loop->unwatch_io(handle => $handle, on_write_ready => 1) } };
    }

    sub timer {
        my ($self, $seconds, $code) = @_;
        my $loop = $self->{loop};
        my $id   = $loop->watch_time(after => $seconds, code => $code);
        return { stop => sub { $loop->unwatch_time($id) } };
    }

    sub signal {
        my ($self, $name, $code) = @_;
        my $loop = $self->{loop};
        $loop->watch_signal($name => $code);
        return { stop => sub { $loop->unwatch_signal($name) } };
    }

    sub process {
        my ($self, $pid, $code) = @_;
        $self->{loop}->watch_process($pid => sub { $code->($_[1]) });
        return {};
    }

    sub turn { my ($self, $seconds) = @_; $self->{loop}->loop_once($seconds); return }

    sub has_own_fork { return 1 }

    sub own_fork {
        my ($self, $code) = @_;
        return $self->{loop}->fork(code => sub { $code->($self->on(IO::Async::Loop->new)) });
    }

    sub destroy {
        my ($self) = @_;
        no warnings 'once';
        undef $IO::Async::Loop::ONE_TRUE_LOOP;
        delete $self->{loop};
        return;
    }
}

{

    package IsolationTest::Family::Native;
    our @ISA = ('IsolationTest::Family::IOAsync');

    sub modules { return 'EventLoop::Fork::Loop' }
    sub is_ours { return 1 }
    sub make    { my ($self) = @_; return EventLoop::Fork::Loop->new(@{ $self->{arguments} }) }
    sub again   { my ($self) = @_; return $self->on($self->{loop}) }

    sub lacks {
        my ($self) = @_;
        my $backend = $self->{arguments}[1];
        return "the backend $backend was not built"
            unless ForkTest::run_program(
            'use EventLoop::Fork::Loop; print grep { $_ eq $ARGV[0] } keys %{ EventLoop::Fork::Loop->backends }',
            $backend
        )->{stdout};
        return '';
    }

    sub own_fork {
        my ($self, $code) = @_;
        return $self->{loop}->fork(code => sub { $code->($self->on(EventLoop::Fork::Loop->new)) });
    }

    sub destroy { delete $_[0]{loop}; return }
}

# ---- EV -------------------------------------------------------------------------------------------------------------

{

    package IsolationTest::Family::EV;
    our @ISA = ('IsolationTest::Family');

    sub modules  { return 'EV' }
    sub make     { return EV::default_loop() }
    sub again    { my ($self) = @_; return $self->on(EV::default_loop()) }
    sub identity { return undef }    # there is one default loop, whose watchers come and go

    sub lacks {
        my ($self) = @_;
        my $flags = { $self->environment }->{LIBEV_FLAGS} or return '';
        local $ENV{LIBEV_FLAGS} = $flags;
        return ForkTest::run_program('use EV; print EV::backend()')->{stdout} eq $flags
            ? ''
            : "no such backend of EV here ($flags)";
    }

    sub read   { my ($self, $handle, $code) = @_; return held($self->{loop}->io($handle, EV::READ(), $code)) }
    sub write  { my ($self, $handle, $code) = @_; return held($self->{loop}->io($handle, EV::WRITE(), $code)) }
    sub signal { my ($self, $name, $code)   = @_; return held($self->{loop}->signal($name, $code)) }

    sub timer {
        my ($self, $seconds, $code) = @_;
        $self->{loop}->now_update;
        return held($self->{loop}->timer($seconds, 0, $code));
    }

    sub process {
        my ($self, $pid, $code) = @_;
        return held($self->{loop}->child($pid, 0, sub { $code->($_[0]->rstatus) }));
    }

    # A watcher that is only let go lives on while its callback runs.
    sub held {
        my ($watcher) = @_;
        return { stop => sub { $watcher->stop; undef $watcher } };
    }

    sub turn {
        my ($self, $seconds) = @_;
        my $timer = $self->timer($seconds, sub { });
        $self->{loop}->run(EV::RUN_ONCE());
        return;
    }

    sub after_fork { my ($self) = @_; $self->{loop}->loop_fork; return }
}

{

    package IsolationTest::Family::EVDynamic;
    our @ISA = ('IsolationTest::Family::EV');

    sub make          { return EV::Loop->new }
    sub again         { my ($self) = @_; return $self->on($self->{loop}) }
    sub identity      { return Scalar::Util::refaddr($_[0]{loop}) }
    sub has_processes { return 0 }                                           # libev: only on the default loop
    sub use_others    { EV::default_loop()->run(EV::RUN_NOWAIT()); return }
    sub after_fork    { my ($self) = @_; $_->loop_fork for $self->{loop}, EV::default_loop(); return }
}

# ---- AnyEvent -------------------------------------------------------------------------------------------------------

{

    package IsolationTest::Family::AnyEvent;
    our @ISA = ('IsolationTest::Family');

    sub modules  { return 'AnyEvent' }
    sub make     { AnyEvent::detect(); return 'AnyEvent' }
    sub identity { return undef }

    sub read   { my ($self, $handle, $code) = @_; return held(AnyEvent->io(fh => $handle, poll => 'r', cb => $code)) }
    sub write  { my ($self, $handle, $code) = @_; return held(AnyEvent->io(fh => $handle, poll => 'w', cb => $code)) }
    sub signal { my ($self, $name, $code)   = @_; return held(AnyEvent->signal(signal => $name, cb => $code)) }

    sub timer {
        my ($self, $seconds, $code) = @_;
        AnyEvent->now_update;
        return held(AnyEvent->timer(after => $seconds, cb => $code));
    }

    sub process {
        my ($self, $pid, $code) = @_;
        return held(AnyEvent->child(pid => $pid, cb => sub { $code->($_[1]) }));
    }

    sub held {
        my ($watcher) = @_;
        return { stop => sub { undef $watcher } };
    }

    sub turn {
        my ($self, $seconds) = @_;
        my $done  = AnyEvent->condvar;
        my $timer = $self->timer($seconds, sub { $done->send });
        $done->recv;
        return;
    }

    sub has_own_fork { return $_[0]{name} eq 'anyevent-ev' ? 1 : 0 }
    sub after_fork   { EV::default_loop()->loop_fork; return }
}

# ---- Mojo -----------------------------------------------------------------------------------------------------------

{

    package IsolationTest::Family::Mojo;
    our @ISA = ('IsolationTest::Family');

    sub modules       { return 'Mojo::IOLoop' }
    sub make          { return Mojo::IOLoop->singleton }
    sub again         { my ($self) = @_; return $self->on(Mojo::IOLoop->singleton) }
    sub has_processes { return 0 }

    # The object may stay, if what it waits with does not.
    sub identity { return Scalar::Util::refaddr($_[0]{reactor} ||= $_[0]{loop}->reactor) }

    sub on {
        my ($self, $loop) = @_;
        my $other = $self->SUPER::on($loop);
        delete $other->{reactor};
        return $other;
    }

    sub read  { my ($self, $handle, $code) = @_; return $self->io($handle, 1, 0, $code) }
    sub write { my ($self, $handle, $code) = @_; return $self->io($handle, 0, 1, $code) }

    sub io {
        my ($self, $handle, $read, $write, $code) = @_;
        my $reactor = $self->{loop}->reactor;
        $reactor->io($handle => $code)->watch($handle, $read, $write);
        return { stop => sub { $reactor->remove($handle) } };
    }

    sub timer {
        my ($self, $seconds, $code) = @_;
        my $reactor = $self->{loop}->reactor;
        my $id      = $reactor->timer($seconds => $code);
        return { stop => sub { $reactor->remove($id) } };
    }

    sub signal { my ($self, @arguments) = @_; return $self->perl_signal(@arguments) }

    sub turn {
        my ($self, $seconds) = @_;
        my $timer = $self->timer($seconds, sub { });
        $self->{loop}->one_tick;
        $timer->{stop}->();
        return;
    }

    # What Mojo::IOLoop::Subprocess does in its child.
    sub after_fork { my ($self) = @_; $self->{loop}->reset({ freeze => 1 }); delete $self->{reactor}; return }

    # The singleton cannot be had rid of, but all that it watches.
    sub destroy {
        my ($self) = @_;
        $self->{loop}->reset;
        delete @$self{qw(loop reactor)};
        return;
    }
}

# ---- Linux::Epoll, whose owner no adapter knows ---------------------------------------------------------------------

{

    package IsolationTest::Family::LinuxEpoll;
    our @ISA = ('IsolationTest::Family');

    sub modules       { return 'Linux::Epoll' }
    sub make          { return Linux::Epoll->new }
    sub has_processes { return 0 }
    sub has_timers    { return 0 }

    sub read  { my ($self, $handle, $code) = @_; return $self->io($handle, 'in', $code) }
    sub write { my ($self, $handle, $code) = @_; return $self->io($handle, 'out', $code) }

    # Its methods die in void context when the kernel refuses.
    sub io {
        my ($self, $handle, $events, $code) = @_;
        my $epoll = $self->{loop};
        defined(scalar $epoll->add($handle, $events, $code)) or die "Linux::Epoll: $!\n";
        return { stop => sub { my $done = $epoll->delete($handle); return $done } };
    }

    sub signal { my ($self, @arguments) = @_; return $self->perl_signal(@arguments) }

    # No adapter knows it: a program that hears of its children has another loop beside it, and a child makes its own.
    sub argument { my ($self) = @_; return $self->{beside} ||= EventLoop::Fork::Loop->new }

    sub on {
        my ($self, $loop) = @_;
        my $is_beside = $self->{beside} && $loop != $self->{loop};
        return ref($self)->new(%$self, loop => $is_beside ? $self->make : $loop, beside => undef);
    }

    sub turn {
        my ($self, $seconds) = @_;
        my $count = $self->{loop}->wait(10, $seconds);
        $self->{beside}->loop_once(0) if $self->{beside};
        return;
    }
}

1;
