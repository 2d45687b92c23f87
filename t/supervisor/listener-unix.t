# Socket files: nobody else may connect at any moment, a stale one is replaced, a living one and what is no socket are
# left alone, and only who made a file removes it.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::Listener;
use ForkTest;
use IO::Socket::UNIX ();
use ListenerTest;
use POSIX  ();
use Socket qw(AF_UNIX SOCK_DGRAM SOCK_STREAM pack_sockaddr_un);
use Test2::V0;

my $folder = folder();
answers(opened("unix:$folder/first"));
pass 'the test library opens what it writes to';
my @before   = open_fds();
my $is_linux = $^O eq 'linux';

use constant PATH_MAX => EventLoop::Fork::Supervisor::Listener::Address::PATH_MAX();

sub mode_of { return sprintf '%04o', (stat $_[0])[2] & 07777 }

# What a killed server leaves.
sub leave_socket {
    my ($path, $type) = @_;
    socket my $socket, AF_UNIX, $type || SOCK_STREAM, 0 or die "socket: $!";
    bind $socket, pack_sockaddr_un($path)               or die "$path: $!";
    return $socket;
}

subtest 'a file' => sub {
    my $path = "$folder/plain";
    my ($listener) = opened("unix:$path");
    isa_ok $listener->socket, 'IO::Socket::UNIX';
    is [ $listener->name, $listener->path, $listener->is_unix, $listener->host, $listener->port ],
        [ "unix:$path", $path, T, undef, undef ], 'name and path';
    is $listener->socket->hostpath, $path, 'IO::Socket knows its path';
    is mode_of($path), '0600', 'is its user\'s';
    is answers($listener), 'word', 'connections come';
    $listener->close;
    ok -S $path, 'it outlives the socket';
    ok $listener->remove_file, 'and is removed';
    ok !-e $path, 'really';
    ok !$listener->remove_file, 'once';
};

subtest 'mode' => sub {
    my $umask = umask 0;
    for my $mode (qw(0666 660 0600 400)) {
        my ($listener) = opened("unix:$folder/mode?mode=$mode");
        is mode_of("$folder/mode"), sprintf('%04o', oct $mode), $mode;
        is $listener->name, "unix:$folder/mode", 'is no part of the name';
        $listener->remove_file;
    }
    is umask, 0, 'the umask is what it was';
    umask 0777;
    my ($listener) = opened("unix:$folder/mode?mode=0660");
    is mode_of("$folder/mode"), '0660', 'whatever the umask';
    $listener->remove_file;
    umask $umask;
};

subtest 'nobody else may connect before the mode is set' => sub {
    skip_all 'for root' if $> != 0;
    my ($uid) = unprivileged() or skip_all 'there is no user nobody';
    my @modes;
    my $take = EventLoop::Fork::Supervisor::Listener->can('_take');
    no warnings 'redefine';
    local *EventLoop::Fork::Supervisor::Listener::_take = sub { push @modes, mode_of("$folder/early"); $take->(@_) };
    my $umask = umask 0;
    my ($listener) = opened("unix:$folder/early?mode=0666");
    umask $umask;
    is [ @modes, mode_of("$folder/early") ], [ '0600', '0666' ], 'first its user\'s, then what is wanted';
    is said(sub { POSIX::setuid($uid) or die "setuid: $!"; reaches($listener) ? 'yes' : "$!" }), 'yes',
        'then others may';
    my ($narrow) = opened("unix:$folder/narrow");
    is said(sub { POSIX::setuid($uid) or die "setuid: $!"; reaches($narrow) ? 'yes' : $!{EACCES} ? 'no' : "$!" }), 'no',
        'with the default they may not';
};

subtest 'a relative path' => sub {
    my $home = POSIX::getcwd();
    chdir "$folder" or die "$folder: $!";
    my ($listener) = opened('unix:relative');
    chdir $home or die "$home: $!";
    is $listener->path, "$folder/relative", 'belongs to the folder at that time';
    is answers($listener), 'word', 'connections come';
    ok $listener->remove_file, 'it is found again';
};

subtest 'a stale file' => sub {
    my $path = "$folder/stale";
    leave_socket($path);
    ok -S $path, 'was left';
    my ($listener) = opened("unix:$path");
    is answers($listener), 'word', 'is replaced';
    $listener->remove_file;
    leave_socket($path, SOCK_DGRAM);
    ($listener) = opened("unix:$path");
    is answers($listener), 'word', 'of another kind, too';
};

subtest 'a living one' => sub {
    my $path = "$folder/living";
    my $code = <<'EOP';
use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die "$ARGV[0]: $!";
$| = 1;
print "ready\n";
kill STOP => $$ while 1;
EOP
    my $program = start_program($code, $path);
    is scalar readline $program->{reader}, "ready\n", 'a server runs';
    my $error = error_of(sub { opened("unix:$path") });
    my $by    = $is_linux ? " by process $program->{pid} \\([^)]+" : '';
    like $error->message, qr/\Aunix:\Q$path\E is in use$by.*; stop it, or choose another path\z/s, 'it is named';
    is $error->name, 'EVF_ESYSTEM', 'by an error of the system';
    my @full = map { IO::Socket::UNIX->new(Peer => $path, Blocking => 0) } 1 .. 8;
    like error_of(sub { opened("unix:$path") })->message, qr/ is in use$by/s, 'also when its queue is full';
    kill KILL => $program->{pid};
    end_program($program);
    @full = ();
    my ($listener) = opened("unix:$path");
    is answers($listener), 'word', 'after its end the file is stale';
    like error_of(sub { opened("unix:$path") })->message,
        qr/in use@{[ $is_linux ? ' by this process itself' : '' ]}/, 'ours is living as well';
};

subtest 'what cannot be told, and what is no socket' => sub {
    my $datagram = leave_socket("$folder/datagram", SOCK_DGRAM);
    like error_of(sub { opened("unix:$folder/datagram") })->message,
        qr/is a socket, and whether somebody listens there cannot be told: /, 'a socket of another kind in use';
    ok -S "$folder/datagram", 'is left alone';
    open my $file, '>', "$folder/file" or die "$folder/file: $!";
    close $file;
    mkdir "$folder/folder"                    or die "$folder/folder: $!";
    symlink "$folder/nothing", "$folder/link" or die "$folder/link: $!";
    my %what = (file => 'a file', folder => 'a folder', link => 'a symbolic link');

    for my $name (sort keys %what) {
        like error_of(sub { opened("unix:$folder/$name") })->message,
            qr/\A\Q$folder\E\/$name is $what{$name} and no socket, so it is left alone; remove it, or/, $what{$name};
        ok lstat "$folder/$name", 'is left alone';
    }
};

subtest 'folders' => sub {
    like error_of(sub { opened("unix:$folder/none/a") })->message,
        qr{\Athere is no folder \Q$folder\E/none; make it, or choose another path\z}, 'missing';
    like error_of(sub { opened("unix:$folder/file/a") })->message, qr{/file is not a folder}, 'not one';
    my $name  = 'x' x 108;
    my $error = error_of(sub { LISTENER->parse("unix:/$name") });
    like $error->message, qr/has 109 bytes, and the path of a socket has at most (?:107|103)/,
        'a path that is too long';
    my $longest = '/' . 'x' x (PATH_MAX - 1);
    ok lives { LISTENER->parse("unix:$longest") }, 'the longest';
    like error_of(sub { LISTENER->parse("unix:${longest}x") })->message, qr/at most/, 'one more';
    my $deep = "$folder/" . 'd' x (PATH_MAX - 1 - length $folder);
    my ($listener) = opened("unix:$deep");
    is [ $listener->path, answers($listener) ], [ $deep, 'word' ], 'the longest works';
    my ($uid) = $> == 0 ? unprivileged() : ();
SKIP: {
        skip 'for root', 1 if !defined $uid;
        my $message = said(sub {
            POSIX::setuid($uid) or die "setuid: $!";
            error_of(sub { opened("unix:$folder/a") })->message;
        });
        is $message, "user nobody may not make files in $folder; allow it, or choose another path", 'of somebody else';
    }
};

subtest 'whose file it is' => sub {
    my $path = "$folder/whose";
    my ($listener) = opened("unix:$path");
    is said(sub { $listener->remove_file }), 0, 'a worker does not remove it';
    is said(sub { $listener->close; $listener->remove_file }), 0, 'not when it has closed it, either';
    ok -S $path, 'it is there';
    unlink $path;
    my ($other) = opened("unix:$path");
    ok !$listener->remove_file, 'nor does who made it when somebody has replaced it';
    ok -S $path, 'that of the other is there';
    is said(sub { $other->claim_file; $other->remove_file }), 1, 'a successor may take it over';
    ($listener) = opened("unix:$path");
    $listener->release_file;
    ok !$listener->remove_file, 'and who was succeeded leaves it';
    ok -S $path, 'in place';
};

subtest 'many that start together' => sub {
    my $path = "$folder/race";
    leave_socket($path);
    my ($many, $tries) = (6, $ENV{EVF_TEST_SLOW} ? 3 : 10);
    for my $try (1 .. $tries) {
        is race($many, qr/in use/, sub { opened("unix:$path") }), '-' x ($many - 1) . 'W',
            "one has it, the others are told ($try)";
    }
};

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
