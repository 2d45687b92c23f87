package EventLoop::Fork::Supervisor::FolderLock;

# One supervisor at a time looks whether a file of its folder is stale and replaces it. Two that start together would
# else both find it stale, and the second would remove what the first has just made.

use strict;
use warnings;

use Fcntl          qw(LOCK_EX LOCK_NB O_RDONLY);
use File::Basename ();
use Time::HiRes    ();

our $VERSION = '0.001';

# Seconds. Nobody holds it for longer than a few system calls; somebody who does must not stop us.
use constant PATIENCE => 1;

sub locked {
    my ($path, $code) = @_;
    # A folder that cannot be read cannot be locked: then it goes without.
    my $folder = _open(File::Basename::dirname($path));
    if ($folder) {
        my $deadline = Time::HiRes::time() + PATIENCE;
        Time::HiRes::sleep(0.005) until flock($folder, LOCK_EX | LOCK_NB) || Time::HiRes::time() > $deadline;
    }
    my @result = $code->();
    close $folder if $folder;
    return wantarray ? @result : $result[0];
}

sub _open {
    my ($path) = @_;
    local $!;
    sysopen my $folder, $path, O_RDONLY or return;
    return $folder;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::FolderLock - one at a time replaces files of a folder

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::FolderLock;

    EventLoop::Fork::Supervisor::FolderLock::locked('/run/app.pid', sub { replace_if_stale('/run/app.pid') });

=head1 DESCRIPTION

Holds an advisory lock (C<flock>) on the folder of a file: nothing is left behind, and it ends with its process.

=head1 FUNCTIONS

=head2 locked($path, $code)

Calls the code while the folder of the path is locked, and returns what it returns. Where the folder cannot be locked,
or somebody holds it for longer than a second, the code is called all the same.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>, L<EventLoop::Fork::Supervisor::PidFile>

=cut
