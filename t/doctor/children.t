# Who waits for any child, and takes the statuses of others.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use ForkTest qw(has_module kernel_has_exit_info);
use Test2::V0;

finds(
    warning => 'children', qr/\A\$SIG\{CHLD\} is 'IGNORE'\z/, q{$SIG{CHLD} = 'IGNORE'},
    name    => 'IGNORE',
    without => q{$SIG{CHLD} = 'DEFAULT'},
);

# It also takes the status of the canary, in the doctor's own process.
my $reaper = '$SIG{CHLD} = sub { 1 while waitpid(-1, POSIX::WNOHANG()) > 0 }';
my $report = examine($reaper);
my @what   = map { $_->{what} } grep { $_->{check} eq 'children' } @{ $report->{findings} };
ok(
    scalar(grep { /\Athe handler of \$SIG\{CHLD\} at -e line \d+ waits for any child/ } @what),
    'a reaper: found by its code'
) or diag(@what);
ok(scalar(grep { /\Asomebody took the exit status of the canary/ } @what), 'and by what it does') or diag(@what);
is([ grep { $_->{check} eq 'hooks' } @{ $report->{findings} } ], [], 'which is no fault of a hook');

finds(
    warning => 'children', qr/\Athe handler of \$SIG\{CHLD\} at -e line \d+ waits for any child/,
    'sub reaper { wait } $SIG{CHLD} = "reaper"; POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new(POSIX::SIGCHLD()))',
    name => 'a handler by its name'
);
finds_not(children => '$SIG{CHLD} = sub { waitpid($$, POSIX::WNOHANG()) }', name => 'a handler that waits for its own');
finds_not(children => '$SIG{CHLD} = sub { my %h = (wait => 1); $h{wait}++ }', name => 'a handler that does not wait');

my $severity = kernel_has_exit_info() ? 'note' : 'warning';
SKIP: {
    skip 'EV is not installed' unless has_module('EV');
    finds($severity => 'children', qr/\AEV waits for any child/, 'require EV', name => 'EV', without => '');
}
SKIP: {
    skip 'AnyEvent is not installed' unless has_module('AnyEvent');
    my $start = 'BEGIN { $ENV{PERL_ANYEVENT_MODEL} = "Perl" } require AnyEvent; AnyEvent::detect(); ';
    finds(
        $severity => 'children', qr/\AAnyEvent waits for any child/,
        $start . 'push @kept, AnyEvent->child(pid => $$, cb => sub { })',
        name    => 'AnyEvent',
        without => $start . 'push @kept, AnyEvent->timer(after => 100, cb => sub { })',
    );
}
SKIP: {
    skip 'IO::Async is not installed' unless has_module('IO::Async::Loop');
    my $start = 'require IO::Async::Loop::Poll; push @kept, my $loop = IO::Async::Loop::Poll->new;';
    my $watch = ' my $pid = fork; POSIX::_exit(0) unless $pid; $loop->watch_process($pid => sub { });';
    finds(
        $severity => 'children', qr/\AIO::Async waits for any child/, $start . $watch,
        name      => 'IO::Async',
        without   => "EventLoop::Fork->import(q{-io_async}); $start $watch",
    );
}

done_testing;
