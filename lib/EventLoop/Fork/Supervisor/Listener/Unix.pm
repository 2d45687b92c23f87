package EventLoop::Fork::Supervisor::Listener::Unix;

# Socket files: made for nobody else to connect at first, put in the place of stale ones only, and removed by whose they
# are.

use strict;
use warnings;

use Errno                                            qw(ECONNREFUSED ENOENT);
use EventLoop::Fork::Supervisor::FolderLock          ();
use EventLoop::Fork::Supervisor::Listener::Complaint qw(cannot cannot_make_file refuse socket_stays);
use EventLoop::Fork::Supervisor::Listener::Inherited qw(adopt asked_for_before);
use Exporter                                         qw(import);
use IO::Handle                                       ();
use Socket                                           qw(AF_UNIX SOCK_STREAM pack_sockaddr_un);

our $VERSION = '0.001';

our @EXPORT_OK = qw(open_unix);

sub open_unix {
    my ($listener, $options) = @_;
    my $path   = $listener->path;
    my @before = asked_for_before($listener, $options);
    return @before if @before;
    my ($inherited) = grep { $_->is_unix && ($_->path // '') eq $path } @{ $options->{inherited} };
    return adopt($listener, $inherited, $options) if $inherited;
    # What is wrong is said afterwards: to look for processes takes long.
    my ($complain, $errno) = EventLoop::Fork::Supervisor::FolderLock::locked(
        $path,
        sub {
            my @problem = _remove_stale($listener);
            return @problem ? @problem : _bind($listener, $options);
        }
    );
    $complain->($listener, $errno) if $complain;
    return $listener;
}

# A socket file that nobody listens on is what a killed server left. Anything else stays: then returns who says so, and
# an errno.
sub _remove_stale {
    my ($listener) = @_;
    my $path = $listener->path;
    return if !lstat $path;
    if (!-S _) {
        my $what = -l _ ? 'a symbolic link' : -d _ ? 'a folder' : 'a file';
        refuse($listener, "$path is $what and no socket, so it is left alone; remove it, or choose another path");
    }
    socket(my $probe, AF_UNIX, SOCK_STREAM, 0) or cannot($listener, $! + 0);
    IO::Handle::blocking($probe, 0);
    my $error = connect($probe, pack_sockaddr_un($path)) ? 0 : $! + 0;
    close $probe;
    return                          if $error == ENOENT;
    return (\&socket_stays, $error) if $error != ECONNREFUSED;
    unlink $path or $! == ENOENT or refuse($listener, "the stale socket $path cannot be removed: $!");
    return;
}

# Returns nothing, or who says what is wrong, and an errno.
sub _bind {
    my ($listener, $options) = @_;
    my $path = $listener->path;
    socket(my $socket, AF_UNIX, SOCK_STREAM, 0) or cannot($listener, $! + 0);
    my $umask    = umask 0177;                              # nobody else may connect, at no moment
    my $is_bound = bind $socket, pack_sockaddr_un($path);
    my $error    = $! + 0;
    umask $umask;
    return (\&cannot_make_file, $error) if !$is_bound;
    claim_file($listener);
    eval {
        $listener->_take($socket, $options->{backlog});
        chmod $listener->{mode}, $path or cannot($listener, $! + 0);
        1;
    } or do {
        my $thrown = $@;
        remove_file($listener);
        $listener->close;
        die $thrown;
    };
    return;
}

# ---- Whose file it is -----------------------------------------------------------------------------------------------

# The number of a file is not given to another one while a socket is bound to it; afterwards the time tells them apart.
sub _file_id {
    my ($path) = @_;
    my @status = lstat $path;
    return @status ? join ':', @status[ 0, 1, 9 ] : '';
}

sub claim_file {
    my ($listener) = @_;
    my $path = $listener->path;
    @$listener{qw(file_id file_pid)} = (_file_id($path), $$) if defined $path;
    return;
}

sub release_file {
    my ($listener) = @_;
    delete @$listener{qw(file_id file_pid)};
    return;
}

sub owns_file {
    my ($listener) = @_;
    return $listener->{file_id} && $listener->{file_pid} == $$ ? 1 : 0;
}

sub remove_file {
    my ($listener) = @_;
    return 0 if !owns_file($listener);
    my $id = delete $listener->{file_id};
    return _file_id($listener->path) eq $id && unlink($listener->path) ? 1 : 0;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Listener::Unix - socket files

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Listener::Unix qw(open_unix);

    open_unix($listener, { inherited => \@inherited });

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Listener>.

=head1 FUNCTIONS

=head2 open_unix($listener, \%options)

The listener, bound and listening, or the inherited one for its path. The file is this process'. Throws.

=head2 owns_file($listener)

=head2 claim_file($listener)

=head2 release_file($listener)

=head2 remove_file($listener)

What the methods of the listener of these names do.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>, L<EventLoop::Fork::Supervisor::FolderLock>

=cut
