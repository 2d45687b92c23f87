package EventLoop::Fork::Command::Terminal;

# A screen that is drawn again and again, and keys without echo. Whatever ends the program, the terminal is as before.

use strict;
use warnings;

use Errno qw(EINTR);
use EventLoop::Fork::Command;
use IO::Select;
use POSIX       qw(ECHO ICANON TCSANOW VMIN VTIME);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our $VERSION = '0.001';

my @ENDING = qw(INT TERM HUP QUIT);

sub new {
    my ($class) = @_;
    return bless { pid => $$, keys => -t STDIN ? 1 : 0, handlers => {} }, $class;
}

# ---- In and out of the screen ---------------------------------------------------------------------------------------

sub open {
    my ($self) = @_;
    for my $name (@ENDING) {
        $self->{handlers}{$name} = $SIG{$name};
        $SIG{$name} = sub { $self->{signal} = $name };
    }
    $self->{handlers}{$_} = $SIG{$_} for qw(TSTP CONT WINCH);
    $SIG{WINCH}           = sub { $self->{is_resized} = 1 };
    $SIG{TSTP}            = sub { $self->_suspend };
    $self->_enter;
    return $self;
}

# Another screen, without a cursor.
sub _enter {
    my ($self) = @_;
    $self->_set_keys if $self->{keys};
    $self->{is_open} = 1;
    EventLoop::Fork::Command::put("\e[?1049h\e[?25l\e[H\e[2J");
    return;
}

sub _set_keys {
    my ($self) = @_;
    my $termios = POSIX::Termios->new;
    defined $termios->getattr(fileno STDIN) or return $self->{keys} = 0;
    $self->{flags} = $termios->getlflag;
    $self->{cc}    = [ map { $termios->getcc($_) } VMIN, VTIME ];
    $termios->setlflag($self->{flags} & ~(ECHO | ICANON));
    $termios->setcc(VMIN, 1);
    $termios->setcc(VTIME, 0);
    $termios->setattr(fileno STDIN, TCSANOW);
    return;
}

sub _leave {
    my ($self) = @_;
    return unless delete $self->{is_open};
    EventLoop::Fork::Command::put("\e[?25h\e[?1049l");
    return unless $self->{keys} && defined $self->{flags};
    my $termios = POSIX::Termios->new;
    $termios->getattr(fileno STDIN);
    $termios->setlflag($self->{flags});
    $termios->setcc(VMIN, $self->{cc}[0]);
    $termios->setcc(VTIME, $self->{cc}[1]);
    $termios->setattr(fileno STDIN, TCSANOW);
    return;
}

# Ctrl-Z: the shell gets its own screen meanwhile.
sub _suspend {
    my ($self) = @_;
    $self->_leave;
    local $SIG{TSTP} = 'DEFAULT';
    my $signals = POSIX::SigSet->new(POSIX::SIGTSTP());
    kill TSTP => $$;
    POSIX::sigprocmask(POSIX::SIG_UNBLOCK(), $signals);    # if it is held back while its handler runs: here it stops
    $self->_enter;
    $self->{is_resized} = 1;
    return;
}

# The signal that ended it, if one did.
sub close {
    my ($self) = @_;
    $self->_leave;
    for my $name (keys %{ $self->{handlers} }) {
        my $handler = delete $self->{handlers}{$name};
        $SIG{$name} = defined $handler ? $handler : 'DEFAULT';
    }
    return $self->{signal};
}

sub DESTROY {
    my ($self) = @_;
    return if $self->{pid} != $$;
    local ($@, $!, $?);
    eval { $self->close };
    return;
}

# ---- The screen -----------------------------------------------------------------------------------------------------

# From the top, over what is there: no line is empty for a moment. Characters that are left are erased.
sub draw {
    my ($self, @lines) = @_;
    my ($rows) = size();
    splice @lines, $rows if @lines > $rows;
    return EventLoop::Fork::Command::put("\e[H" . join("\n", map { "$_\e[K" } @lines) . "\e[J");
}

# Waits for a key, for the end of the seconds, or for a change of the size; returns the key, '' at the end of the input,
# undef otherwise.
sub wait_for_key {
    my ($self, $seconds) = @_;
    my $deadline = clock_gettime(CLOCK_MONOTONIC) + $seconds;
    my $select   = IO::Select->new($self->{keys} ? \*STDIN : ());
    while (!$self->{signal}) {
        return if delete $self->{is_resized};
        my $left = $deadline - clock_gettime(CLOCK_MONOTONIC);
        return if $left <= 0;
        # In short pieces: a signal just before the wait does not end it.
        $left = 0.25 if $left > 0.25;
        if (!$self->{keys}) {
            select undef, undef, undef, $left;
            next;
        }
        next unless $select->can_read($left);
        my $count = sysread STDIN, my $key, 1;
        return $key if $count;
        next        if !defined $count && $! == EINTR;
        return '';
    }
    return;
}

sub signal { return $_[0]{signal} }

# Rows and columns: of the terminal, else of the environment, else the usual.
sub size {
    my ($rows, $columns) = _asked_size();
    return ($rows || _number($ENV{LINES}) || 24, $columns || _number($ENV{COLUMNS}) || 80);
}

sub _number { return defined $_[0] && $_[0] =~ /\A([1-9][0-9]{0,4})\z/ ? $1 : undef }

# TIOCGWINSZ, which perl has no name for. Some processors of Linux have BSD's number.
sub _asked_size {
    return unless -t STDOUT;
    my $is_other = (POSIX::uname())[4] =~ /\A(?:alpha|mips|parisc|ppc|powerpc|sparc)/;
    my $request  = $^O ne 'linux' || $is_other ? 0x40087468 : 0x5413;
    my $winsize  = pack 'S4', (0) x 4;
    return unless ioctl STDOUT, $request, $winsize;
    return unpack 'S2', $winsize;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Terminal - a screen for evfork top

=head1 SYNOPSIS

    use EventLoop::Fork::Command::Terminal;

    my $terminal = EventLoop::Fork::Command::Terminal->new->open;
    while (!$terminal->signal) {
        $terminal->draw('now: ' . localtime);
        last if ($terminal->wait_for_key(1) // '') eq 'q';
    }
    $terminal->close;

=head1 DESCRIPTION

Draws without flicker on the terminal's second screen, and leaves the terminal as it was, also after a signal.

=head1 METHODS

=head2 new, open, close

C<close> returns the name of the signal that came, if one did.

=head2 draw

    $terminal->draw(@lines);

False: nobody looks any more.

=head2 wait_for_key

    my $key = $terminal->wait_for_key($seconds);

=head2 signal

=head1 FUNCTIONS

=head2 size

    my ($rows, $columns) = EventLoop::Fork::Command::Terminal::size();

=cut
