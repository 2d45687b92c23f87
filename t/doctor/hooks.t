# Hooks that die, crash, hang, leave or take long: each is named with its place, and the doctor goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use Test2::V0;

my $timeout = $ENV{EVF_TEST_SLOW} ? 20 : 0.5;

my $clean = q{at_fork(name => 'good', map { $_ => sub { } } qw(prepare parent child))};

my $found = finds(
    error => 'hooks', qr/\Achild hook 'flags' \(-e line \d+\) killed the canary: SIGSEGV\z/,
    q{at_fork(name => 'flags', child => sub { kill SEGV => $$ })},
    name    => 'SIGSEGV',
    without => $clean,
);
like($found->{hook}, qr/\A'flags' \(-e line \d+\)\z/, 'the hook by itself, too');

finds(
    error => 'hooks', qr/\Achild hook 'dead' \(.*\) died: no server/,
    q{at_fork(name => 'dead', child => sub { die "no server\n" })},
    name => 'an exception in the child'
);
finds(
    error => 'hooks', qr/\Aprepare hook 'before' \(.*\) died: no\b/,
    q{at_fork(name => 'before', prepare => sub { die "no\n" })},
    name => 'an exception in the parent'
);
finds(
    error => 'hooks', qr/\Achild hook 'leaves' \(.*\) ended the canary \(exit 7\)\z/,
    q{at_fork(name => 'leaves', child => sub { exit 7 })},
    name => 'exit'
);
finds(
    error => 'hooks', qr/\Achild hook 'hangs' \(.*\) has not ended within \Q$timeout\E s\z/,
    q{at_fork(name => 'hangs', child => sub { POSIX::pause() while 1 })},
    name    => 'a hook that hangs',
    options => "timeout => $timeout",
    without => $clean,
);
finds(
    error => 'hooks', qr/\Athere is no fork: prepare hook 'refuses' \(.*\) refused: not now\z/,
    q{at_fork(name => 'refuses', prepare => sub { die "not now\n" }, on_failure => 'cancel')},
    name => 'a refusal'
);
finds(
    warning => 'hooks', qr/\Achild hook 'slow' \(.*\) took \d+ ms\z/,
    q{at_fork(name => 'slow', child => sub { my $end = Time::HiRes::time() + 0.12; 1 while Time::HiRes::time() < $end }); require Time::HiRes},
    name => 'a slow hook'
);

subtest 'all of them, and the rest of the audit' => sub {
    my $report = examine(<<'CODE', "timeout => $timeout");
        at_fork(name => 'one',   child => sub { kill SEGV => $$ });
        at_fork(name => 'two',   child => sub { kill ABRT => $$ });
        at_fork(name => 'three', child => sub { 1 while 1 });
        at_fork(name => 'four',  child => sub { die "four\n" });
        at_fork(name => 'five',  child => sub { srand 1 });
CODE
    my @what = map { $_->{what} } grep { $_->{severity} eq 'error' } @{ $report->{findings} };
    for my $word (qw(one two three four)) {
        ok(scalar(grep { /'$word' \(-e line/ } @what), "hook '$word'") or diag(@what);
    }
    ok(scalar(grep { /same random numbers/ } @what), 'what comes after them is seen, too') or diag(@what);
    is($report->{stderr}, '', 'nothing else is said');
};

subtest 'times' => sub {
    my $report = examine(
        q{at_fork(name => 'timed', map { $_ => sub { } } qw(prepare parent child)); at_fork(name => 'child', child => sub { })}
    );
    my %hooks = map { $_->{label} =~ /'(\w+)'/ ? ($1 => $_) : () } @{ $report->{hooks} };
    is([ sort keys %hooks ], [qw(child timed)], 'each hook is listed');
    ok($hooks{timed}{$_} >= 0 && $hooks{timed}{$_} < 5, "seconds in $_") for qw(prepare parent child);
    is($hooks{child}{prepare}, undef, 'none where it has no callback');
};

subtest 'hooks are as before' => sub {
    my $report = ForkTest::run_program(<<'PROGRAM');
        use EventLoop::Fork qw(at_fork);
        $| = 1;
        my $order = '';
        my $gone = at_fork(name => 'gone', child => sub { });
        my $hook = at_fork(name => 'stays', prepare => sub { $order .= 'p'; $gone->cancel }, parent => sub { $order .= 'P' });
        EventLoop::Fork->doctor;
        my $before = $order;
        waitpid fork || POSIX::_exit(0), 0;
        print "$before $order";
        $hook->cancel;
        EventLoop::Fork->doctor;
        print " $order\n";
PROGRAM
    is($report->{stdout}, "pPpP pPpPpP pPpPpP\n", 'after two canaries, after a fork, after the hook was cancelled')
        or diag($report->{stderr});
};

done_testing;
