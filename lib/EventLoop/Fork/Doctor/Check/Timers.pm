package EventLoop::Fork::Doctor::Check::Timers;

# Timers of the process that run at the fork: none of these is inherited. Those by descriptor are kernel objects.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use Time::HiRes ();

sub before {
    my ($class, $doctor) = @_;
    my %names = (0 => 'alarm, or setitimer', 1 => 'setitimer (ITIMER_VIRTUAL)', 2 => 'setitimer (ITIMER_PROF)');
    my @running;
    for my $which (sort keys %names) {
        my $left = eval { (Time::HiRes::getitimer($which))[0] };
        push @running, { name => $names{$which}, left => $left } if $left;
    }
    my $posix = $doctor->{system}->slurp('/proc/self/timers') // '';
    my $count = () = $posix =~ /^ID:/mg;
    push @running, { name => "timer_create ($count)" } if $count;
    $class->_keep($doctor, \@running);
    return;
}

sub findings {
    my ($class, $doctor) = @_;
    for my $timer (@{ $class->_kept($doctor) }) {
        $doctor->report->add(
            warning => 'timers',
            what    => "a timer of $timer->{name} runs"
                . (defined $timer->{left} ? sprintf ', %.1f s to go', $timer->{left} : ''),
            cause => 'a child does not inherit it: what it is to end there is never ended',
            write => 'start it in the child; or a timer of the loop: $loop->watch_time(after => ..., code => ...)',
        );
    }
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Timers - timers that are not inherited

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings, before

=cut
