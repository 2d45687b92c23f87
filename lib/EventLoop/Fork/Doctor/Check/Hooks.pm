package EventLoop::Fork::Doctor::Check::Hooks;

# Hooks that die, crash, hang, leave, or take long; and a fork that does not get as far as its hooks.

use strict;
use warnings;

our $VERSION = '0.001';

use parent 'EventLoop::Fork::Doctor::Check';

use Config;

use constant SLOW => 0.1;    # seconds

my @SIGNAL_NAMES = split / /, $Config{sig_name};

sub findings {
    my ($class, $doctor) = @_;
    my @runs = (@{ $doctor->{runs} }, grep { defined } $doctor->{raw});
    $class->_lost($doctor, $_) for grep { !$_->{facts} } @runs;
    my %is_told;
    for my $failure (map { @{ $_->{failures} } } @runs) {
        $class->_failed($doctor, $failure) unless $is_told{"$failure->{phase} $failure->{label}"}++;
    }
    $class->_stolen($doctor) if !$class->_is_ignored && grep { $_->{is_stolen} } @runs;
    my @hooks = grep { $_->{label} !~ /\A'\Q@{[ ref $doctor ]}\E'/ } @{ $doctor->{hooks} };
    # The least of all forks: one that was slow once may have had a busy machine.
    for my $hook (@hooks) {
        for my $phase (qw(prepare parent child)) {
            my ($spent) =
                sort { $a <=> $b } map { my $s = $_->{spent}{ $hook->{number} }{$phase}; defined $s ? $s : () } @runs;
            $hook->{$phase} = $spent;
            $class->_slow($doctor, $hook, $phase) if defined $spent && $spent >= SLOW;
        }
    }
    $doctor->report->set(forks => scalar grep { defined $_->{pid} } @runs);
    $doctor->report->set(
        hooks => [
            map {
                my $hook = $_;
                +{ map { $_ => $hook->{$_} } qw(label prepare parent child) }
            } @hooks
        ]
    );
    return;
}

sub _is_ignored { return defined $SIG{CHLD} && $SIG{CHLD} eq 'IGNORE' }

# ---- A canary that told nothing -------------------------------------------------------------------------------------

sub _lost {
    my ($class, $doctor, $run) = @_;
    my $report = $doctor->report;
    if (defined $run->{refusal}) {
        (my $text = $run->{refusal}) =~ s/\s+\z//;
        $report->add(
            error => 'hooks',
            what  => "there is no fork: $text",
            cause => 'no worker starts; what a child would share is not examined',
            write => q{at_fork(..., on_failure => 'report'), or mend what the hook asks for},
        );
        return;
    }
    my $how = _end_in_words($doctor, $run);
    if (defined $run->{open}) {
        my $label = $doctor->{hooks}[ $run->{open} ]{label};
        $report->add(
            error => 'hooks',
            hook  => $label,
            what  => "child hook $label $how->{hook}",
            cause => "so does every child of every fork: $how->{cause}",
            write => $how->{write},
        );
        return;
    }
    my $where = $run->{reached} ? 'after its hooks' : 'before its first hook, inside the fork of the C library';
    $report->add(
        error => 'hooks',
        what  => "a forked child $how->{child} $where",
        cause => 'so does every worker: a handler of pthread_atfork, or a destructor, does not stand a fork',
        write => q{start_method => 'spawn'},
    );
    return;
}

sub _end_in_words {
    my ($doctor, $run) = @_;
    my $spawn = q{let the library start anew in the child hook, or start_method => 'spawn'};
    if ($run->{is_late}) {
        my $bound = $doctor->option('timeout') . ' s';
        return {
            hook  => "has not ended within $bound",
            child => "hung ($bound)",
            cause => 'it never becomes ready',
            write =>
                'wait for nothing in a child hook: what another thread or process held at the fork is never given back',
        };
    }
    my $status = $run->{status};
    if (defined $status && $status & 127) {
        my $name = 'SIG' . ($SIGNAL_NAMES[ $status & 127 ] || $status & 127);
        return {
            hook  => "killed the canary: $name", child => "died of $name", cause => 'it dies of it',
            write => $spawn
        };
    }
    my $code = defined $status ? 'exit ' . ($status >> 8) : 'its status was taken by somebody else';
    return {
        hook  => "ended the canary ($code)",
        child => "ended ($code)",
        cause => 'it ends before its own code runs',
        write => 'die, not exit, in a hook: it is reported, and the child goes on',
    };
}

# ---- Hooks that came to an end --------------------------------------------------------------------------------------

sub _failed {
    my ($class, $doctor, $failure) = @_;
    my ($phase, $label, $error)    = @$failure{qw(phase label error)};
    $error =~ s/\s+\z//;
    $doctor->report->add(
        error => 'hooks',
        hook  => $label,
        what  => "$phase hook $label died: $error",
        cause => 'every fork goes on without what the hook is for',
        write => 'mend it; or guard it: eval { ...; 1 } or warn $@',
    );
    return;
}

sub _slow {
    my ($class, $doctor, $hook, $phase) = @_;
    $doctor->report->add(
        warning => 'hooks',
        hook    => $hook->{label},
        what    => sprintf('%s hook %s took %.0f ms', $phase, $hook->{label}, 1000 * $hook->{$phase}),
        cause   => $phase eq 'child'
        ? 'each worker starts later by that'
        : 'the parent does nothing else meanwhile, at each fork',
        write => 'only note in the hook that it was forked, and do the work at the next use',
    );
    return;
}

sub _stolen {
    my ($class, $doctor) = @_;
    $doctor->report->add(
        warning => 'children',
        what    => 'somebody took the exit status of the canary: code here waits for any child',
        cause   => 'who waits for a child of its own gets -1, and waits for ever or takes it for a failure',
        write   => 'waitpid $pid, WNOHANG for your own pids only; $loop->watch_process($pid => ...)',
    );
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Check::Hooks - hooks that fail, hang or take long

=head1 DESCRIPTION

One of the checks of L<EventLoop::Fork::Doctor>; see L<EventLoop::Fork::Doctor::Check>.

=head1 METHODS

=head2 findings

=cut
