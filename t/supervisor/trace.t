# The stream of events of a real supervisor, through the machine again: the same decisions.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use File::Temp ();
use SupervisorTest;
use Test2::V0;

use EventLoop::Fork::Loop;    # loads the object

my $folder     = File::Temp->newdir;
my $trace      = "$folder/trace";
my $supervisor = SupervisorTest->start(
    workers    => 3,
    trace_file => $trace,
    worker     => \&SupervisorTest::serve,
);
my @ready = $supervisor->wait_for_count(worker_ready => 3);
kill KILL => $ready[1]{pid};
$supervisor->wait_for('worker_ready');
$supervisor->signal('HUP');
$supervisor->wait_for('reloaded');
$supervisor->signal('TTOU');
$supervisor->wait_for('worker_exited');
is($supervisor->finish, 0, 'a supervisor with a trace');

open my $file, '<', $trace or die "$trace: $!";
my $machine = EventLoop::Fork::Supervisor::Machine->new_from_trace(scalar readline $file);
ok($machine, 'the first line has the options');
my @reports;
while (defined(my $line = readline $file)) {
    my $actions = $machine->replay($line) or die "line $.: $line";
    push @reports, map { [ @$_{qw(report pid generation)} ] } grep { $_->{type} eq 'REPORT' } @$actions;
}
my @told = map { [ $_->{event}, $_->{pid} || 0, $_->{generation} ] } $supervisor->events;
$_->[2] = 0 for @told, @reports;    # the driver adds it where the machine has no need to
is(\@reports, \@told, 'all that was told then is told now, in the same order');
is($machine->replay('nonsense'), undef, 'what is no event is refused');

done_testing;
