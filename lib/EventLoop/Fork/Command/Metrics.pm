package EventLoop::Fork::Command::Metrics;

# evfork metrics: the snapshot in the text format that Prometheus reads.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Snapshot;
use EventLoop::Fork::Command::StatusFile;

our $VERSION = '0.001';

my @POOL_STATES   = qw(running reloading stopping stopped halted);
my @WORKER_STATES = qw(starting ready draining killing backoff);

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([], @arguments);
    my $wish    = $self->only_argument(@{ $options->{''} });
    my $data    = EventLoop::Fork::Command::Snapshot->new(EventLoop::Fork::Command::StatusFile::find($wish))->take;
    EventLoop::Fork::Command::put(text($data));
    return $data->{running} ? $self->OK : $self->NOT_RUNNING;
}

# ---- The format -----------------------------------------------------------------------------------------------------

sub text {
    my ($data) = @_;
    return join '', map { _family(@$_) } _families($data);
}

# Samples are pairs of labels, a list, and value.
sub _family {
    my ($name, $type, $help, @samples) = @_;
    @samples = grep { defined $_->[1] } @samples or return '';
    $help =~ s/([\\\n])/$1 eq "\n" ? '\\n' : '\\\\'/ge;
    my @lines = (
        "# HELP $name $help", "# TYPE $name $type",
        map { $name . _labels(@{ $_->[0] }) . ' ' . _number($_->[1]) } @samples
    );
    return join '', map { "$_\n" } @lines;
}

sub _labels {
    my (@pairs) = @_;
    my @labels;
    while (my ($name, $value) = splice @pairs, 0, 2) {
        next unless defined $value;
        $value =~ s/([\\"\n])/$1 eq "\n" ? '\\n' : "\\$1"/ge;
        push @labels, qq($name="$value");
    }
    return @labels ? '{' . join(',', @labels) . '}' : '';
}

# Whatever the locale says.
sub _number {
    my ($number) = @_;
    return $number if $number =~ /\A-?[0-9]+\z/;
    my $text = sprintf '%.6f', $number;
    $text =~ tr/,/./;
    $text =~ s/\.?0+\z//;
    return $text;
}

# ---- What there is --------------------------------------------------------------------------------------------------

sub _families {
    my ($data) = @_;
    my @up = ('evfork_up', 'gauge', 'Whether the supervisor runs.', [ [], $data->{running} ? 1 : 0 ]);
    return \@up unless $data->{running};
    return (\@up, _pool($data), _workers($data), _counters($data));
}

sub _pool {
    my ($data) = @_;
    my %in_state;
    $in_state{ $_->{state} }++ for @{ $data->{workers} };
    my $starts = $data->{starts};
    return (
        [
            'evfork_info', 'gauge', 'What runs: always 1.',
            [ [ map { $_ => $data->{$_} } qw(name program version perl loop) ], 1 ],
        ],
        [
            'evfork_start_time_seconds', 'gauge', 'When the supervisor started, since the epoch.',
            [ [], $data->{started} ]
        ],
        [
            'evfork_state', 'gauge', 'The state of the pool: 1 for the one it is in.',
            map { [ [ state => $_ ], $data->{state} eq $_ ? 1 : 0 ] } @POOL_STATES,
        ],
        [ 'evfork_generation', 'gauge', 'Counts up with each reload.', [ [], $data->{generation} ] ],
        [
            'evfork_breaker_open', 'gauge', 'Whether too many workers have failed to start.',
            [ [], $data->{breaker_open} ? 1 : 0 ]
        ],
        [ 'evfork_workers_wanted', 'gauge', 'Workers that there should be.', [ [], $data->{workers_wanted} ] ],
        [
            'evfork_workers', 'gauge', 'Workers that there are.',
            map { [ [ state => $_ ], $in_state{$_} || 0 ] } @WORKER_STATES,
        ],
        [
            'evfork_worker_starts_total', 'counter', 'Workers started, by the reason.',
            map { [ [ cause => $_ ], $starts->{$_} ] } sort keys %$starts,
        ],
    );
}

# A slot with two workers, the one that leaves and the one that comes, is one series.
sub _by_slot {
    my ($data, $value) = @_;
    my (%sums, @slots);
    for my $worker (@{ $data->{workers} }) {
        my $slot  = $worker->{slot};
        my $added = $value->($worker);
        next               unless defined $added;
        push @slots, $slot unless exists $sums{$slot};
        $sums{$slot} += $added;
    }
    return map { [ [ slot => $_ ], $sums{$_} ] } @slots;
}

# The one that has come last.
sub _of_slot {
    my ($data, $value) = @_;
    my %latest = map { $_->{slot} => $value->($_) } @{ $data->{workers} };
    return map { [ [ slot => $_ ], $latest{$_} ] } sort { $a <=> $b } keys %latest;
}

sub _workers {
    my ($data) = @_;
    my $sum = sub {
        my ($key) = @_;
        return _by_slot($data, sub { $_[0]{$key} });
    };
    my $latest = sub {
        my ($key) = @_;
        return _of_slot($data, sub { $_[0]{$key} });
    };
    return (
        [ 'evfork_requests_total', 'counter', 'Requests that all workers have done.', [ [], $data->{requests} ] ],
        [ 'evfork_worker_requests_total', 'counter', 'Requests that the worker has done.', $sum->('requests') ],
        [ 'evfork_worker_requests_in_flight', 'gauge', 'Requests under way.', $sum->('in_flight') ],
        [
            'evfork_worker_memory_bytes', 'gauge', 'Private memory where the kernel tells it, else resident.',
            $sum->('memory')
        ],
        [ 'evfork_worker_loop_turns_total', 'counter', 'Turns of the loop of the worker.', $latest->('turns') ],
        [
            'evfork_worker_busy_seconds', 'gauge', 'Since when the loop has not waited; 0: it waits.',
            $latest->('busy_for')
        ],
        [ 'evfork_worker_age_seconds', 'gauge', 'Since the start of the worker.', $latest->('age') ],
        [ 'evfork_worker_generation', 'gauge', 'The generation of the worker.', $latest->('generation') ],
    );
}

# Names are the program's: of what Prometheus does not take, each character becomes "_".
sub _counters {
    my ($data) = @_;
    my (%taken, @families);
    for my $counter (sort keys %{ $data->{counters} }) {
        (my $name = $counter) =~ s/[^a-zA-Z0-9_]/_/g;
        $name =~ s/_total\z//;
        $name .= '_' while $taken{$name}++;
        push @families, [
            "evfork_counter_${name}_total", 'counter', "The counter '$counter' of the program, of all workers.",
            [ [], $data->{counters}{$counter} ],
        ];
    }
    return @families;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Metrics - evfork metrics

=head1 SYNOPSIS

    evfork metrics [FILE]

=head1 DESCRIPTION

The command, and each metric, are explained in L<evfork>.

=head1 METHODS

=head2 run

=head1 FUNCTIONS

=head2 text

    print EventLoop::Fork::Command::Metrics::text($snapshot->take);

=cut
