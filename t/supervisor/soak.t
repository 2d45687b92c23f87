# What leaks.t does, as often as it should be done before a release: ./dev soak.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../examples/lib";
use ForkTest qw(has_module);
use Test2::V0;

BEGIN { skip_all 'takes minutes: EVF_SOAK=1 runs it, as ./dev soak does' unless $ENV{EVF_SOAK} }

use SoakTest;

my ($wrk) = grep { -x } map { "$_/wrk" } split /:/, $ENV{PATH};

subtest '10,000 workers die' => sub { SoakTest::deaths(10_000) };

subtest 'supervisors are killed under load' => sub {
    skip_all 'wrk is not installed here'              unless $wrk;
    skip_all 'HTTP::Parser::XS is not installed here' unless has_module('HTTP::Parser::XS');
    SoakTest::supervisor_deaths(20, $wrk);
};

done_testing;
