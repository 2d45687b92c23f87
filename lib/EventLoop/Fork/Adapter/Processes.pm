package EventLoop::Fork::Adapter::Processes;

# The end of a child through any loop that can watch descriptors and time. Without a process descriptor it is looked for
# again and again, less and less often. In a forked child of this process the watch is nobody's.

use strict;
use warnings;

our $VERSION = '0.001';

use Scalar::Util qw(weaken);

my ($shortest_look, $longest_look) = (0.005, 0.2);
my $most_looks = 20;    # for what EV has taken and not told yet

my (%processes, $last_id);    # id => what is watched; weak: the loop holds it

sub watch_process {
    my ($self, $pid, $fd, $code) = @_;
    my $process = {
        id      => ++$last_id,
        pid     => $pid,
        fd      => $fd,
        owner   => $$,
        code    => $code,
        adapter => $self->_loosely,
        pause   => $shortest_look,
    };
    weaken($processes{ $process->{id} } = $process);
    $process->{ev} = _ask_ev($process) if exists $INC{'EV.pm'};
    if (defined $fd) {
        open my $handle, '<&=', $fd or die "fdopen: $!\n";    ## no critic (BriefOpen): open while it is watched
        weaken($process->{handle} = $handle);
        $process->{io} = $self->watch_io($handle, sub { my $held = $handle; _look($process) });
    }
    else {
        _look_later($process, $process->{pause});
    }
    return $process->{id};
}

sub unwatch_process {
    my ($self, $id) = @_;
    my $process = delete $processes{$id} or return;
    delete $process->{ev};
    my $adapter = $process->{adapter};
    return unless defined $adapter->{loop};
    $adapter->unwatch_io(delete $process->{io})      if defined $process->{io};
    $adapter->unwatch_time(delete $process->{timer}) if defined $process->{timer};
    return;
}

# EV takes the status of every child of the process once its default loop runs. It tells those who ask.
sub _ask_ev {
    my ($process) = @_;
    weaken(my $weak = $process);
    my $watcher = EV::child($process->{pid}, 0, sub { _end($weak, $_[0]->rstatus) if $weak });
    $watcher->keepalive(0);
    return $watcher;
}

sub _look {
    my ($process) = @_;
    delete $process->{timer};    # has fired
    return $process->{adapter}->unwatch_process($process->{id}) if $$ != $process->{owner};
    my $wait_status = EventLoop::Fork::_process_reap(@$process{qw(pid fd)});
    if (!defined $wait_status) {
        $process->{pause} *= 1.5 if $process->{pause} < $longest_look;
        return _look_later($process, $process->{pause});
    }
    # Gone, and EV is about to tell.
    return _look_later($process, $shortest_look)
        if $wait_status == -1 && $process->{ev} && $process->{looks}++ < $most_looks;
    return _end($process, $wait_status);
}

# The loop itself comes back for a descriptor.
sub _look_later {
    my ($process, $pause) = @_;
    return if defined $process->{fd};
    $process->{timer} = $process->{adapter}->watch_time($pause, sub { _look($process) });
    return;
}

sub _end {
    my ($process, $wait_status) = @_;
    my $handle = $process->{handle};
    $process->{adapter}->unwatch_process($process->{id});
    close $handle if $handle;
    $process->{code}->($process->{pid}, $wait_status);
    return;
}

# They are children of the parent. Held open here, the descriptor of one that has ended would stay in the parent's epoll
# instance when the parent has closed it.
sub _processes_in_child {
    my ($class, $is_kept) = @_;
    for my $process (grep { $_ && $_->{handle} } values %processes) {
        close $process->{handle} unless $is_kept->{ $process->{adapter}->family };
    }
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Adapter::Processes - the end of child processes for adapters

=head1 DESCRIPTION

A part of L<EventLoop::Fork::Adapter>, which inherits it.

=head1 METHODS

=head2 watch_process, unwatch_process

=cut
