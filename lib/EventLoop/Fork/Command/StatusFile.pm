package EventLoop::Fork::Command::StatusFile;

# Where `evfork run` puts the scoreboard if nobody says where, and where the other commands then find it.

use strict;
use warnings;

use Errno qw(EACCES EEXIST ENOENT ENOTDIR);
use EventLoop::Fork::Command;
use EventLoop::Fork::Scoreboard;
use File::Basename qw(basename);
use File::Spec     ();

our $VERSION = '0.001';

my $SUFFIX = '.status';

# ---- Folders --------------------------------------------------------------------------------------------------------

# The first one that there can be is written to; all are looked into.
sub folders {
    my $chosen = $ENV{EVENTLOOP_FORK_RUNTIME_DIR};
    return $chosen if defined $chosen && length $chosen;
    my $xdg     = $ENV{XDG_RUNTIME_DIR};
    my @runtime = ((grep { defined && length } $xdg), "/run/user/$>");
    my @system  = ('/run', '/var/run');
    my %seen;
    return grep { !$seen{$_}++ } (
        (map { "$_/evfork" } grep { _is_mine($_) } $> == 0 ? (@system, @runtime) : @runtime),
        File::Spec->catdir(File::Spec->tmpdir, "evfork-$>"),
    );
}

# A folder, no link, and nobody else puts anything there.
sub _is_mine {
    my ($path) = @_;
    my @stat = lstat $path or return 0;
    return -d _ && $stat[4] == $> && !($stat[2] & oct 22) ? 1 : 0;
}

# undef, and why, where there is none.
sub _folder_to_write {
    my @reasons;
    for my $folder (folders()) {
        my $is_new = mkdir $folder, oct 700;
        return $folder if $is_new || $! == EEXIST && _is_mine($folder) && -w $folder;
        push @reasons, "$folder: " . ($! == EEXIST ? 'not a folder of this user alone' : $!);
    }
    return (undef, join '; ', @reasons);
}

# ---- For run --------------------------------------------------------------------------------------------------------

# app.pl: app; My::App: My-App.
sub name_of_app {
    my ($app) = @_;
    my $name = basename($app);
    $name =~ s/\.(?:pl|pm|psgi|t)\z//;
    $name =~ s/::/-/g;
    return clean($name);
}

# As a part of a file's name.
sub clean {
    my ($name) = @_;
    $name =~ s/[^\w.+-]+/-/ga;
    $name =~ s/\A[.-]+//;
    return length $name ? substr $name, 0, 100 : 'app';
}

# A file for a new supervisor: NAME.status, or NAME-PID.status while another one of that name lives. undef, and why,
# where there is no folder for it.
sub to_write {
    my ($name) = @_;
    my ($folder, $why) = _folder_to_write();
    return (undef, $why) unless defined $folder;
    $name = clean($name);
    _remove_stale($folder, $name);
    my $path  = "$folder/$name$SUFFIX";
    my $taken = _of_predecessor($folder, $name);
    return $taken if defined $taken;
    return owner_of($path) ? "$folder/$name-$$" . $SUFFIX : $path;
}

# After a hot restart it stays the same.
sub _of_predecessor {
    my ($folder, $name) = @_;
    return if !$INC{'EventLoop/Fork/Supervisor/Restart/Predecessor.pm'};
    my $pid = EventLoop::Fork::Supervisor::Restart::Predecessor::pid_before_start() or return;
    my ($path) = grep { basename($_) =~ /\A\Q$name\E(?:-[0-9]+)?\Q$SUFFIX\E\z/ && (owner_of($_) // 0) == $pid }
        _files_in($folder);
    return $path;
}

# The other names are not used again.
sub _remove_stale {
    my ($folder, $name) = @_;
    for my $path (_files_in($folder)) {
        next         unless basename($path) =~ /\A\Q$name\E-[0-9]+\Q$SUFFIX\E\z/;
        unlink $path unless owner_of($path);
    }
    return;
}

# ---- For the others -------------------------------------------------------------------------------------------------

# pid of the supervisor; 0: it has ended; undef: not a status file that can be read.
sub owner_of {
    my ($path) = @_;
    return unless -f $path;
    local ($@, $!);
    my $board = eval { EventLoop::Fork::Scoreboard->open($path) } or return;
    return $board->owner;
}

sub _files_in {
    my ($folder) = @_;
    opendir my $handle, $folder or return;
    return map { "$folder/$_" } sort grep { /\A[^.].*\Q$SUFFIX\E\z/s } readdir $handle;
}

sub all {
    return map { _files_in($_) } grep { _is_mine($_) || $ENV{EVENTLOOP_FORK_RUNTIME_DIR} } folders();
}

sub name_of { return basename($_[0], $SUFFIX) }

# The path that a user means: a file, a name, or, without a word, the only one that is there.
sub find {
    my ($wish) = @_;
    return _find_only() unless defined $wish;
    return $wish if $wish =~ m{/} || -e $wish;
    my ($found) = grep { name_of($_) eq $wish } all();
    return $found if defined $found;
    my $nearest = EventLoop::Fork::Command::nearest($wish, map { name_of($_) } all());
    EventLoop::Fork::Command::fail(
        "there is no file '$wish' and no supervisor of that name"
            . (defined $nearest ? "; did you mean '$nearest'?" : ''),
        EventLoop::Fork::Command::NOT_RUNNING,
    );
}

sub _find_only {
    my @files  = all();
    my @living = grep { owner_of($_) } @files;
    return $living[0] if @living == 1;
    if (@living) {
        EventLoop::Fork::Command::fail(
            'several supervisors run; say which: ' . join(', ', sort map { name_of($_) } @living));
    }
    # What the last one left is more of an answer than nothing.
    my ($latest) = sort { (stat $b)[9] <=> (stat $a)[9] } grep { defined owner_of($_) } @files;
    return $latest if defined $latest;
    return EventLoop::Fork::Command::fail(
        'no supervisor of this user runs (looked into ' . join(', ', folders()) . ')',
        EventLoop::Fork::Command::NOT_RUNNING
    );
}

# A board to look at, or to write to with writable => 1.
sub open_board {
    my ($path, %how) = @_;
    my $board = eval { EventLoop::Fork::Scoreboard->open($path, %how) };
    return $board if $board;
    my $error     = $@;
    my $is_absent = !-e $path && ($! == ENOENT || $! == ENOTDIR);
    EventLoop::Fork::Command::fail("not running: there is no file '$path'", EventLoop::Fork::Command::NOT_RUNNING)
        if $is_absent;
    EventLoop::Fork::Command::fail("'$path' is a folder, not a status file") if -d $path;
    return EventLoop::Fork::Command::fail(EventLoop::Fork::Command::message_of($error));
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::StatusFile - finds the status files of evfork

=head1 SYNOPSIS

    use EventLoop::Fork::Command::StatusFile;

    my ($path, $why_not) = EventLoop::Fork::Command::StatusFile::to_write('app');
    my $board = EventLoop::Fork::Command::StatusFile::open_board(EventLoop::Fork::Command::StatusFile::find('app'));

=head1 DESCRIPTION

See "STATUS FILES" in L<evfork>. Nothing is written to a folder that others can write to.

=head1 FUNCTIONS

=head2 folders

=head2 name_of_app, clean

=head2 to_write

    my ($path, $why_not) = to_write($name);

=head2 owner_of

=head2 all, name_of

=head2 find

    my $path = find($file_or_name_or_undef);

Fails, for the user, where nothing or more than one thing is meant.

=head2 open_board

    my $board = open_board($path, writable => 1);

=head1 SEE ALSO

L<evfork>, L<EventLoop::Fork::Scoreboard>

=cut
