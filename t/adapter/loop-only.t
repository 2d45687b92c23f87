# A program that loads a loop of ours and nothing else of the distribution: its forks make the other loops in it safe, too.
use strict;
use warnings;

use lib 't/lib';
use ForkTest qw(ev_program run_program);
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
    is says('use EventLoop::Fork::Loop;' . ev_program('fork // die')), "the parent got 1\n", 'a raw fork';
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
