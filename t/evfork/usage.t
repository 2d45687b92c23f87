# What evfork says to wrong words: one line, exit code 1. And what it says when it is asked.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EvforkTest;
use Test2::V0;

my $text = EvforkTest::write_file('text.status', "not a scoreboard\n");
my $app  = $EvforkTest::idle;
my $busy = EventLoop::Fork::Scoreboard->new(path => "$EvforkTest::folder/busy.status", rows => 2)
    if require EventLoop::Fork::Scoreboard;

my @TABLE = (
    [ [], qr/no command given; there are: run, status, top/ ],
    [ ['stauts'], qr/unknown command 'stauts'; did you mean 'status'\?/ ],
    [ ['frobnicate'], qr/unknown command 'frobnicate'\z/ ],
    [ ['--verbose'], qr/unknown option '--verbose'/ ],
    [ [ 'help', 'stats' ], qr/unknown command 'stats'; did you mean 'status'\?/ ],
    [ [ 'help', 'run', 'x' ], qr/help: unexpected argument 'x'/ ],

    [ [ 'status', '--jsno' ], qr/status: unknown option '--jsno'; did you mean '--json'\?/ ],
    [ [ 'status', '--json=yes' ], qr/status: option --?json takes no value/ ],
    [ [ 'status', 'a', 'b' ], qr/status: unexpected argument 'b'/ ],
    [ [ 'status', '' ], qr/status: FILE is empty/ ],
    [ [ 'status', $text ], qr/\Q$text\E' is not a scoreboard/ ],
    [ [ 'status', '/' ], qr{'/' is a folder, not a status file} ],
    [ [ 'metrics', '--json' ], qr/metrics: unknown option '--json'/ ],
    [ [ 'metrics', 'a', 'b' ], qr/metrics: unexpected argument 'b'/ ],

    [ [ 'top', '--interval' ], qr/top: option --interval needs a value/ ],
    [ [ 'top', '--interval', 'x' ], qr/top: --interval must be a number of seconds from 0.1 to 86400, not 'x'/ ],
    [ [ 'top', '--interval', '0' ], qr/top: --interval must be/ ],
    [ [ 'top', '--interval', '' ], qr/top: --interval must be .*, not ''/ ],
    [ [ 'top', '--count', '0' ], qr/top: --count must be a whole number from 1 to 999999999, not '0'/ ],
    [ [ 'top', '--count', '1.5' ], qr/top: --count must be a whole number/ ],

    [ ['scale'], qr/scale: how many workers\? evfork scale N \[FILE\]/ ],
    [ [ 'scale', 'x' ], qr/scale: the number of workers must be a whole number from 1 to 512, not 'x'/ ],
    [ [ 'scale', '0' ], qr/not '0'/ ],
    [ [ 'scale', '513' ], qr/not '513'/ ],
    [ [ 'scale', '+1' ], qr/not '\+1'/ ],
    [ [ 'scale', '2', 'a', 'b' ], qr/scale: unexpected argument 'b'/ ],
    [ [ 'scale', '2', '--timeout', 'x' ], qr/scale: --timeout must be/ ],
    [ [ 'stop', '--timeout', '-1' ], qr/stop: --timeout must be a number of seconds from 0 to 1000000, not '-1'/ ],
    [ [ 'stop', '--slow' ], qr/stop: unknown option '--slow'/ ],
    [ [ 'restart', '--timeout', '5' ], qr/restart: --timeout is for --wait/ ],
    [ [ 'reload', '--timeout', '5' ], qr/reload: --timeout is for --wait/ ],

    [ ['run'], qr/run: which app\? evfork run/ ],
    [ [ 'run', 'no/such.pl' ], qr{there is no file 'no/such.pl'} ],
    [ [ 'run', '/' ], qr{'/' is a folder} ],
    [ [ 'run', 'No::Such::Module' ], qr/there is no file 'No::Such::Module', and no module of that name/ ],
    [ [ 'run', 'not a name' ], qr/'not a name' is neither a file nor the name of a module/ ],
    [ [ 'run', $app, 'more' ], qr/run: unexpected argument 'more'; what is for the app comes after --/ ],
    [ [ 'run', '--app', $app, $app ], qr/run: unexpected argument/ ],
    [ [ 'run', '--wrokers', 2, $app ], qr/run: unknown option '--wrokers'; did you mean '--workers'\?/ ],
    [ [ 'run', '--workers' ], qr/run: option --workers needs a value/ ],
    [ [ 'run', '--workers', 'x', $app ], qr/switch --workers is 'x'; accepted is a whole number from 1 to 512/ ],
    [ [ 'run', '-w', '-3', $app ], qr/switch --workers is '-3'/ ],
    [ [ 'run', '--startup-timeout', 'soon', $app ], qr/switch --startup-timeout is 'soon'/ ],
    [ [ 'run', '--start-method', '', $app ], qr/switch --start-method is ''; accepted is 'fork' or 'spawn'$/m ],
    [ [ 'run', '--start-method', 'thread', $app ], qr/'thread'; accepted is 'fork' or 'spawn'$/m ],
    [ [ 'run', '--listen', 'nonsense', $app ], qr/switch --listen: / ],
    [ [ 'run', '--user', 'nobody-of-that-name', $app ], qr/nobody-of-that-name/ ],
    [
        [ 'run', '--loop', 'Glib', $app ],
        qr/run: unknown loop 'Glib'; there are: native, AnyEvent, EV, IO::Async, Mojo::IOLoop/
    ],
    [ [ 'run', '--loop', 'IO::Async::Loop::NoSuch', $app ], qr/IO::Async::Loop::NoSuch is not installed/ ],
    [ [ 'run', '--loop', 'EV', '--backend', 'poll', $app ], qr/run: --backend and --method are for the native loop/ ],
    [ [ 'run', '--backend', 'select', $app ], qr/'select'/ ],
    [ [ 'run', '--backend', 'poll', '--method', 'magic', $app ], qr/'magic'/ ],
    [
        [ 'run', '--status-file', "$EvforkTest::folder/busy.status", $app ],
        qr/busy\.status' belongs to a process that runs/
    ],
    [ [ 'run', '--status-file', $text, $app ], qr/text\.status' is not a scoreboard, and is left alone/ ],
    [ [ 'run', '--status-file', '/no/such/folder/x', $app ], qr{cannot make '/no/such/folder/x'} ],
);

for my $case (@TABLE) {
    my ($arguments, $expected) = @$case;
    my ($exit_code, $out, $err) = EvforkTest::evfork(@$arguments);
    my $name = join ' ', 'evfork', map { length ? $_ : "''" } @$arguments;
    is([ $exit_code, $out ], [ 1, '' ], "$name: exit code 1, nothing on STDOUT");
    like($err, qr/\Aevfork: (?:(?!\n).)*\n\z/, "$name: one line");
    chomp $err;
    like($err, $expected, "$name: it says what is wrong");
}

my @NOT_RUNNING = map { [ split ' ' ] } qw(status top metrics stop reload restart), 'scale 2';
for my $command (@NOT_RUNNING) {
    my @with_file = (@$command, "$EvforkTest::folder/absent.status");
    my ($exit_code, $out, $err) = EvforkTest::evfork(@with_file);
    is([ $exit_code, $out ], [ 3, '' ], "@$command of a file that is not there: exit code 3");
    like($err, qr/\Aevfork: not running: there is no file '.*absent\.status'\n\z/, 'one line');
    ($exit_code, $out, $err) = EvforkTest::evfork(@$command);
    is([ $exit_code, $out ], [ 3, '' ], "@$command where there is none: exit code 3");
    like($err, qr/\Aevfork: no supervisor of this user runs \(looked into .*\)\n\z/, 'one line');
}

subtest 'the program' => sub {
    my ($exit_code, $out, $err) = EvforkTest::run_evfork('stauts');
    is(
        [ $exit_code, $out, $err ], [ 1, '', "evfork: unknown command 'stauts'; did you mean 'status'?\n" ],
        'says the same'
    );
    ($exit_code, $out, $err) = EvforkTest::run_evfork('--version');
    is([ $exit_code, $err ], [ 0, '' ], 'exit code 0');
    like($out, qr/\Aevfork [0-9.]+ \(perl 5\.[0-9.]+; .*\bpoll\b.*\)\n\z/, 'the version');
};

subtest help => sub {
    my @names = map { $_->[0] } EventLoop::Fork::Command::commands();
    for my $way ([], ['--help'], ['-h']) {
        my ($exit_code, $out, $err) = EvforkTest::evfork($way->[0] || 'help');
        is([ $exit_code, $err ], [ 0, '' ], 'exit code 0');
        is([ grep { $out !~ /^  \Q$_\E /m } @names ], [], 'every command is in the list') or diag $out;
    }
    for my $name (@names) {
        my ($exit_code, $out, $err) = EvforkTest::evfork('help', $name);
        is([ $exit_code, $err ], [ 0, '' ], "help $name: exit code 0");
        like($out, qr/\AUsage: evfork $name\b.*\n\n    \S/, "help $name: its part of the manual");
        unlike($out, qr/^Usage.*^Usage/ms, 'and no other');
        is([ EvforkTest::evfork($name, '--help') ], $name eq 'help' ? D() : [ 0, $out, '' ], "$name --help is the same")
            if $name ne 'help';
    }
};

subtest 'the manual' => sub {
    open my $file, '<', $EvforkTest::script or die "$EvforkTest::script: $!";
    my $manual = do { local $/; readline $file };
    my $wanted = EvforkTest::options_in_pod();
    ok(index($manual, $wanted) >= 0, 'has every option of the supervisor') or diag "what belongs there:\n$wanted";
};

done_testing;
