# Workers that leak: examples/rotation shows that they grow, and that rotation bounds it without a failed request.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use ForkTest qw(has_module);
use Test2::V0;

skip_all 'wrk is not installed here'                unless grep { -x } map { "$_/wrk" } split /:/, $ENV{PATH};
skip_all 'HTTP::Parser::XS is not installed here'   unless has_module('HTTP::Parser::XS');
skip_all 'the memory of a process is not told here' unless -r "/proc/$$/statm";

my @perl    = ($^X, map { "-I$_" } grep { !ref } @INC);
my @options = qw(--seconds 3 --max-requests 60 --max-requests-jitter 40);
my $output  = qx(@perl "$FindBin::Bin/../../examples/rotation/measure.pl" @options 2>&1);
is($?, 0, 'it exits with 0') or diag($output);
my %most;
for my $name ('without rotation', 'with rotation') {
    like($output, qr/^$name: [1-9]\d* requests, failed: none; workers started: \d+/m, "$name: no request failed");
    ($most{$name}) = $output =~ /^$name: .*; most memory: (\d+) MB/m;
}
cmp_ok($most{'with rotation'}, '<', $most{'without rotation'}, 'rotation bounds the memory');
is(scalar(() = $output =~ /^\| \d \|/mg), 4, 'a line for each second');

done_testing;
