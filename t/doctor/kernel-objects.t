# Event objects of the kernel: those that a child shares are found, those that are renewed are not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use ForkTest qw(has_module);
use POSIX    ();
use Test2::V0;

my $machine = (POSIX::uname())[4];
skip_all 'event objects are those of Linux' unless $^O eq 'linux';
my %CALLS = (
    x86_64  => { epoll => 291, eventfd => 290, timerfd => 283, signalfd => 289, inotify => 294, io_uring => 425 },
    aarch64 => { epoll => 20, eventfd  => 19, timerfd  => 85, signalfd  => 74, inotify  => 26, io_uring  => 425 },
);
my $calls = $CALLS{$machine};
skip_all "the numbers of system calls are not known for $machine" unless $calls;

require EventLoop::Fork::Doctor;
skip_all 'this system does not tell whether an open file is the same: kcmp(2)'
    unless defined EventLoop::Fork::Doctor::_shares_file($$, 0);

my %make = (
    eventfd  => "syscall($calls->{eventfd}, 0, 0)",
    timerfd  => "syscall($calls->{timerfd}, 1, 0)",
    signalfd => "syscall($calls->{signalfd}, -1, my \$mask = pack('Q', 0), 8, 0)",
    inotify  => "syscall($calls->{inotify}, 0)",
    io_uring => "syscall($calls->{io_uring}, 4, my \$parameters = \"\\0\" x 120)",
);
for my $type (sort keys %make) {
    my ($severity) = $type eq 'io_uring' ? 'error' : 'warning';
SKIP: {
        my $probe = eval "$make{$type}";
        skip "no $type here: $!" unless defined $probe && $probe >= 0;
        POSIX::close($probe);
        my $found = finds(
            $severity => 'kernel', qr/\Aparent and child share one $type \(descriptor \d+\)\z/,
            "my \$fd = $make{$type}; die \$! if \$fd < 0",
            name    => $type,
            without => "my \$fd = $make{$type}; POSIX::close(\$fd)",
        );
    }
}

SKIP: {
    skip 'Linux::Epoll is not installed' unless has_module('Linux::Epoll');
    finds(
        warning => 'kernel', qr/\Aafter perl's own fork parent and child share one eventpoll \(descriptor \d+\b/,
        'require Linux::Epoll; push @kept, Linux::Epoll->new',
        name    => 'an epoll of an unknown owner',
        without => 'EventLoop::Fork->import(q{-isolate}); require Linux::Epoll; push @kept, Linux::Epoll->new',
    );
}

# One of a C library, beside EV, which does not tell its own.
my $nameless = qr/\Aafter perl's own fork parent and child share one eventpoll \(descriptor \d+\)\z/;
finds(warning => 'kernel', $nameless, "syscall($calls->{epoll}, 0)", name => 'an epoll of C code', without => '');
SKIP: {
    skip 'EV is not installed' unless has_module('EV');
    my $ev = 'require EV; push @kept, EV::Loop->new;';
    finds(warning => 'kernel', $nameless, "$ev syscall($calls->{epoll}, 0)", name => 'beside EV', without => $ev);
}

for my $family (
    [ 'ours', 'push @kept, EventLoop::Fork::Loop->new; $kept[0]->loop_once(0)' ],
    [ 'EV', 'require EV; push @kept, EV::timer(100, 0, sub { }); EV::run(EV::RUN_NOWAIT())' ],
    [
        'IO::Async::Loop::Epoll',
        'require IO::Async::Loop::Epoll; push @kept, IO::Async::Loop::Epoll->new; $kept[0]->loop_once(0)'
    ],
    [
        'Mojo::IOLoop',
        'require Mojo::IOLoop; Mojo::IOLoop->timer(0 => sub { Mojo::IOLoop->stop }); Mojo::IOLoop->start'
    ],
    )
{
    my ($name, $code) = @$family;
SKIP: {
        skip "$name is not installed" unless $name eq 'ours' || has_module($name);
        finds_not(kernel => $code, name => "a loop of $name is renewed");
    }
}

done_testing;
