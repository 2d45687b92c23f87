# Where a status file is put and found without a word about it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use EventLoop::Fork::Command::StatusFile;
use EvforkTest;
use Test2::V0;

my $root = "$EvforkTest::folder";

# As a function of the package under test, with the failure as text.
sub try_find {
    my (@arguments) = @_;
    my $path = eval { EventLoop::Fork::Command::StatusFile::find(@arguments) };
    return defined $path ? $path : "$@->{exit_code}: $@->{message}";
}

sub new_board { return EventLoop::Fork::Scoreboard->new(path => $_[0], rows => 2) }

# By a process that is gone.
sub leave_stale {
    my ($path) = @_;
    my $pid = fork // die "fork: $!";
    if (!$pid) {
        my $board = new_board($path);
        kill KILL => $$;
    }
    waitpid $pid, 0;
    return $path;
}

subtest names => sub {
    my %expected = (
        'app.pl'          => 'app',
        '/srv/x/hello.pm' => 'hello',
        'My::App'         => 'My-App',
        './app'           => 'app',
        'a b/c d.psgi'    => 'c-d',
        '...'             => 'app',
        'v1.2.pl'         => 'v1.2',
    );
    my %got = map { $_ => EventLoop::Fork::Command::StatusFile::name_of_app($_) } keys %expected;
    is(\%got, \%expected, 'of apps');
};

subtest folders => sub {
    local %ENV = (%ENV, TMPDIR => $root, XDG_RUNTIME_DIR => $root);
    delete $ENV{EVENTLOOP_FORK_RUNTIME_DIR};
    my @folders = EventLoop::Fork::Command::StatusFile::folders();
    ok((grep { $_ eq "$root/evfork" } @folders), 'XDG_RUNTIME_DIR is one');
    is($folders[-1], "$root/evfork-$>", 'the last is in the folder for temporary files');
    is($folders[0], $> == 0 && -d '/run' ? '/run/evfork' : "$root/evfork", 'the first');
    chmod 0777, $root;
    is(
        [ grep { $_ eq "$root/evfork" } EventLoop::Fork::Command::StatusFile::folders() ], [],
        'not where others can write'
    );
    chmod 0700, $root;
    $ENV{EVENTLOOP_FORK_RUNTIME_DIR} = "$root/run";
    is(
        [ EventLoop::Fork::Command::StatusFile::folders() ], ["$root/run"],
        'EVENTLOOP_FORK_RUNTIME_DIR is the only one'
    );
};

subtest 'a folder that somebody else has made' => sub {
    symlink $root, "$root/link" or skip_all("symlink: $!");
    local $ENV{EVENTLOOP_FORK_RUNTIME_DIR} = "$root/link";
    my ($path, $why) = EventLoop::Fork::Command::StatusFile::to_write('app');
    is([ $path, $why ], [ undef, "$root/link: not a folder of this user alone" ], 'a link is not used');
    mkdir "$root/open";
    chmod 0777, "$root/open";
    $ENV{EVENTLOOP_FORK_RUNTIME_DIR} = "$root/open";
    ($path, $why) = EventLoop::Fork::Command::StatusFile::to_write('app');
    is([ $path, $why ], [ undef, "$root/open: not a folder of this user alone" ], 'nor where all can write');
};

subtest 'which file' => sub {
    my ($path) = EventLoop::Fork::Command::StatusFile::to_write('app');
    is($path, "$root/run/app.status", 'NAME.status');
    is((stat "$root/run")[2] & oct 7777, oct 700, 'in a folder of mode 0700');
    like(try_find(), qr/\A3: no supervisor of this user runs/, 'none yet');
    my $board = new_board($path);
    is(try_find(), $path, 'the only one');
    my ($other) = EventLoop::Fork::Command::StatusFile::to_write('app');
    is($other, "$root/run/app-$$.status", 'a second of that name');
    my $second = new_board($other);
    is(try_find(), "1: several supervisors run; say which: app, app-$$", 'two');
    is(try_find('app'), $path, 'by name');
    is(try_find("app-$$"), $other, 'by name');
    is(try_find($other), $other, 'by path');
    is(try_find("$root/x"), "$root/x", 'a path is a path');
    like(
        try_find('ap'), qr/\A3: there is no file 'ap' and no supervisor of that name; did you mean 'app'\?\z/,
        'a wrong name'
    );
    undef $second;
    ok(!-e $other, 'the file goes with its owner');

    my $stale = leave_stale("$root/run/gone.status");
    is(try_find(), $path, 'the one that lives');
    undef $board;
    is(try_find(), $stale, 'what the last one has left');
    is(EventLoop::Fork::Command::StatusFile::owner_of($stale), 0, 'nobody owns it');
    my $numbered = leave_stale("$root/run/app-1.status");
    EventLoop::Fork::Command::StatusFile::to_write('app');
    ok(!-e $numbered, 'a stale file under a number is taken away');
    is((EventLoop::Fork::Command::StatusFile::to_write('gone'))[0], $stale, 'a stale one of the name is used again');
};

done_testing;
