package EventLoop::Fork::Command::Table;

# A snapshot as text for people: a heading and a line for each worker. Made for status and top alike.

use strict;
use warnings;

use EventLoop::Fork::Command;
use POSIX ();

our $VERSION = '0.001';

# ---- Quantities -----------------------------------------------------------------------------------------------------

# The two largest units: 3 s, 2 min 05 s, 4 h 07 min, 3 d 04 h.
sub duration {
    my ($seconds) = @_;
    return '-' unless defined $seconds;
    return sprintf '%.1f s', $seconds if $seconds < 10;
    my $whole = int $seconds;
    return "$whole s"                                               if $whole < 60;
    return sprintf '%d min %02d s', $whole / 60, $whole % 60        if $whole < 3600;
    return sprintf '%d h %02d min', $whole / 3600, $whole / 60 % 60 if $whole < 86_400;
    return sprintf '%d d %02d h', $whole / 86_400, $whole / 3600 % 24;
}

sub bytes {
    my ($bytes) = @_;
    return '-' unless defined $bytes;
    my @units = qw(B kB MB GB TB);
    while ($bytes >= 999.5 && @units > 1) {
        $bytes /= 1000;
        shift @units;
    }
    return sprintf $units[0] eq 'B' || $bytes >= 99.5 ? '%.0f %s' : '%.1f %s', $bytes, $units[0];
}

sub rate {
    my ($rate) = @_;
    return '-' unless defined $rate;
    return sprintf $rate < 10 ? '%.1f' : '%.0f', $rate;
}

# What others have written goes to a terminal: no escape sequences, no lines.
sub plain {
    my ($text) = @_;
    return '-' unless defined $text && length $text;
    $text =~ s/[\x00-\x20\x7f-\x9f]+/ /g;
    return $text;
}

# ---- The heading ----------------------------------------------------------------------------------------------------

sub heading {
    my ($data) = @_;
    my @lines  = (_first_line($data));
    my @facts  = (
        [ listen   => join ', ', map { plain($_) } @{ $data->{listeners} } ],
        [ workers  => "$data->{workers_wanted} wanted, $data->{workers_ready} ready, generation $data->{generation}" ],
        [ starts   => _starts($data->{starts}) ],
        [ method   => _method($data) ],
        [ skipped  => join ', ', map { plain("child hook $_") } @{ $data->{skipped_hooks} } ],
        [ requests => $data->{requests} . (defined $data->{rate} ? ', ' . rate($data->{rate}) . ' a second' : '') ],
        [ counters => join ', ', map { plain($_) . " $data->{counters}{$_}" } sort keys %{ $data->{counters} } ],
    );
    push @lines, map { sprintf '  %-9s%s', @$_ } grep { length $_->[1] } @facts;
    push @lines, '  ' . _colour('bad', 'breaker  open: workers do not start; see the log') if $data->{breaker_open};
    return @lines;
}

# Only what is not the usual.
sub _method {
    my ($data) = @_;
    return '' if ($data->{start_method} // 'fork') eq 'fork';
    return plain($data->{start_method}) . ($data->{has_fallen_back} ? ', because workers died after a fork' : '');
}

sub _first_line {
    my ($data) = @_;
    my $name = _colour('title', plain($data->{name}));
    if ($data->{running}) {
        my $state = _colour($data->{state} eq 'running' ? 'good' : 'busy', $data->{state});
        return sprintf '%s: %s for %s, pid %d', $name, $state, duration($data->{uptime}), $data->{pid};
    }
    my $how =
        $data->{state} eq 'dead'
        ? "its supervisor (pid $data->{pid}) has died"
        . (defined $data->{died} ? ' ' . plain($data->{died}) : '')
        . '; this is what it left'
        : "its supervisor (pid $data->{pid}) has ended with exit code $data->{exit_code}";
    return "$name: " . _colour('bad', 'not running') . ": $how";
}

sub _starts {
    my ($starts) = @_;
    return join ', ', map { "$_ $starts->{$_}" } sort { $starts->{$b} <=> $starts->{$a} || $a cmp $b } keys %$starts;
}

# ---- Deaths -----------------------------------------------------------------------------------------------------

# The last one first.
sub deaths {
    my ($data) = @_;
    return 'no worker has died' unless @{ $data->{deaths} };
    return map {
              POSIX::strftime('%Y-%m-%d %H:%M:%S', localtime $_->{time})
            . " worker $_->{slot} (slot $_->{slot}, pid $_->{pid}, generation $_->{generation}): "
            . plain($_->{reason})
    } reverse @{ $data->{deaths} };
}

# ---- The workers ----------------------------------------------------------------------------------------------------

my %STATE_COLOURS = (ready => 'good', starting => 'busy', draining => 'busy', killing => 'bad', backoff => 'bad');

# Title, side, text, colour.
my @COLUMNS = (
    [ 'SLOT', 'right', sub { $_[0]{slot} } ],
    [ 'PID', 'right', sub { defined $_[0]{pid} ? $_[0]{pid} : '-' } ],
    [ 'STATE', 'left', sub { $_[0]{state} }, sub { $STATE_COLOURS{ $_[0]{state} } } ],
    [ 'GEN', 'right', sub { $_[0]{generation} } ],
    [ 'AGE', 'right', sub { duration($_[0]{age}) } ],
    [ 'REQUESTS', 'right', sub { $_[0]{requests} } ],
    [ 'IN FLIGHT', 'right', sub { $_[0]{in_flight} } ],
    [ 'REQ/S', 'right', sub { rate($_[0]{requests_per_second}) } ],
    [ 'MEMORY', 'right', sub { bytes($_[0]{memory}) } ],
    [ 'HEARTBEAT', 'left', \&_heartbeat, sub { $_[0]{busy_for} >= 1 ? 'busy' : undef } ],
    [ 'LAST EXIT', 'left', \&_last_exit ],
);

sub _heartbeat {
    my ($worker) = @_;
    return '-' unless defined $worker->{heartbeat};
    my $text = $worker->{heartbeat} eq 'busy' ? 'busy for ' . duration($worker->{busy_for}) : $worker->{heartbeat};
    return defined $worker->{stuck_at} ? "$text at " . plain($worker->{stuck_at}) : $text;
}

sub _last_exit {
    my ($worker) = @_;
    return '-' unless defined $worker->{last_exit};
    my $age = defined $worker->{last_exit_age} ? ' (' . duration($worker->{last_exit_age}) . ' ago)' : '';
    return plain($worker->{last_exit}) . $age;
}

# What goes first where there is no room.
my @LESS_IMPORTANT = ('GEN', 'IN FLIGHT', 'PID', 'REQUESTS');

# With width, no line is longer.
sub workers {
    my ($data, %how) = @_;
    my @workers = @{ $data->{workers} };
    my @columns = map {
        my $column = $_;
        { column => $_, texts => [ $_->[0], map { $column->[2]->($_) } @workers ] }
    } @COLUMNS;
    for my $column (@columns) {
        ($column->{width}) = sort { $b <=> $a } map { length } @{ $column->{texts} };
    }
    @columns = _that_fit($how{width}, @columns) if defined $how{width};
    my $number = 0;
    return map { _line($number++, $_, $how{width}, @columns) } undef, @workers;
}

# All but the last, which may be cut.
sub _that_fit {
    my ($room, @columns) = @_;
    for my $title (@LESS_IMPORTANT) {
        my $needed = -2;
        $needed += 2 + $_->{width} for @columns[ 0 .. $#columns - 1 ];
        last if $needed <= $room;
        @columns = grep { $_->{column}[0] ne $title } @columns;
    }
    return @columns;
}

sub _line {
    my ($number, $worker, $room, @columns) = @_;
    my ($line, $used) = ('', 0);
    for my $column (@columns) {
        my (undef, $side, undef, $colour) = @{ $column->{column} };
        my $text = $column->{texts}[$number];
        my $pad  = ' ' x ($column->{width} - length $text);
        my $cell = $side eq 'right' ? $pad . $text : $column == $columns[-1] ? $text : $text . $pad;
        $cell = "  $cell"                      if $used;
        $cell = substr $cell, 0, $room - $used if defined $room && $used + length $cell > $room;
        $used += length $cell;
        $line .= _colour(!$worker ? 'title' : $colour ? $colour->($worker) : undef, $cell);
        last if defined $room && $used >= $room;
    }
    return $line;
}

sub _colour { return length $_[1] ? EventLoop::Fork::Command::colour(@_) : '' }

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Table - a supervisor and its workers, for people

=head1 SYNOPSIS

    use EventLoop::Fork::Command::Table;

    print "$_\n" for EventLoop::Fork::Command::Table::heading($data);
    print "$_\n" for EventLoop::Fork::Command::Table::workers($data, width => 80);

=head1 DESCRIPTION

Text for C<evfork status> and C<evfork top>, out of what L<EventLoop::Fork::Command::Snapshot> took.

=head1 FUNCTIONS

=head2 heading, workers, deaths

Lists of lines, without their ends.

=head2 duration, bytes, rate, plain

    duration(127)      # 2 min 07 s
    bytes(12_345_678)  # 12.3 MB

=head1 SEE ALSO

L<evfork>

=cut
