# The files of examples/deploy do what they say: their commands are run as they are written there, but for paths and addresses.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd ();
use EvforkTest;
use IO::Socket::UNIX;
use ProcessTest qw(wait_until);
use ServiceManager;
use Test2::V0;
use Text::ParseWords qw(shellwords);

my $root   = Cwd::realpath("$FindBin::Bin/../..");
my $deploy = "$root/examples/deploy";

sub slurp { return EvforkTest::slurp(@_) }

sub tool {
    my ($name) = @_;
    my ($path) = grep { -x } map { "$_/$name" } split /:/, $ENV{PATH};
    return $path;
}

# What a container or the service's folder would have.
my $status = "$EvforkTest::folder/status";

sub here {
    my ($text) = @_;
    $text =~ s{/srv/hello/app\.pl}{$EvforkTest::apps/hello.pl}g;
    $text =~ s{/run/(?:hello|evfork)/status}{$status}g;
    $text =~ s{127\.0\.0\.1:8080}{127.0.0.1:0}g;
    return $text;
}

# A command of `evfork` as words, without the program.
sub words_of {
    my ($text) = @_;
    my ($program, @words) = shellwords(here($text));
    like($program, qr{(?:\A|/)evfork\z}, "evfork $words[0]");
    return @words;
}

sub start {
    my ($variables, @words) = @_;
    return EvforkTest->start_process(sub {
        my ($writer) = @_;
        open STDERR, '>&', $writer or return;
        %ENV = (%ENV, %$variables);
        exec EvforkTest::command(@words);
    });
}

subtest 'the service of systemd' => sub {
    my $unit = slurp("$deploy/hello.service");
    $unit =~ s/\\\n\s*//g;
    my %setting = $unit =~ /^(\w+)=(.*)$/mg;
    is($setting{Type}, 'notify', 'its type');
    my $manager    = ServiceManager->new;
    my $supervisor = start(
        { NOTIFY_SOCKET => $manager->address, WATCHDOG_USEC => 1e6 * $setting{WatchdogSec}, WATCHDOG_PID => undef },
        words_of($setting{ExecStart} =~ s/%%/%/gr)
    );
    my $ready = $manager->wait_for('READY');
    is($ready && $ready->{MAINPID}, $supervisor->pid, 'ExecStart: it gets ready');
    is((EvforkTest::evfork(words_of($setting{ExecReload})))[0], 0, 'ExecReload: exit code 0');
    ok($manager->wait_for($_), "the manager hears: $_") for qw(RELOADING READY);
    $supervisor->signal('TERM');
    is($supervisor->exit_code, 0, 'exit code');
    ok($manager->wait_for('STOPPING'), 'the manager hears: STOPPING');
    ok($supervisor->is_gone, 'no process is left');
};

subtest 'systemd understands the units' => sub {
    my $tool = tool('systemd-analyze');
    plan skip_all => 'there is no systemd-analyze' if !$tool;
    mkdir "$EvforkTest::folder/units";
    my $program = EvforkTest::write_file('units/evfork', "#!/bin/sh\n");
    chmod 0755, $program;
    for my $name (qw(hello.service hello.socket)) {
        EvforkTest::write_file("units/$name", slurp("$deploy/$name") =~ s{/usr/local/bin/evfork}{$program}gr);
    }
    for my $name (qw(hello.service hello.socket)) {
        my $output = `$tool verify --man=no '$EvforkTest::folder/units/$name' 2>&1`;
        is([ $?, grep { /\Q$EvforkTest::folder\E|hello/ } split /\n/, $output ], [0], $name);
    }
};

subtest 'its sockets' => sub {
    my $tool = tool('systemd-socket-activate');
    plan skip_all => 'there is no systemd-socket-activate' if !$tool;
    my ($path) = slurp("$deploy/hello.socket") =~ m{^ListenStream=(/.*)$}m;
    my $socket = "$EvforkTest::folder/hello.sock";
    # It starts its program with a clean environment: what it needs here, and what ./dev asan gives it.
    my @variables = grep { defined $ENV{$_} } qw(PERL5LIB EVENTLOOP_FORK_RUNTIME_DIR LD_PRELOAD),
        grep { /SAN/ } keys %ENV;
    my @activate   = ($tool, '--listen', $socket, map { "--setenv=$_" } @variables);
    my $supervisor = EvforkTest->start_process(sub {
        my ($writer) = @_;
        open STDERR, '>&', $writer or return;
        exec @activate, EvforkTest::command('run', '--workers', 1, "$EvforkTest::apps/hello.pl");
    });
    like($path, qr{\.sock\z}, 'one of them is a file');
    my $client;
    ok(wait_until(sub { $client = IO::Socket::UNIX->new(Peer => $socket) }), 'it is bound before the supervisor runs');
    print {$client} "GET / HTTP/1.0\r\n\r\n";
    like(
        join('', readline $client), qr/\AHTTP\/1\.[01] 200 .*hello/s,
        'the first connection starts it, and is answered'
    );
    ok($supervisor->wait_for(qr/listening on unix:\Q$socket\E/), 'without --listen it takes what there is');
    $supervisor->signal('TERM');
    is($supervisor->exit_code, 0, 'exit code');
    ok(-S $socket, 'the file stays: it is not its own');
};

subtest 'the deployment of Kubernetes' => sub {
    my $text      = slurp("$deploy/kubernetes.yaml");
    my %variables = $text =~ /- name: (EVENTLOOP_FORK_\w+)\n\s+value: (.*)$/mg;
    is($variables{EVENTLOOP_FORK_MAX_RSS}, '33%', 'its variables');
    $_ = here($_) for values %variables;
    my %command = $text =~
        /^\s+(startupProbe|readinessProbe|livenessProbe|preStop):\n\s+exec:\n(?:\s+#.*\n)?\s+command: \[(.*)\]$/mg;
    my ($address) = slurp("$deploy/Dockerfile") =~ /EVENTLOOP_FORK_LISTEN=(\S+)/;
    my ($port)    = $address                    =~ /:([0-9]+)\z/;
    my %ports     = map { $_ => 1 } $text       =~ /(?:containerPort|targetPort): ([0-9]+)/g;
    is(\%ports, { $port => 1 }, 'the port is that of the image');
    my $supervisor = start({ %variables, EVENTLOOP_FORK_LISTEN => '127.0.0.1:0' }, 'run', "$EvforkTest::apps/hello.pl");
    ok($supervisor->wait_for_workers(1), 'it runs');
    my @commands =
        map { [ words_of($command{$_} =~ s/,/ /gr), $status ] } qw(startupProbe readinessProbe livenessProbe preStop);
    my $stop = pop @commands;
    is((EvforkTest::evfork(@$_))[0], 0, "evfork @$_[0, 1]: exit code 0") for @commands;
    $_ = 0.1 for grep { $_ eq '5' } @$stop;
    is((EvforkTest::evfork(@$stop))[0], 0, 'evfork stop: exit code 0');
    is($supervisor->exit_code, 0, 'it has ended');
};

done_testing;
