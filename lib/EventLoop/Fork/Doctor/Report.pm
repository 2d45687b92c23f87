package EventLoop::Fork::Doctor::Report;

# What the doctor has found, as data, as text, as JSON. Knows nothing of how it was found.

use strict;
use warnings;

our $VERSION = '0.001';

use JSON::PP ();

my @SEVERITIES = qw(error warning note);
my %RANK       = (note => 1, warning => 2, error => 3);
my %EXIT_CODE  = (note => 0, warning => 2, error => 3);

sub new {
    my ($class, %self) = @_;
    return bless { findings => [], facts => {}, %self }, $class;
}

# From what as_data gave, in another process.
sub from_data {
    my ($class, $data) = @_;
    return $class->new(%$data);
}

sub add {
    my ($self, $severity, $check, %finding) = @_;
    push @{ $self->{findings} }, { severity => $severity, check => $check, %finding };
    return;
}

# A fact that is no finding.
sub set {
    my ($self, $name, $value) = @_;
    $self->{facts}{$name} = $value;
    return;
}

sub fact { return $_[0]{facts}{ $_[1] } }

# ---- Asking it ------------------------------------------------------------------------------------------------------

# The worst first.
sub findings {
    my ($self, %wanted) = @_;
    my @found = map {
        my $severity = $_;
        grep { $_->{severity} eq $severity } @{ $self->{findings} }
    } @SEVERITIES;
    for my $field (keys %wanted) {
        @found = grep { $_->{$field} eq $wanted{$field} } @found;
    }
    return @found;
}

sub worst {
    my ($self)  = @_;
    my ($first) = $self->findings;
    return $first ? $first->{severity} : undef;
}

sub exit_code {
    my ($self) = @_;
    my $worst = $self->worst;
    return defined $worst ? $EXIT_CODE{$worst} : 0;
}

sub counts {
    my ($self) = @_;
    my %counts = map { $_ => 0 } @SEVERITIES;
    $counts{ $_->{severity} }++ for @{ $self->{findings} };
    return \%counts;
}

sub as_data {
    my ($self) = @_;
    return { app => $self->{app}, findings => [ $self->findings ], facts => $self->{facts} };
}

sub as_json {
    my ($self) = @_;
    my $data = {
        %{ $self->{facts} },
        app       => $self->{app},
        worst     => $self->worst,
        exit_code => $self->exit_code,
        counts    => $self->counts,
        findings  => [ $self->findings ],
    };
    return JSON::PP->new->ascii->canonical->pretty->encode($data);
}

# ---- For people -----------------------------------------------------------------------------------------------------

# colour: code that gets a kind and a text; verbose: the facts, too.
sub as_text {
    my ($self, %how) = @_;
    my $colour = $how{colour} || sub { return $_[1] };
    my @lines  = $self->_summary($colour);
    for my $finding ($self->findings) {
        push @lines, '', $colour->($finding->{severity}, "$finding->{severity}: ") . $finding->{what};
        push @lines, map { $colour->('dim', sprintf '  %-10s', "$_->[0]:") . " $finding->{$_->[1]}" }
            grep { defined $finding->{ $_->[1] } } [ 'can cause' => 'cause' ], [ write => 'write' ];
    }
    push @lines, '', $self->_facts if $how{verbose};
    return join '', map { _printable($_) . "\n" } @lines;
}

# Names of files and the words of exceptions may hold anything.
sub _printable {
    my ($line) = @_;
    $line =~ s/\s*\n\s*/ /g;
    $line =~ s/([\x00-\x08\x0b-\x1a\x1c-\x1f\x7f])/sprintf '\x%02x', ord $1/ge;
    return $line;
}

sub _summary {
    my ($self, $colour) = @_;
    my $counts = $self->counts;
    my $name   = defined $self->{app} ? "$self->{app}: " : '';
    my $effort = sprintf '%s, %s, %.0f ms', _count($self->{facts}{forks} || 0, 'fork'),
        _count(scalar @{ $self->{facts}{hooks} || [] }, 'hook'), 1000 * ($self->{facts}{seconds} || 0);
    my @found = map { _count($counts->{$_}, $_) } grep { $counts->{$_} } @SEVERITIES;
    return $name . join(', ', @found) . " ($effort)" if @found;
    return $name . $colour->('good', 'a clean bill') . ": nothing found that a fork would break ($effort)";
}

sub _count { return "$_[0] $_[1]" . ($_[0] == 1 ? '' : 's') }

sub _facts {
    my ($self) = @_;
    my $facts  = $self->{facts};
    my @lines  = ('hooks (ms: prepare, parent, child)');
    for my $hook (@{ $facts->{hooks} || [] }) {
        my @times = map { defined $hook->{$_} ? sprintf '%.2f', 1000 * $hook->{$_} : '-' } qw(prepare parent child);
        push @lines, "  $hook->{label}: " . join ', ', @times;
    }
    push @lines, 'threads';
    push @lines,
        map { "  $_->{id} $_->{name}" . (defined $_->{library} ? " ($_->{library})" : '') }
        @{ $facts->{threads} || [] };
    push @lines, 'descriptors';
    for my $fd (@{ $facts->{descriptors} || [] }) {
        push @lines, "  $fd->{fd} $fd->{type}" . join '', map { ", $_" } grep { defined && length } $fd->{target},
            $fd->{peer}      && "to $fd->{peer}",
            $fd->{opened_by} && "opened by $fd->{opened_by}", $fd->{cloexec} ? 'close-on-exec' : undef;
    }
    push @lines, 'memory', "  $facts->{memory}{text}" if $facts->{memory};
    return @lines;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Doctor::Report - what the doctor has found

=head1 SYNOPSIS

    use EventLoop::Fork;

    my $report = EventLoop::Fork->doctor;
    print "$_->{severity}: $_->{what}\n" for $report->findings;
    print $report->as_json;

=head1 DESCRIPTION

A finding is a hash: C<severity> (C<error>, C<warning>, C<note>), C<check> (the subject, a word), C<what>, one line;
C<cause>, what it can cause; C<write>, what to write. Some have more fields: C<hook>, C<library>, C<fd>.

=head1 METHODS

=head2 findings

    my @errors = $report->findings(severity => 'error', check => 'hooks');

The worst first. Without arguments: all.

=head2 worst

The severity of the worst finding; C<undef>: a clean bill.

=head2 counts

A hash: how many of each severity.

=head2 exit_code

3 with an error, 2 with a warning, else 0.

=head2 as_text

    print $report->as_text(verbose => 1);

With C<verbose> also what was seen and is no finding: hooks with their times, threads, descriptors, memory. C<colour> is
code that gets a kind (C<error>, C<warning>, C<note>, C<good>, C<dim>) and a text.

=head2 as_json

One object: C<app>, C<worst>, C<counts>, C<exit_code>, C<findings>, C<seconds>, C<forks>, C<hooks>, C<threads>,
C<descriptors>, C<memory>.

=head2 as_data, from_data

For another process.

=head2 fact

    my $hooks = $report->fact('hooks');

=head2 new, add, set

For checks.

=cut
