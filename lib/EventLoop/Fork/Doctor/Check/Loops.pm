package EventLoop::Fork::Doctor::Check::Loops;

# Event loops that the program has made: which a child has anew, and which nobody knows how to renew.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use EventLoop::Fork ();

# Loops without an adapter: what is to be done in a child.
my %UNKNOWN = (
    'Event'         => [ 'Event.pm', '$_->cancel for Event::all_watchers, in a child hook' ],
    'Glib'          => [ 'Glib.pm', 'a Glib::MainContext->new of its own in the child' ],
    'POE'           => [ 'POE/Kernel.pm', 'at_fork(child => sub { $poe_kernel->has_forked })' ],
    'UV'            => [ 'UV.pm', 'a UV::Loop->new of its own in the child' ],
    'Danga::Socket' => [ 'Danga/Socket.pm', 'at_fork(child => sub { Danga::Socket->Reset })' ],
);

sub before {
    my ($class, $doctor) = @_;
    no warnings 'once';
    my $singleton = $IO::Async::Loop::ONE_TRUE_LOOP;
    $class->_keep(
        $doctor,
        {
            io_async => ref $singleton,
            watches  => { 'IO::Async' => _io_async_watches($singleton), Mojo => _mojo_watches(), EV => _ev_watches() },
        }
    );
    return;
}

sub _io_async_watches {
    my ($loop) = @_;
    return 0 unless ref $loop;
    return eval { scalar(keys %{ $loop->{iowatches} || {} }) + $loop->notifiers } || 0;
}

sub _mojo_watches {
    return 0 unless $INC{'Mojo/IOLoop.pm'};
    my $reactor = Mojo::IOLoop->singleton->reactor;
    return eval { scalar(keys %{ $reactor->{io} || {} }) + keys %{ $reactor->{timers} || {} } } || 0;
}

# AnyEvent's own stay for ever, and Mojo's are counted there.
sub _ev_watches {
    return 0 if !$INC{'EV.pm'} || $INC{'AnyEvent.pm'} || $INC{'Mojo/IOLoop.pm'};
    return scalar grep {
        eval { $_->is_active }
    } EventLoop::Fork::_instances('EV::Watcher');
}

sub in_canary {
    no warnings 'once';
    return { io_async => ref $IO::Async::Loop::ONE_TRUE_LOOP };
}

sub findings {
    my ($class, $doctor) = @_;
    my $report = $doctor->report;
    for my $family (sort keys %UNKNOWN) {
        my ($file, $write) = @{ $UNKNOWN{$family} };
        next if !$INC{$file} || $family eq 'Glib' && $INC{'IO/Async/Loop/Glib.pm'};
        $report->add(
            warning => 'loops',
            what    => "$family is loaded, and how a child gets a new loop of it is not known here",
            cause   => 'the child goes on with the loop, the watches and the kernel objects of its parent',
            write   => $write,
        );
    }
    my $kept = $class->_kept($doctor);
    for my $family (sort grep { $kept->{watches}{$_} } keys %{ $kept->{watches} }) {
        my $count = $kept->{watches}{$family};
        $report->add(
            note => 'loops',
            what => "$count "
                . ($count == 1 ? 'watch was' : 'watches were')
                . " made on the loop of $family before the fork",
            cause => 'they are the parent\'s: a forked child has a new loop, and none of them fires there',
            write => 'make them in the code of the worker; or EventLoop::Fork->fork(loop_in_child => \'keep\')',
        );
    }
    $class->_singletons($doctor, $kept);
    return;
}

sub _singletons {
    my ($class, $doctor, $kept) = @_;
    my ($ours, $raw)            = map { ($class->_told($doctor, $_) || {})->{io_async} } qw(ours raw);
    my %in_child = map { $_ => 1 } grep { defined && length } $ours, $raw;
    return if !length $kept->{io_async} || !%in_child;
    $doctor->report->add(
        (defined $ours && length $ours ? 'error' : 'note') => 'loops',
        what  => "after perl's own fork the child has its parent's $kept->{io_async}: \$IO::Async::Loop::ONE_TRUE_LOOP",
        cause => 'right for a daemon; a worker that is forked so runs the watches of its parent',
        write => 'EventLoop::Fork->fork(code => sub { ... }), or use EventLoop::Fork -io_async',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Loops - event loops of the parent

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, before, in_canary

=cut
