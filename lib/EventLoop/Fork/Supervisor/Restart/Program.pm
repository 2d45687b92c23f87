package EventLoop::Fork::Supervisor::Restart::Program;

# How this process was started, and how that is done again in a child. It is noted when this module is loaded: programs
# change $0, @ARGV and their folder later.

use strict;
use warnings;

use Cwd                                           ();
use EventLoop::Fork::Loop                         ();
use EventLoop::Fork::Supervisor::Listener         ();
use EventLoop::Fork::Supervisor::Restart::Channel ();
use Fcntl                                         qw(F_DUPFD);
use File::Spec                                    ();
use POSIX                                         ();

our $VERSION = '0.001';

my $first = 3;    # descriptor of LISTEN_FDS

our %start = (perl => $^X, program => $0, words => [ _words() ], folder => _folder());

# ---- How it was started ---------------------------------------------------------------------------------------------

# All after the name of perl. Where the system does not tell, what perl knows: other switches than -I are lost then.
sub _words {
    if (open my $file, '<', '/proc/self/cmdline') {
        local $/;
        my @words = split /\0/, readline($file) // '', -1;
        pop @words;
        # A new $0 is written over it.
        return @words[ 1 .. $#words ] if @words > 1 && index($0, $words[0]) != 0;
    }
    return ((map { "-I$_" } grep { !ref } @INC), $0, @ARGV);
}

# A deployment may change where a link points to: then that is meant.
sub _folder {
    my $folder = Cwd::getcwd();
    my $name   = $ENV{PWD};
    return $folder if !defined $folder || !defined $name || !File::Spec->file_name_is_absolute($name);
    my @here  = stat $folder;
    my @there = stat $name;
    return @here && @there && "@here[ 0, 1 ]" eq "@there[ 0, 1 ]" ? $name : $folder;
}

# Why it cannot be started again, if so.
sub why_not {
    my ($perl, $program, $folder) = @start{qw(perl program folder)};
    return 'the program came from standard input, and cannot be read again'   if $program eq '-';
    return 'the folder in which this program was started is not known'        if !defined $folder;
    return "the folder '$folder', in which this program was started, is gone" if !-d $folder;
    return                                                                    if $program eq '-e';
    return "the program '$program' is gone" if !-e File::Spec->rel2abs($program, $folder);
    return "the perl '$perl' is gone"       if File::Spec->file_name_is_absolute($perl) && !-x $perl;
    return;
}

# ---- Again ----------------------------------------------------------------------------------------------------------

# In a child, which becomes that program, or ends when it has told why not. It gets the listeners, and what the variable
# tells it of; nothing else is open there but the standard handles, and no signal is blocked or ignored.
sub execute {
    my (%how)   = @_;
    my $channel = fileno $how{channel};
    my $done    = eval { _execute(\$channel, %how); 1 };
    (my $why = $done ? 'it came back' : EventLoop::Fork::Loop::_exception_text($@)) =~ s/\s+\z//;
    my $line = EventLoop::Fork::Supervisor::Restart::Channel::line(failed => $why);
    POSIX::write($channel, $line, length $line);
    POSIX::_exit(127);
}

sub _execute {
    my ($channel, %how) = @_;
    chdir $start{folder} or die "cannot change to the folder '$start{folder}': $!\n";
    my $first_free = $first + @{ $how{listeners} };
    my $stderr     = defined fileno STDERR ? _copy(\*STDERR, $first_free) : -1;
    $$channel = _copy($how{channel}, $first_free);
    my @file = (0, 0);
    if ($how{words} && $stderr >= 0) {
        @file = (stat $how{words})[ 0, 1 ];
        defined POSIX::dup2(fileno $how{words}, 2) or die "cannot set STDERR: $!\n";
    }
    EventLoop::Fork::Supervisor::Listener->hand_over(@{ $how{listeners} });
    %ENV = (%ENV, $how{notify}->environment) if $how{notify};                    ## no critic (LocalizedPunctuationVars)
    $ENV{ $how{variable} } = join ':', $$, $$channel, $stderr, @file;            ## no critic (LocalizedPunctuationVars)
    _close_others({ map { $_ => 1 } 0 .. $first_free - 1, $$channel, $stderr });
    _reset_signals();
    no warnings 'exec';
    exec { $start{perl} } $start{perl}, @{ $start{words} } or die "cannot execute '$start{perl}': $!\n";
}

sub _copy {
    my ($handle, $first_free) = @_;
    my $copy = fcntl $handle, F_DUPFD, $first_free or die "cannot copy a descriptor: $!\n";
    return $copy + 0;
}

# Not all of them were opened by perl, which would close them in another program.
sub _close_others {
    my ($stay) = @_;
    my @open;
    for my $folder ('/proc/self/fd', '/dev/fd') {
        opendir my $handle, $folder or next;
        @open = grep { /\A[0-9]+\z/ } readdir $handle;
        last;
    }
    @open = 0 .. 1023 if !@open;
    POSIX::close($_) for grep { !$stay->{$_} } @open;
    return;
}

sub _reset_signals {
    for my $name (keys %SIG) {
        my $handler = $SIG{$name};
        next if $name =~ /\A(?:__|KILL\z|STOP\z)/ || !defined $handler || $handler eq '' || $handler eq 'DEFAULT';
        $SIG{$name} = 'DEFAULT';    ## no critic (LocalizedPunctuationVars)
    }
    POSIX::sigprocmask(POSIX::SIG_SETMASK(), POSIX::SigSet->new);
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Restart::Program - this program, once more

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Restart>. The program is what this process was started with: the same perl, switches,
file, arguments and folder.

=head1 FUNCTIONS

=head2 why_not

Why it cannot be started again, in words; nothing if it can.

=head2 execute

    execute(
        listeners => \@listeners,
        channel   => $socket,
        words     => $file,
        variable  => $name_of_the_variable,
        notify    => $notify,
    );

In a child that then is that program. C<words> is a file for what it says before it has found its predecessor, or
C<undef>; C<notify> the L<EventLoop::Fork::Supervisor::Notify>, where there is one. What goes wrong is told through the channel.

=cut
