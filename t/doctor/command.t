# evfork doctor: exit codes, output, and apps that cannot be loaded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EvforkTest;
use File::Temp  ();
use POSIX       ();
use JSON::PP    ();
use ProcessTest qw(BOUND);
use Test2::V0;

# For what is to be too late; nothing else may be.
my $short = ProcessTest::SLOW ? 20 : 0.5;

my $worker = "sub { my (\$worker) = \@_; \$worker->ready; \$worker->loop->run; return 0 };\n";
my $fork   = "use EventLoop::Fork qw(at_fork);\n";

sub doctor {
    my ($text, @options) = @_;
    my $app = EvforkTest::write_file('app.pl', $text);
    return (EvforkTest::run_evfork('doctor', @options, $app), $app);
}

subtest 'exit codes' => sub {
    for my $case (
        [ 0, 'a clean app', '', qr/\A\S+app\.pl: a clean bill: / ],
        [ 0, 'notes only', "END { }\n", qr/\A\S+app\.pl: 1 note / ],
        [ 2, 'warnings', "alarm 1000;\n", qr/\A\S+app\.pl: 1 warning / ],
        [
            3, 'errors', "${fork}at_fork(name => 'flags', child => sub { kill SEGV => \$\$ });\n",
            qr/\A\S+app\.pl: 1 error /
        ],
        [
            3, 'a hook that dies', "${fork}at_fork(name => 'flags', child => sub { die \"no\\n\" });\n",
            qr/\A\S+app\.pl: 1 error /
        ],
        )
    {
        my ($expected, $name, $text, $pattern) = @$case;
        my ($exit_code, $out, $err) = doctor($text . $worker);
        is([ $exit_code, $err ], [ $expected, '' ], "$name: exit code $expected");
        like($out, $pattern, "$name: in words");
        unlike($out, qr/\e/, "$name: no colours in a file");
    }
};

subtest 'the place of a hook' => sub {
    my ($exit_code, $out, $err, $app) =
        doctor("$fork\nat_fork(name => 'flags', child => sub { kill SEGV => \$\$ });\n$worker");
    like($out, qr/^error: child hook 'flags' \(\Q$app\E line 3\) killed the canary: SIGSEGV$/m, 'is a line of the app');
};

subtest 'hooks that take the process with them that forks' => sub {
    my ($exit_code, $out) = doctor("${fork}at_fork(name => 'before', prepare => sub { kill ABRT => \$\$ });\n$worker");
    is($exit_code, 3, 'a crash: exit code 3');
    like(
        $out, qr/^error: prepare hook 'before' \(.*app\.pl line 2\): the process that forks died of SIGABRT$/m,
        'is named'
    );
    ($exit_code, $out) =
        doctor("${fork}at_fork(name => 'after', parent => sub { 1 while 1 });\n$worker", '--timeout', $short);
    is($exit_code, 3, 'a hang: exit code 3');
    like(
        $out,
        qr/^error: parent hook 'after' \(.*app\.pl line 2\): the process that forks has not come to an end within \Q$short\E s$/m,
        'is named'
    );
};

subtest 'an app that cannot be loaded' => sub {
    for my $case (
        [ "die \"no config\\n\";", qr/app\.pl cannot be loaded: no config/ ],
        [ "sub {", qr/app\.pl cannot be loaded: Missing right curly .*/ ],
        [ "exit 4;", qr/app\.pl cannot be loaded: it called exit\(4\) while it was loaded/ ],
        [ "kill ABRT => \$\$; sleep;", qr/app\.pl cannot be loaded: it died of SIGABRT while it was loaded/ ],
        [ "1 while 1;", qr/app\.pl cannot be loaded: it has not come to an end within 1 s while it was loaded/ ],
        [ "42;", qr/app\.pl cannot be loaded: '.*' returned '42'; what is wanted is code/ ],
        [ "use No::Such::Module;", qr/app\.pl cannot be loaded: Can't locate No.Such.Module\.pm/ ],
        )
    {
        my ($text, $expected) = @$case;
        my ($exit_code, $out, $err) =
            doctor($text, '--timeout', ProcessTest::SLOW && $text ne '1 while 1;' ? BOUND : 1);
        is([ $exit_code, $out ], [ 1, '' ], "$text: exit code 1, nothing on STDOUT");
        like($err, qr/\Aevfork: doctor: [^\n]+\n\z/, 'one line');
        like($err, $expected, 'that says it');
    }
SKIP: {
        skip 'root reads everything' if $> == 0;
        my $app = EvforkTest::write_file('closed.pl', $worker);
        chmod 0, $app;
        is(
            [ EvforkTest::evfork('doctor', $app) ], [ 1, '', match(qr/\Aevfork: cannot read '.*closed\.pl': /) ],
            'unreadable'
        );
    }
};

subtest 'wrong words' => sub {
    for my $case (
        [ [], qr/doctor: which app\? evfork doctor/ ],
        [ [''], qr/doctor: which app\?/ ],
        [ ['no/such.pl'], qr{there is no file 'no/such\.pl'} ],
        [ ['/'], qr{'/' is a folder} ],
        [ ['No::Such::Module'], qr/there is no file 'No::Such::Module', and no module of that name/ ],
        [ [ '--jsno', $EvforkTest::idle ], qr/doctor: unknown option '--jsno'; did you mean '--json'\?/ ],
        [ [ $EvforkTest::idle, 'more' ], qr/doctor: unexpected argument 'more'; what is for the app comes after --/ ],
        [
            [ '--timeout', 'x', $EvforkTest::idle ],
            qr/doctor: --timeout must be a number of seconds from 0\.1 to 86400, not 'x'/
        ],
        [ [ '--loop', 'Glib', $EvforkTest::idle ], qr/doctor: unknown loop 'Glib'/ ],
        [ [ '--server', 'Nginx', $EvforkTest::idle ], qr/there is no server 'Nginx'/ ],
        [ [ '--pagi', '--mojo', $EvforkTest::idle ], qr/doctor: which server\? Mojo or PAGI/ ],
        )
    {
        my ($arguments, $expected) = @$case;
        my ($exit_code, $out, $err) = EvforkTest::evfork('doctor', @$arguments);
        is([ $exit_code, $out ], [ 1, '' ], "@$arguments: exit code 1, nothing on STDOUT");
        like($err, qr/\Aevfork: [^\n]+\n\z/, 'one line');
        like($err, $expected, 'that says it');
    }
};

subtest '--json' => sub {
    my ($exit_code, $out, $err, $app) = doctor(
        "${fork}print \"hello\\n\"; at_fork(name => 'flags', child => sub { die \"no\\n\" });\n$worker",
        '--json'
    );
    is([ $exit_code, $err ], [ 3, "hello\n" ], 'what the app prints goes to STDERR');
    my $data = eval { JSON::PP->new->decode($out) } || {};
    is([ @$data{qw(app worst exit_code forks)} ], [ $app, 'error', 3, 2 ], 'one object');
    is($data->{counts}, { error => 1, warning => 0, note => 0 }, 'how many');
    is([ map { $_->{label} } @{ $data->{hooks} } ], [ match(qr/\A'flags' \(\Q$app\E line 2\)\z/) ], 'hooks');
    ok($data->{seconds} > 0, 'time');
    is(
        [
            grep { ref $data->{$_} ne 'ARRAY' }
                -d '/proc/self/fdinfo' ? qw(findings hooks threads descriptors) : qw(findings hooks)
        ],
        [],
        'lists'
    );
    is(
        $data->{findings},
        [ {
            severity => 'error', check => 'hooks', hook => match(qr/'flags'/), what => match(qr/died: no\z/),
            cause    => D(), write     => D(),
        } ],
        'findings'
    );
};

subtest 'how it is loaded' => sub {
    my ($exit_code, $out, $err) =
        EvforkTest::run_evfork('doctor', '-I', "$EvforkTest::folder/lib", 'Own::App', '--', 'one', 'two')
        if mkdir("$EvforkTest::folder/lib")
        && mkdir("$EvforkTest::folder/lib/Own")
        && EvforkTest::write_file(
        'lib/Own/App.pm',
        "package Own::App; print STDERR \"\@ARGV\\n\"; sub worker { }\n1;\n"
        );
    is([ $exit_code, $err ], [ 0, "one two\n" ], 'a module, a folder, arguments of its own');
    like($out, qr/\AOwn::App: a clean bill/, 'by its name');
SKIP: {
        skip 'Mojolicious is not installed' unless eval { require Mojolicious; 1 };
        my $app = EvforkTest::write_file('mojo.pl', "use Mojolicious::Lite; get '/' => { text => 'x' }; app->start;\n");
        ($exit_code, $out, $err) = EvforkTest::run_evfork('doctor', '--mojo', '--json', $app);
        my $data = eval { JSON::PP->new->decode($out) } || {};
        ok($data->{forks}, 'an app of Mojolicious by its server') or diag("$out$err");
        is($data->{counts}{error}, 0, 'no error');
    }
};

# The numbers of ioctl are Linux's.
sub open_terminal {
    return if $^O ne 'linux' || (POSIX::uname())[4] !~ /\A(?:x86_64|i.86|aarch64|arm)/;
    open my $master, '+<', '/dev/ptmx' or return;
    my ($unlocked, $number) = (pack('i', 0), pack('i', 0));
    ioctl $master, 0x40045431, $unlocked                    or return;    # TIOCSPTLCK
    ioctl $master, 0x80045430, $number                      or return;    # TIOCGPTN
    open my $slave, '+<', '/dev/pts/' . unpack 'i', $number or return;
    return ($master, $slave);
}

# What it prints to a terminal; it is short enough to wait there.
sub on_terminal {
    my ($master, $slave) = @_;
    my $app = EvforkTest::write_file('app.pl', "alarm 1000;\n$worker");
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDOUT, '>&', $slave                or POSIX::_exit(99);
        exec EvforkTest::command('doctor', $app) or POSIX::_exit(99);
    }
    is(EvforkTest::end_in_words($pid), 2, 'exit code 2');
    sysread $master, my $text, 65_536;
    return $text;
}

subtest colours => sub {
    my @terminal = open_terminal() or skip_all 'no pseudo terminals here';
    local $ENV{TERM} = 'xterm';
    like(on_terminal(@terminal), qr/^\e\[\d+mwarning: \e\[0m/m, 'on a terminal');
    local $ENV{NO_COLOR} = 1;
    unlike(on_terminal(@terminal), qr/\e/, 'none with NO_COLOR');
};

subtest 'nothing is left' => sub {
    my $text =
        "open my \$file, '>', \$ARGV[0]; print {\$file} \$\$; close \$file; rename \$ARGV[0], \"\$ARGV[0].pid\"; 1 while 1;";
    my $app = EvforkTest::write_file('app.pl', $text);
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        open STDERR, '>', '/dev/null'                                            or POSIX::_exit(99);
        exec EvforkTest::command('doctor', $app, '--', "$EvforkTest::folder/it") or POSIX::_exit(99);
    }
    ok(ProcessTest::wait_until(sub { -e "$EvforkTest::folder/it.pid" }), 'the app is being loaded');
    my $of_app = EvforkTest::slurp("$EvforkTest::folder/it.pid");
    kill KILL => $pid;
    waitpid $pid, 0;
SKIP: {
        skip 'the end of a parent is not told here' unless $^O eq 'linux';
        ok(
            ProcessTest::wait_until(sub { !-e "/proc/$of_app" || EvforkTest::slurp("/proc/$of_app/stat") =~ /\) Z/ }),
            'it ends with evfork'
        );
    }
};

done_testing;
