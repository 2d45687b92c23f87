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

# In the grandchild: the wished order of events between the fork and the first use of the loop.
my %closes = (
    'closes nothing'        => sub { return {} },
    'closes all it does not know' => sub { my ($directory, @own) = @_; close_all_but(@own); return {} },
    'and opens files instead' => sub { my ($directory, @own) = @_; return occupy($directory, close_all_but(@own)) },
);

# fork, setsid, fork, then the code in the grandchild. Returns in the parent only.
sub become_daemon {
    my ($closes_between, $closes, $code) = @_;
    my $pid = fork;
    defined $pid or die "fork: $!";
    return $pid if $pid;
    alarm 2 * BOUND;
    my $done = eval {
        POSIX::setsid();
        my $files = $closes_between ? $closes->() : undef;
        my $grandchild = fork;
        defined $grandchild or die "fork: $!";
        POSIX::_exit(0) if $grandchild;
        alarm 2 * BOUND;
        open STDIN, '<', '/dev/null' or die "/dev/null: $!";
        $files ||= $closes->();
        $code->($files);
        1;
    };
    print STDERR "daemon: $@" unless $done;
    POSIX::_exit($done ? 0 : 255);
}

# One of the ways, from outside of the loop or from a callback. Returns what the daemon saw, and what the parent did.
sub try_daemon {
    my ($new, $closes, $between, $in_callback, $parent_stays) = @_;
    my $directory = File::Temp->newdir;
    pipe my $from_daemon, my $to_us or die "pipe: $!";
    # In a process of its own: the daemon's parent, which makes the loop.
    my ($parent, $status) = in_raw_child(
        sub {
            my $loop    = $new->();
            my $watched = ForkTest::Watched->new($loop);
            my $old_timer = 0;
            $loop->watch_time(after => 0.01, code => sub { $old_timer++ });
            # A child of the parent's, so that there is a descriptor of it.
            pipe my $gate, my $door or die "pipe: $!";
            my $sibling = 'runs';
            $loop->fork(code => sub { alarm 2 * BOUND; close $door; sysread $gate, my $byte, 1; 0 }, on_exit => sub { $sibling = 'ended' });

            my $daemon = sub {
                my ($files) = @_;
                my @seen = map { $watched->works } 1 .. 2;
                wait_until($loop, sub { $old_timer });
                my ($below) = in_child($loop, sub { ForkTest::Watched->new($new->())->works });
                Storable::store_fd([ { seen => \@seen, below => $below, sibling => $sibling, timer => $old_timer,
                    damaged => damaged("$directory", $files), leader => POSIX::getpgrp() == $$ ? 1 : 0 } ], $to_us);
                $to_us->flush;
            };
            my @own = ($watched->fds, fileno $to_us);
            my $pid;
            my $start = sub { $pid = become_daemon($between, sub { $closes->("$directory", @own) }, $daemon) };
            if ($in_callback) {
                $loop->later(sub { $start->(); $loop->stop });
                $loop->run;
            }
            else {
                $start->();
            }
            close $to_us;
            if (!$parent_stays) {
                close $door;
                wait_until($loop, sub { $sibling eq 'ended' });    # our child, not the daemon's
                return 'left';
            }
            waitpid $pid, 0;
            sysread $from_daemon, my $end, 1 until is_over($from_daemon);
            my $works = $watched->works;
            close $door;
            wait_until($loop, sub { $sibling eq 'ended' });
            return $works;
        }
    );
    return ($parent, $status, $from_daemon, $to_us, $directory);
}

done_testing;
