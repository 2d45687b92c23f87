package Bench::Report;

# From seconds to a verdict and a table. A ratio is how many times as fast as the reference a contestant is: the
# reference's median over its own. Beside it stand the least and the greatest ratio of two measurements of one round.

use strict;
use warnings;

use Bench::Contestants ();
use Bench::Measure     ();
use Bench::Rows        ();
use List::Util         qw(max min);

# $results is { contestant => [ what each round measured ] }, $failures is { contestant => [ why ] }. What comes back is
# plain data: what --json prints and print_row shows.
sub row {
    my ($row, $results, $failures) = @_;
    my @lines;
    for my $contestant (Bench::Contestants::all()) {
        my $name = $contestant->{name};
        next unless $results->{$name} || $failures->{$name};
        my %line = (contestant => $name, label => $contestant->{label}, is_ours => $contestant->{is_ours} ? 1 : 0);
        push @lines, \%line;

        $line{failures} = $failures->{$name} if $failures->{$name};
        $line{rounds}   = $results->{$name} || [];
        for my $clock (qw(wall processor)) {
            my @measured = grep { defined } map { $_->{$clock} } @{ $line{rounds} };
            $line{$clock} = Bench::Measure::median(@measured) if @measured;
        }
        for my $which (qw(against also_against)) {
            my $reference = Bench::Rows::reference($row, $contestant, $which);
            $line{$which} = _ratio($row->{clock}, $results, $name, $reference) if defined $reference;
        }
        $line{by_processor} = _ratio('processor', $results, $name, $line{against}{reference}) if $line{against};
        if ($row->{judged}->($contestant) && $line{against}) {
            $line{target} = $row->{target};
            $line{meets}  = sprintf('%.2f', $line{against}{ratio}) >= $row->{target} ? 1 : 0;    # as it is printed
        }
        if (defined $row->{limit} && defined $line{ $row->{clock} }) {
            $line{limit} = $row->{limit};
            $line{meets} = $line{ $row->{clock} } <= $row->{limit} ? 1 : 0;
        }
    }
    return { lines => \@lines, map { $_ => $row->{$_} } qw(name title unit clock target limit) };
}

sub _ratio {
    my ($clock, $results, $name, $reference) = @_;
    my ($own, $other) = map {
        [ map { $_->{$clock} } @{ $results->{$_} || [] } ]
    } $name, $reference;
    my @both  = grep { defined $own->[$_] && defined $other->[$_] } 0 .. $#$own;
    my @pairs = map  { $other->[$_] / $own->[$_] } @both or return;
    return {
        reference => $reference,
        ratio     => Bench::Measure::median(@$other[@both]) / Bench::Measure::median(@$own[@both]),
        min       => min(@pairs),
        max       => max(@pairs),
    };
}

# ---- Text ------------------------------------------------------------------------------------------------------------

my $LABEL_WIDTH = max(map { length $_->{label} } Bench::Contestants::all());

sub print_row {
    my ($result) = @_;
    printf "%s: %s (for each %s)\n", @$result{qw(name title unit)};
    printf "  %-${LABEL_WIDTH}s %12s %12s   %-20s %s\n",
        $result->{clock} eq 'wall' ? '' : 'processor time', 'microseconds', 'per second', 'ratio (of pairs)', 'target';
    print_line($result, $_) for @{ $result->{lines} };
    print "\n";
    return;
}

sub print_line {
    my ($result, $line) = @_;
    printf "  %-${LABEL_WIDTH}s ", $line->{label};
    my @failures = @{ $line->{failures} || [] };
    my $seconds  = $line->{ $result->{clock} };
    if (!defined $seconds) {
        print "not measured: $failures[0]\n";
        return;
    }
    # A difference of two measurements may be nothing.
    my $text = sprintf '%12.2f %12s   ', $seconds * 1e6, $seconds > 1e-9 ? _thousands(1 / $seconds) : '';
    $text .= sprintf '%-20s ', $line->{against} ? _ratio_text($line->{against}) : '';
    $text .= sprintf '%-12s',
        defined $line->{meets} ? ($line->{meets} ? 'meets ' : 'MISSES ') . _target_text($line) : '';
    $text .= _remarks($result, $line);
    $text .= sprintf '   failed in %d of %d rounds: %s', scalar @failures, scalar @{ $line->{rounds} }, $failures[0]
        if @failures;
    $text =~ s/ +\z//;
    print "$text\n";
    return;
}

# Where time on the wall counts, what else is worth to know.
sub _remarks {
    my ($result, $line) = @_;
    return '' unless $result->{clock} eq 'wall' && $line->{against};
    my $text = sprintf '%.2f in processor time', $line->{by_processor}{ratio};
    $text .= sprintf ', %.2f of raw perl alone', $line->{also_against}{ratio}
        if $line->{also_against} && $line->{also_against}{reference} ne $line->{against}{reference};
    return $text;
}

sub _target_text {
    my ($line) = @_;
    return defined $line->{limit} ? sprintf('%g us', $line->{limit} * 1e6) : sprintf '%.2f', $line->{target};
}

sub _ratio_text {
    my ($ratio) = @_;
    return sprintf '%.2f (%.2f-%.2f)', @$ratio{qw(ratio min max)};
}

sub _thousands {
    my ($number) = @_;
    my $text = sprintf '%.0f', $number;
    1 while $text =~ s/^(\d+)(\d{3})/$1,$2/;
    return $text;
}

sub _judged {
    my ($results) = @_;
    return map {
        my $result = $_;
        map { [ $result, $_ ] } grep { defined $_->{meets} } @{ $result->{lines} }
    } @$results;
}

# The exit code of --check: something was judged in each row that asks for something, nothing of ours failed, and all
# meet their targets.
sub check {
    my ($results) = @_;
    my %judged    = map { $_->[0]{name} => 1 } _judged($results);
    return 1 if grep { !$judged{ $_->{name} } } grep         { defined $_->{target} || defined $_->{limit} } @$results;
    return 1 if grep { $_->{failures} && $_->{is_ours} } map { @{ $_->{lines} } } @$results;
    return 1 if grep { !$_->[1]{meets} } _judged($results);
    return 0;
}

# What is judged, in a few lines.
sub print_summary {
    my ($results) = @_;
    my @judged    = _judged($results);
    my @missed    = grep { !$_->[1]{meets} } @judged;
    printf "%d of %d targets met\n", @judged - @missed, scalar @judged;
    for (@missed) {
        my ($result, $line) = @$_;
        my $value =
            defined $line->{limit}
            ? sprintf('%.2f us', $line->{ $result->{clock} } * 1e6)
            : _ratio_text($line->{against});
        printf "  missed: %-16s %-${LABEL_WIDTH}s %s, target %s\n", $result->{name}, $line->{label}, $value,
            _target_text($line);
    }
    return;
}

1;
