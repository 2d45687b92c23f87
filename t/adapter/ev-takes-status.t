# EV asks for the status of every child of the process once its default loop runs. Where the kernel does not tell a status
# that somebody else has taken, on_exit gets it from EV.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use ForkTest qw(children_left);
use Test2::V0;

# A system whose process descriptors tell nothing of a process that is reaped; and one that has none.
my $older = <<'PERL';
    BEGIN {
        require EventLoop::Fork;
        require EventLoop::Fork::Adapter;
        require POSIX;
        no warnings 'redefine';
        *EventLoop::Fork::_process_reap = sub {
            my ($pid) = @_;
            my $reaped = waitpid $pid, POSIX::WNOHANG();
            return $reaped == 0 ? undef : $reaped < 0 ? -1 : $?;
        };
        my ($has_descriptors, $asks_ev) = splice @ARGV, 0, 2;
        my $watch = \&EventLoop::Fork::Adapter::Processes::watch_process;
        *EventLoop::Fork::Adapter::Processes::watch_process = sub {
            my ($self, $pid, $fd, $code) = @_;
            return $watch->($self, $pid, $has_descriptors ? $fd : undef, $code);
        };
        *EventLoop::Fork::Adapter::Processes::_ask_ev = sub { return } if !$asks_ev;
    }
PERL

my $program = <<'PERL';
    use ForkTest qw(is_zombie);
    my $loop    = eval 'no strict; ' . shift() or die $@;
    my $adapter = EventLoop::Fork::Adapter::for_loop($loop);
    my %ends;
    alarm 60;
    my $count = 0;
    my @children;
    for my $code (1 .. 10) {
        push @children, EventLoop::Fork->fork(
            loop    => $loop,
            code    => sub { $code },
            on_exit => sub { $ends{$code} .= ' ' . ($_[1] == -1 ? 'unknown' : $_[1] >> 8); $adapter->stop if ++$count == 10 },
        );
    }
    # All have ended when the loop starts, so EV is the first to ask.
    is_zombie($_->pid) for @children;
    $adapter->run;
    my $wrong = grep { $ends{$_} ne " $_" } 1 .. 10;
    print $wrong ? 'wrong' : 'right', "\n";
PERL

each_family(
    qr/\bEV\b/,
    sub {
        my ($family) = @_;
        program_says('with process descriptors', "right\n", "$older $program", 1, 1, $family->{source});
        program_says('without process descriptors', "right\n", "$older $program", 0, 1, $family->{source});
        if ($family->{label} !~ /another loop/) {    # whose run does not take them
            program_says('control: with nobody asked', "wrong\n", "$older $program", 1, 0, $family->{source});
        }
    }
);

is(children_left(), '', 'no child is left');

done_testing;
