package Bench::Arguments;

# The command lines of the programs in bench/. What is wrong with one ends the program with 2.

use strict;
use warnings;

use Exporter       qw(import);
use File::Basename qw(basename);
use Getopt::Long   qw(GetOptionsFromArray);

our @EXPORT_OK = qw(fail_usage parse);

sub fail_usage {
    my ($message) = @_;
    print STDERR "bench: $message; bench/@{[ basename($0) ]} --help tells more\n";
    exit 2;
}

# Numbers, name => default, and other options, as Getopt::Long has them.
sub parse {
    my ($numbers, $others, @arguments) = @_;
    my %option = %$numbers;
    my @names  = sort keys %$numbers;
    my $complaint;
    local $SIG{__WARN__} = sub { $complaint = $_[0] };
    GetOptionsFromArray(\@arguments, \%option, @$others, map { "$_=s" } @names) or do {
        chomp $complaint;
        fail_usage(lcfirst $complaint);
    };
    fail_usage("unexpected argument '$arguments[0]'") if @arguments;
    for my $name (@names) {
        $option{$name} =~ /\A[1-9][0-9]{0,3}\z/
            or fail_usage("--$name takes a number from 1 to 9999, not '$option{$name}'");
    }
    return \%option;
}

1;
