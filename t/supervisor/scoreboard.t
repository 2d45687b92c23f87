# The scoreboard for Perl: what is set is read, by whomever, and what is wrong is refused.
use strict;
use warnings;
use utf8;

use lib 't/lib';
use File::Temp ();
use ForkTest;
use POSIX ();
use Test2::V0;

use EventLoop::Fork;
use EventLoop::Fork::Loop;
use EventLoop::Fork::Scoreboard;

my $class  = 'EventLoop::Fork::Scoreboard';
my $folder = File::Temp->newdir('evf-board-XXXXXX', TMPDIR => 1);
my $path   = "$folder/board";
EventLoop::Fork::Loop->new;    # a process keeps a descriptor from its first loop on
pass('begin');                 # so does the test library from its first result on
my @before = open_fds();

sub refused {
    my ($name, $code, $error_name, $pattern) = @_;
    my $line  = (caller)[2];
    my $error = dies { $code->() };
    is(ref $error && $error->name, $error_name, $name) or return diag($error);
    like($error->message, $pattern, "$name: the message");
    is([ $error->file, $error->operation ], [ __FILE__, 'scoreboard' ], "$name: the place");
    return;
}

subtest 'what is empty' => sub {
    my $board  = $class->new(rows => 2);
    my $header = $board->header;
    is([ @$header{qw(version rows supervisor_pid)} ], [ 3, 2, $$ ], 'the header');
    ok($header->{started} <= now() && $header->{started} > now() - 60, 'the monotonic time');
    ok($header->{started_epoch} <= time + 1 && $header->{started_epoch} > time - 60, 'the time of day');
    is($header->{starts}, [ (0) x 13 ], 'a number for each cause');
    is($header->{counter_names}, [], 'no counters');
    my $row = $board->row(1);
    is($row->{counters}, [ (0) x 16 ], 'counters of a row');
    is([ grep { !ref $row->{$_} && $row->{$_} } sort keys %$row ], [], 'all else is zero or empty');
    is([ $board->rows, $board->owner ], [ 2, $$ ], 'rows and owner');
};

subtest 'what is set is read' => sub {
    my $board  = $class->new(rows => 2);
    my %header = (
        supervisor_pid => 5, started => 1.5, started_epoch => 1.25, beat => 12345.678, due => 2.5, pool_state => 2,
        workers        => 3,
        generation     => 4, wanted_workers => 6, breaker_is_open => 1, exit_code => -1, starts => [ 1 .. 13 ],
        info           => '{"name":"Ü€"}',
    );
    $board->set_header(%header);
    my $got = $board->header;
    is($got->{beat}, float(12345.678), 'a time');
    delete @$got{qw(version header_bytes row_bytes rows deaths past_requests past_counters counter_names)};
    $got->{beat} = $header{beat};
    is($got, \%header, 'all of the header');
    my %row = (
        pid => 1, slot => 2, generation => 3, state => 4, is_stopping => 1, spawned => 5, ready => 6, requests_max => 7,
        rss_bytes     => 8 * 2**40, exited => 9, busy_since => 10, turns => 11, extension => 12, requests_started => 13,
        requests_done => 14, is_ready => 1, has_place => 1, counters => [ -1 .. 14 ], place => 'here', error => 'eë',
        reason        => 'died',
    );
    $board->set_row(1, %row);
    is($board->row(1), \%row, 'all of a row');
    is($board->row(0)->{pid}, 0, 'the other one is as it was');
    $board->set_row(1, counters => [7]);
    is($board->row(1)->{counters}, [ 7, (0) x 15 ], 'an array is set as a whole');
    $board->set_row(1, error => "é" x 200, place => undef);
    is([ @{ $board->row(1) }{qw(error place)} ], [ "é" x 95, '' ], 'a text is cut after a character; undef is empty');
    $board->clear_row(1);
    my $row = $board->row(1);
    is([ grep { !ref $row->{$_} && $row->{$_} } sort keys %$row ], [ 'exited', 'reason' ], 'cleared');
    is([ @{ $board->header }{qw(past_requests past_counters)} ], [ 14, [ 7, (0) x 15 ] ], 'its numbers are kept');
    is([ map { $board->counter_index($_) } qw(hits misses hits) ], [ 0, 1, 0 ], 'counters are found by name, or made');
    is($board->header->{counter_names}, [qw(hits misses)], 'and everybody can see the names');

    for my $name ('', 'x' x 32) {
        like(
            dies { $board->counter_index($name) }, qr/a counter's name has 1 to 31 bytes, not '$name'/,
            'no name of one'
        );
    }
    $board->counter_index("number $_") for 2 .. 15;
    like(
        dies { $board->counter_index('one too many') }, qr/no counter is left for 'one too many': there are 16/,
        'full'
    );
};

subtest 'what is wrong' => sub {
    my $board = $class->new(rows => 2);
    my %row   = %{ $board->row(0) };
    refused(
        'a field of no row', sub { $board->set_row(0, pid => 1, nothing => 2) }, 'EVF_EINVAL',
        qr/unknown field 'nothing'/
    );
    refused('one of the header', sub { $board->set_header(pid => 1) }, 'EVF_EINVAL', qr/unknown field 'pid'/);
    refused('the layout', sub { $board->set_header(rows => 1) }, 'EVF_EINVAL', qr/'rows' cannot be set/);
    refused(
        'a number that is none', sub { $board->set_row(0, pid => 1, slot => 'x') }, 'EVF_EINVAL',
        qr/'slot' is not a number: 'x'/
    );
    refused(
        'a time that is none', sub { $board->set_row(0, pid => 1, ready => undef) }, 'EVF_EINVAL',
        qr/'ready' is not a number: 'undef'/
    );
    refused(
        'an array that is none', sub { $board->set_row(0, pid => 1, counters => 5) }, 'EVF_EINVAL',
        qr/'counters' is not an array/
    );
    refused('too long an array', sub { $board->set_row(0, counters => [ 1 .. 17 ]) }, 'EVF_EINVAL', qr/at most 16/);
    refused('no pairs', sub { $board->set_row(0, 'pid') }, 'EVF_EINVAL', qr/not pairs/);
    is($board->row(0), \%row, 'nothing was set');

    for my $number (2, -1, 'x', undef) {
        my $text = defined $number ? $number : 'undef';
        refused("row $text", sub { $board->row($number) }, 'EVF_EINVAL', qr/not a row from 0 to 1: '$text'/);
    }
    refused('attach', sub { $board->attach(2) }, 'EVF_EINVAL', qr/not a row/);
    refused('no rows', sub { $class->new }, 'EVF_EINVAL', qr/'rows' is not a number from 1 to 2048: 'undef'/);
    refused('too many rows', sub { $class->new(rows => 2049) }, 'EVF_EINVAL', qr/'2049'/);
    refused('another option', sub { $class->new(rows => 1, colour => 1) }, 'EVF_EINVAL', qr/unknown option 'colour'/);
    refused('a long path', sub { $class->new(rows => 1, path => 'x' x 5000) }, 'EVF_EINVAL', qr/too long/);
    refused('an empty path', sub { $class->new(rows => 1, path => '') }, 'EVF_EINVAL', qr/not a path/);
    refused('a path with NUL', sub { $class->new(rows => 1, path => "a\0b") }, 'EVF_EINVAL', qr/not a path/);
    refused('no folder', sub { $class->new(rows => 1, path => "$folder/no/board") }, 'EVF_ESYSTEM', qr/cannot make/);
    refused('no file', sub { $class->open("$folder/no") }, 'EVF_ESYSTEM', qr/cannot open '.*': No such file/);
    refused('no path', sub { $class->open(undef) }, 'EVF_EINVAL', qr/needs a path/);
    refused('another file', sub { $class->open(__FILE__) }, 'EVF_EINVAL', qr/not a scoreboard of this version/);
    open my $file, '>', $path or die "$path: $!";
    print {$file} 'something';
    close $file;
    refused('over another file', sub { $class->new(rows => 1, path => $path) }, 'EVF_ESYSTEM', qr/left alone/);
    unlink $path;
    ok(dies { EventLoop::Fork::Scoreboard::row(bless({}, $class), 0) }, 'an object of something else');
};

subtest 'a file' => sub {
    my $board = $class->new(path => $path, rows => 3);
    is((stat $path)[2] & 07777, 0600, 'for its owner only');
    $board->set_row(2, pid => 77);
    my ($seen) = in_raw_child(sub {
        my $view = $class->open($path);
        my @seen = ($view->owner, $view->rows, $view->row(2)->{pid}, $view->bell_fds);
        push @seen, eval { $view->set_row(0, pid => 1); 1 } ? 'set'      : $@->message;
        push @seen, eval { $view->attach(0);            1 } ? 'attached' : $@->message;
        $class->open($path, writable => 1)->set_header(wanted_workers => 9);
        push @seen, eval { $class->new(path => $path, rows => 1); 1 } ? 'made' : $@->name;
        undef $board;    # a copy of the parent's
        return \@seen;
    });
    my $closed = 'the scoreboard was opened for reading only';
    is($seen, [ $$, 3, 77, $closed, $closed, 'EVF_EBUSY' ], 'seen from another process');
    is($board->header->{wanted_workers}, 9, 'which may have a wish');
    refused('one that is in use', sub { $class->new(path => $path, rows => 1) }, 'EVF_EBUSY', qr/belongs to a process/);
    is($class->open($path)->row(2)->{pid}, 77, 'the maker may read it, too');
    my $view = $class->open($path);
    undef $board;
    ok(!-e $path, 'it goes with its object');
    is([ $view->owner, $view->row(2)->{pid} ], [ 0, 77 ], 'who reads it reads on');
};

subtest 'the end of an owner' => sub {
    pipe my $reader, my $writer or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        alarm 2 * BOUND;
        my $board = $class->new(path => $path, rows => 1);
        $board->set_row(0, reason => 'was here');
        syswrite $writer, 'x';
        sleep 60 while 1;
    }
    sysread $reader, my $byte, 1;
    my $view = $class->open($path);
    is($view->owner, $pid, 'while it lives');
    kill KILL => $pid;
    waitpid $pid, 0;
    is([ $view->owner, $view->row(0)->{reason} ], [ 0, 'was here' ], 'after it was killed');
    my $board = $class->new(path => $path, rows => 1);
    is([ $board->owner, $board->row(0)->{reason} ], [ $$, '' ], 'its file is replaced');
};

subtest 'a worker' => sub {
    my $board = $class->new(rows => 2);
    my ($bell) = $board->bell_fds;
    open my $handle, '<&', $bell or die "dup: $!";
    my $loop = EventLoop::Fork::Loop->new;
    my $rung = 0;
    $loop->watch_io(handle => $handle, on_read_ready => sub { $rung++ if $board->answer });
    my ($words, $status) = in_child(
        $loop,
        sub {
            my @words;
            $board->attach(1);
            $board->request_started;
            push @words, $board->row(1)->{busy_since} > 0 ? 'busy' : 'idle';
            $board->extend(2.5);
            $board->add_counter(3);
            $board->add_counter(3, 4);
            $board->add_counter(0, -1);
            push @words, eval { $board->add_counter(16); 1 } ? 'counted'  : $@->name;
            push @words, eval { $board->extend(-1);      1 } ? 'extended' : $@->name;
            push @words, $board->row(1)->{extension};
            $board->request_done;
            push @words, $board->row(1)->{busy_since} > 0 ? 'busy' : 'idle';
            $board->busy;
            push @words, $board->row(1)->{busy_since} > 0 ? 'busy' : 'idle';
            $board->idle;
            push @words, $board->row(1)->{busy_since} > 0 ? 'busy' : 'idle';
            $board->ready;
            $board->attach(1);
            my $own = EventLoop::Fork::Loop->new;
            $own->later(sub { push @words, $board->row(1)->{turns} });
            $own->loop_once;
            $board->request_started;
            $board->request_done;
            push @words, $board->row(1)->{busy_since} > 0 ? 'busy' : 'idle';
            my ($of_child) = in_raw_child(sub { $board->request_started; $board->ready; 'done' });
            return [ @words, $of_child ];
        }
    );
    is($status, 0, 'ends well');
    is($words, [qw(busy EVF_EINVAL EVF_EINVAL 2.5 idle busy idle 1 busy done)], 'its stamps');
    my $row = $board->row(1);
    is([ @$row{qw(requests_started requests_done is_ready)} ], [ 2, 2, 1 ], 'its requests, without those of its child');
    is([ @{ $row->{counters} }[ 0, 3 ] ], [ -1, 5 ], 'its counters');
    wait_until($loop, sub { $rung });
    is($rung, 1, 'it has rung once');
    $board->$_ for qw(request_started request_done ready busy idle);
    $board->extend(1);
    $board->add_counter(0);
    is($board->row(0)->{requests_started}, 0, 'in a process that is no worker these do nothing');
    $board->ring;
    ok($board->answer, 'anybody may ring');
    ok(!$board->answer, 'once');
};

subtest 'a worker that was started by exec' => sub {
    my $board = $class->new(path => $path, rows => 1);
    my (undef, $writing) = $board->bell_fds;
    open my $inherited, '>&', $writing or die "dup: $!";
    require Fcntl;
    fcntl $inherited, Fcntl::F_SETFD(), 0;
    my $result = run_program(<<'EOP', $path, fileno $inherited);
use EventLoop::Fork::Scoreboard;
my ($path, $fd) = @ARGV;
my $board = EventLoop::Fork::Scoreboard->open($path, writable => 1);
$board->set_bell($fd);
$board->attach(0);
$board->ready;
print $board->owner;
EOP
    is($result, { stdout => $$, stderr => '', status => 0 }, 'knows its supervisor');
    ok($board->row(0)->{is_ready}, 'is ready');
    ok($board->answer, 'has rung');
};

subtest 'words' => sub {
    no strict 'refs';
    my $words = sub {
        my ($name) = @_;
        [ map { &{"${class}::$name"}($_) } 0 .. 20 ];
    };
    is(
        [ grep { $_ ne 'unknown' } @{ $words->('state_name') } ], [qw(empty starting ready draining killing backoff)],
        'of workers'
    );
    is(
        [ grep { $_ ne 'unknown' } @{ $words->('pool_state_name') } ], [qw(running reloading stopping stopped halted)],
        'of a pool'
    );
    is($words->('cause_word')->[6], 'max requests', 'of a cause');
    is($words->('cause_word')->[20], 'unknown', 'of none');
};

subtest 'memory' => sub {
    my ($rss, $private) = EventLoop::Fork::Scoreboard::memory($$);
SKIP: {
        skip('this system does not tell', 2) unless defined $rss;
        ok($rss > 1_000_000 && $rss < 10_000_000_000, 'of this process');
        ok(!defined $private || $private > 0 && $private <= $rss, 'its own part of that');
    }
    is([ EventLoop::Fork::Scoreboard::memory(0) ], [ undef, undef ], 'of none');
};

subtest 'a stopped child' => sub {
    my $pid = fork // die "fork: $!";
    if (!$pid) { alarm 2 * BOUND; sleep 60 while 1 }
    my $comes_to = sub {
        my ($is_stopped, @fd) = @_;
        my $deadline = now() + BOUND;
        pause() until !EventLoop::Fork::_process_is_stopped($pid, @fd) == !$is_stopped || now() > $deadline;
        return EventLoop::Fork::_process_is_stopped($pid, @fd) ? 'stopped' : 'runs';
    };
    my $fd = EventLoop::Fork::_process_open($pid);
    is($comes_to->(0), 'runs', 'at first');
    kill STOP => $pid;
    is($comes_to->(1), 'stopped', 'by SIGSTOP');
    is($comes_to->(1, $fd), 'stopped', 'asked by descriptor');
    kill CONT => $pid;
    is($comes_to->(0), 'runs', 'after SIGCONT');
    kill KILL => $pid;
    waitpid $pid, 0;
    is($comes_to->(0), 'runs', 'an ended one is not stopped');
    POSIX::close($fd) if defined $fd;
};

is([ glob "$folder/*" ], [], 'no file is left');
is([ open_fds() ], \@before, 'no descriptor is left');
is(children_left(), '', 'no child is left');

done_testing;
