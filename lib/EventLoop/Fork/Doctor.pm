package EventLoop::Fork::Doctor;

# What a fork of this process would share or break, told before it is done in earnest: canaries are forked, one by us and
# one by perl's own fork, and parent and child are compared. Each subject is a class in Doctor/Check; a canary's life is
# in Doctor/Canary.pm, what is found in Doctor/Report.pm. The program's objects are asked and never changed.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork;
use EventLoop::Fork::Doctor::Canary;
use EventLoop::Fork::Doctor::Report;
use EventLoop::Fork::Doctor::System;
use EventLoop::Fork::Loop ();
use JSON::PP              ();
use POSIX                 ();
use Scalar::Util          qw(looks_like_number);
use Time::HiRes           ();

# In the order of the report, within a severity.
my @CHECKS = map { "EventLoop::Fork::Doctor::Check::$_" } qw(Hooks Threads Connections KernelObjects Random Children
    Loops Locks Timers Buffers Descriptors EndBlocks Memory);

# One hook that kills a canary is left out of the next one, so that the rest is seen, too. So often.
use constant { ATTEMPTS => 5, TIMEOUT => 10 };

my %KNOWN = map { $_ => 1 } qw(app request timeout outsiders teller);
our $is_busy = 0;

# ---- Options --------------------------------------------------------------------------------------------------------

sub _refuse { return EventLoop::Fork::Loop::_throw('EVF_EINVAL', 'doctor', @_) }

sub _options {
    my (@pairs) = @_;
    @pairs % 2 and _refuse(undef, 'arguments are not pairs of name => value');
    my %options = @pairs;
    for my $name (sort keys %options) {
        $KNOWN{$name} or _refuse($name, "unknown option '$name'");
    }
    EventLoop::Fork::Loop::_check_code('doctor', request => $options{request}) if defined $options{request};
    my $timeout = defined $options{timeout} ? $options{timeout} : TIMEOUT;
    looks_like_number($timeout) && $timeout > 0 && $timeout <= 86_400
        or _refuse($timeout, "'timeout' is a number of seconds from above 0 to 86400, not '$timeout'");
    return (%options, timeout => $timeout);
}

# ---- The audit ------------------------------------------------------------------------------------------------------

sub examine {
    my ($class, @pairs) = @_;
    my %options = _options(@pairs);
    $is_busy and EventLoop::Fork::Loop::_throw('EVF_EBUSY', 'doctor', undef, 'an examination is under way');
    my $self = bless {
        options  => \%options,
        report   => EventLoop::Fork::Doctor::Report->new(app => $options{app}),
        parent   => {},                                                        # by check: what was seen before the fork
        hooks    => [],
        skipped  => {},
        failures => [],                                                        # of hooks, in all processes
        pid      => $$,
    }, $class;
    local ($@, $!, $?);
    for my $check (@CHECKS) {
        (my $file = "$check.pm") =~ s{::}{/}g;
        require $file;
    }
    local $is_busy = 1;
    my $began = Time::HiRes::time();
    $self->_audit;
    $self->{report}->set(seconds => Time::HiRes::time() - $began);
    return $self->{report};
}

sub _audit {
    my ($self) = @_;
    $self->{system}  = EventLoop::Fork::Doctor::System->new;
    $self->{fds}     = $self->{system}->descriptors;
    $self->{handles} = [ _handles() ];
    $_->before($self) for @CHECKS;
    # The nearest to the fork: after it, a canary that hangs goes with us; before it, the hooks of others may have stopped
    # their threads.
    my $leash = EventLoop::Fork::_internal_hook(
        __PACKAGE__,
        prepare => sub { $self->{thread_ids} ||= [ $self->{system}->thread_ids ] },
        child   => sub { EventLoop::Fork::_signal_at_end_of_parent(POSIX::SIGKILL()) }
    );
    my $done = eval {
        $self->_fork_ours;
        $self->_fork_raw if $self->{ours}{facts};
        1;
    };
    my $error = $@;
    $leash->cancel;
    die $error unless $done;    ## no critic (RequireCarping): as it is
    $_->findings($self) for @CHECKS;
    delete @$self{qw(parent handles)};
    return;
}

# Until one lives, or it is clear that none will.
sub _fork_ours {
    my ($self) = @_;
    my @runs;
    for (1 .. ATTEMPTS) {
        my $run = EventLoop::Fork::Doctor::Canary->new($self, 'ours')->run;
        EventLoop::Fork::Loop::_throw('EVF_EBUSY', 'doctor', undef, $run->{refusal}) if $run->{is_busy};
        push @runs, $run;
        last if $run->{facts} || !defined $run->{open};
        $self->{skipped}{ $run->{open} } = 1;
    }
    @$self{qw(ours runs)} = ($runs[-1], \@runs);
    return;
}

sub _fork_raw {
    my ($self) = @_;
    $self->{raw} = EventLoop::Fork::Doctor::Canary->new($self, 'raw')->run;
    return;
}

# ---- For the canaries and the checks --------------------------------------------------------------------------------

sub option { return $_[0]{options}{ $_[1] } }
sub report { return $_[0]{report} }

# In a canary.
sub facts {
    my ($self, $kind) = @_;
    my %facts;
    for my $check (@CHECKS) {
        my ($name) = $check =~ /(\w+)\z/;
        $facts{$name} = eval { $check->in_canary($self, $kind) };
    }
    return \%facts;
}

# In the doctor, while the canary waits.
sub inspect {
    my ($self, $kind, $pid) = @_;
    my %seen;
    for my $check (@CHECKS) {
        my ($name) = $check =~ /(\w+)\z/;
        $seen{$name} = $check->inspect($self, $kind, $pid);
    }
    return \%seen;
}

# To evfork doctor, which sees from another process how this one fares.
sub tell {
    my ($self, $word, $data) = @_;
    my $teller = $self->{options}{teller} or return;
    syswrite $teller, "$word " . JSON::PP->new->ascii->canonical->encode($data) . "\n";
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor - what a fork of this program would share or break

=head1 SYNOPSIS

    use EventLoop::Fork;

    my $report = EventLoop::Fork->doctor;
    print $report->as_text;
    die "not fit to fork\n" if ($report->worst || '') eq 'error';

=head1 DESCRIPTION

For a program before it starts to fork, when all is loaded that will be shared. The audit forks two canaries: one as
L<EventLoop::Fork/fork> does, one by perl's own C<fork>. All hooks run in them, and their time is taken; then parent and
child are compared: threads, descriptors, event objects of the kernel, connections, locks, loops, random numbers, buffers,
timers, who takes the statuses of children, END blocks, memory. C<evfork doctor> does this for an app, see L<evfork>.

A hook that dies, crashes or hangs in a canary is a finding with its name and place; another canary is forked without that
hook, so that the rest is seen, too. A canary has a bounded time, and never takes the doctor down. Hooks for C<prepare> and
C<parent> run in this process, as with any fork; if one of them crashes, the program does. C<evfork doctor> runs all in a
process of its own.

Most is known from F</proc> of Linux. What another system does not tell is said, as a note.

=head1 WHAT IS FOUND

The word before each is C<check> of a finding; behind it are its severities.

=over 4

=item C<hooks>: error, warning

A hook that ends the canary by a signal or by C<exit>, hangs, dies, or refuses the fork; one that takes 100 ms or more; a
child that does not come as far as its hooks.

=item C<threads>: warning

Threads that are alive when the fork happens, with the library that each comes from.

=item C<connections>: error, warning

Handles of DBI and connections of L<IO::Socket::SSL> that are open and not guarded; other connections over a network or to
a named socket. What a hook closes in the child is no finding.

=item C<kernel>: error, warning

eventfd, timerfd, signalfd, inotify and io_uring that parent and child share; epoll that they share after perl's own fork.

=item C<random>: error, warning

Two children that draw the same numbers from perl's C<rand> or from a module that is loaded; a seed that perl's own fork
leaves to each child. L<EventLoop::Fork::Doctor::Check::Random/register> makes another generator known.

=item C<children>: warning, note

C<$SIG{CHLD}> that is ignored or waits for any child; EV, AnyEvent, IO::Async, POE where they wait for any child; a note
where the kernel tells a status that was taken (Linux 6.15).

=item C<loops>: error, warning, note

Loops of a family without an adapter; watches that were made before the fork; IO::Async's singleton after perl's own fork.

=item C<locks>: warning

flock that the child holds, too; locks of fcntl, which it does not have.

=item C<timers>: warning

alarm, setitimer and timer_create, which are not inherited.

=item C<buffers>: warning, note

Output that waits in buffers of perl or of C, and input that is read and not used.

=item C<descriptors>, C<end>, C<memory>, C<system>: note

Descriptors without close-on-exec; END blocks, but for perl's own; hooks or a request that make much memory the child's
own; what this system does not tell.

=back

=head1 CLASS METHODS

=head2 examine

    my $report = EventLoop::Fork::Doctor->examine(timeout => 10);

Returns an L<EventLoop::Fork::Doctor::Report>. C<< EventLoop::Fork->doctor >> is the same. Options:

=over 4

=item C<timeout>

Seconds for a canary to run its hooks and to tell what it sees. Default: 10.

=item C<request>

Code that is run in a canary between two looks at its memory, as a first request would be.

=item C<app>

A name for the report.

=back

Throws an L<EventLoop::Fork::Error> for bad options, and inside of a hook.

=head1 METHODS FOR CHECKS

=head2 option, report

=head2 facts, inspect, tell

=head1 SEE ALSO

L<EventLoop::Fork::ForkSafety>, L<evfork>

=cut
