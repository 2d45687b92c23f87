package EvforkTest;

# evfork, in this process or as a program, with a supervisor of its own. Waits for what it prints, bounded.

use strict;
use warnings;

use parent 'ProcessTest';

use EventLoop::Fork::Command;
use File::Spec ();
use File::Temp ();
use FindBin;
use POSIX       ();
use ProcessTest qw(BOUND end_of in_words now wait_until);

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
    return (end_in_words($pid), map { slurp($_->filename) } $out, $err);
}

# Of a child. One that does not end is killed.
sub end_in_words {
    my ($pid) = @_;
    my $status = end_of($pid);
    return in_words($status) if defined $status;
    kill KILL => $pid;
    waitpid $pid, 0;
    return 'no end within the bound';
}

sub slurp {
    my ($path) = @_;
    open my $file, '<', $path or die "$path: $!";
    local $/;
    return readline($file) // '';
}

sub write_file {
    my ($name, @text) = @_;
    return ProcessTest::write_file($name =~ m{\A/} ? $name : "$folder/$name", join '', @text);
}

# ---- A supervisor, by evfork run ------------------------------------------------------------------------------------

# An app that does nothing but live.
our $idle = write_file('idle.pl', 'sub { my ($worker) = @_; $worker->ready; $worker->loop->run; return 0 };');

sub start {
    my ($class, @arguments) = @_;
    return $class->start_process(sub {
        my ($writer) = @_;
        open STDERR, '>&', $writer or return;
        exec command('run', @arguments);
    });
}

# Of its log, so far.
sub lines { return @{ $_[0]{seen} } }

# The captures (or 1) of the next line of the log that matches; nothing when there is none within the bound.
sub wait_for {
    my ($self, $pattern) = @_;
    return $self->next_match(sub { $_[0] =~ $pattern });
}

sub wait_for_workers {
    my ($self, $count) = @_;
    $self->wait_for(qr/worker \d+ \(pid (\d+).*ready after/) || return 0 for 1 .. $count;
    return 1;
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

        if (defined $default && $kind !~ /\A(?:flag|list|pairs)\z/) {
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
