package IsolationTest::Checks::GoesOn;

# A child or a daemon that goes on with the loop and the watches that it has inherited.

use strict;
use warnings;

use IsolationTest::Check;
use POSIX ();

# Two sets of watches in the parent; each process uses one, so that nobody reads the other's bytes.
sub two_worlds { my ($run) = @_; return ($run->world(timer => 0.06), $run->world(timer => 0.06, signal => 'USR2')) }

check keep => 'a child goes on with the watches that it has inherited, and so does its parent', sub {
    my ($run) = @_;
    my ($mine, $childs) = two_worlds($run);
    my $kid = $run->start_child(sub {
        my ($own, $me) = @_;
        $childs->{family} = $own;
        my @wrong = (faults_in_words($run, $childs), own_process($run, $own));
        $me->tell([@wrong]);
        $me->wait;
        # A child that changes all of it again.
        $_->stop for $mine, $childs;
        watch_shortly($own, $mine->{reader}, 'write');
        return 0;
    });
    blame($run, c => 'child', $kid->hear(4));
    $run->faults_of($mine, 'while the child lives');
    $run->end($kid);
    $run->faults_of($mine, 'when it has stopped all and gone');
    },
    plain => ['fork'],
    with  => ['keep'];

check daemon => 'a daemon goes on with the loop when its parent has gone', sub {
    my ($run) = @_;
    my $kid = daemonise($run, 0);
    blame($run, c => 'daemon', $kid->hear(5));
    $kid->reap($run->{bound});
    },
    plain   => ['fork'],
    with    => ['raw'],
    is_bare => 1;

check staying => 'a daemon goes on with the loop, and its parent stays and does so, too', sub {
    my ($run) = @_;
    my $kid = daemonise($run, 1);
    blame($run, c => 'daemon', $kid->hear(5));
    blame($run, d => 'parent', $kid->hear(4));
    $kid->reap($run->{bound});
    },
    plain   => ['fork'],
    with    => ['raw'],
    is_bare => 1;

# fork, setsid, fork; the daemon goes on with the loop and all its watches. The server that sets up the loop is a child
# of this process, which has not made any.
sub daemonise {
    my ($run, $stays) = @_;
    my $family = $run->family;
    return $run->start_child(
        sub {
            my ($own, $me) = @_;
            $run->load;
            my ($mine, $daemons) = two_worlds($run);
            pipe my $server_has_gone, my $server_stays or die "pipe: $!";
            pipe my $daemon_has_told, my $daemon_works or die "pipe: $!";
            my $between = fork;
            defined $between or die "fork: $!";
            if ($between) {
                close $daemon_works;
                waitpid $between, 0;
                exit 0 unless $stays;    # with its destructors
                wait_for_end($daemon_has_told);
                $me->tell([ faults_in_words($run, $mine) ]);
                exit 0;
            }
            close $server_stays;
            POSIX::setsid();
            my $daemon = fork;
            POSIX::_exit(0) if $daemon;
            alarm $run->alarm_seconds;
            wait_for_end($server_has_gone) unless $stays;
            my @wrong = eval { (faults_in_words($run, $daemons), own_process($run, $family)) };
            @wrong = $@ if $@;
            $me->tell([@wrong]);
            # What is its parent's only.
            $mine->stop;
            watch_shortly($family, $mine->{reader}, 'write');
            close $daemon_works;
            wait_for_end($server_has_gone);
            POSIX::_exit(0);
        },
        tool => 'fork',
    );
}

sub wait_for_end {
    my ($handle) = @_;
    1 until defined sysread $handle, my $byte, 1;
    return;
}


1;
