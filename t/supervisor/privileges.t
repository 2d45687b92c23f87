# From root to somebody else, for good: who that is, what it takes along, and what is said when it does not work.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::Privileges;
use ForkTest;
use ListenerTest;
use POSIX ();
use Test2::V0;

my $class = 'EventLoop::Fork::Supervisor::Privileges';

sub identity { return EventLoop::Fork::Supervisor::Privileges::identity(@_) }
sub drop     { return EventLoop::Fork::Supervisor::Privileges::drop_privileges(@_) }

pass 'the test library opens what it writes to';
my @before = open_fds();

my ($self, $own_uid, $own_gid) = (getpwuid $>)[ 0, 2, 3 ];

subtest 'who' => sub {
    skip_all 'this user has no entry' if !defined $self;
    my $own = identity(user => $self);
    is [ @$own{qw(user uid gid)} ], [ $self, $own_uid, $own_gid ], 'by name';
    is identity(user => $own_uid), $own, 'by number';
    is $own->{groups}[0], $own_gid, 'the first group is the own one';
    my $id = `id -G $self 2>/dev/null`;
    is [ sort @{ $own->{groups} } ], [ sort split ' ', $id ], 'all of them, as id has them' if length $id;
    my ($group, $gid) = (getgrgid $own_gid)[ 0, 2 ];
    is identity(group => $group), { user => undef, uid => undef, gid => $gid, groups => [$gid] }, 'a group alone';
    is identity(user  => 3_999_999_999, group => 3_999_999_998),
        { user => undef, uid => 3_999_999_999, gid => 3_999_999_998, groups => [3_999_999_998] },
        'numbers without entries';
    is identity(), { user => undef, uid => undef, gid => undef, groups => [] }, 'nobody in particular';
};

subtest 'nobody' => sub {
    my %message = (
        'user no-such-user'   => qr/\Athere is no user 'no-such-user'/,
        'group no-such-group' => qr/\Athere is no group 'no-such-group'/,
        'user 3999999999'     => qr/\Auser 3999999999 has no entry and so no group; give a group as well\z/,
        'user -1'             => qr/\Athere is no user '-1'/,
        'user 4294967295'     => qr/\Athere is no user '4294967295'/,
        'group 4294967295'    => qr/\Athere is no group '4294967295'/,
        'usr x'               => qr/\Aunknown option 'usr'/,
    );
    for my $given (sort keys %message) {
        my $error = error_of(sub { drop(split / /, $given) });
        is [ ref $error, $error->name, $error->operation, $error->file ],
            [ 'EventLoop::Fork::Error', 'EVF_EINVAL', 'drop_privileges', __FILE__ ], "an error of the caller: $given";
        like $error->message, $message{$given}, 'with the reason';
    }
};

# What the system says of a process.
sub credentials {
    my ($text) = slurp_file('/proc/self/status');
    return { map { my ($words) = $text =~ /^$_:\s*(.*?)\s*$/m; $_ => [ split ' ', $words ] } qw(Uid Gid Groups) };
}

sub slurp_file {
    my ($path) = @_;
    open my $handle, '<', $path or die "$path: $!";
    local $/;
    return readline $handle;
}

subtest 'root becomes somebody' => sub {
    skip_all 'for root' if $> != 0;
    my ($uid, $gid) = unprivileged() or skip_all 'there is no user nobody';
    for my $given ([ user => 'nobody' ], [ user => $uid ], [ user => 'nobody', group => 12345 ]) {
        my $group = $given->[3] || $gid;
        my $seen  = said(sub {
            $) = '0 0 4 27';    # what is to go
            drop(@$given);
            return {
                credentials => -d '/proc' ? credentials() : undef,
                perl        => [ $<, $>, POSIX::getgid(), POSIX::getegid() ]
            };
        });
        is $seen->{perl}, [ $uid, $uid, $group, $group ], "@$given: user and group";
        is $seen->{credentials}, { Uid => [ ($uid) x 4 ], Gid => [ ($group) x 4 ], Groups => [$group] },
            'the saved ones as well, and no other group is left'
            if $seen->{credentials};
    }
    is said(sub {
        drop(user => 'nobody');
        [ POSIX::setuid(0), eval { $> = 0; $> }, POSIX::setgid(0) ];
        }),
        [ undef, $uid, undef ], 'there is no way back';
    is said(sub { drop(user => 'nobody'); drop(user => 'nobody')->{uid} }), $uid, 'once more does nothing';
    like said(sub {
        drop(user => 'nobody');
        error_of(sub { drop(user => 'root') })->message;
        }),
        qr/\Auser root: only root can become somebody else, and this is user nobody; start as root, or leave/,
        'not root again';
    is said(sub { drop(group => 12345); [ $>, POSIX::getgid(), "$)" ] }), [ 0, 12345, '12345 12345' ], 'a group alone';
    is said(sub { drop(); [ $>, "$)" ] }), [ 0, "$)" ], 'nothing at all';
};

subtest 'groups that name the user' => sub {
    skip_all 'for root' if $> != 0;
    my ($name, $gid) = map { @$_[ 0, 1 ] } grep { defined } other_member() or skip_all 'no user is named by a group';
    my $seen = said(sub { my $who = drop(user => $name); [ $who->{groups}, [ split ' ', "$)" ] ] });
    ok scalar(grep { $_ == $gid } @{ $seen->[0] }), "$name has group $gid";
    ok scalar(grep { $_ == $gid } @{ $seen->[1] }), 'and keeps it';
};

# A user other than root, and a group that names him.
sub other_member {
    my $found;
    while (my (undef, undef, $gid, $members) = getgrent) {
        my ($name) = grep { getpwnam $_ } split ' ', $members;
        $found ||= [ $name, $gid ] if defined $name && $name ne 'root';
    }
    endgrent;
    return $found;
}

subtest 'what did not work' => sub {
    skip_all 'for root' if $> != 0;
    my ($uid) = unprivileged() or skip_all 'there is no user nobody';
    no warnings 'redefine';
    my $failed = sub {
        my ($function, $code) = @_;
        return said(sub {
            no strict 'refs';
            *{"POSIX::$function"} = $code;
            return error_of(sub { drop(user => 'nobody') })->message;
        });
    };
    like $failed->(setuid => sub { $! = POSIX::EAGAIN(); undef }), qr/\Asetuid $uid: /, 'refused';
    is $failed->(setuid => sub { 1 }), "setuid $uid had no effect", 'without effect';
    like $failed->(setgid => sub { $! = POSIX::EPERM(); undef }), qr/\Asetgid \d+: /, 'a group refused';
    my $setuid = \&POSIX::setuid;
    like $failed->(setuid => sub { my ($id) = @_; return $setuid->(0) if !$id; ($<, $>) = ($id, $id); return 1 }),
        qr/\Auser id $uid can become root again/, 'a saved user id that stayed';
};

subtest 'without root' => sub {
    if ($> == 0) {
        my ($uid) = unprivileged() or skip_all 'there is no user nobody';
        is said(sub { POSIX::setgid((unprivileged())[1]); POSIX::setuid($uid); drop(user => 'nobody')->{uid} }), $uid,
            'what this is already';
        return;
    }
    is drop(user => $own_uid)->{uid}, $own_uid, 'what this is already' if defined $self;
    like error_of(sub { drop(user => 'root') })->message, qr/only root can become somebody else/, 'not somebody else';
};

subtest 'files' => sub {
    my $folder = folder();
    open my $handle, '>', "$folder/file" or die "$folder/file: $!";
    close $handle;
    symlink "$folder/file", "$folder/link" or die "$folder/link: $!";
    my $chown = EventLoop::Fork::Supervisor::Privileges->can('chown_for');
    ok lives { $chown->("$folder/file", $>, undef) }, 'what is so already';
    like error_of(sub { $chown->("$folder/link", 1, 1) })->message, qr/is a symbolic link, and is left alone/, 'a link';
    like error_of(sub { $chown->("$folder/none", 1, 1) })->message, qr{/none: }, 'nothing';
SKIP: {
        skip 'for root', 2 if $> != 0;
        my ($uid, $gid) = unprivileged() or skip 'there is no user nobody', 2;
        $chown->("$folder/file", $uid, $gid);
        is [ (stat "$folder/file")[ 4, 5 ] ], [ $uid, $gid ], 'is given away';
        like said(sub {
            POSIX::setuid($uid);
            error_of(sub { $chown->("$folder/file", 0, undef) })->message;
            }),
            qr/cannot be given to user id 0, group id $gid: /, 'and not taken back by its owner';
    }
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
