# A worker that says ready and ends at once was ready: its end must not overtake that. Else it counts as a failed start.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use SupervisorTest;
use Test2::V0;

use constant DEATHS => 25;

SupervisorTest::each_family(sub {
    my ($loop_of) = @_;
    my $supervisor = SupervisorTest->start(
        loop_of       => $loop_of,
        workers       => 2,
        respawn_delay => 0,
        worker        => sub { $_[0]->ready; return 0 },
    );
    my @exited = $supervisor->wait_for_count(worker_exited => DEATHS);
    is(scalar @exited, DEATHS, 'workers come and go');
    is([ grep { $_->{cause} ne 'died' } @exited ], [], 'each of them had been ready');
    my $breakers = grep { $_->{event} =~ /breaker|halted/ } $supervisor->events;
    is($breakers, 0, 'so none of them is a failed start');
    is($supervisor->finish, 0, 'exit code');
});

done_testing;
