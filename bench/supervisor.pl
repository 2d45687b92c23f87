#!/usr/bin/env perl

# Our supervisor beside those of others, in one run: see README.md. `./dev bench supervisor` builds, then calls this.

use strict;
use warnings;

use Cwd            qw(abs_path);
use File::Basename qw(dirname);

my $here;

BEGIN {
    $here = dirname(abs_path(__FILE__));
    my $root = dirname($here);
    require lib;
    # What was built here, unless the caller chose a build (perl -Mblib, prove -b).
    lib->import(map { "$root/blib/$_" } qw(lib arch)) unless grep { !ref && m{(?:^|/)blib(?:/|\z)} } @INC;
    lib->import("$here/lib");
}

use Bench::Arguments qw(fail_usage parse);
use Bench::Idle      ();
use Bench::Machine   ();
use Bench::Measure   ();
use Bench::Respawn   ();
use Bench::Servers   ();
use Bench::Starts    ();
use Bench::Steps     ();
use JSON::PP         ();

# Megabytes of a supervisor, beyond what it needs itself; deaths for each.
my @SIZES = (0, 100, 1000);

use constant { STARTS => 10, DEATHS => 30, SECONDS => 10, STEPS => 1_000_000, MEGABYTE => 1e6 };

# ---- Rows -----------------------------------------------------------------------------------------------------------

# name, title; columns: [ key, heading, format, factor ], of which the last is added where "times" says of what a ratio
# is made; measure: sub { my ($option, $chosen) = @_; ... }, which returns the lines.
my @ROWS = (
    {
        name    => 'death',
        title   => 'one worker, killed: until the next one answers',
        columns => [ [ 'median', 'median ms', '%.2f', 1e3 ], [ 'p95', '95 % ms', '%.2f', 1e3 ] ],
        times   => 'median',
        measure => \&measure_death,
    },
    {
        name    => 'respawn',
        title   => 'worker_exited until worker_ready, beyond a plain fork (the same worker, seen from inside)',
        columns => [
            [ 'median', 'median ms', '%.2f', 1e3 ],
            [ 'p95', '95 % ms', '%.2f', 1e3 ],
            [ 'fork_median', 'plain fork, median', '%.2f', 1e3 ],
        ],
        measure => \&measure_respawn,
    },
    {
        name    => 'idle',
        title   => 'a supervisor whose workers wait',
        columns => [
            [ 'workers', 'workers', '%d', 1 ],
            [ 'wakeups_per_second', 'wake-ups/s', '%.2f', 1 ],
            [ 'private_bytes', 'private MB', '%.2f', 1 / MEGABYTE ],
            [ 'anonymous_bytes', 'anonymous MB', '%.2f', 1 / MEGABYTE ],
        ],
        times   => 'wakeups_per_second',
        measure => \&measure_idle,
    },
    {
        name    => 'start',
        title   => 'worker_exited until worker_ready, by what the supervisor has in memory',
        columns => [ map { [ "mb$_", "$_ MB more, ms", '%.2f', 1e3 ] } @SIZES ],
        measure => \&measure_start,
    },
    {
        name    => 'recorder',
        title   => 'what is written before each step of a child, in C alone',
        columns => [ [ 'cost', 'ns', '%.1f', 1e9 ] ],
        measure => \&measure_recorder,
    },
    {
        name    => 'step',
        title   => 'a decision, in C alone',
        columns => [ [ 'step', 'ns a step', '%.0f', 1e9 ], [ 'rate', 'million a second', '%.2f', 1e-6 ] ],
        measure => \&measure_step,
    },
);

# Each line: label, what was measured by key, targets: [ what, value, limit, meets ].
sub measure_death {
    my ($option, $chosen) = @_;
    return map {
        my $contestant = $_;
        line(
            $contestant,
            sub {
                my $seconds = Bench::Respawn::outside($contestant, $option->{deaths});
                return {
                    median  => Bench::Measure::median(@$seconds),
                    p95     => Bench::Respawn::percentile_95(@$seconds),
                    seconds => $seconds,
                };
            }
        )
    } @$chosen;
}

sub measure_respawn {
    my ($option, $chosen) = @_;
    return map {
        line(
            $_,
            sub {
                my $result = Bench::Respawn::inside($option->{deaths});
                my $fork   = Bench::Measure::median(@{ $result->{fork} });
                my @beyond = map { $_ - $fork } @{ $result->{respawn} };
                my $median = Bench::Measure::median(@beyond);
                return {
                    median      => $median,
                    p95         => Bench::Respawn::percentile_95(@beyond),
                    fork_median => $fork,
                    seconds     => $result->{respawn},
                    targets     => [ target('beyond a fork, ms', $median * 1e3, 5, $median <= 0.005) ],
                };
            }
        )
    } grep { $_->{is_ours} } @$chosen;
}

sub measure_idle {
    my ($option, $chosen) = @_;
    my $bare = line(
        { name => 'loop', label => 'a perl with our loop alone' },
        sub { Bench::Idle::bare_loop($option->{seconds}) }
    );
    my @lines = map {
        my $contestant = $_;
        line($contestant, sub { Bench::Idle::measure($contestant, $option->{seconds}) });
    } @$chosen;
    for my $line (grep { $_->{is_ours} && !$_->{error} } @lines) {
        my $rate = $line->{wakeups_per_second};
        $line->{targets} = [ target('wake-ups/s', $rate, 1, $rate <= 1) ];
        next if $bare->{error};
        my $more = ($line->{private_bytes} - $bare->{private_bytes}) / MEGABYTE;
        push @{ $line->{targets} }, target('private MB more than the loop alone', $more, 1, $more <= 1);
    }
    return ($bare, @lines);
}

sub measure_start {
    my ($option, $chosen) = @_;
    return unless grep { $_->{is_ours} } @$chosen;
    return map {
        my $method = $_;
        line(
            { name => $method, label => "start method $method", is_ours => 1 },
            sub {
                my %seconds = map { ("mb$_" => Bench::Starts::measure($method, $_, STARTS)) } @SIZES;
                my $times   = $seconds{"mb$SIZES[-1]"} / $seconds{mb0};
                $seconds{targets} = [ target("$SIZES[-1] MB against none", $times, 1.5, $times <= 1.5) ]
                    if $method eq 'spawn';
                return \%seconds;
            }
        )
    } qw(fork spawn);
}

sub measure_recorder {
    my ($option, $chosen) = @_;
    return unless grep { $_->{is_ours} } @$chosen;
    my $costs;
    return map {
        my ($name, $label) = @$_;
        line(
            { name => $name, label => $label, is_ours => 1 },
            sub {
                $costs ||= Bench::Steps::recorder();
                my $cost = $costs->{$name};
                return { cost => $cost, targets => [ target('ns', $cost * 1e9, 100, $cost <= 1e-7) ] };
            }
        )
    } [ step => 'a step' ], [ hook => 'a hook, more than without' ];
}

sub measure_step {
    my ($option, $chosen) = @_;
    return unless grep { $_->{is_ours} } @$chosen;
    return (
        line(
            { name => 'step', label => 'a step, 1,000 slots', is_ours => 1 },
            sub {
                my $step = Bench::Steps::step()->{1000};
                return { step => $step, rate => 1 / $step, targets => [ target('us', $step * 1e6, 1, $step <= 1e-6) ] };
            }
        ),
        line(
            { name => 'simulation', label => 'simulation, each step checked', is_ours => 1 },
            sub {
                my $rate = Bench::Steps::simulation(STEPS);
                return {
                    step    => 1 / $rate,
                    rate    => $rate,
                    targets => [ target('steps/s, at least', $rate, 1_000_000, $rate >= 1_000_000) ],
                };
            }
        )
    );
}

sub line {
    my ($contestant, $code) = @_;
    my %line =
        (contestant => $contestant->{name}, label => $contestant->{label}, is_ours => $contestant->{is_ours} ? 1 : 0);
    return { %line, error => $contestant->{missing} } if defined $contestant->{missing};
    Bench::Machine::progress($contestant->{label});
    my $result = eval { $code->() };
    my $error  = $@;
    Bench::Machine::progress('');
    chomp $error;
    return { %line, $result ? %$result : (error => $error) };
}

sub target {
    my ($what, $value, $limit, $meets) = @_;
    return { what => $what, value => $value, limit => $limit, meets => $meets ? 1 : 0 };
}

# ---- Text -----------------------------------------------------------------------------------------------------------

sub print_row {
    my ($row, @lines) = @_;
    print "$row->{name}: $row->{title}\n";
    my @columns = @{ $row->{columns} };
    my ($ours)  = grep { $_->{is_ours} } @lines;
    my $times   = $row->{times};
    printf "  %-30s %s%s\n", '', join('', map { sprintf '%19s', $_->[1] } @columns), $times ? '   times ours' : '';
    for my $line (@lines) {
        if (defined $line->{error}) {
            printf "  %-30s not measured: %s\n", $line->{label}, $line->{error};
            next;
        }
        my $text = sprintf '  %-30s %s', $line->{label},
            join '', map { sprintf '%19s', sprintf $_->[2], $line->{ $_->[0] } * $_->[3] } @columns;
        $text .= sprintf '%13s', sprintf '%.2f', $line->{$times} / $ours->{$times}
            if $times && $ours && !$line->{is_ours} && $ours->{$times};
        print "$text\n";
        printf "      %s %s: %.3g, target %s\n", $_->{meets} ? 'meets' : 'MISSES', $_->{what}, $_->{value}, $_->{limit}
            for @{ $line->{targets} || [] };
    }
    print "\n";
    return;
}

sub print_head {
    my ($machine, @contestants) = @_;
    printf "%s, %s CPUs, perl %s\n", $machine->{system}, $machine->{cpus} || '?', $machine->{perl};
    print '  ', join(', ', map { "$_->{label} $_->{version}" } grep { !defined $_->{missing} } @contestants), "\n";
    printf "Load average %.1f: other programs run here, and times scatter.\n", $machine->{load}
        if Bench::Machine::is_busy($machine);
    print "\n";
    return;
}

# ---- Options --------------------------------------------------------------------------------------------------------

sub usage {
    my $rows        = join '', map { sprintf "    %-18s %s\n", @$_{qw(name title)} } @ROWS;
    my $contestants = join '', map { sprintf "    %-18s %s\n", @$_{qw(name label)} } Bench::Servers::all();
    return <<"USAGE";
usage: bench/supervisor.pl [options]

  --only NAMES          these rows, separated by commas
  --with NAMES          these contestants
  --deaths N            so many deaths of a worker (default @{[ DEATHS ]})
  --seconds N           watch an idle supervisor for so long (default @{[ SECONDS ]})
  --json                print one JSON document instead of tables
  --check               exit 1 if a target is missed or could not be judged; otherwise speed never fails
  --help

  rows:
$rows
  contestants:
$contestants
Exit codes: 0 measured; 1 --check failed; 2 wrong usage.
USAGE
}

sub chosen {
    my ($option, $names, @all) = @_;
    return @all unless defined $names;
    my %is_chosen;
    for my $name (split /,/, $names, -1) {
        grep { $_->{name} eq $name } @all
            or fail_usage("$option: nothing is called '$name'; there are: " . join ' ', map { $_->{name} } @all);
        $is_chosen{$name} = 1;
    }
    return grep { $is_chosen{ $_->{name} } } @all;
}

# Who is not here is said in each row.
sub with_versions {
    return map {
        my $found = Bench::Servers::look($_);
        +{ %$_, version => $found->{version}, missing => $found->{error} };
    } @_;
}

sub check {
    my (@results) = @_;
    for my $result (@results) {
        my @ours = grep { $_->{is_ours} } @{ $result->{lines} };
        return 1 if grep                              { defined $_->{error} } @ours;
        return 1 if grep                              { !$_->{meets} } map { @{ $_->{targets} || [] } } @ours;
        return 1 if $result->{name} eq 'idle' && grep { @{ $_->{targets} } < 2 } @ours;
    }
    return 0;
}

sub main {
    my $option = parse({ deaths => DEATHS, seconds => SECONDS }, [qw(only=s with=s json check help)], @_);
    if ($option->{help}) {
        print usage();
        return 0;
    }
    my @rows        = chosen('--only', $option->{only}, @ROWS);
    my @contestants = with_versions(chosen('--with', $option->{with}, Bench::Servers::all()));
    my $machine     = Bench::Machine::look();
    my @results;
    local $| = 1;
    print_head($machine, @contestants) unless $option->{json};
    for my $row (@rows) {
        my @lines = $row->{measure}->($option, \@contestants);
        push @results, { name => $row->{name}, title => $row->{title}, lines => \@lines };
        print_row($row, @lines) unless $option->{json};
    }
    if ($option->{json}) {
        my %versions = map { $_->{name} => $_->{version} } @contestants;
        my $document = { machine => $machine, contestants => \%versions, rows => \@results };
        print JSON::PP->new->canonical->pretty->encode($document);
    }
    return $option->{check} ? check(@results) : 0;
}

$SIG{INT}  = sub { Bench::Servers::give_up(); exit 130 };
$SIG{TERM} = sub { Bench::Servers::give_up(); exit 143 };
exit main(@ARGV);
