# Nothing adds up when workers die one after the other, nor when supervisors are killed. soak.t does more of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib", "$FindBin::Bin/../../examples/lib";
use ForkTest qw(has_module);
use SoakTest;
use Test2::V0;

my ($wrk) = grep { -x } map { "$_/wrk" } split /:/, $ENV{PATH};

subtest 'workers die' => sub { SoakTest::deaths($ENV{EVF_TEST_SLOW} ? 60 : 300) };

subtest 'supervisors are killed under load' => sub {
    skip_all 'wrk is not installed here'              unless $wrk;
    skip_all 'HTTP::Parser::XS is not installed here' unless has_module('HTTP::Parser::XS');
    SoakTest::supervisor_deaths(2, $wrk);
};

done_testing;
