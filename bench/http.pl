#!/usr/bin/env perl

# A small HTTP server on each loop of IO::Async, asked by wrk, in one run: see README.md. `./dev bench http` builds, then
# calls this.

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
use Bench::HTTP      ();
use Bench::Machine   ();
use Bench::Measure   ();
use JSON::PP         ();
use List::Util       qw(max min);

use constant { ROUNDS => 5, SECONDS => 2, CONNECTIONS => 32 };

# Name, class, whether it is ours.
my @CONTESTANTS = (
    [ libev    => 'IO::Async::Loop::Libev', 1 ],
    [ libevent => 'IO::Async::Loop::Libevent', 1 ],
    [ ev       => 'IO::Async::Loop::BenchEV' ],
    [ epoll    => 'IO::Async::Loop::Epoll' ],
    [ poll     => 'IO::Async::Loop::Poll' ],
    [ select   => 'IO::Async::Loop::Select' ],
);

sub usage {
    my $contestants = join '', map { sprintf "    %-10s %s\n", @$_[ 0, 1 ] } @CONTESTANTS;
    return <<"USAGE";
usage: bench/http.pl [options]

  --workers LIST        numbers of workers, separated by commas (default 1,2)
  --with NAMES          these contestants
  --rounds N            measure each of them N times, in turn (default @{[ ROUNDS ]})
  --seconds N           so long each time (default @{[ SECONDS ]})
  --connections N       that are kept alive (default @{[ CONNECTIONS ]})
  --json                print one JSON document instead of tables
  --check               exit 1 if a target is missed or could not be judged; otherwise speed never fails
  --help

  contestants:
$contestants
Exit codes: 0 measured; 1 --check failed, or a request has; 2 wrong usage, or a tool is missing.
USAGE
}

sub chosen {
    my ($names) = @_;
    return @CONTESTANTS if !defined $names;
    my %is_chosen;
    for my $name (split /,/, $names, -1) {
        grep { $_->[0] eq $name } @CONTESTANTS
            or fail_usage("--with: nothing is called '$name'; there are: " . join ' ', map { $_->[0] } @CONTESTANTS);
        $is_chosen{$name} = 1;
    }
    return grep { $is_chosen{ $_->[0] } } @CONTESTANTS;
}

# Turn by turn: what else runs on the machine falls on all of them.
sub measure {
    my ($option, $workers, @contestants) = @_;
    my %results;
    for my $round (1 .. $option->{rounds}) {
        for my $contestant (@contestants) {
            my ($name, $class) = @$contestant;
            Bench::Machine::progress("$workers workers, round $round: $class");
            my $result = eval { Bench::HTTP::measure($class, $workers, %$option) };
            push @{ $results{$name} }, $result || { failure => $@ };
        }
    }
    Bench::Machine::progress('');
    return { workers => $workers, lines => [ map { line($_, $results{ $_->[0] }) } @contestants ] };
}

sub line {
    my ($contestant, $rounds) = @_;
    my ($name, $class, $is_ours) = @$contestant;
    my %line   = (contestant => $name, label => $class, is_ours => $is_ours ? 1 : 0, rounds => $rounds);
    my @failed = grep { defined $_->{failure} } @$rounds;
    return { %line, failure => $failed[0]{failure} } if @failed;
    for my $key (qw(rate p50 p99)) {
        $line{$key} = Bench::Measure::median(map { $_->{$key} } @$rounds);
    }
    $line{errors} += $_->{errors} for @$rounds;
    return \%line;
}

# Ahead of the fastest of the others, with a p99 that is no worse than its.
sub judge {
    my ($table) = @_;
    my @others  = grep { !$_->{is_ours} && !defined $_->{failure} } @{ $table->{lines} };
    my ($best)  = sort { $b->{rate} <=> $a->{rate} } @others or return;
    for my $line (grep { $_->{is_ours} && !defined $_->{failure} } @{ $table->{lines} }) {
        $line->{against} = $best->{label};
        my @pairs = map { $line->{rounds}[$_]{rate} / $best->{rounds}[$_]{rate} } 0 .. $#{ $line->{rounds} };
        @$line{qw(ratio least most)} = (Bench::Measure::median(@pairs), min(@pairs), max(@pairs));
        $line->{p99_ratio} =
            Bench::Measure::median(map { $line->{rounds}[$_]{p99} / $best->{rounds}[$_]{p99} }
                0 .. $#{ $line->{rounds} });
        $line->{meets} = sprintf('%.2f', $line->{ratio}) >= 1 && sprintf('%.1f', $line->{p99_ratio}) <= 1 ? 1 : 0;
    }
    return;
}

sub print_table {
    my ($table) = @_;
    printf "%d worker%s\n", $table->{workers}, $table->{workers} == 1 ? '' : 's';
    printf "  %-28s %12s %9s %9s %7s   %s\n", '', 'requests/s', 'p50 ms', 'p99 ms', 'failed',
        'against the fastest other';
    for my $line (@{ $table->{lines} }) {
        if (defined $line->{failure}) {
            chomp(my $why = $line->{failure});
            printf "  %-28s not measured: %s\n", $line->{label}, $why;
            next;
        }
        printf '  %-28s %12s %9.2f %9.2f %7d', $line->{label}, with_commas($line->{rate}), $line->{p50} * 1e3,
            $line->{p99} * 1e3,
            $line->{errors};
        printf '   %.2f (%.2f-%.2f), p99 %.2f  %s', @$line{qw(ratio least most p99_ratio)},
            $line->{meets} ? 'ahead' : 'BEHIND'
            if defined $line->{ratio};
        print "\n";
    }
    print "\n";
    return;
}

sub with_commas {
    my $text = sprintf '%.0f', $_[0];
    1 while $text =~ s/\A([0-9]+)([0-9]{3})/$1,$2/;
    return $text;
}

sub main {
    my $option = parse(
        { rounds => ROUNDS, seconds => SECONDS, connections => CONNECTIONS },
        [qw(workers=s with=s json check help)], @_
    );
    if ($option->{help}) {
        print usage();
        return 0;
    }
    my @workers = split /,/, $option->{workers} // '1,2', -1;
    /\A[1-9][0-9]?\z/ or fail_usage("--workers takes numbers from 1 to 99, not '$_'") for @workers;
    my @contestants = chosen($option->{with});
    my $why_not     = Bench::HTTP::why_not();
    if (defined $why_not) {
        print STDERR "bench: $why_not\n";
        return 2;
    }
    my $machine = Bench::Machine::look();
    local $| = 1;
    if (!$option->{json}) {
        printf "%s, %s CPUs, perl %s\n", $machine->{system}, $machine->{cpus} || '?', $machine->{perl};
        printf "Load average %.1f: other programs run here, and times scatter.\n", $machine->{load}
            if Bench::Machine::is_busy($machine);
        print "\n";
    }
    my @tables;
    for my $workers (@workers) {
        push @tables, my $table = measure($option, $workers, @contestants);
        judge($table);
        print_table($table) if !$option->{json};
    }
    print JSON::PP->new->canonical->pretty->encode({ machine => $machine, tables => \@tables }) if $option->{json};
    my @lines = map { @{ $_->{lines} } } @tables;
    return 1 if grep { $_->{errors} } @lines;
    return $option->{check} && grep({ $_->{is_ours} && !$_->{meets} } @lines) ? 1 : 0;
}

exit main(@ARGV);
