# Hooks, their objects and what they throw leave nothing behind in memory.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork qw(at_fork);
use EventLoop::Fork::Loop;
use ForkTest;
use HookTest qw(with_stderr);
use Test2::V0;

BEGIN {
    skip_all 'Test::LeakTrace is not installed' unless eval { require Test::LeakTrace; 1 };
}
use Test::LeakTrace;

my $loop = EventLoop::Fork::Loop->new(backend => 'poll');

# What is made once and kept is made by the first call.
sub no_leak {
    my ($name, $code) = @_;
    $code->();
    no_leaks_ok { $code->() } $name;
    return;
}

sub raw_fork {
    my $pid = fork;
    return unless defined $pid;
    POSIX::_exit(0) if $pid == 0;
    waitpid $pid, 0;
    return;
}

my @callbacks = map { ($_ => sub { my ($object) = @_; 1 }) } qw(prepare parent child);

no_leak 'registered and cancelled', sub { at_fork(name => 'a', @callbacks)->cancel };
no_leak 'cancelled, the handle kept for longer', sub {
    my $hook = at_fork(@callbacks, object => []);
    $hook->cancel;
    undef $hook;
};
no_leak 'an object that goes, the handle in nobody\'s hand', sub {
    my $object = {};
    at_fork(@callbacks, object => $object) for 1 .. 3;
};
no_leak 'an object that goes before its handle', sub {
    my $hook = do { my $object = {}; at_fork(@callbacks, object => $object) };
    $hook->cancel;
};
{
    my $object = {};
    no_leak 'hooks that come and go with one object', sub {
        $_->cancel for map { at_fork(@callbacks, object => $object) } 1 .. 3;
    };
}
no_leak 'a fork with hooks', sub {
    my $object = {};
    my $hook   = at_fork(@callbacks, object => $object);
    raw_fork();
    $hook->cancel;
};
no_leak 'hooks that die', sub {
    my $hook = at_fork(map { ($_ => sub { die { why => 'on purpose' } }) } qw(prepare parent));
    with_stderr(\&raw_fork);
    $hook->cancel;
};
no_leak 'a refused fork', sub {
    my $hook = at_fork(prepare => sub { die "no\n" }, on_failure => 'cancel');
    with_stderr(\&raw_fork);
    eval {
        $loop->fork(code => sub { });
    };
    $hook->cancel;
};
no_leak 'a fork that hooks forbid, for reasons and without', sub {
    my $object = {};
    my @hooks  = map { at_fork(object => $object, fork_safe => $_) } sub { 1 }, sub { die { why => 'on purpose' } }, 0;
    for my $fork (
        sub { with_stderr(\&raw_fork) },
        sub {
            eval {
                $loop->fork(code => sub { });
            }
        }
        )
    {
        $fork->();
        $hooks[2]->cancel;
    }
};
no_leak 'a section, and what waits for its end', sub {
    my $ended = 0;
    EventLoop::Fork->prevent_fork(sub {
        EventLoop::Fork::Section->afterwards(sub { $ended++ });
        with_stderr(\&raw_fork);
        eval {
            $loop->fork(code => sub { });
        };
    });
    eval {
        EventLoop::Fork->prevent_fork(sub { die "out\n" });
    };
};
no_leak 'hooks that cancel themselves', sub {
    my $hook;
    $hook = at_fork(prepare => sub { $hook->cancel; undef $hook });
    raw_fork();
};
no_leak 'bad input', sub {
    eval {
        at_fork(child => sub { }, priority => 200);
    }
};
no_leak 'a fork through the loop', sub {
    my $status;
    EventLoop::Fork->fork(loop => $loop, code => sub { 0 }, on_exit => sub { $status = $_[1] });
    wait_until($loop, sub { defined $status });
};

for my $family (
    [ 'EV', sub { require EV; return EV::default_loop() }, sub { EV::run(EV::RUN_ONCE()) } ],
    [ 'AnyEvent', sub { require AnyEvent; AnyEvent::detect(); return 'AnyEvent' }, sub { AnyEvent->_poll } ],
    [ 'Mojo::IOLoop', sub { require Mojo::IOLoop; return Mojo::IOLoop->singleton }, sub { Mojo::IOLoop->one_tick } ],
    [
        'IO::Async::Loop', sub { require IO::Async::Loop::Poll; return IO::Async::Loop::Poll->new },
        sub { IO::Async::Loop->new->loop_once }
    ],
    )
{
    my ($module, $new, $turn) = @$family;
SKIP: {
        has_module($module) or skip "$module is not installed", 1;
        my $foreign = $new->();
        no_leak "a fork through $module", sub {
            my $status;
            EventLoop::Fork->fork(loop => $foreign, code => sub { 0 }, on_exit => sub { $status = $_[1] });
            $turn->() until defined $status;
        };
    }
}
done_testing;
