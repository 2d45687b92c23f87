package EventLoop::Fork::Supervisor::Privileges;

# Root's process becomes another user's, for good, after it has bound its ports. Who that is can be looked up before
# anything is started. Files that root has made for it go along.

use strict;
use warnings;

use EventLoop::Fork::Loop ();
use POSIX                 ();

our $VERSION = '0.001';

sub _fail {
    my ($operation, $value, $message, $name) = @_;
    EventLoop::Fork::Loop::_throw($name || 'EVF_ESYSTEM', $operation, $value, $message);
}

# ---- Who ------------------------------------------------------------------------------------------------------------

sub identity {
    my (%wanted) = @_;
    return _identity('identity', %wanted);
}

sub _identity {
    my ($operation, %wanted) = @_;
    for my $name (sort keys %wanted) {
        $name eq 'user' || $name eq 'group'
            or _fail($operation, $name, "unknown option '$name'; there are: group user", 'EVF_EINVAL');
    }
    my ($user, $group) = @wanted{qw(user group)};
    my ($name, $uid, $gid);
    ($name, $uid, $gid) = _user($operation, $user) if defined $user;
    $gid = _group($operation, $group) if defined $group;
    if (defined $uid && !defined $gid) {
        _fail($operation, $user, "user $uid has no entry and so no group; give a group as well", 'EVF_EINVAL');
    }
    my @groups = defined $gid ? _groups($name, $gid) : ();
    return { user => $name, uid => $uid, gid => $gid, groups => \@groups };
}

# As chown has it: a name that consists of digits is a name first.
sub _user {
    my ($operation, $user) = @_;
    my @entry = getpwnam $user;
    @entry = getpwuid $user if !@entry && _is_number($user);
    return @entry[ 0, 2, 3 ]  if @entry;
    return (undef, $user + 0) if _is_number($user);
    _fail($operation, $user, "there is no user '$user'; `getent passwd` lists them", 'EVF_EINVAL');
}

sub _group {
    my ($operation, $group) = @_;
    my @entry = getgrnam $group;
    return $entry[2]  if @entry;
    return $group + 0 if _is_number($group);
    _fail($operation, $group, "there is no group '$group'; `getent group` lists them", 'EVF_EINVAL');
}

# 2**32 - 1 means "leave it" to the kernel.
sub _is_number { return $_[0] =~ /\A[0-9]{1,10}\z/ && $_[0] < 4_294_967_295 }

# The group itself, and those that name the user as a member.
sub _groups {
    my ($name, $gid) = @_;
    my %is_in = ($gid => 1);
    if (defined $name) {
        setgrent;
        while (my (undef, undef, $number, $members) = getgrent) {
            $is_in{$number} = 1 if grep { $_ eq $name } split ' ', $members;
        }
        endgrent;
    }
    delete $is_in{$gid};
    return ($gid, sort { $a <=> $b } keys %is_in);
}

# ---- Becoming it ----------------------------------------------------------------------------------------------------

sub drop_privileges {
    my (%wanted) = @_;
    my $identity = _identity('drop_privileges', %wanted);
    return $identity if _is_already($identity);
    $> == 0 && $< == 0
        or _fail(
        'drop_privileges', _wanted(%wanted),
        _wanted(%wanted)
            . ': only root can become somebody else, and this is user '
            . _name_of($>)
            . '; start as root, or leave the option out'
        );
    # While this still is root, from the outermost to the innermost.
    _set_groups($identity) if defined $identity->{gid};
    _set_user($identity)   if defined $identity->{uid};
    _verify($identity)     if $identity->{uid};
    return $identity;
}

sub _wanted {
    my (%wanted) = @_;
    return join ', ', map { "$_ $wanted{$_}" } grep { defined $wanted{$_} } qw(user group);
}

sub _name_of {
    my ($uid) = @_;
    my $name = getpwuid $uid;
    return defined $name ? $name : $uid;
}

sub _is_already {
    my ($identity) = @_;
    my ($uid, $gid) = @$identity{qw(uid gid)};
    return 0 if defined $uid && ($< != $uid              || $> != $uid);
    return 0 if defined $gid && (POSIX::getgid() != $gid || POSIX::getegid() != $gid);
    return $> != 0 || !defined $gid;    # root's other groups are to go
}

sub _set_groups {
    my ($identity) = @_;
    my ($gid, @groups) = ($identity->{gid}, @{ $identity->{groups} });
    $! = 0;
    # The first number is the effective group, the rest is for setgroups.
    $) = join ' ', $gid, @groups;       ## no critic (LocalizedPunctuationVars): for good
    my $error = "$!";
    my ($effective, @got) = split ' ', "$)";
    $effective == $gid && _set_of(@got) eq _set_of(@groups)
        or _fail('drop_privileges', $gid, "the groups cannot be set to @groups: $error");
    # All three of them: real, effective, saved.
    POSIX::setgid($gid) or _fail('drop_privileges', $gid, "setgid $gid: $!");
    POSIX::getgid() == $gid && POSIX::getegid() == $gid
        or _fail('drop_privileges', $gid, "setgid $gid had no effect");
    return;
}

sub _set_of {
    my %seen = map { $_ => 1 } @_;
    return join ' ', sort { $a <=> $b } keys %seen;
}

sub _set_user {
    my ($identity) = @_;
    my $uid = $identity->{uid};
    POSIX::setuid($uid)      or _fail('drop_privileges', $uid, "setuid $uid: $!");
    $< == $uid && $> == $uid or _fail('drop_privileges', $uid, "setuid $uid had no effect");
    return;
}

# A saved user id or a capability that stayed would bring root back.
sub _verify {
    my ($identity) = @_;
    my $uid = $identity->{uid};
    local $!;
    if (POSIX::setuid(0) || $> == 0 || $< == 0) {
        _fail('drop_privileges', $uid, "user id $uid can become root again; a capability (CAP_SETUID) has stayed");
    }
    if ($identity->{gid} && (POSIX::setgid(0) || POSIX::getegid() == 0)) {
        _fail(
            'drop_privileges', $uid,
            "user id $uid can have root's group again; a capability (CAP_SETGID) has stayed"
        );
    }
    return;
}

# ---- Files ----------------------------------------------------------------------------------------------------------

sub chown_for {
    my ($path, $uid, $gid) = @_;
    my @status = lstat $path or _fail('chown_for', $path, "$path: $!");
    # In a folder of others it may have been put there to get something else handed out.
    -l _ and _fail('chown_for', $path, "$path is a symbolic link, and is left alone");
    $uid = $status[4] if !defined $uid;
    $gid = $status[5] if !defined $gid;
    return if $status[4] == $uid && $status[5] == $gid;
    chown $uid, $gid, $path or _fail('chown_for', $path, "$path cannot be given to user id $uid, group id $gid: $!");
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Privileges - from root to somebody else, for good

=head1 SYNOPSIS

    use EventLoop::Fork::Supervisor::Privileges;

    my $who = EventLoop::Fork::Supervisor::Privileges::identity(user => 'www-data');
    # ... bind ports, make files
    EventLoop::Fork::Supervisor::Privileges::chown_for('/run/app.sock', $who->{uid}, $who->{gid});
    EventLoop::Fork::Supervisor::Privileges::drop_privileges(user => 'www-data');

=head1 DESCRIPTION

A server that is started by root binds what needs root, and goes on as a user who may do little. What fails is thrown
as an L<EventLoop::Fork::Error>: C<EVF_EINVAL> for a user or group that does not exist, else C<EVF_ESYSTEM>. After an
error of the second kind the process may be half the one and half the other, and should end.

On Linux, changing the user clears the signal that a process asked for on its parent's death (C<PR_SET_PDEATHSIG>): ask
again afterwards. The environment (C<HOME>, C<USER>) stays as it is.

=head1 FUNCTIONS

=head2 identity(user => $user, group => $group)

Looks them up, as names or numbers, both optional; a name of digits is a name first. Returns a hash with C<user> (the
name), C<uid>, C<gid> and C<groups>. Without C<group> it is the group of the user's entry. C<groups> are that group
and those that list the user as a member.

=head2 drop_privileges(user => $user, group => $group)

Sets groups, group and user, in this order and each with its effect verified, and makes sure that root cannot come back.
Returns what C<identity> does. Does nothing if this process is the wanted one already, so that the same options work
without root.

=head2 chown_for($path, $uid, $gid)

Gives a file to user and group; C<undef> leaves one as it is. Refuses symbolic links.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor::Listener>, L<EventLoop::Fork::Supervisor::PidFile>

=cut
