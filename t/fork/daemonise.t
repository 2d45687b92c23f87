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

skip_all 'valgrind does not survive a program that closes every descriptor' if under_valgrind();

my $has_orphans = adopt_orphans();

# What a daemon that closes everything would close behind the back of the loop: all that is no file, pipe or socket. Perl's
# own handles are left out, because perl counts them by their number and would be confused itself.
sub close_unknown {
    my @unknown = map { /\A(\d+) .*anon_inode/ ? $1 : () } open_fds();
    POSIX::close($_) for @unknown;
    return;
}

my $highest = 0;    # the highest number that was in use before the daemon

# Puts a file under each number that is free, up to the highest that was ever in use. Returns which file is where.
sub open_files {
    my ($directory) = @_;
    my %is_open = map { /\A(\d+)/ ? ($1 => 1) : () } open_fds();
    my %files;
    for my $number (grep { !$is_open{$_} } 3 .. $highest) {
        my $fd = POSIX::open("$directory/$number", POSIX::O_CREAT() | POSIX::O_RDWR(), oct 600);
        defined $fd    or die "$directory/$number: $!";
        $fd == $number or die "number $fd instead of $number";
        POSIX::write($number, "file $number", length "file $number");
        $files{$number} = join ' ', (stat "$directory/$number")[ 0, 1 ];
    }
    return \%files;
}

# The same with epoll instances, as another loop has them. A number stands for what the kernel knows of it.
my @epolls;

sub open_epolls {
    my %is_open = map { /\A(\d+)/ ? ($1 => 1) : () } open_fds();
    pipe our $reader, our $writer or die "pipe: $!";
    my $wanted = grep { !$is_open{$_} } 3 .. $highest;
    my %sets;
    for (1 .. $wanted) {
        my $epoll = Linux::Epoll->new;
        $epoll->add($reader, 'in', sub { });
        push @epolls, $epoll;
        $sets{ fileno $epoll } = epoll_set(fileno $epoll);
    }
    return { epolls => \%sets };
}

sub epoll_set {
    my ($number) = @_;
    open my $info, '<', "/proc/self/fdinfo/$number" or return 'closed';
    return join '', grep { /^tfd/ } readline $info;
}

# Words about files that are not what they were.
sub damaged {
    my ($directory, $files) = @_;
    my @damaged;
    if (my $epolls = $files->{epolls}) {
        return [ map { "$_ is not the epoll instance" } grep { epoll_set($_) ne $epolls->{$_} } keys %$epolls ];
    }
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
    'closes nothing'                    => sub { return {} },
    'opens files'                       => sub { return open_files(@_) },
    'closes all others'                 => sub { close_unknown(); return {} },
    'closes all others and opens files' => sub { close_unknown(); return open_files(@_) },
);
$ways{'opens epoll instances'} = sub { close_unknown(); return open_epolls(@_) }
    if has_module('Linux::Epoll');

# fork, setsid, fork, and the code in the grandchild. Returns in the parent only.
sub become_daemon {
    my ($closes, $is_between, $code) = @_;
    my $pid = fork;
    defined $pid or die "fork: $!";
    return $pid if $pid;
    alarm 2 * BOUND;
    my $done = eval {
        POSIX::setsid() or die "setsid: $!";
        my $files      = $is_between ? $closes->() : undef;
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
    my ($new, $way, $is_inside, $directory, $to_us) = @_;
    my $stays = !$to_us;

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

    # After the sibling, which would keep it open.
    my $from_daemon;
    !$stays or pipe $from_daemon, $to_us or die "pipe: $!";

    ($highest) = map { /\A(\d+)/ } (open_fds())[-1];
    my $daemon = sub {
        my ($files) = @_;
        my $works = $watched->works;
        wait_until($loop, sub { $fired });
        my ($below) = in_child(
            $loop,
            sub {
                my $timer;
                my $in_child = $new->();
                $in_child->later(sub { $timer = 1 });
                $in_child->loop_once(0);
                $timer;
            }
        );
        my %report = (works => $works, fired => $fired, below => $below, sibling => $sibling);
        ForkTest::send_value($to_us, { %report, damaged => damaged($directory, $files), files => scalar keys %$files });
    };
    my $closes = sub { $ways{$way}->($directory) };
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
    works   => ForkTest::Watched::ALL,
    fired   => 1,
    below   => 1,
    sibling => 'runs',
    damaged => [],
    files   => D,
};

sub try_way {
    my ($new, $way, $is_inside, $stays) = @_;
    my $name      = join ', ', "a daemon that $way", $is_inside ? 'started in a callback' : ();
    my $directory = File::Temp->newdir;
    my ($from_daemon, $to_us);
    $stays or pipe $from_daemon, $to_us or die "pipe: $!";
    my ($seen, $status) = in_raw_child(sub { set_up_and_start($new, $way, $is_inside, "$directory", $to_us) });
    is $status, 0, 'it is started';
    close $to_us unless $stays;
    my $report = $stays ? delete $seen->{report} : thaw_from($from_daemon);
    is $report, $as_it_should, $stays ? "$name, while its parent stays" : $name;
    is $seen, { works => ForkTest::Watched::ALL, sibling => 'ended' }, 'the parent goes on' if $stays;
    cmp_ok $report->{files}, '>=', 1, 'there were numbers for files'                        if $way =~ /opens/;
    wait_for_orphans()                                                                      if $has_orphans;
    return;
}

each_loop sub {
    my ($new, $kind) = @_;
    for my $way (sort keys %ways) {
        my @combinations = ([ 0, 0 ], [ 1, 1 ], [ 0, 1 ], [ 1, 0 ]);
        # Other methods have fewer descriptors; one of each will do.
        @combinations = $combinations[ length($way) % 2 ] unless $kind->{is_best};
        try_way($new, $way, @$_) for @combinations;
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
