# Workers write a log and fail with a message. With STDOUT in a file or pipe the log was empty, and nobody learned why a
# worker had failed.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $program = <<'EOP';
use strict;
use warnings;
open STDERR, '>&', \*STDOUT or die "STDERR: $!";
my $loop = eval $ARGV[0] or die;
print "master: starting\n";
my $ended;
$loop->fork(
    name    => 'resizer',
    code    => sub { print "worker: at work\n"; die "no space left\n" },
    on_exit => sub { $ended = $_[1] >> 8 },
);
$loop->loop_once until defined $ended;
print "master: worker ended with $ended\n";
EOP

each_loop sub {
    my ($new, $kind) = @_;
    my $result = run_program($program, $kind->{source});
    is [ sort split /\n/, $result->{stdout} =~ s/pid [0-9]+/pid N/r ],
        [
        "EventLoop::Fork: child 'resizer' (pid N): no space left",
        'master: starting',
        'master: worker ended with 255',
        'worker: at work'
        ],
        'every word is there, once';
};

control 'with IO::Async::Loop::Poll the worker says nothing', ['IO::Async::Loop::Poll'],
    qr/\Amaster: starting\nmaster: worker ended with 255\n\z/, $program,
    'use IO::Async::Loop::Poll; IO::Async::Loop::Poll->new';

done_testing;
