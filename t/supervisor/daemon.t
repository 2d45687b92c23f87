# A program that becomes a daemon between new and start: the supervisor is the process that starts.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use POSIX ();
use SupervisorTest;
use Test2::V0;

pipe my $reader, my $writer or die "pipe: $!";
my $pid = fork // die "fork: $!";
if (!$pid) {
    close $reader;
    require EventLoop::Fork::Supervisor;
    my $ready      = 0;
    my $supervisor = EventLoop::Fork::Supervisor->new(
        workers     => 2,
        crash_limit => 2,
        worker      => \&SupervisorTest::serve,
        on_event    => sub {
            my ($event) = @_;
            syswrite $writer, "$event->{event}\n";
            kill TERM => $$ if $event->{event} eq 'worker_ready' && ++$ready == 2;
        },
    );
    my $daemon = fork // die "fork: $!";
    POSIX::_exit(0) if $daemon;
    POSIX::setsid();
    alarm SupervisorTest::BOUND;
    my $exit_code = $supervisor->run;
    syswrite $writer, "exit code $exit_code\n";
    POSIX::_exit(0);
}
close $writer;
my $told = do { local $/; readline $reader };
waitpid $pid, 0;
like($told, qr/(?:worker_ready.*){2}exit code 0\n\z/s, 'its workers serve until it stops');
unlike($told, qr/halted/, 'they do not take it for the end of their supervisor');

done_testing;
