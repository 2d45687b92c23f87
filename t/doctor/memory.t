# What a child shares, and what hooks and a first request make its own.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use Test2::V0;

skip_all 'the memory of a process is not told here' unless -r '/proc/self/smaps_rollup';

my $big   = 'our @big = map { "x" x 1000 } 1 .. 40_000;';
my $write = '$_ .= "y" for @big';
my $found = finds(
    note => 'memory', qr/\Athe hooks of a child make [0-9.]+ MB of shared memory the child's own\z/,
    "$big at_fork(child => sub { $write })",
    name    => 'a hook',
    without => $big,
);
finds(
    note    => 'memory', qr/\Aa first request makes [0-9.]+ MB of shared memory the child's own\z/, $big,
    name    => 'a request',
    options => "request => sub { $write }",
);
finds_not(memory => $big, name => 'a request that writes little', options => 'request => sub { my $x = 1 }');
finds(
    warning => 'memory', qr/\Athe request in the canary died: no database\z/, '',
    name    => 'a request that dies',
    options => 'request => sub { die "no database\n" }',
);

my $report = examine($big);
like($report->{memory}{text}, qr/\Aa child has [0-9.]+ MB, .*; no request was made\z/, 'what was measured is said');
cmp_ok($report->{memory}{start}{shared}, '>', 40_000_000, 'what is shared');
$report = examine($big, "request => sub { $write }");
like($report->{memory}{text}, qr/ and [0-9.]+ MB after the first request\z/, 'with a request, too');
cmp_ok($report->{memory}{request}{private}, '>', 40_000_000, 'what it made its own');

done_testing;
