package EventLoop::Fork::Doctor::Check::Children;

# Who else waits for children: a status can be taken once, and waitpid(-1) takes everybody's.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use POSIX ();

use constant STEALS =>
    'who waits for a child of its own gets no status: system returns -1, a worker looks as if it never ended';

sub findings {
    my ($class, $doctor) = @_;
    my $report = $doctor->report;
    $class->_handler($report, $SIG{CHLD}) if defined $SIG{CHLD} && length $SIG{CHLD};
    # From 6.15 on the kernel tells a status that is taken by its pidfd, so what goes through us gets it all the same.
    my $severity = _kernel_tells() ? 'note' : 'warning';
    $class->_thief($report, $severity, 'EV')        if $INC{'EV.pm'};
    $class->_thief($report, $severity, 'AnyEvent')  if _anyevent_waits();
    $class->_thief($report, $severity, 'IO::Async') if _io_async_waits();
    $class->_thief($report, $severity, 'POE')       if $INC{'POE/Kernel.pm'};
    return;
}

sub _kernel_tells {
    my ($major, $minor) = (POSIX::uname())[2] =~ /\A([0-9]+)[.]([0-9]+)/ or return 0;
    return $^O eq 'linux' && ($major > 6 || $major == 6 && $minor >= 15);
}

# Its pure-perl child watcher; on EV it is EV that waits.
sub _anyevent_waits {
    no warnings 'once';
    return $INC{'AnyEvent.pm'} && !$INC{'EV.pm'} && %AnyEvent::Base::PID_CB;
}

# The reaper of IO::Async's own loops starts with the first watch_process.
sub _io_async_waits {
    no warnings 'once';
    my $loop = $IO::Async::Loop::ONE_TRUE_LOOP;
    return 0 if !ref $loop || EventLoop::Fork::_is_our_loop($loop);
    return eval { defined $loop->{childwatch_sigid} || %{ $loop->{childwatches} || {} } } ? 1 : 0;
}

my %WRITE = (
    'EV' => 'EventLoop::Fork->fork(on_exit => ...), or EV::child for each child; no waitpid, no system while it runs',
    'AnyEvent'  => 'EventLoop::Fork->fork(on_exit => ...)',
    'IO::Async' => 'use EventLoop::Fork -io_async;',
    'POE'       => 'EventLoop::Fork->fork(on_exit => ...); $poe_kernel->sig_child for each child',
);

sub _thief {
    my ($class, $report, $severity, $family) = @_;
    $report->add(
        $severity => 'children',
        what      => "$family waits for any child of this process: waitpid(-1)",
        cause     => STEALS,
        write     => $WRITE{$family},
    );
    return;
}

sub _handler {
    my ($class, $report, $handler) = @_;
    if (!ref $handler && $handler eq 'IGNORE') {
        $report->add(
            warning => 'children',
            what    => q{$SIG{CHLD} is 'IGNORE'},
            cause   =>
                'the kernel throws every exit status away: system and close return -1, nobody learns why a worker ended',
            write => q{$SIG{CHLD} = 'DEFAULT'},
        );
        return;
    }
    my $code = ref $handler        ? $handler       : _named($handler);
    my $text = ref $code eq 'CODE' ? _source($code) : '';
    return unless $text =~ /\bwaitpid[(\s]*-\s*1\b/ || $text =~ /(?<![\w\$\@%&>'"{])wait\b(?!['"\}])/;
    $report->add(
        warning => 'children',
        what    => 'the handler of $SIG{CHLD} at ' . $class->_place($code) . ' waits for any child: waitpid(-1)',
        cause   => STEALS,
        write   => 'EventLoop::Fork->fork(on_exit => ...), or waitpid $pid, WNOHANG for the pids of your own',
    );
    return;
}

sub _named {
    my ($name) = @_;
    return if $name eq 'DEFAULT';
    $name = "main::$name" unless $name =~ /::/;
    no strict 'refs';
    return defined &$name ? \&$name : undef;
}

sub _source {
    my ($code) = @_;
    require B::Deparse;
    return eval { B::Deparse->new->coderef2text($code) } // '';
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Children - who takes the statuses of children

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings

=cut
