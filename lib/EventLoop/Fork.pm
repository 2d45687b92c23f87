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

sub fork {
    my ($class, %args) = @_;
    my $given = delete $args{loop};
    my $loop  = defined $given ? _check_loop($given) : _loop_in_use();
    my ($code, $on_exit) = delete @args{qw(code on_exit)};
    my $child = EventLoop::Fork::Child->_new(name => $args{name});
    my $inner = sub {
        $own_loop = undef;
        $child->{pid}        = $$;
        $child->{loop_class} = ref $loop;
        return $code->($child);
    };
    # A value that is no code is for the loop to refuse.
    $child->{pid} = EventLoop::Fork::Loop::fork(
        $loop, %args,
        code    => ref $code ? $inner : $code,
        on_exit => sub {
            my ($pid, $wait_status) = @_;
            $child->{wait_status} = $wait_status;
            $on_exit->($child, $wait_status) if $on_exit;
        },
    );
    return $child;
}

1;
