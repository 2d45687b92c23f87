# Destructors of what a watch of a descriptor held, and the fileno of its handle, may change the watches: the watch under
# change, too.

use strict;
use warnings;

use lib 't/lib';
use LoopTest;
use Test2::V0;

use EventLoop::Fork::Loop;

my $loop = EventLoop::Fork::Loop->new(backend => 'poll');
my @both = (on_read_ready => 1, on_write_ready => 1);

{

    package Some::Guard;
    sub new { my ($class, $code) = @_; return bless { code => $code }, $class }
    sub DESTROY { my ($self) = @_; $self->{code}->(); return }
}

{

    package Some::Handle;
    our @ISA = ('Some::Guard');
    sub fileno { my ($self) = @_; return $self->{fileno}->() }    ## no critic (ProhibitBuiltinHomonyms)
}

subtest 'a callback that is replaced' => sub {
    my ($one, $other)  = make_pair();
    my ($next, $third) = make_pair();
    my @called;
    {
        # What is watched next may get the memory of what was unwatched.
        my $guard = Some::Guard->new(sub {
            $loop->unwatch_io(handle => $one, @both);
            $loop->watch_io(handle => $next, on_read_ready => sub { push @called, 'next' });
        });
        $loop->watch_io(handle => $one, on_read_ready => sub { push @called, $guard });
    }
    $loop->watch_io(
        handle         => $one,
        on_read_ready  => sub { push @called, 'read' },
        on_write_ready => sub { push @called, 'write' }
    );
    syswrite $_, 'x' for $other, $third;
    $loop->loop_once(0);
    is(\@called, ['next'], 'its destructor comes after the change, and has the last word');
    $loop->unwatch_io(handle => $_, @both) for $one, $next;
};

subtest 'a handle that is replaced' => sub {
    my ($one, $other) = make_pair();
    my $called = 0;
    my $handle = Some::Handle->new(sub { $loop->unwatch_io(handle => $one, @both) });
    $handle->{fileno} = sub { fileno $one };
    $loop->watch_io(handle => $handle, on_read_ready => sub { $called++ });
    undef $handle;
    $loop->watch_io(handle => $one, on_read_ready => sub { $called++ });
    syswrite $other, 'x';
    $loop->loop_once(0);
    is($called, 0, 'its destructor has the last word');
};

subtest 'a handle that says it has another number now' => sub {
    my ($one, $other) = make_pair();
    my @called;
    my ($number, $handle) = (fileno $one);
    {
        my $guard = Some::Guard->new(sub { push @called, 'gone' });
        $handle = Some::Handle->new(sub { });
        $handle->{fileno} = sub { $number };
        $loop->watch_io(handle => $handle, on_read_ready => sub { $guard });
    }
    $handle->{fileno} = sub {
        delete $handle->{fileno};
        $handle->{fileno} = sub { -1 };
        $loop->unwatch_io(handle => $one, @both);
        return -1;
    };
    $loop->watch_io(handle => $one, on_read_ready => sub { push @called, 'read' });
    is(\@called, ['gone'], 'and unwatches itself while it is asked');
    syswrite $other, 'x';
    $loop->loop_once(0);
    is(\@called, [ 'gone', 'read' ], 'the number is watched for the new one');
    $loop->unwatch_io(handle => $one, @both);
};

done_testing;
