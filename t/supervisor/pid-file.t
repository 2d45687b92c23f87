# The pid file: written at once and whole, never taken from a living process, removed only by the one that wrote it.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::PidFile;
use ForkTest;
use ListenerTest;
use POSIX ();
use Test2::V0;

my $class  = 'EventLoop::Fork::Supervisor::PidFile';
my $folder = folder();
pass 'the test library opens what it writes to';
my @before = open_fds();

sub content {
    my ($path) = @_;
    open my $handle, '<', $path or return "$!";
    local $/;
    return readline $handle;
}

sub put {
    my ($path, $text) = @_;
    open my $handle, '>', $path or die "$path: $!";
    print {$handle} $text;
    close $handle or die "$path: $!";
    return;
}

# A process that waits, and the number of one that is no more.
my $running = start_program('$| = 1; print "ready\n"; kill STOP => $$ while 1');
is scalar readline $running->{reader}, "ready\n", 'a process runs';
my $gone = start_program('1')->{pid};
waitpid $gone, 0;

subtest 'write and remove' => sub {
    my $umask = umask 077;
    my $file  = $class->write("$folder/a.pid");
    umask $umask;
    is [ $file->path, $file->pid ], [ "$folder/a.pid", $$ ], 'path and process';
    is content("$folder/a.pid"), "$$\n", 'the number, and a line end';
    is sprintf('%o', (stat "$folder/a.pid")[2] & 07777), '644', 'everybody may read it, whatever the umask';
    is $class->read("$folder/a.pid"), $$, 'it is read again';
    is [ glob "$folder/*" ], ["$folder/a.pid"], 'nothing else is left';
    is said(sub { $file->remove }), 0, 'a worker does not remove it';
    is content("$folder/a.pid"), "$$\n", 'it is there';
    is $class->write("$folder/a.pid")->pid, $$, 'who has it may write it again';
    is [ $file->remove, $file->remove ], [ 1, 0 ], 'it is removed, once';
    put("$folder/a.pid", "$running->{pid}\n");
    is $file->remove, 0, q(a successor's stays);
    is content("$folder/a.pid"), "$running->{pid}\n", 'untouched';
    unlink "$folder/a.pid";
};

subtest 'a living process' => sub {
    my $path = "$folder/living.pid";
    put($path, "$running->{pid}\n");
    my $error = error_of(sub { $class->write($path) });
    is [ ref $error, $error->name, $error->operation, $error->value, $error->file ],
        [ 'EventLoop::Fork::Error', 'EVF_ESYSTEM', 'pid_file', $path, __FILE__ ], 'has it: an error of the caller';
    like $error->message,
        qr/\A\Q$path\E belongs to process $running->{pid}.*, which runs; stop it, or choose another path\z/s,
        'which is named';
    is content($path), "$running->{pid}\n", 'it stays';
    is $class->write($path, replaces => $running->{pid})->remove, 1, 'a predecessor is replaced';
    put($path, "$running->{pid}\n");
SKIP: {
        skip 'the system does not tell when a process was started', 1
            if !defined EventLoop::Fork::Supervisor::Process::started_at($running->{pid});
        utime 1, 1_000_000_000, $path;
        is $class->write($path)->remove, 1, 'one that was started later than the file was written is another one';
    }
SKIP: {
        my ($uid) = $> == 0 ? unprivileged() : ();
        skip 'for root', 1 if !defined $uid;
        chmod 01777, "$folder";
        put($path, "$running->{pid}\n");
        like said(sub {
            POSIX::setuid($uid);
            error_of(sub { $class->write($path) })->message;
            }),
            qr/which runs/,
            'also one of another user';
        unlink $path;
        chmod 0755, "$folder";
    }
};

subtest 'a stale file' => sub {
    my $path = "$folder/stale.pid";
    for my $text ("$gone\n", $gone, " $gone \n", '') {
        put($path, $text);
        is $class->write($path)->remove, 1, "is replaced: '" . ($text =~ s/\n/\\n/gr) . q(');
    }
    my $zombie = start_program('1');
SKIP: {
        skip 'the system does not tell', 1 if !is_zombie($zombie->{pid});
        put($path, "$zombie->{pid}\n");
        is $class->write($path)->remove, 1, 'a zombie has ended';
    }
    end_program($zombie);
};

subtest 'what is no pid file' => sub {
    my $path = "$folder/other";
    for my $text ('words', '12 13', '-1', '0', '99999999999') {
        put($path, $text);
        like error_of(sub { $class->write($path) })->message,
            qr/has something else in it than a process id, so it is left/, $text;
        is content($path), $text, 'stays';
        is $class->read($path), undef, 'and is no number';
    }
    like error_of(sub { $class->write("$folder") })->message, qr/is not a file, so it is left alone/, 'a folder';
    symlink $path, "$folder/link" or die "$folder/link: $!";
    like error_of(sub { $class->write("$folder/link") })->message, qr/is not a file/, 'a link';
    POSIX::mkfifo("$folder/pipe", 0600) or die "$folder/pipe: $!";
    like error_of(sub { $class->write("$folder/pipe") })->message, qr/is not a file/, 'a pipe';
    is $class->read("$folder/pipe"), undef, 'reading it does not wait';
    is $class->read("$folder/none"), undef, 'nor is there one without a file';
    like error_of(sub { $class->write("$folder/none/a.pid") })->message,
        qr{\Athere is no folder \Q$folder\E/none; make it},
        'a folder that is missing';
    like error_of(sub { $class->write('') })->message, qr/is empty/, 'no path';
    unlink map { "$folder/$_" } qw(other link pipe);
};

subtest 'a relative path' => sub {
    my $home = POSIX::getcwd();
    chdir "$folder" or die "$folder: $!";
    my $file = $class->write('relative.pid');
    chdir $home or die "$home: $!";
    is [ $file->path, $file->remove ], [ "$folder/relative.pid", 1 ], 'belongs to the folder at that time';
};

subtest 'many that start together' => sub {
    my $path = "$folder/race.pid";
    for my $try (1 .. ($ENV{EVF_TEST_SLOW} ? 3 : 20)) {
        put($path, "$gone\n");
        is race(6, qr/which runs/, sub { $class->write($path) }), '-----W', "one has it ($try)";
    }
    is [ glob "$folder/*.tmp" ], [], 'no temporary file is left';
};

kill KILL => $running->{pid};
end_program($running);
undef $running;
is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
