# A worker that is examined writes down where its Perl code stands, whatever it is doing there, and goes on.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

use EventLoop::Fork;
use EventLoop::Fork::Scoreboard;

my $signal = EventLoop::Fork::_examine_signal();
my $board  = EventLoop::Fork::Scoreboard->new(rows => 1);
my ($bell) = $board->bell_fds;
like($signal, qr/\A[0-9]+\z/, 'the signal is a number');
my @before = open_fds();    # also those of the test library, which opens some for its first result

# A worker that runs the source, of which it has the line 1. It gets a pipe for its life.
sub start_worker {
    my ($source) = @_;
    $board->clear_row(0);
    $board->answer;
    pipe my $reader, my $writer or die "pipe: $!";
    pipe my $ready, my $starter or die "pipe: $!";
    my $code = eval "sub { my (\$reader, \$ready) = \@_;\n#line 1 \"App.pm\"\n$source\n}" or die;
    my $pid  = fork;
    defined $pid or die "fork: $!";

    if (!$pid) {
        close $writer;
        alarm 2 * BOUND;
        EventLoop::Fork::_examine_install();
        $board->attach(0);
        syswrite $starter, 'r';
        my $exit_code = eval { $code->($reader, $starter) };
        print STDERR $@ if $@;
        POSIX::_exit(defined $exit_code ? $exit_code : 255);
    }
    close $_ for $reader, $starter;
    sysread $ready, my $byte, 1;
    return { pid => $pid, writer => $writer, ready => $ready };
}

sub has_rung {
    my ($seconds) = @_;
    vec(my $bits = '', $bell, 1) = 1;
    return select $bits, undef, undef, $seconds;
}

# Examines until the worker has come to the place.
sub comes_to {
    my ($worker, $expected) = @_;
    my $deadline = now() + BOUND;
    my $place    = 'nowhere';
    while (now() < $deadline) {
        kill $signal => $worker->{pid};
        has_rung(BOUND) or return 'the bell did not ring';
        $board->answer;
        my $row = $board->row(0);
        $place = $row->{has_place} ? $row->{place} : 'no place';
        last if $place eq $expected;
        pause();
    }
    return $place;
}

sub end_worker {
    my ($worker, $name) = @_;
    kill $name => $worker->{pid};
    waitpid $worker->{pid}, 0;
    return $?;
}

sub stands_at {
    my ($name, $expected, $source) = @_;
    my $worker = start_worker($source);
    is(comes_to($worker, $expected), $expected, $name);
    is(comes_to($worker, $expected), $expected, "$name, again");
    is(end_worker($worker, 'KILL'), 9, 'it has lived through that');
    return;
}

stands_at('a sleep', 'App.pm line 2 (sleep)', "my \$n = 0;\nsleep 60 while 1;\n1;");
stands_at('an endless loop', 'App.pm line 3 (preinc)', "my \$n = 0;\nwhile (1) {\n    ++\$n;\n}");
stands_at(
    'an endless loop in a sub', 'App.pm line 2 (preinc)',
    "my \$spin = sub {\n    ++\$_[0] while 1;\n};\n\$spin->(my \$n);"
);
stands_at('a regex', 'App.pm line 2 (match)', "my \$text = 'a' x 60;\n\$text =~ /\\A(?:a?){60}a{60}b?\\z/ for 1 .. 2;");
stands_at('code in an eval', '(eval 7) line 2 (sleep)', "\n#line 1 \"(eval 7)\"\neval {\nsleep 60 while 1; };");
stands_at('a system call', 'App.pm line 1 (sselect)', "select undef, undef, undef, 60 while 1;");
stands_at('a sort', 'App.pm line 1 (sleep)', "my \@sorted = sort { sleep 60 while 1; 0 } 2, 1;");
stands_at(
    'a loop that waits', 'App.pm line 2 (entersub)',
    "my \$loop = EventLoop::Fork::Loop->new;\n\$loop->loop_once while 1;"
);
stands_at(
    'a callback', 'App.pm line 2 (sleep)',
    "my \$loop = EventLoop::Fork::Loop->new;\n\$loop->later(sub { sleep 60 while 1 });\n\$loop->run;"
);
stands_at(
    'a handler of a signal', 'App.pm line 1 (sleep)',
    "local \$SIG{USR1} = sub { sleep 60 while 1 };\nkill USR1 => \$\$;"
);
{
    my $path = join '/', '', map { "folder$_" } 1 .. 60;
    stands_at(
        'a long path',
        '...' . substr("$path/App.pm", -129) . ' line 12 (sleep)',
        "\n#line 12 \"$path/App.pm\"\nsleep 60 while 1;"
    );
}

# A worker that was examined by mistake.
{
    my $worker = start_worker('sysread $reader, my $bytes, 10; return length $bytes;');
    is(comes_to($worker, 'App.pm line 1 (sysread)'), 'App.pm line 1 (sysread)', 'a read');
    syswrite $worker->{writer}, '12345';
    waitpid $worker->{pid}, 0;
    is($? >> 8, 5, 'it goes on, and ends well');
}

# A stopped one cannot answer. When it runs again, it does.
{
    my $worker = start_worker('sleep 60 while 1');
    kill STOP => $worker->{pid};
    waitpid $worker->{pid}, POSIX::WUNTRACED();
    kill $signal => $worker->{pid};
    ok(!has_rung(0.05), 'a stopped worker does not answer');
    is($board->row(0)->{has_place}, 0, 'and has no place');
    kill CONT => $worker->{pid};
    ok(has_rung(BOUND), 'later it does');
    end_worker($worker, 'KILL');
}

# Its children are not the worker.
{
    my $worker = start_worker(<<'EOP');
my $pid = fork // die;
if (!$pid) { syswrite $ready, "$$\n"; sysread $reader, my $byte, 1; POSIX::_exit(7) }
waitpid $pid, 0;
return $? >> 8;
EOP
    my $pid = readline $worker->{ready};
    kill $signal => $pid for 1 .. 3;
    syswrite $worker->{writer}, 'x';
    waitpid $worker->{pid}, 0;
    is($? >> 8, 7, 'a child of a worker lives through it');
    is($board->row(0)->{has_place}, 0, 'and writes nothing');
    ok(!$board->answer, 'and does not ring');
}

# Which signal.
{
    my $error = dies { EventLoop::Fork::_examine_install('KILL') };
    is($error->name, 'EVF_ESIGNAL', 'one that cannot be caught is refused');
    is(dies { EventLoop::Fork::_examine_install('NONE') }->name, 'EVF_ESIGNAL', 'and an unknown one');
    EventLoop::Fork::_examine_install('URG');
    $board->clear_row(0);
    $board->attach(0);
    kill URG => $$;
    like($board->row(0)->{place}, qr/\A\Q$0\E line \d+ \(kill\)\z/, 'another one can be chosen');
    $board->detach;
    $SIG{URG} = 'DEFAULT';    ## no critic (LocalizedPunctuationVars)
}

is([ open_fds() ], \@before, 'no descriptor is left');
is(children_left(), '', 'no child is left');

done_testing;
