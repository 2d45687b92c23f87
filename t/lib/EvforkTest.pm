package EvforkTest;

# evfork, in this process or as a program, with a supervisor of its own. Waits for what it prints, bounded.

use strict;
use warnings;

use EventLoop::Fork::Command;
use File::Spec ();
use File::Temp ();
use FindBin;
use IO::Select;
use POSIX       qw(WNOHANG);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

use constant SLOW  => $ENV{EVF_TEST_SLOW} ? 1   : 0;
use constant BOUND => SLOW                ? 300 : 40;    # seconds, for anything

our $script = File::Spec->rel2abs("$FindBin::Bin/../../script/evfork");
our $apps   = File::Spec->rel2abs("$FindBin::Bin/../../examples/apps");

# Nothing of the user's own is seen or written to.
our $folder = File::Temp->newdir;
delete @ENV{ grep { /\A(?:EVENTLOOP_FORK_(?!BACKEND|METHOD)|WEB_CONCURRENCY|NO_COLOR|XDG_RUNTIME_DIR)/ } keys %ENV };
$ENV{EVENTLOOP_FORK_RUNTIME_DIR} = "$folder/run";

# ---- In this process ------------------------------------------------------------------------------------------------

# Exit code, what it printed to STDOUT, and to STDERR.
sub evfork {
    my (@arguments) = @_;
    my ($out, $err) = ('', '');
    my $exit_code;
    {
        local (*STDOUT, *STDERR);
        open STDOUT, '>', \$out or die "STDOUT: $!";
        open STDERR, '>', \$err or die "STDERR: $!";
        $exit_code = EventLoop::Fork::Command->main(script => $script, arguments => [@arguments]);
    }
    return ($exit_code, $out, $err);
}

# ---- As a program ---------------------------------------------------------------------------------------------------

sub command {
    return ($^X, (map { "-I$_" } @INC), $script, @_);
}

# The same, by the program.
sub run_evfork {
    my (@arguments) = @_;
    my $out         = File::Temp->new;
    my $err         = File::Temp->new;
    my $pid         = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        open STDOUT, '>&', $out  or POSIX::_exit(99);
        open STDERR, '>&', $err  or POSIX::_exit(99);
        exec command(@arguments) or POSIX::_exit(99);
    }
    my $status = _wait($pid);
    return ($status, map { _slurp($_->filename) } $out, $err);
}

sub _wait {
    my ($pid) = @_;
    my $deadline = now() + BOUND;
    while (now() < $deadline) {
        return _status($?) if waitpid($pid, WNOHANG) == $pid;
        select undef, undef, undef, 0.01;
    }
    kill KILL => $pid;
    waitpid $pid, 0;
    return 'no end within the bound';
}

sub _status { return $_[0] & 127 ? 'signal ' . ($_[0] & 127) : $_[0] >> 8 }

sub _slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return readline($file) // '';
}

# Shared memory tells nobody when it changes: what the code returns, once that is true or the bound is over.
sub wait_until {
    my ($code) = @_;
    my $deadline = now() + BOUND;
    while (1) {
        my $value = $code->();
        return $value if $value || now() > $deadline;
        select undef, undef, undef, 0.01;
    }
}

sub now { return clock_gettime(CLOCK_MONOTONIC) }

sub write_file {
    my ($name, @text) = @_;
    my $path = $name =~ m{\A/} ? $name : "$folder/$name";
    open my $file, '>', $path or die "$path: $!";
    print {$file} @text;
    close $file or die "$path: $!";
    return $path;
}

# ---- A supervisor, by evfork run ------------------------------------------------------------------------------------

# An app that does nothing but live.
our $idle = write_file('idle.pl', 'sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };');

sub start {
    my ($class, @arguments) = @_;
    pipe my $log, my $writer or die "pipe: $!";
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if (!$pid) {
        setpgrp;
        open STDERR, '>&', $writer      or POSIX::_exit(99);
        exec command('run', @arguments) or POSIX::_exit(99);
    }
    close $writer;
    return bless { pid => $pid, log => $log, buffer => '', lines => [], read => [], owner => $$ }, $class;
}

sub pid { return $_[0]{pid} }

sub lines { return @{ $_[0]{lines} } }

# The captures (or 1) of the next line of the log that matches; nothing when there is none within the bound.
sub wait_for {
    my ($self, $pattern) = @_;
    my $deadline = now() + BOUND;
    while (1) {
        while (defined(my $line = shift @{ $self->{read} })) {
            if (my @found = $line =~ $pattern) { return @found }
        }
        return unless $self->_read($deadline - now());
    }
}

sub wait_for_workers {
    my ($self, $count) = @_;
    $self->wait_for(qr/worker \d+ \(pid (\d+).*ready after/) || return 0 for 1 .. $count;
    return 1;
}

sub _read {
    my ($self, $seconds) = @_;
    return 0 if $seconds <= 0 || !IO::Select->new($self->{log})->can_read($seconds);
    sysread $self->{log}, $self->{buffer}, 65_536, length $self->{buffer} or return 0;
    while ($self->{buffer} =~ s/\A([^\n]*)\n//) {
        push @{ $self->{lines} }, $1;
        push @{ $self->{read} }, $1;
    }
    return 1;
}

# The exit code, when it has ended.
sub exit_code {
    my ($self) = @_;
    my $deadline = now() + BOUND;
    1 while $self->_read($deadline - now());    # its end, and that of its workers, closes the pipe
    return $self->{exit_code} //= _wait($self->{pid});
}

sub signal { my ($self, $signal) = @_; return kill $signal, $self->{pid} }

sub is_gone {
    my ($self) = @_;
    my $deadline = now() + BOUND;
    while (now() < $deadline) {
        return 1 unless kill 0, -$self->{pid};
        select undef, undef, undef, 0.01;
    }
    return 0;
}

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $!);
    kill KILL => -$self->{pid};
    waitpid $self->{pid}, 0 unless defined $self->{exit_code};
    return;
}

# ---- The manual -----------------------------------------------------------------------------------------------------

# The options of the supervisor as the manual has them.
sub options_in_pod {
    require EventLoop::Fork::Supervisor::Options;
    my %meta  = (count => 'NUMBER', seconds => 'SECONDS', bytes => 'BYTES', text => 'NAME', path => 'FILE');
    my @items = ("=over 4\n");
    for my $option (grep { $_->{has_switch} && $_->{name} ne 'app' } EventLoop::Fork::Supervisor::Options::table()) {
        my ($switch, $kind, $default) = @$option{qw(switch kind default)};
        $switch =~ s/\A--/--no-/ if $kind eq 'flag' && $default;
        my $item = join ', ', map { "B<$_>" } (defined $option->{short} ? "-$option->{short}" : ()), $switch;
        my $meta =
            $kind eq 'choice'
            ? join '|', map { "C<$_>" } @{ $option->{among} }
            : $option->{meta} || $meta{$kind};
        $item .= ' ' . ($meta =~ /</ ? $meta : "I<$meta>") if defined $meta;
        $item .= "|C<$option->{word}>"                     if defined $option->{word};
        my $text = $option->{help};
        $text = "do not $text" if $kind eq 'flag' && $default;
        $text = ucfirst $text unless $text =~ /\A\w+:/;
        $text .= '.';
        $text .= " 0: $option->{zero}." if defined $option->{zero} && "$default" ne '0';

        if (defined $default && $kind !~ /\A(?:flag|list)\z/) {
            $text .=
                ' Default: ' . ($default eq '0' && defined $option->{zero} ? "0, $option->{zero}" : $default) . '.';
        }
        push @items, "=item $item\n", _wrapped($text);
    }
    return join "\n", @items, "=back\n";
}

sub _wrapped {
    my ($text) = @_;
    my ($done, $line) = ('', '');
    for my $word (split / /, $text) {
        if (length("$line $word") > 118) {
            $done .= "$line\n";
            $line = $word;
            next;
        }
        $line .= length $line ? " $word" : $word;
    }
    return "$done$line\n";
}

1;
