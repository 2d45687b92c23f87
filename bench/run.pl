#!/usr/bin/env perl

# The speed of our loops beside that of others, in one run: see README.md. `./dev bench` builds, then calls this.

use strict;
use warnings;

use Cwd            qw(abs_path);
use File::Basename qw(dirname);

my $here;
my $root;

BEGIN {
    $here = dirname(abs_path(__FILE__));
    $root = dirname($here);
    require lib;
    # What was built here, unless the caller chose a build (perl -Mblib, prove -b).
    lib->import(map { "$root/blib/$_" } qw(lib arch)) unless grep { !ref && m{(?:^|/)blib(?:/|\z)} } @INC;
    lib->import("$here/lib");
}

use Bench::Arguments   qw(fail_usage parse);
use Bench::Contestants ();
use Bench::Machine     ();
use Bench::Measure     ();
use Bench::Report      ();
use Bench::Rows        ();
use JSON::PP           ();

use constant ROUNDS => 5;

sub usage {
    my $rows        = join '', map { sprintf "    %-18s %s\n", @$_{qw(name title)} } Bench::Rows::all();
    my $contestants = join '', map { sprintf "    %-18s %s\n", @$_{qw(name label)} } Bench::Contestants::all();
    return <<"USAGE";
usage: bench/run.pl [options]

  --only NAMES          these rows, separated by commas; a name stands for all that begin with it
  --with NAMES          these contestants, and those they are compared with
  --rounds N            measure each contestant N times, in turn (default @{[ ROUNDS ]}; more is slower and steadier)
  --json                print one JSON document instead of tables
  --check               exit 1 if a target is missed or could not be judged; otherwise speed never fails
  --check-adapter       run IO::Async::LoopTests on the adapter that takes EV into IO::Async
  --help

  rows:
$rows
  contestants:
$contestants
Exit codes: 0 measured; 1 --check or --check-adapter failed; 2 wrong usage.
USAGE
}

# Those whose name begins with one of the names.
sub chosen {
    my ($option, $names, @all) = @_;
    return @all unless defined $names;
    my %chosen;
    for my $name (split /,/, $names, -1) {
        my ($exact) = grep { $_->{name} eq $name } @all;
        my @found = $exact ? $exact : length $name ? grep { index($_->{name}, $name) == 0 } @all : ();
        @found or fail_usage("$option: nothing is called '$name'; there are: " . join ' ', map { $_->{name} } @all);
        $chosen{ $_->{name} } = 1 for @found;
    }
    return grep { $chosen{ $_->{name} } } @all;
}

# Who measures in a row: the chosen ones and those they are divided by.
sub participants {
    my ($row, $chosen) = @_;
    my %wanted;
    for my $contestant (grep { $row->{takes}->($_) } @$chosen) {
        $wanted{ $contestant->{name} } = 1;
        for my $which (qw(against also_against)) {
            my $reference = Bench::Rows::reference($row, $contestant, $which);
            $wanted{$reference} = 1 if defined $reference;
        }
    }
    return grep { $wanted{ $_->{name} } } Bench::Contestants::all();
}

# Who is here. { contestant => { versions, method } or { error } }
sub look {
    my (@contestants) = @_;
    my %found;
    for my $contestant (@contestants) {
        Bench::Machine::progress("looking for $contestant->{label}");
        $found{ $contestant->{name} } = Bench::Measure::run('look', '-', $contestant->{name});
    }
    Bench::Machine::progress('');
    return \%found;
}

# One that fails in the first round, or twice, is left alone from then on.
sub measure_row {
    my ($row, $rounds, $found, @contestants) = @_;
    my (%results, %failures, %out);
    for my $contestant (@contestants) {
        my ($name, $error) = ($contestant->{name}, $found->{ $contestant->{name} }{error});
        ($failures{$name}, $out{$name}) = ([$error], 1) if defined $error;
    }
    for my $round (1 .. $rounds) {
        for my $contestant (grep { !$out{ $_->{name} } } @contestants) {
            my $name = $contestant->{name};
            Bench::Machine::progress("$row->{name}, round $round of $rounds: $contestant->{label}");
            my $result = Bench::Measure::run('measure', $row->{name}, $name);
            push @{ $results{$name} }, $result;
            push @{ $failures{$name} }, $result->{error} if defined $result->{error};
            $out{$name} = 1                              if @{ $failures{$name} || [] } > ($round == 1 ? 0 : 1);
        }
    }
    Bench::Machine::progress('');
    return Bench::Report::row($row, \%results, \%failures);
}

sub print_head {
    my ($machine, $found, $rounds) = @_;
    my %versions = map { %{ $_->{versions} || {} } } values %$found;
    my @versions = map { "$_ $versions{$_}" } grep { defined $versions{$_} } sort keys %versions;
    printf "%s, %s CPUs, perl %s, %d rounds\n", @$machine{qw(system)}, $machine->{cpus} || '?', $machine->{perl},
        $rounds;
    print '  ', join(', ', splice @versions, 0, 3), "\n" while @versions;
    printf "Load average %.1f: other programs run here, and the fork rows scatter. More --rounds help.\n",
        $machine->{load}
        if Bench::Machine::is_busy($machine);

    for my $contestant (Bench::Contestants::all()) {
        my $error = ($found->{ $contestant->{name} } || {})->{error};
        print "missing: $contestant->{label}: $error\n" if defined $error;
    }
    print "\n";
    return;
}

sub check_adapter {
    my @perl    = ($^X, map { "-I$_" } grep { !ref } @INC);
    my $program = 'use IO::Async::LoopTests; run_tests("IO::Async::Loop::BenchEV", @ARGV)';
    my $status  = system @perl, '-e', $program, qw(io timer signal idle process control);
    return $status == 0 ? 0 : 1;
}

sub main {
    my $option = parse({ rounds => ROUNDS }, [qw(only=s with=s json check check-adapter help)], @_);
    if ($option->{help}) {
        print usage();
        return 0;
    }
    return check_adapter() if $option->{'check-adapter'};

    my @rows   = chosen('--only', $option->{only}, Bench::Rows::all());
    my @chosen = chosen('--with', $option->{with}, Bench::Contestants::all());
    my %taking = map { $_->{name} => [ participants($_, \@chosen) ] } @rows;
    my %here   = map { $_->{name} => 1 } map { @$_ } values %taking;

    local $| = 1;
    my $start   = time;
    my $machine = Bench::Machine::look();
    my $found   = look(grep { $here{ $_->{name} } } Bench::Contestants::all());
    print_head($machine, $found, $option->{rounds}) unless $option->{json};

    my @results;
    for my $row (@rows) {
        my $result = measure_row($row, $option->{rounds}, $found, @{ $taking{ $row->{name} } });
        push @results, $result;
        Bench::Report::print_row($result) unless $option->{json};
    }
    if ($option->{json}) {
        my $document =
            { machine => $machine, contestants => $found, rounds => 0 + $option->{rounds}, rows => \@results };
        print JSON::PP->new->canonical->pretty->encode($document);
    }
    else {
        Bench::Report::print_summary(\@results);
        printf "%d seconds\n", time - $start;
    }
    return $option->{check} ? Bench::Report::check(\@results) : 0;
}

$SIG{INT}  = sub { Bench::Measure::give_up(); exit 130 };
$SIG{TERM} = sub { Bench::Measure::give_up(); exit 143 };
exit main(@ARGV);
