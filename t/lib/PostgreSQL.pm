package PostgreSQL;

# A PostgreSQL server of the test's own: in a folder of its own, on a Unix socket only, gone with the object. Another
# server on this machine is neither used nor disturbed.

use strict;
use warnings;

use File::Path  ();
use File::Spec  ();
use File::Temp  ();
use POSIX       ();
use Time::HiRes ();

use constant BOUND => 60;    # seconds for each step: initdb writes and syncs

# The folder with the programs, the newest if there are several; nothing where there is none.
sub programs {
    my @versions =
        sort { $b->[0] <=> $a->[0] } map { [ m{([0-9.]+)/bin\z} ? $1 : 0, $_ ] } glob '/usr/lib/postgresql/*/bin';
    for my $folder ((map { $_->[1] } @versions), glob('/usr/pgsql-*/bin'), File::Spec->path) {
        return $folder if -x "$folder/postgres" && -x "$folder/initdb";
    }
    return;
}

# Why no server can be had here, or nothing.
sub missing {
    return 'no PostgreSQL server is installed (package postgresql)' unless programs();
    return 'PostgreSQL does not run as root, and there is no other user to run it' if $> == 0 && !_user();
    return;
}

# postgres refuses to be root. Then it is somebody who may as well own nothing: [name, uid, gid].
sub _user {
    for my $name (qw(postgres nobody)) {
        my @entry = getpwnam $name;
        return [ @entry[ 0, 2, 3 ] ] if @entry && $entry[2] != 0;
    }
    return;
}

# Of the options, 'settings' is a hash for postgres. A process beside this one keeps the server: when this one ends, by
# whatever, the keeper stops the server and removes its folder.
sub new {
    my ($class, %options) = @_;
    my $user = $> == 0 ? _user() : undef;
    # A socket's path has room for about 100 bytes.
    my $folder =
        File::Temp::tempdir('evf-pg-XXXXXX', DIR => length File::Spec->tmpdir < 60 ? File::Spec->tmpdir : '/tmp');
    my $self = bless { folder => $folder, user => $user, owner => $$, programs => programs() }, $class;
    if ($user) { chown @$user[ 1, 2 ], $folder or die "chown $folder: $!\n" }
    pipe my $end, my $to_keeper or die "pipe: $!\n";
    pipe my $report, my $told   or die "pipe: $!\n";
    my $keeper = fork;
    defined $keeper or die "fork: $!\n";

    if (!$keeper) {
        eval {
            # A signal from the terminal is for the test.
            POSIX::setpgid(0, 0);
            close $_ for $to_keeper, $report;
            my $error = eval { $self->_bring_up($options{settings} || {}); 1 } ? '' : $@ . $self->log;
            syswrite $told, "$error.";
            close $told;
            sysread $end, my $byte, 1;
            $self->_take_down;
        };
        POSIX::_exit(0);
    }
    @$self{qw(keeper to_keeper)} = ($keeper, $to_keeper);
    close $_ for $end, $told;
    local $/;
    my $error = readline $report;
    return $self if defined $error && $error eq '.';
    $self->stop;
    die $error // "The server's keeper has gone\n";
}

sub _bring_up {
    my ($self, $wanted) = @_;
    my $folder = $self->{folder};
    $self->_run(
        'initdb', '--no-sync', '--auth=trust', '--username=tester', '--encoding=UTF8', '--locale=C', '-D',
        "$folder/data"
    );
    my %settings = (
        listen_addresses => '', unix_socket_directories => $folder, unix_socket_permissions => '0777', fsync => 'off',
        max_connections  => 100, logging_collector => 'off', autovacuum => 'off', shared_buffers => '16MB', %$wanted,
    );
    $self->{pid} =
        $self->_start('postgres', '-D', "$folder/data", map { ('-c', "$_=$settings{$_}") } sort keys %settings);
    $self->_wait_until_ready;
    return;
}

sub _take_down {
    my ($self) = @_;
    if (my $pid = delete $self->{pid}) {
        kill INT => $pid;    # a fast shutdown
        defined $self->_wait_for($pid) or do { kill QUIT => $pid; $self->_wait_for($pid) };
    }
    File::Path::remove_tree($self->{folder});
    return;
}

sub dsn    { return "dbi:Pg:dbname=postgres;host=$_[0]{folder};port=5432;user=tester" }
sub folder { return $_[0]{folder} }

# A process that runs one of the programs, as the right user, with everything it says in a log.
sub _start {
    my ($self, $program, @arguments) = @_;
    my $pid = fork;
    defined $pid or die "fork: $!\n";
    return $pid if $pid;
    eval {
        open STDIN, '<', '/dev/null'             or die "/dev/null: $!\n";
        open STDOUT, '>>', "$self->{folder}/log" or die "$self->{folder}/log: $!\n";
        open STDERR, '>&', \*STDOUT              or die "STDERR: $!\n";
        POSIX::close($_) for 3 .. 255;
        if (my $user = $self->{user}) {
            my ($name, $uid, $gid) = @$user;
            local $) = "$gid $gid";
            POSIX::setgid($gid) or die "setgid: $!\n";
            POSIX::setuid($uid) or die "setuid: $!\n";
            $> != 0 && $< != 0  or die "still root\n";
        }
        chdir $self->{folder} or die "chdir: $!\n";
        # A memory checker is for perl; settings of a user's own server are not for this one.
        delete @ENV{ 'LD_PRELOAD', grep { /\APG/ } keys %ENV };
        %SIG = ();
        no warnings 'exec';
        exec "$self->{programs}/$program", @arguments or die "$program: $!\n";
    };
    print STDERR $@;
    POSIX::_exit(254);
}

sub _run {
    my ($self, $program, @arguments) = @_;
    my $pid    = $self->_start($program, @arguments);
    my $status = $self->_wait_for($pid) // do { kill KILL => $pid; waitpid $pid, 0; 'too slow' };
    $status eq '0' or die "$program: $status\n" . $self->log;
    return;
}

# The wait status, or nothing when it still runs after the bound.
sub _wait_for {
    my ($self, $pid) = @_;
    my $deadline = Time::HiRes::time() + BOUND;
    while (Time::HiRes::time() < $deadline) {
        return $? if waitpid($pid, POSIX::WNOHANG()) == $pid;
        Time::HiRes::sleep(0.005);
    }
    return;
}

# postgres writes "ready" into its file of the pid when it takes connections.
sub _wait_until_ready {
    my ($self) = @_;
    my $deadline = Time::HiRes::time() + BOUND;
    while (Time::HiRes::time() < $deadline) {
        if (open my $file, '<', "$self->{folder}/data/postmaster.pid") {
            my @lines = <$file>;
            return if @lines >= 8 && $lines[0] == $self->{pid} && $lines[7] =~ /\Aready/;
        }
        if (waitpid($self->{pid}, POSIX::WNOHANG()) == $self->{pid}) {
            my $status = $?;
            delete $self->{pid};
            die "postgres ended with $status\n" . $self->log;
        }
        Time::HiRes::sleep(0.005);
    }
    die "postgres is not ready\n" . $self->log;
}

sub log {
    my ($self) = @_;
    open my $file, '<', "$self->{folder}/log" or return '';
    local $/;
    return scalar readline $file;
}

# Ends every connection. In a child it is not ours.
sub stop {
    my ($self) = @_;
    return if $self->{owner} != $$;
    my $keeper = delete $self->{keeper} or return;
    local ($?, $!, $@);
    local $SIG{PIPE} = 'IGNORE';
    syswrite $self->{to_keeper}, 'x';
    close $self->{to_keeper};
    waitpid $keeper, 0;
    return;
}

sub DESTROY { $_[0]->stop }

1;
