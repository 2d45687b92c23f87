# evfork top: plain, and in a terminal, which is left as it was.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use BoardTest;
use EvforkTest;
use IO::Select;
use POSIX qw(ECHO ICANON);
use Test2::V0;

my $path  = "$EvforkTest::folder/made-up.status";
my $board = BoardTest::fill(EventLoop::Fork::Scoreboard->new(path => $path, rows => 8));

subtest 'without a terminal' => sub {
    my ($exit_code, $out, $err) = EvforkTest::evfork('top', $path);
    is([ $exit_code, $err ], [ 0, '' ], 'exit code 0');
    is(scalar(() = $out =~ /^made-up app: running/mg), 1, 'one look');
    like($out, qr/^SLOT +PID +STATE/m, 'the table');
    unlike($out, qr/\e/, 'plain');
};

subtest batch => sub {
    my ($exit_code, $out, $err) = EvforkTest::evfork('top', '--batch', '--count', 3, '--interval', '0.1', $path);
    is([ $exit_code, $err ], [ 0, '' ], 'exit code 0');
    is(scalar(() = $out =~ /^SLOT/mg), 3, 'three looks');
    like($out, qr/^ +0 .* 1200 +2 +10\.0 /m, 'an average at first');
    my (undef, $last) = $out =~ /(.*\n\n)(made-up.*)/s;
    like($last, qr/^ +0 .* 1200 +2 +0\.0 /m, 'then the rate since the look before');
    like($last, qr/^  requests 1305, 0\.0 a second$/m, 'of all');
};

subtest 'a supervisor that has died' => sub {
    my $stale = "$EvforkTest::folder/stale.status";
    BoardTest::leave_stale($stale);
    my ($exit_code, $out) = EvforkTest::evfork('top', '--batch', $stale);
    is($exit_code, 3, 'exit code 3, after one look');
    like($out, qr/not running: its supervisor .* has died/, 'says so');
};

# ---- In a terminal --------------------------------------------------------------------------------------------------

# The numbers of ioctl are Linux's.
sub open_terminal {
    return if $^O ne 'linux' || (POSIX::uname())[4] !~ /\A(?:x86_64|i.86|aarch64|arm)/;
    open my $master, '+<', '/dev/ptmx' or return;
    my ($unlocked, $number, $size) = (pack('i', 0), pack('i', 0), pack('S4', 12, 60, 0, 0));
    ioctl $master, 0x40045431, $unlocked or return;    # TIOCSPTLCK
    ioctl $master, 0x80045430, $number   or return;    # TIOCGPTN
    my $name = '/dev/pts/' . unpack 'i', $number;
    open my $slave, '+<', $name  or return;
    ioctl $master, 0x5414, $size or return;            # TIOCSWINSZ
    return ($master, $slave, $name);
}

sub flags_of {
    my ($slave) = @_;
    my $termios = POSIX::Termios->new;
    $termios->getattr(fileno $slave);
    return $termios->getlflag;
}

sub start_top {
    my ($terminal, @arguments) = @_;
    my ($master, $slave, $name) = @$terminal;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        POSIX::setsid();
        close $master;
        open STDIN, '<', $name  or POSIX::_exit(99);
        open STDOUT, '>', $name or POSIX::_exit(99);
        local $ENV{TERM} = 'xterm';
        exec EvforkTest::command('top', @arguments) or POSIX::_exit(99);
    }
    return $pid;
}

# What it draws, until that matches.
sub read_until {
    my ($master, $pattern, $seen) = @_;
    my $deadline = EvforkTest::now() + EvforkTest::BOUND;
    until ($$seen =~ $pattern) {
        my $left = $deadline - EvforkTest::now();
        return 0 if $left <= 0 || !IO::Select->new($master)->can_read($left);
        sysread $master, $$seen, 4096, length $$seen or return 0;
    }
    return 1;
}

my $ENTER = qr/\e\[\?1049h\e\[\?25l/;
my $LEAVE = qr/\e\[\?25h\e\[\?1049l/;

my @ENDS = (
    [ 'q', sub { syswrite $_[0], 'q' }, 0 ],
    [ 'TERM', sub { kill TERM => $_[1] }, 'signal 15' ],
    [ 'INT', sub { syswrite $_[0], "\x03" }, 0 ],
    [ 'HUP', sub { kill HUP => $_[1] }, 'signal 1' ],
);
SKIP: {
    my @probe = open_terminal();
    skip 'no pseudo terminals here' unless @probe;
    for my $end (@ENDS) {
        my ($name, $code, $expected) = @$end;
        subtest "a terminal, until $name" => sub {
            my @terminal = open_terminal();
            my ($master, $slave) = @terminal;
            my $flags = flags_of($slave);
            my $pid   = start_top(\@terminal, '--interval', '0.2', $path);
            my $seen  = '';
            ok(
                read_until(
                    $master, qr/$ENTER.*?\e\[H.*?SLOT.*?q quits(?:\e\[0?m)?\e\[K\e\[J.*?\e\[H.*?q quits/s, \$seen
                ),
                'drawn, and drawn again'
            );
            is(flags_of($slave) & (ECHO | ICANON), 0, 'keys come without echo');
            my ($frame) = $seen =~ /.*\e\[H(.*?q quits)/s;
            my @lines = map { s/\e\[[0-9;]*[mK]//gr } split /\r\n/, $frame;
            is(scalar @lines, 12, 'as many lines as the terminal has');
            is([ grep { length > 60 } @lines ], [], 'none is longer than a line of it');
            is(scalar(grep { /\ASLOT +STATE +AGE .* HEARTBEAT/ } @lines), 1, 'what matters most is there');
            like($frame, qr/\e\[1m/, 'in colours');
            $code->($master, $pid);
            ok(read_until($master, $LEAVE, \$seen), 'the screen is left');
            is(EvforkTest::end_in_words($pid), $expected, 'how it ends');
            is(flags_of($slave), $flags, 'the terminal is as before');
        };
    }

    subtest 'NO_COLOR, and the end of the supervisor' => sub {
        my @terminal = open_terminal();
        my ($master, $slave) = @terminal;
        my $gone = "$EvforkTest::folder/gone.status";
        my $made = BoardTest::fill(EventLoop::Fork::Scoreboard->new(path => $gone, rows => 8));
        local $ENV{NO_COLOR} = 1;
        my $pid  = start_top(\@terminal, '--interval', '0.1', $gone);
        my $seen = '';
        ok(read_until($master, qr/q quits/, \$seen), 'drawn');
        unlike($seen, qr/\e\[[0-9;]*m/, 'without colours');
        undef $made;
        ok(read_until($master, $LEAVE, \$seen), 'it ends by itself');
        ok(read_until($master, qr/${LEAVE}made-up app: not running/, \$seen), 'and says why');
        is(EvforkTest::end_in_words($pid), 3, 'exit code 3');
    };
}

done_testing;
