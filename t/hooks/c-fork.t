# A fork by C code is noticed: what can still be done in the child is done when Perl goes on there, and what could not
# be done is named.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

has_module('FFI::Platypus') or skip_all 'FFI::Platypus, to call fork of the C library, is not installed';

my $start = <<'PROGRAM';
    use EventLoop::Fork qw(at_fork);
    use EventLoop::Fork::Loop;
    use FFI::Platypus;
    use POSIX ();
    $| = 1;
    my $ffi = FFI::Platypus->new(api => 1, lib => [undef]);
    my $c_fork = $ffi->function(fork => [] => 'int');
PROGRAM

{
    my $result = run_program($start . <<'PROGRAM');
        at_fork(name => 'both', prepare => sub { print "prepare\n" }, child => sub { print "child of both\n" });
        at_fork(name => 'child', child => sub { print "child\n" });
        my $loop = EventLoop::Fork::Loop->new;
        my $pid = $c_fork->call;
        if ($pid == 0) {
            $loop->watch_time(after => 0.001, code => sub { print "the loop works\n"; $loop->stop });
            $loop->run;
            exit 0;
        }
        waitpid $pid, 0;
        print "end $?\n";
        print "again\n";
        exit 0 unless my $second = fork;
        waitpid $second, 0;
PROGRAM
    is $result->{stdout}, "child\nthe loop works\nend 0\nagain\nprepare\nchild of both\nchild\n",
        'a hook without prepare runs in the child';
    like $result->{stderr},
        qr/\AEventLoop::Fork: process \d+ was forked by C code \(near -e line \d+\), where no hook can prepare; these did not run: 'both' \(-e line \d+\)\n\z/,
        'the others are named, once';
}

# Loops of others are made private in that child, too: what it does to a watched descriptor does not reach the parent.
SKIP: {
    defined ForkTest::has_version('EV') or skip 'EV is not installed', 1;
    my $result = run_program($start . ev_program('$c_fork->call', 'sub { }->()'));
    is $result->{stdout}, "the parent got 1\n", 'the parent\'s EV still hears of its pipe';
}

{
    # The first fork is a statement of an eval: its memory is another's by the second.
    my $result = run_program($start . <<'PROGRAM');
        at_fork(name => 'place', child => sub { print EventLoop::Fork::_fork_place(), "\n" });
        eval qq{#line 77 "old"\nwaitpid fork || POSIX::_exit(0), 0;} or die $@;
        my @memory = map { eval "sub { $_ + 1 }" } 1 .. 200;
#line 90 "new"
        my $pid = $c_fork->call;
        exit 0 if !$pid;
        waitpid $pid, 0;
PROGRAM
    like $result->{stdout}, qr/\Aold line 77\nnew line 9[01]\n\z/, 'the place of a fork is not that of the one before';
    is $result->{stderr}, '', 'and nothing is said';
}

# It does not ask: the child is told what it was in the middle of.
{
    my $result = run_program($start . <<'PROGRAM');
        use EventLoop::Fork qw(prevent_fork);
        my $object = at_fork(name => 'fixed', fork_safe => 0);
        EventLoop::Fork->prevent_fork(sub {
            my $pid = $c_fork->call;
            if ($pid == 0) {
                $object->cancel;
                print 'prevented: ', defined EventLoop::Fork::_section_place() ? 'yes' : 'no', "\n";
                exit 0;
            }
            waitpid $pid, 0;
            print 'prevented: ', defined EventLoop::Fork::_section_place() ? 'yes' : 'no', "\n";
        });
PROGRAM
    is $result->{stdout}, "prevented: no\nprevented: yes\n", 'a section is not the child\'s';
    like $result->{stderr},
        qr/\AEventLoop::Fork: process \d+ was forked by C code \(near -e line \d+\), where no hook can prepare, inside of prevent_fork at -e line 11; these forbid forks: 'fixed' \(-e line 9\)\n\z/,
        'which is told where it began, and who forbids forks';
}
done_testing;
