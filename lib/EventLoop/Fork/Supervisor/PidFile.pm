package EventLoop::Fork::Supervisor::PidFile;

# The file that says which process the supervisor is. It is whole at every moment, says whose it is before it is
# replaced, and is removed only by the process that wrote it: workers leave it alone, whichever way they end.

use strict;
use warnings;

use EventLoop::Fork::Loop                   ();
use EventLoop::Fork::Supervisor::FolderLock ();
use EventLoop::Fork::Supervisor::Process    ();
use Fcntl                                   qw(O_CREAT O_EXCL O_NOFOLLOW O_NONBLOCK O_RDONLY O_WRONLY);
use File::Basename                          ();
use File::Spec                              ();

our $VERSION = '0.001';

use constant {
    MODE => oct 644,
    # Seconds that clocks may differ. A process that started later than the file was written is another one.
    SLACK => 2,
};

sub _fail {
    my ($path, $message, $name) = @_;
    EventLoop::Fork::Loop::_throw($name || 'EVF_ESYSTEM', 'pid_file', $path, $message);
}

sub write {
    my ($class, $path, %options) = @_;
    _fail($path, 'the path of the pid file is empty', 'EVF_EINVAL') if !defined $path || $path eq '';
    my $self = bless { path => File::Spec->rel2abs($path), pid => $$ }, $class;
    $self->_replace($options{replaces}, $options{is_pending});
    return $self;
}

sub _replace {
    my ($self, $replaced, $is_pending) = @_;
    return EventLoop::Fork::Supervisor::FolderLock::locked(
        $self->{path},
        sub {
            $self->_check($replaced);
            $self->_write    if !$self->{pending};
            $self->_put_name if !$is_pending;
        }
    );
}

sub put_in_place {
    my ($self, $replaced) = @_;
    return $self->_replace($replaced);
}

# Somebody else's that has replaced ours, and has ended.
sub restore {
    my ($self, $pid) = @_;
    return if (ref($self)->read($self->{path}) // 0) != $pid;
    return $self->_replace($pid);
}

sub pending { return $_[0]{pending} }

sub path { return $_[0]{path} }
sub pid  { return $_[0]{pid} }

sub read {
    my ($class, $path) = @_;
    my $text = _text($path);
    return defined $text && $text =~ /\A\s*([1-9][0-9]{0,9})\s*\z/ ? $1 + 0 : undef;
}

sub remove {
    my ($self) = @_;
    return 0                       if $self->{pid} != $$;
    unlink delete $self->{pending} if defined $self->{pending};
    return EventLoop::Fork::Supervisor::FolderLock::locked(
        $self->{path},
        sub {
            my $pid = ref($self)->read($self->{path});
            return defined $pid && $pid == $$ && unlink($self->{path}) ? 1 : 0;
        }
    );
}

sub _check {
    my ($self, $replaced) = @_;
    my $path   = $self->{path};
    my @status = lstat $path or return;
    -f _ or _fail($path, "$path is not a file, so it is left alone; choose another path");
    my $pid = ref($self)->read($path);
    if (!defined $pid) {
        return if !$status[7];    # the writer was stopped by a full disk
        _fail(
            $path,
            "$path has something else in it than a process id, so it is left alone; remove it, or choose another path"
        );
    }
    return if $pid == $$ || defined $replaced && $pid == $replaced;
    return if !EventLoop::Fork::Supervisor::Process::is_alive($pid);
    # The number may have been given to another process, such as after a restart of the machine.
    my $start = EventLoop::Fork::Supervisor::Process::started_at($pid);
    return if defined $start && $start > $status[9] + SLACK;
    _fail(
        $path,
        "$path belongs to "
            . EventLoop::Fork::Supervisor::Process::describe($pid)
            . ', which runs; stop it, or choose another path'
    );
}

sub _write {
    my ($self)    = @_;
    my $path      = $self->{path};
    my $temporary = "$path.$$.tmp";
    unlink $temporary;    # of a namesake that was killed here
    sysopen my $handle, $temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, MODE or $self->_cannot($!);
    $self->{pending} = $temporary;
    my $is_written = chmod(MODE, $handle) && print({$handle} "$$\n") && close($handle);
    $self->_give_up($!) if !$is_written;
    return;
}

sub _put_name {
    my ($self) = @_;
    rename $self->{pending}, $self->{path} or $self->_give_up($!);
    delete $self->{pending};
    return;
}

sub _give_up {
    my ($self, $error) = @_;
    unlink delete $self->{pending};
    return $self->_cannot($error);
}

sub _cannot {
    my ($self, $error) = @_;
    my $path   = $self->{path};
    my $folder = File::Basename::dirname($path);
    my $advice = !-d $folder ? "there is no folder $folder; make it, or choose another path" : "$path: $error";
    _fail($path, $advice);
}

# A pipe under this name must not stop us.
sub _text {
    my ($path) = @_;
    local $!;
    sysopen my $handle, $path, O_RDONLY | O_NONBLOCK or return;
    return if !-f $handle;
    CORE::read $handle, my $text, 64;
    close $handle;
    return $text;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::PidFile - the file that says which process the supervisor is

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::PidFile;

    my $file = EventLoop::Fork::Supervisor::PidFile->write('/run/app.pid');
    # ... at the end
    $file->remove;

    my $pid = EventLoop::Fork::Supervisor::PidFile->read('/run/app.pid');

=head1 DESCRIPTION

The file has the number of the process in it, and a line end; everybody may read it. It is put in place whole. One of a
process that has ended is replaced, also if its number has been given to a process that started later. One of a process
that runs is an error, and so is whatever is not a pid file. Errors are L<EventLoop::Fork::Error>, of the operation
C<pid_file>.

=head1 CLASS METHODS

=head2 write($path, replaces => $pid)

Writes the file for this process and returns an object. C<replaces> is a running process whose file may be replaced: the
predecessor at a hot restart. With C<is_pending> it gets its name by C<put_in_place> only.

=head2 read($path)

The number in a pid file, or C<undef> if there is none.

=head1 METHODS

=head2 path

The path, from the root: a daemon changes its folder.

=head2 pid

The process that wrote it.

=head2 pending

The path it has until then.

=head2 put_in_place($pid)

Gives it its name, in place of the file of that process.

=head2 restore($pid)

Writes it anew if it has become that of this process, which has ended.

=head2 remove

Removes the file, if this process wrote it and its number still is in it. True if it did.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Privileges>: who becomes somebody else in the end can only remove the file if its folder
lets him.

=cut
