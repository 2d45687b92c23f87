package EventLoop::Fork::Loop::IOAsync;

# What IO::Async::Loop::Libev and ::Libevent share: an IO::Async loop whose watches are those of EventLoop::Fork::Loop.

use strict;
use warnings;

our $VERSION = '0.001';

use constant API_VERSION => '0.76';

use EventLoop::Fork::Loop ();
use IO::Async::Metrics '$METRICS';

use parent 'IO::Async::Loop';

use constant {
    _CAN_ON_HANGUP      => 1,
    _CAN_WATCH_ALL_PIDS => 0,    # the statuses of other people's children are theirs
};

# The same XS code serves both classes of loop: it finds the C loop by magic, not by class.
{
    no strict 'refs';
    *{$_} = \&{"EventLoop::Fork::Loop::$_"}
        for
        qw(backend method loop_once run stop is_running watch_io unwatch_io watch_time unwatch_time watch_idle unwatch_idle later
        watch_signal unwatch_signal watch_process unwatch_process watch_child unwatch_child fork post_fork);
}

sub new {
    my ($class, %args) = @_;
    # Before IO::Async hears of the new object: it would keep it as the one true loop.
    my ($address, $method) = EventLoop::Fork::Loop::_choose($class->_backend, delete $args{method});
    for my $name (sort keys %args) {
        EventLoop::Fork::Loop::_fail('EVF_EINVAL', $name, "unknown option '$name'");
    }
    my $self = $class->SUPER::__new;
    if (!eval { EventLoop::Fork::Loop::_attach($self, $address, $method, 1, $class->_needs_wait_hooks); 1 }) {
        my $error = $@;
        undef $IO::Async::Loop::ONE_TRUE_LOOP
            if defined $IO::Async::Loop::ONE_TRUE_LOOP && $IO::Async::Loop::ONE_TRUE_LOOP == $self;
        die $error;
    }
    return $self;
}

# pre_wait and post_wait cost more than the rest of a turn. Nobody hears them when the metrics go nowhere; which adapter
# those have was settled for ever by the first metric, at the latest in __new.
sub _needs_wait_hooks {
    my ($class) = @_;
    return 1 if $class->can('pre_wait') != \&IO::Async::Loop::pre_wait;
    return 1 if $class->can('post_wait') != \&IO::Async::Loop::post_wait;
    return 0 unless defined $METRICS;
    return eval { $METRICS->adapter->isa('Metrics::Any::Adapter::Null') } ? 0 : 1;
}

sub _later_future { return $_[0]->SUPER::later }

sub _count_fork {
    $METRICS and $METRICS->inc_counter('forks');
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Loop::IOAsync - what IO::Async::Loop::Libev and ::Libevent share

=head1 DESCRIPTION

An L<IO::Async::Loop> whose watches, processes, signals and forks are those of L<EventLoop::Fork::Loop>. Use
L<IO::Async::Loop::Libev> or L<IO::Async::Loop::Libevent>.

=cut
