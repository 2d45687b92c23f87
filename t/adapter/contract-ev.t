# The contract of an adapter: EV, its default loop and others.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use ForkTest qw(children_left);
use LoopTest ();
use Test2::V0;

my $program = <<'PROGRAM';
    use Test::More;
    use EventLoop::Fork::Test::Loop;
    my $make = eval 'sub { ' . shift() . ' }' or die $@;
    run_adapter_tests($make);
    done_testing;
PROGRAM

each_family qr/\AEV/, sub {
    my ($family) = @_;
    my ($output, $status) = LoopTest::run_perl({}, '-e', $program, $family->{source});
    my @failed = $output =~ /^(\s*not ok.*)/mg;
    is(\@failed, [], 'no test fails');
    my $passed = () = $output =~ /^ok/mg;
    is($passed, 15, 'all are run');
    is($status, 0, 'the process ends well');
};

is(children_left(), '', 'no child is left');

done_testing;
