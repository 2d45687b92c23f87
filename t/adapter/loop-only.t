# A program that loads a loop of ours and nothing else of the distribution: its forks make the other loops in it safe, too.
use strict;
use warnings;

use lib 't/lib';
use ForkTest qw(run_program);
use Test2::V0;

sub says {
    my ($program) = @_;
    my $result = run_program("\$| = 1; $program");
    is $result->{stderr}, '', 'nothing is complained of';
    return $result->{stdout};
}

subtest EV => sub {
    defined ForkTest::has_version('EV') or skip_all 'EV is not installed';
    is says(<<'PROGRAM'), "child's timer is stopped\n", 'a fork of our loop';
        use EventLoop::Fork::Loop;
        use EV;
        my $loop  = EventLoop::Fork::Loop->new;
        my $timer = EV::timer(1000, 0, sub { });
        $loop->fork(
            code    => sub { print 'child\'s timer is ', $timer->is_active ? 'active' : 'stopped', "\n"; 0 },
            on_exit => sub { $loop->stop },
        );
        $loop->run;
PROGRAM
    is says(<<'PROGRAM'), "the parent got 1\n", 'a raw fork';
        use EventLoop::Fork::Loop;
        use EV;
        use POSIX ();
        pipe my $reader, my $writer or die;
        my $got = 0;
        my $watcher = EV::io($reader, EV::READ, sub { sysread $reader, my $byte, 1; $got++; EV::break });
        EV::run(EV::RUN_NOWAIT);
        my $pid = fork // die;
        if (!$pid) {
            $watcher->stop;
            my $other = EV::io($reader, EV::WRITE, sub { });
            EV::run(EV::RUN_NOWAIT);
            POSIX::_exit(0);
        }
        waitpid $pid, 0;
        syswrite $writer, 'x';
        my $timer = EV::timer(20, 0, sub { EV::break });
        EV::run;
        print "the parent got $got\n";
PROGRAM
};

subtest Mojo => sub {
    defined ForkTest::has_version('Mojolicious') or skip_all 'Mojolicious is not installed';
    defined ForkTest::has_version('IO::Async')   or skip_all 'IO::Async is not installed';
    is says(<<'PROGRAM'), "another reactor\n", 'a fork of our loop for IO::Async';
        use IO::Async::Loop::Libev;
        use Mojo::IOLoop;
        my $loop    = IO::Async::Loop::Libev->new;
        my $reactor = Mojo::IOLoop->singleton->reactor;
        Mojo::IOLoop->timer(1000 => sub { });
        $loop->fork(
            code => sub { print Mojo::IOLoop->singleton->reactor == $reactor ? 'the same' : 'another', " reactor\n"; 0 },
            on_exit => sub { $loop->stop },
        );
        $loop->run;
PROGRAM
};

done_testing;
