# examples/crashing-sdk: the doctor names the library and the hook that would kill every worker; workers that start the
# library themselves serve.

use strict;
use warnings;

use Config;
use FindBin;
use lib "$FindBin::Bin/../lib";
use EvforkTest;
use File::Copy            ();
use File::Path            ();
use File::Spec::Functions qw(catdir catfile rel2abs);
use HTTPClient;
use JSON::PP ();
use Test2::V0;

my $example = rel2abs("$FindBin::Bin/../../examples/crashing-sdk");
my $folder  = "$EvforkTest::folder/sdk";
File::Path::make_path("$folder/lib");
File::Copy::copy("$example/$_", "$folder/$_") or die "$example/$_: $!" for qw(Makefile.PL Flags.xs lib/Flags.pm app.pl);
my $built = qx(cd '$folder' && { '$^X' Makefile.PL && $Config{make}; } 2>&1);
skip_all("'$Config{cc}' does not build modules here: $built") if $? && !defined qx($Config{cc} --version 2>&1);
is($?, 0, 'it builds') or bail_out($built);

my $app = "$folder/app.pl";

subtest doctor => sub {
    my ($exit_code, $out, $err) = EvforkTest::run_evfork('doctor', '--json', $app);
    is([ $exit_code, $err ], [ 3, '' ], 'errors: exit code 3');
    my $data = eval { JSON::PP->new->decode($out) } || {};
    my ($hook) = grep { $_->{check} eq 'hooks' && $_->{severity} eq 'error' } @{ $data->{findings} || [] };
    like(
        $hook->{what}, qr/\Achild hook 'flags' \(\S*Flags\.pm line \d+\) killed the canary: SIGSEGV\z/,
        'the hook, its place, its signal'
    );
    ok(length $hook->{cause} && length $hook->{write}, 'what it can cause, what to write');
SKIP: {
        skip 'threads of a process are not told here' unless -d '/proc/self/task';
        my ($thread) = grep { $_->{check} eq 'threads' } @{ $data->{findings} };
        like($thread->{library}, qr{/Flags/Flags\.$Config{dlext}\z}, 'the library that the thread is of');
        like($thread->{what}, qr/\(flags\)\z/, 'the name of the thread');
    }
};

sub answer {
    my ($address) = @_;
    my $client = HTTPClient->new("http://$address/");
    $client->get('/', 'Connection: close');
    my $response = $client->response || { status => 'no answer', body => '' };
    return "$response->{status} $response->{body}";
}

sub start {
    my (@options) = @_;
    return EvforkTest->start(
        qw(--workers 1 --listen 127.0.0.1:0 --crash-limit 2 --crash-window 300 --respawn-delay 0.01),
        '--status-file', "$folder/status", @options, $app
    );
}

# From its log, and the answer of the worker that is ready.
sub serves {
    my ($evfork, $name, $address) = @_;
    ($address) = $evfork->wait_for(qr/listening on (\S+)/) if !defined $address;
    ok($evfork->wait_for_workers(1), "$name: a worker is ready") or diag($evfork->lines);
    like(answer($address), qr/\A200 new page: on, from process \d+\n\z/, "$name: it answers");
    $evfork->signal('TERM');
    is($evfork->exit_code, 0, "$name: it stops");
    return;
}

serves(start(), 'the library is started in each worker');
serves(start('--start-method', 'spawn'), 'so it is by spawn');
{
    local $ENV{PERL5OPT} = join ' ', map({ "-I$_" } grep { !ref && !/\s/ } @INC),
        (map { "-I$folder/blib/$_" } qw(arch lib)),
        '-MFlags=-start';
    serves(start('--start-method', 'spawn'), 'spawn, with the library in the supervisor');

    my $evfork    = start();
    my ($address) = $evfork->wait_for(qr/listening on (\S+)/);
    my ($reason)  = $evfork->wait_for(qr/ended after .*?: (killed by SIGSEGV.*)/);
    like(
        $reason,
        qr/ in child hook 'flags' \(priority 50, registered at \S*Flags\.pm line \d+\)/,
        'fork: the log names the hook that ended a worker'
    );
    ok($evfork->wait_for(qr/workers are started by spawn from here on; .*child hook 'flags'/), 'and says what it does');
    my ($exit_code, $out) = EvforkTest::run_evfork('status', '--deaths', "$folder/status");
    like($out, qr/: killed by SIGSEGV.* in child hook 'flags'/, 'the status names it, too');
    serves($evfork, 'fork, which falls back to spawn', $address);
}

done_testing;
