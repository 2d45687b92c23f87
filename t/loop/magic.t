# Arguments with magic count for what they hold, and are asked for it once: $1, and tied variables.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Loop;
use LoopTest;
use POSIX ();
use Test2::V0;

{

    package Tied;
    our $fetched = 0;
    sub TIESCALAR { my ($class, $value) = @_; return bless [$value], $class }
    sub FETCH { my ($self) = @_; $fetched++; return $self->[0] }
}

my $loop = EventLoop::Fork::Loop->new;

sub tied_to {
    my ($value) = @_;
    tie my $tied, 'Tied', $value;
    $Tied::fetched = 0;
    return \$tied;
}

sub ended_child {
    my $pid = fork // die "fork: $!";
    POSIX::_exit(3) if !$pid;
    return $pid;
}

my $pid = ended_child();
my $status;
ok "pid=$pid" =~ /([0-9]+)/, 'a match';
$loop->watch_process($1 => sub { $status = $_[1] });
wait_until($loop, sub { defined $status });
is $status, 3 << 8, 'watch_process($1)';

$pid = ended_child();
my $tied = tied_to($pid);
$loop->watch_process($$tied => sub { $status = 'called' });
is $Tied::fetched, 1, 'a tied pid';
$tied = tied_to($pid);
$loop->unwatch_process($$tied);
is $Tied::fetched, 1, 'is unwatched';
is waitpid($pid, 0), $pid, 'and ours again';

undef $status;
$tied = tied_to(sub { $status = $_[1] });
$loop->fork(code => sub { 4 }, on_exit => $$tied);
is $Tied::fetched, 1, 'a tied on_exit';
wait_until($loop, sub { defined $status });
is $status, 4 << 8, 'is called';

my $fired = 0;
$tied = tied_to(sub { $fired++ });
my $seconds = tied_to(0);
my $id      = $loop->watch_time(after => $$seconds, code => $$tied);
is $Tied::fetched, 2, 'a tied time and code';
$tied = tied_to($id);
$loop->unwatch_time($$tied);
is $Tied::fetched, 1, 'a tied id';
my ($one, $other) = make_pair();
syswrite $other, 'x';
($tied, my $code) = (tied_to($one), tied_to(sub { $fired += 10 }));
$loop->watch_io(handle => $$tied, on_read_ready => $$code);
is $Tied::fetched, 2, 'a tied handle and code';
$loop->loop_once(BOUND);
is $fired, 10, 'the time was unwatched, and the handle is watched';
$tied = tied_to($one);
my $yes = tied_to(1);
$loop->unwatch_io(handle => $$tied, on_read_ready => $$yes);
is $Tied::fetched, 2, 'and unwatched';
is $loop->loop_once(0), 0, 'nothing is left to call';

done_testing;
