# A worker holds no process descriptor of another one, on whatever loop. It would keep that in the parent's epoll instance
# beyond its close, and libev, told of what it does not watch, makes all its kernel objects anew at each death.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use SupervisorTest;
use Test2::V0;

BEGIN { skip_all 'needs /proc' unless -d "/proc/$$/fd" }

for my $family (SupervisorTest::families()) {
    my ($name, $loop_of) = @$family;
    my $supervisor = SupervisorTest->start(
        loop_of => $loop_of,
        workers => 3,
        worker  => \&SupervisorTest::serve,
    );
    $supervisor->wait_for_count(worker_ready => 3);
    kill KILL => ($supervisor->workers)[0];
    $supervisor->wait_for('worker_ready');
    my %held = map {
        my $pid = $_;
        $pid => scalar grep { (readlink($_) // q{}) =~ /pidfd/ } glob "/proc/$pid/fd/*"
    } $supervisor->workers;
    is([ values %held ], [ 0, 0, 0 ], $name);
    $supervisor->finish;
}

done_testing;
