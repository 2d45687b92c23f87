package EventLoop::Fork::Command;

# What `evfork` does: finds the command, takes its switches, prints, and turns a failure into one line and an exit code.
# What a command does is in a module of its own. Nothing here exits: the script does.

use strict;
use warnings;

use Errno        qw(EPIPE);
use File::Spec   ();
use Getopt::Long ();
use IO::Handle   ();
use Scalar::Util qw(blessed);

our $VERSION = '0.001';

use constant {
    OK          => 0,
    FAILED      => 1,    # wrong usage, or what was asked for did not happen
    NOT_RUNNING => 3,    # as systemctl has it
};

# In the order of the help.
my @COMMANDS = (
    [ run     => 'Run', 'start a supervisor with the workers of an app' ],
    [ status  => 'Status', 'tell how a supervisor and its workers are' ],
    [ top     => 'Top', 'show that live' ],
    [ metrics => 'Metrics', 'tell it in the format of Prometheus' ],
    [ probe   => 'Probe', 'tell whether a supervisor is ready, or alive' ],
    [ reload  => 'Reload', 'replace all workers by new ones' ],
    [ restart => 'Restart', 'replace the supervisor by a new one, too' ],
    [ scale   => 'Scale', 'set the number of workers' ],
    [ stop    => 'Stop', 'stop a supervisor' ],
    [ doctor  => 'Doctor', 'tell what a fork of an app would break' ],
    [ replay  => 'Replay', 'take the decisions of a trace again' ],
    [ help    => 'Help', 'explain a command' ],
);
my %CLASSES = map { $_->[0] => __PACKAGE__ . "::$_->[1]" } @COMMANDS;

sub commands {
    return map { [ @$_[ 0, 2 ] ] } @COMMANDS;
}

# ---- From the arguments to the exit code ----------------------------------------------------------------------------

sub main {
    my ($class, %how) = @_;
    my @arguments = @{ $how{arguments} };
    local $SIG{PIPE} = 'IGNORE';    # who reads no further has seen enough
    my $exit_code;
    return $exit_code if eval { $exit_code = _dispatch($how{script}, @arguments); 1 };
    my ($message, $code) = _failure($@);
    EventLoop::Fork::Supervisor::Restart::Predecessor::note($message)
        if $INC{'EventLoop/Fork/Supervisor/Restart/Predecessor.pm'};
    _tell($message);
    return $code;
}

sub _dispatch {
    my ($script, @arguments) = @_;
    my $name = shift @arguments;
    fail('no command given; there are: ' . join(', ', map { $_->[0] } @COMMANDS)) unless defined $name;
    $name = 'help'                                        if $name eq '--help' || $name eq '-h';
    return _print_version()                               if $name eq '--version';
    fail(unknown('option', $name, '--help', '--version')) if $name =~ /\A-/;
    fail(unknown('command', $name, map { $_->[0] } @COMMANDS)) unless $CLASSES{$name};
    if (grep { $_ eq '--help' } before_separator(@arguments)) {
        @arguments = $name eq 'help' ? () : ($name);
        $name      = 'help';
    }
    return class_of($name)->new(name => $name, script => $script)->run(@arguments);
}

sub class_of {
    my ($name) = @_;
    my $class = $CLASSES{$name} or return;
    (my $file = "$class.pm") =~ s{::}{/}g;
    require $file;
    return $class;
}

# The rest is for somebody else.
sub before_separator {
    my (@arguments) = @_;
    my @mine;
    for my $argument (@arguments) {
        last if $argument eq '--';
        push @mine, $argument;
    }
    return @mine;
}

sub _print_version {
    require EventLoop::Fork::Loop;
    my $backends = EventLoop::Fork::Loop->backends;
    put(sprintf "evfork %s (perl %vd; %s)\n", $VERSION, $^V, join ', ', sort keys %$backends);
    return OK;
}

# ---- A command ------------------------------------------------------------------------------------------------------

sub new {
    my ($class, %self) = @_;
    return bless {%self}, $class;
}

# By name: a true value for a flag, else what was given; lists for those that repeat. The rest, in a list, is in ''.
sub options {
    my ($self, $specification, @arguments) = @_;
    my %options;
    my @problems;
    my $before = Getopt::Long::Configure(
        qw(default gnu_compat bundling no_ignore_case no_auto_abbrev permute prefix_pattern=--|-));
    {
        local $SIG{__WARN__} = sub { push @problems, $_[0] };
        Getopt::Long::GetOptionsFromArray(\@arguments, \%options, @$specification);
    }
    Getopt::Long::Configure($before);
    $self->refuse($self->_option_problem($problems[0], @$specification)) if @problems;
    $options{''} = \@arguments;
    return \%options;
}

# Getopt::Long's words, in ours.
sub _option_problem {
    my ($self, $text, @specification) = @_;
    $text =~ s/\s+\z//;
    if ($text =~ /\AUnknown option: (.*)/s) {
        return unknown('option', (length $1 == 1 ? '-' : '--') . $1, _switches(@specification));
    }
    return "option --$1 needs a value"          if $text =~ /\AOption (\S+) requires an argument/;
    return "option --$1 takes no value"         if $text =~ /\AOption (\S+) does not take an argument/;
    return "'$1' is not a value of option --$2" if $text =~ /\AValue "(.*)" invalid for option (\S+)/s;
    return lcfirst $text;
}

sub _switches {
    return map { my $name = s/[|=:!+].*//r; length $name == 1 ? "-$name" : "--$name" } grep { !ref } @_;
}

# For commands that are about one supervisor: at most one word is left.
sub only_argument {
    my ($self, @arguments) = @_;
    $self->refuse("unexpected argument '$arguments[1]'") if @arguments > 1;
    $self->refuse('FILE is empty')                       if @arguments && !length $arguments[0];
    return $arguments[0];
}

sub number {
    my ($self, $what, $text, %bounds) = @_;
    my $pattern = $bounds{whole} ? qr/\A[0-9]{1,9}\z/ : qr/\A(?:[0-9]{1,9}(?:\.[0-9]*)?|\.[0-9]+)\z/;
    my ($min, $max) = @bounds{qw(min max)};
    return $text + 0 if $text =~ $pattern && $text >= $min && $text <= $max;
    my $kind = $bounds{whole} ? 'a whole number' : 'a number of seconds';
    return $self->refuse("$what must be $kind from $min to $max, not '$text'");
}

# Of --timeout: how long to wait for the supervisor. undef: for as long as it takes.
sub timeout {
    my ($self, $text) = @_;
    return defined $text ? $self->number('--timeout', $text, min => 0, max => 1_000_000) : undef;
}

# Wrong usage.
sub refuse {
    my ($self, $message) = @_;
    return fail("$self->{name}: $message");
}

# ---- Failures -------------------------------------------------------------------------------------------------------

# Ends the command.
sub fail {
    my ($message, $exit_code) = @_;
    die bless { message => $message, exit_code => defined $exit_code ? $exit_code : FAILED },
        'EventLoop::Fork::Command::Failure';
}

sub _failure {
    my ($error) = @_;
    return (
        message_of($error),
        blessed $error && $error->isa('EventLoop::Fork::Command::Failure') ? $error->{exit_code} : FAILED
    );
}

# Without the line it comes from.
sub message_of {
    my ($error) = @_;
    return $error->{message} if blessed $error && $error->isa('EventLoop::Fork::Command::Failure');
    return $error->message   if blessed $error && $error->isa('EventLoop::Fork::Error');
    return "$error";
}

# One line, whatever is in it.
sub _tell {
    my ($message) = @_;
    $message =~ s/\s+\z//;
    $message =~ s/\s*[\r\n]+\s*/ /g;
    utf8::encode($message) if utf8::is_utf8($message);
    print {*STDERR} "evfork: $message\n";
    return;
}

sub unknown {
    my ($kind, $word, @known) = @_;
    my $nearest = nearest($word, @known);
    return "unknown $kind '$word'" . (defined $nearest ? "; did you mean '$nearest'?" : '');
}

# The known word that somebody meant: few letters away, or it begins so.
sub nearest {
    my ($word, @known)    = @_;
    my ($nearest, $least) = (undef, 1 + int length($word) / 3);
    require EventLoop::Fork::Supervisor::Options;
    for my $candidate (@known) {
        my $distance = EventLoop::Fork::Supervisor::Options::distance($word, $candidate);
        ($nearest, $least) = ($candidate, $distance)
            if $distance <= $least && !(defined $nearest && $distance == $least);
    }
    return $nearest if defined $nearest;
    my @longer = grep { length $word > 3 && index($_, $word) == 0 } @known;
    return @longer == 1 ? $longer[0] : undef;
}

# ---- Output ---------------------------------------------------------------------------------------------------------

# Characters, at once. A reader that has left is no error; a full disk is one. False: nobody reads.
sub put {
    my $text = join '', @_;
    utf8::encode($text);
    local $! = 0;
    return 1                        if print {*STDOUT} $text and STDOUT->flush;
    return fail("cannot write: $!") if $! != EPIPE;
    open STDOUT, '>', File::Spec->devnull or return 0;    # perl would complain of what is left, at its end
    return 0;
}

# Of STDOUT, whether it is a terminal for people.
sub is_terminal { return -t STDOUT && ($ENV{TERM} // 'dumb') ne 'dumb' ? 1 : 0 }

sub has_colours { return is_terminal() && !length($ENV{NO_COLOR} // '') ? 1 : 0 }

my %COLOURS = (good => 'green', busy => 'yellow', bad => 'red', dim => 'faint', title => 'bold');

sub colour {
    my ($kind, $text) = @_;
    return $text unless defined $kind && has_colours();
    require Term::ANSIColor;
    return Term::ANSIColor::colored([ $COLOURS{$kind} ], $text);
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command - the commands of evfork

=head1 SYNOPSIS

    use EventLoop::Fork::Command;

    exit EventLoop::Fork::Command->main(script => __FILE__, arguments => \@ARGV);

=head1 DESCRIPTION

L<evfork> is this and a manual page. Each command is a subclass, C<EventLoop::Fork::Command::Status> and so on, with a
method C<run> that gets the arguments and returns the exit code.

=head1 CLASS METHODS

=head2 main

    my $exit_code = EventLoop::Fork::Command->main(script => $file_with_the_manual, arguments => \@words);

Runs one command. What goes wrong is one line on STDERR.

=head2 new

=head1 METHODS OF A COMMAND

=head2 options

    my $options = $self->options([ 'json', 'interval=s' ], @arguments);

By L<Getopt::Long>; what is left is in C<< $options->{''} >>.

=head2 only_argument

=head2 number

    my $seconds = $self->number('--interval', $text, min => 0.1, max => 3600);

Checks; C<whole> for whole numbers.

=head2 timeout

    my $seconds_or_undef = $self->timeout($options->{timeout});

=head2 refuse

Ends the command for wrong usage: exit code 1.

=head1 FUNCTIONS

=head2 commands, class_of

Pairs of name and purpose; the class of a name, loaded.

=head2 fail, message_of

    fail($message, $exit_code);

Ends the command. The text of any exception, without the place.

=head2 unknown, nearest

What to say about an unknown word, with the known one that was meant.

=head2 before_separator

The words before C<-->.

=head2 put

Prints characters to STDOUT. False: nobody reads them.

=head2 is_terminal, has_colours, colour

=head1 CONSTANTS

=head2 OK, FAILED, NOT_RUNNING

=head1 SEE ALSO

L<evfork>

=cut
