package Bench::Families;

# A child through a loop that is not ours: what the family itself offers, and EventLoop::Fork->fork on the same loop. Both
# until the child's end has arrived through the loop.

use strict;
use warnings;

use POSIX ();

use constant EXIT_CODE => 7;

sub rows {
    return {
        name    => 'fork-family',
        title   => 'fork, exit and its arrival through a loop of others, the way of its family and ours',
        unit    => 'child',
        count   => 100,
        takes   => sub { $_[0]{kind} eq 'family' },
        against => 'own_way',
        clock   => 'wall',
        judged  => sub { 0 },
        prepare => sub { my ($family) = @_; return $family->{is_ours} ? _ours($family) : $family->{own}->() },
    };
}

sub check {
    my ($wait_status) = @_;
    $wait_status == EXIT_CODE << 8 or die "a child ended with wait status $wait_status\n";
    return;
}

sub raw_fork {
    my $pid = fork;
    defined $pid or die "cannot fork: $!\n";
    POSIX::_exit(EXIT_CODE) if $pid == 0;
    return $pid;
}

# $start gets what to call with the wait status, in the loop, and $run runs the loop until $stop is called.
sub one_by_one {
    my ($start, $run, $stop) = @_;
    return sub {
        my ($count) = @_;
        for (1 .. $count) {
            my $wait_status;
            $start->(sub { $wait_status = $_[0]; $stop->() });
            $run->();
            check($wait_status);
        }
    };
}

sub _ours {
    my ($family) = @_;
    require EventLoop::Fork;
    require EventLoop::Fork::Adapter;
    my $adapter = EventLoop::Fork::Adapter::for_loop($family->{loop}->());
    my $code    = sub { return EXIT_CODE };
    my $start   = sub {
        my ($ended) = @_;
        EventLoop::Fork->fork(loop => $adapter->loop, code => $code, on_exit => sub { $ended->($_[1]) });
    };
    return one_by_one($start, sub { $adapter->run }, sub { $adapter->stop });
}

# ---- The ways of the families ---------------------------------------------------------------------------------------

sub ev {
    my $watcher;
    my $start = sub {
        my ($ended) = @_;
        $watcher = EV::child(raw_fork(), 0, sub { $ended->($_[0]->rstatus) });
    };
    return one_by_one($start, sub { EV::run() }, sub { EV::break(EV::BREAK_ONE()) });
}

sub anyevent {
    my ($watcher, $waiting);
    my $start = sub {
        my ($ended) = @_;
        $waiting = AnyEvent->condvar;
        $watcher = AnyEvent->child(pid => raw_fork(), cb => sub { $ended->($_[1]) });
    };
    return one_by_one($start, sub { $waiting->recv }, sub { $waiting->send });
}

# A subprocess hands a value over, and its exit code is 0.
sub mojo {
    my $start = sub {
        my ($ended) = @_;
        Mojo::IOLoop->subprocess(
            sub { return EXIT_CODE },
            sub { my (undef, $error, $value) = @_; $ended->($error || $value << 8) }
        );
    };
    return one_by_one($start, sub { Mojo::IOLoop->start }, sub { Mojo::IOLoop->stop });
}

sub io_async {
    my ($class) = @_;
    my $loop    = $class->new;
    my $start   = sub {
        my ($ended) = @_;
        $loop->fork(code => sub { return EXIT_CODE }, on_exit => sub { $ended->($_[1]) });
    };
    return one_by_one($start, sub { $loop->run }, sub { $loop->stop });
}

1;
