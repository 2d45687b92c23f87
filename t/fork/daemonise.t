# A program may become a daemon after it has set up its loop: the parent leaves and a grandchild goes on with the loop,
# on kernel objects of its own, whichever descriptors it closes on the way and whatever comes under their numbers then.
# A parent that stays does not notice.
use strict;
use warnings;

use lib 't/lib';
use File::Temp ();
use ForkTest;
use POSIX ();
use Test2::V0;

my $has_orphans = adopt_orphans();

sub close_all_but {
    my %kept = map { $_ => 1 } 0 .. 2, @_;
    my @closed = grep { !$kept{$_} } map { /\A(\d+)/ } open_fds();
    POSIX::close($_) for @closed;
    return @closed;
}

# Puts a file under each of the numbers, and returns what tells later whether they were left alone.
sub occupy {
    my ($directory, @numbers) = @_;
    my %files;
    for my $number (@numbers) {
        my $fd = POSIX::open("$directory/$number", POSIX::O_CREAT() | POSIX::O_RDWR(), oct 600);
        defined $fd or die "$directory/$number: $!";
        if ($fd != $number) {
            POSIX::dup2($fd, $number) or die "dup2: $!";
            POSIX::close($fd);
        }
        POSIX::write($number, "file $number", length "file $number");
        $files{$number} = join ' ', (stat "$directory/$number")[ 0, 1 ];
    }
    return \%files;
}

# Words about files that are not what they were.
sub damaged {
    my ($directory, $files) = @_;
    my @damaged;
    for my $number (sort { $a <=> $b } keys %$files) {
        my @now = -e "/dev/fd/$number" ? (stat _)[ 0, 1 ] : ();
        push @damaged, "$number is not the file" if "@now" ne $files->{$number};
        POSIX::write($number, ' end', 4);
        open my $file, '<', "$directory/$number" or die "$directory/$number: $!";
        push @damaged, "$number has other contents" if readline($file) ne "file $number end";
    }
    return \@damaged;
}

# What a daemon does with the descriptors that it does not know; returns the files that it has opened instead.
my %ways = (
    'closes nothing'                      => sub { return {} },
    'closes all others'                   => sub { my ($directory, @own) = @_; close_all_but(@own); return {} },
    'closes all others and opens files'   => sub { my ($directory, @own) = @_; return occupy($directory, close_all_but(@own)) },
);

# fork, setsid, fork, and the code in the grandchild. Returns in the parent only.
sub become_daemon {
    my ($closes, $is_between, $code) = @_;
    my $pid = fork;
    defined $pid or die "fork: $!";
    return $pid if $pid;
    alarm 2 * BOUND;
    my $done = eval {
        POSIX::setsid() or die "setsid: $!";
        my $files = $is_between ? $closes->() : undef;
        my $grandchild = fork;
        defined $grandchild or die "fork: $!";
        POSIX::_exit(0) if $grandchild;
        alarm 2 * BOUND;
        $files = $closes->() unless $is_between;
        $code->($files);
        1;
    };
    print STDERR "daemon: $@" unless $done;
    POSIX::_exit($done ? 0 : 255);
}

# In a process of its own, the daemon's parent to be.
sub set_up_and_start {
    my ($new, $way, $is_inside, $stays, $directory, $to_us, $from_daemon) = @_;
    my $loop    = $new->();
    my $watched = ForkTest::Watched->new($loop);
    my $fired   = 0;
    $loop->watch_time(after => 0.01, code => sub { $fired++ });
    pipe my $gate, my $door or die "pipe: $!";
    my $sibling = 'runs';
    $loop->fork(
        code    => sub { alarm 2 * BOUND; close $door; sysread $gate, my $byte, 1; 0 },
        on_exit => sub { $sibling = 'ended' },
    );

    my $daemon = sub {
        my ($files) = @_;
        my @works = map { $watched->works } 1 .. 2;
        wait_until($loop, sub { $fired });
        my ($below) = in_child($loop, sub { ForkTest::Watched->new($new->())->works });
        my %report = (works => \@works, fired => $fired, below => $below, sibling => $sibling);
        ForkTest::send_value($to_us, { %report, damaged => damaged($directory, $files) });
    };
    my $closes = sub { $ways{$way}->($directory, $watched->fds, fileno $to_us) };
    my $pid;
    if ($is_inside) {
        $loop->later(sub { $pid = become_daemon($closes, 0, $daemon); $loop->stop });
        $loop->run;
    }
    else {
        $pid = become_daemon($closes, 1, $daemon);
    }
    return {} unless $stays;

    close $to_us;
    my $report = thaw_from($from_daemon);
    waitpid $pid, 0;
    my $works = $watched->works;
    close $door;
    wait_until($loop, sub { $sibling eq 'ended' });
    return { report => $report, works => $works, sibling => $sibling };
}

my $as_it_should = {
    works   => [ (ForkTest::Watched::ALL) x 2 ],
    fired   => 1,
    below   => ForkTest::Watched::ALL,
    sibling => 'runs',
    damaged => [],
};

each_loop sub {
    my ($new) = @_;
    for my $way (sort keys %ways) {
        for my $is_inside (0, 1) {
            for my $stays (0, 1) {
                my $name      = join ', ', "a daemon that $way", $is_inside ? 'started in a callback' : ();
                my $directory = File::Temp->newdir;
                pipe my $from_daemon, my $to_us or die "pipe: $!";
                my ($seen, $status) =
                    in_raw_child(sub { set_up_and_start($new, $way, $is_inside, $stays, "$directory", $to_us, $from_daemon) });
                close $to_us;
                is $status, 0, 'it is started';
                if ($stays) {
                    is $seen->{report}, $as_it_should, "$name, while its parent stays";
                    is $seen, { works => ForkTest::Watched::ALL, sibling => 'ended', report => D }, 'the parent goes on';
                }
                else {
                    is thaw_from($from_daemon), $as_it_should, $name;
                }
                wait_for_orphans() if $has_orphans;
            }
        }
    }
};

# The daemon has said its last word, and ends.
sub wait_for_orphans {
    my $deadline = now() + BOUND;
    while ((my $pid = waitpid -1, POSIX::WNOHANG()) != -1) {
        last if now() > $deadline;
        pause() unless $pid;
    }
    return;
}

done_testing;
