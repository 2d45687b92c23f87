package EventLoop::Fork::Recorder;

# What the flight recorder has kept of a child that ended, in words.

use strict;
use warnings;

use Config;

our $VERSION = '0.001';

my @SIGNAL_NAMES = split / /, $Config{sig_name};

# ---- The parts ------------------------------------------------------------------------------------------------------

sub _signal_name { my ($number) = @_; return 'SIG' . ($SIGNAL_NAMES[$number] || $number) }

# Where a child was that had not got to its code; of others it says nothing.
my %STAGES = (
    fork     => 'in the fork itself',
    clean    => 'while its signals and loops were reset',
    families => 'while the loops of others were renewed',
    prepare  => 'in prepare hook',
    parent   => 'in parent hook',
    child    => 'in child hook',
);
my %IS_HOOK = map { $_ => 1 } qw(prepare parent child);

# A label is 'NAME' (FILE line N), or only what is in brackets.
sub _hook {
    my ($record, $is_long) = @_;
    my $label = $record->{hook};
    return $label if !$is_long;
    my $more = "priority $record->{hook_priority}, registered at ";
    $label =~ s/\((?=[^(]* line [0-9]+\)\z)/($more/;
    return $label;
}

# Empty for a child that ended in its code, or that nobody has recorded.
sub _stage {
    my ($record, $is_long) = @_;
    my $words = $STAGES{ $record->{stage} };
    return '' unless defined $words;
    return $IS_HOOK{ $record->{stage} } ? "$words " . _hook($record, $is_long) : $words;
}

sub _after_fork {
    my ($record, $ended) = @_;
    my $end = $record->{fault} ? $record->{fault_at} : $ended;
    return '' if !$record->{began} || !defined $end || $end < $record->{began};
    my $seconds = $end - $record->{began};
    return $seconds < 1 ? sprintf('%.1f ms after fork', 1000 * $seconds) : sprintf('%.1f s after fork', $seconds);
}

sub _place {
    my ($record) = @_;
    return '' if !$record->{fault} || !length $record->{place};
    return $record->{is_foreign} ? ", in a thread of C code; perl was at $record->{place}" : ", at $record->{place}";
}

# ---- The whole ------------------------------------------------------------------------------------------------------

sub _end {
    my ($status, $record) = @_;
    return 'gone, status unknown' if $status == -1;
    my $signal = $status & 127;
    return 'killed by ' . _signal_name($signal) . ($status & 128 ? ' (core dumped)' : '') if $signal;
    my $code = $status >> 8;
    return "exit $code" unless length $record->{error};
    return $code == 255 ? "exception: $record->{error}" : "exit $code: $record->{error}";
}

# Of a record that somebody else's fault has left, nothing is said of that.
sub _is_of_signal {
    my ($status, $record) = @_;
    return { %$record, fault => 0 } if $record->{fault} && ($status & 127) != $record->{fault};
    return $record;
}

my %NOTHING = (stage => 'none', error => '', place => '', fault => 0, began => 0);

sub exit_reason {
    my ($status, $record, $ended) = @_;
    $record = _is_of_signal($status, $record || \%NOTHING);
    my $stage = _stage($record);
    my @words = (_end($status, $record), length $stage ? ($stage, _after_fork($record, $ended)) : ());
    return join(' ', grep { length } @words) . _place($record);
}

# The same for who supervises, with all that is known.
sub report {
    my ($status, $record, $ended) = @_;
    $record = _is_of_signal($status, $record || \%NOTHING);
    my $stage = _stage($record, 'long');
    my @words = (_end($status, $record), length $stage ? (_after_fork($record, $ended), $stage) : ());
    return join(' ', grep { length } @words) . _place($record);
}

# Of a process whose status nobody has: the signal, if it was one of a fault, and the hook. Empty where it was in neither.
sub last_place {
    my ($record) = @_;
    my $signal = $record->{fault} ? 'by ' . _signal_name($record->{fault}) : '';
    return join(' ', grep { length } $signal, _stage($record, 'long')) . _place($record);
}

1;

__END__

=head1 NAME

EventLoop::Fork::Recorder - what the flight recorder has kept of a child, in words

=head1 SYNOPSIS

    use EventLoop::Fork;
    use EventLoop::Fork::Loop;
    use EventLoop::Fork::Recorder;

    my $record = {
        stage => 'child', hook => q{'flags' (App.pm line 12)}, hook_priority => 40,
        began => 5, fault => 11, fault_at => 5.0014, place => '', error => '', is_foreign => 0,
    };
    print EventLoop::Fork::Recorder::exit_reason(11, $record), "\n";
    # killed by SIGSEGV in child hook 'flags' (App.pm line 12) 1.4 ms after fork

=head1 DESCRIPTION

A child that L<EventLoop::Fork> has forked writes down each step before it takes it, in memory that its parent sees: that its
signals and loops are reset, which hook runs, that its code runs, that a worker is ready. Whatever ends it, the parent can
say where. When SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT comes, the child also writes down when, and the file and line
where Perl stands; then the signal does what it would have done without that: a handler of the program is called, a core
dump is left.

C<exit_reason> of L<EventLoop::Fork::Child> and the events of L<EventLoop::Fork::Supervisor> have the words.

=head1 FUNCTIONS

A record is a hash, as C<read> of C<EventLoop::Fork::Record> and C<record> of L<EventLoop::Fork::Scoreboard> return it:
C<stage> is C<none>, C<prepare>, C<parent>, C<fork>, C<clean>, C<families>, C<child>, C<code>, C<ready> or C<end>; C<hook> is
the hook's name and place, C<hook_priority> its priority; C<began> and C<fault_at> are times of the monotonic clock,
C<fault> is the number of the signal or 0, C<place> where Perl stood, C<error> the text of an exception; C<is_foreign>
says that the fault was in a thread that is not Perl's. Without a record only the status is told.

=head2 exit_reason

    my $text = EventLoop::Fork::Recorder::exit_reason($wait_status, $record, $ended);

How the child ended, shortly. C<$ended>: when it was seen to have ended.

=head2 report

The same with the hook's priority.

=head2 last_place

    my $text = EventLoop::Fork::Recorder::last_place($record);

For a process whose wait status nobody has: C<by SIGSEGV in prepare hook ...>. Empty if it was neither in a hook nor had a
fault.

=head1 SEE ALSO

L<EventLoop::Fork::Child>, L<EventLoop::Fork::ForkSafety>

=cut
