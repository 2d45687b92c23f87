package EventLoop::Fork::Command::Doctor;

# evfork doctor: loads an app as a worker does, in a process of its own, and has it examined there. Whatever the app does,
# dies, hangs, exits or crashes, this process tells of it.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command::Run';

use EventLoop::Fork::Doctor;
use EventLoop::Fork::Doctor::Report;
use EventLoop::Fork::Server;
use EventLoop::Fork::Supervisor::App;
use Config;
use JSON::PP    ();
use POSIX       qw(WNOHANG);
use Time::HiRes qw(CLOCK_MONOTONIC clock_gettime);

our $VERSION = '0.001';

use constant {
    TIMEOUT => 30,    # seconds for the app to load, and for each canary
    GRACE   => 2,     # to leave, when all is told
};

my %SERVERS = (mojo => 'Mojo', pagi => 'PAGI', psgi => 'PSGI');
my @SIGNALS = split / /, $Config{sig_name};

sub _now { return clock_gettime(CLOCK_MONOTONIC) }

sub run {
    my ($self, @arguments) = @_;
    my $wish = $self->_read_words(@arguments);
    $self->_start($wish);
    my $data = $self->_follow($wish);
    my $report =
          $data->{report} ? EventLoop::Fork::Doctor::Report->from_data($data->{report})
        : $data->{began}  ? $self->_lost($wish, $data)
        :                   $self->_not_loaded($wish, $data);
    EventLoop::Fork::Command::put(
          $wish->{json}
        ? $report->as_json
        : $report->as_text(verbose => $wish->{verbose}, colour => \&_colour)
    );
    return $report->exit_code;
}

my %COLOURS = (error => 'bad', warning => 'busy', good => 'good', dim => 'dim');

sub _colour {
    my ($kind, $text) = @_;
    return EventLoop::Fork::Command::colour($COLOURS{$kind}, $text);
}

# ---- Switches -------------------------------------------------------------------------------------------------------

sub _read_words {
    my ($self, @arguments) = @_;
    my @mine = EventLoop::Fork::Command::before_separator(@arguments);
    my @rest = @arguments > @mine ? @arguments[ @mine + 1 .. $#arguments ] : ();
    my $wish = $self->options(
        [ qw(I=s@ json verbose|v timeout=s loop=s backend=s method=s server=s server-options=s%), sort keys %SERVERS ],
        @mine
    );
    my ($app, @others) = @{ $wish->{''} };
    $self->refuse('which app? evfork doctor [options] app.pl|Module')                     if !length($app // '');
    $self->refuse("unexpected argument '$others[0]'; what is for the app comes after --") if @others;
    my @servers = (grep { defined } $wish->{server}, map { $SERVERS{$_} } grep { $wish->{$_} } sort keys %SERVERS);
    $self->refuse('which server? ' . join ' or ', @servers) if @servers > 1;
    my $timeout = $wish->{timeout};
    $wish->{seconds} = defined $timeout ? $self->number('--timeout', $timeout, min => 0.1, max => 86_400) : TIMEOUT;
    unshift @INC, map { File::Spec->rel2abs($_) } @{ $wish->{I} || [] };
    $wish->{name}   = $app;
    $wish->{app}    = EventLoop::Fork::Command::Run::_find_app($app);
    $wish->{server} = $servers[0];
    $wish->{rest}   = \@rest;
    EventLoop::Fork::Supervisor::App::check($wish->{app});
    EventLoop::Fork::Server::find($wish->{server})->check(%{ $wish->{'server-options'} || {} })
        if defined $wish->{server};
    return $wish;
}

# ---- The process that has the app -----------------------------------------------------------------------------------

sub _start {
    my ($self, $wish) = @_;
    pipe $self->{reader}, my $writer or EventLoop::Fork::Command::fail("pipe: $!");
    my $pid = fork;
    EventLoop::Fork::Command::fail("cannot fork: $!") unless defined $pid;
    if (!$pid) {
        close delete $self->{reader};
        EventLoop::Fork::_signal_at_end_of_parent(POSIX::SIGKILL());
        $self->_examine($wish, $writer);
    }
    $self->{pid} = $pid;
    return;
}

# Ends by exit, as a program does: what the app has to put away is put away.
sub _examine {
    my ($self, $wish, $writer) = @_;
    open STDOUT, '>&', \*STDERR or POSIX::_exit(1);    # its own is for the report
    STDOUT->autoflush(1);
    my $outsiders =
        { map { $_ => 1 } grep { $_ != fileno $writer } keys %{ EventLoop::Fork::Doctor::System->new->descriptors } };
    my $done = eval {
        @ARGV = @{ $wish->{rest} };                    ## no critic (RequireLocalizedPunctuationVars): the app's
        my ($loop, $app) = $self->_load($wish);
        _say($writer, began => 1);
        my $report = EventLoop::Fork::Doctor->examine(
            app       => $wish->{name},
            timeout   => $wish->{seconds},
            outsiders => { %$outsiders, fileno($writer) => 1 },
            teller    => $writer,
        );
        _say($writer, report => $report->as_data);
        1;
    };
    _say($writer, problem => EventLoop::Fork::Command::message_of($@)) unless $done;
    close $writer;
    exit 0;
}

# What a worker has when its code is about to run. Kept by the caller until all is told.
sub _load {
    my ($self, $wish) = @_;
    my $server = defined $wish->{server} ? EventLoop::Fork::Server::find($wish->{server}) : undef;
    my $loop   = $self->_loop($wish);
    $loop = $server->default_loop if !defined $loop && $server;
    my $app =
          $server
        ? $server->for_app($wish->{app}, %{ $wish->{'server-options'} || {} })
        : EventLoop::Fork::Supervisor::App::load($wish->{app});
    return ($loop, $app);
}

sub _say {
    my ($writer, $word, $data) = @_;
    my $line = "$word " . JSON::PP->new->ascii->allow_nonref->encode($data) . "\n";
    while (length $line) {
        my $count = syswrite $writer, $line;
        next if !defined $count && $!{EINTR};
        return unless $count;
        substr $line, 0, $count, '';
    }
    return;
}

# ---- What it tells --------------------------------------------------------------------------------------------------

# began, hooks (labels), open (phase and number of the hook that runs), report, problem; status or is_late.
sub _follow {
    my ($self, $wish)   = @_;
    my ($data, $buffer) = ({}, '');
    my $deadline = _now() + $wish->{seconds};
    my $fd       = EventLoop::Fork::_process_open($self->{pid});
    my $is_open  = 1;
    while ($is_open && !$data->{report} && !defined $data->{problem} && !defined $data->{status}) {
        my $left = $deadline - _now();
        if ($left <= 0) { $data->{is_late} = 1; last }
        my $bits = '';
        vec($bits, fileno $self->{reader}, 1) = 1;
        vec($bits, $fd, 1)                    = 1 if defined $fd;
        $left = 0.05 if !defined $fd && $left > 0.05;
        my $count = select $bits, undef, undef, $left;
        if ($count > 0 && vec($bits, fileno $self->{reader}, 1)) {
            my $got = sysread $self->{reader}, $buffer, 65_536, length $buffer;
            $is_open = 0 if defined $got && !$got;
            # Each step has its time.
            while ($buffer =~ s/\A([^\n]*)\n//) {
                _take($data, $1);
                $deadline = _now() + $wish->{seconds} * 6 if $data->{began};
                $deadline = _now() + $wish->{seconds}     if $data->{open};
            }
        }
        elsif (!defined $fd || $count > 0) {
            $data->{status} = $? if waitpid($self->{pid}, WNOHANG) == $self->{pid};
        }
    }
    $self->_end($data);
    POSIX::close($fd) if defined $fd;
    close $self->{reader};
    return $data;
}

sub _take {
    my ($data, $line) = @_;
    if ($line =~ /\Ahook ([BE]) (\w+) ([0-9]+) /) {
        $data->{open} = $1 eq 'B' ? { phase => $2, number => $3 } : undef;
        return;
    }
    my ($word, $text) = $line =~ /\A(began|hooks|report|problem) (.*)\z/s or return;
    $data->{$word} = JSON::PP->new->ascii->allow_nonref->decode($text);
    return;
}

# It leaves by itself, or is made to.
sub _end {
    my ($self, $data) = @_;
    my $deadline = $data->{is_late} ? 0 : _now() + GRACE;
    until (defined $data->{status}) {
        my $pid = waitpid $self->{pid}, WNOHANG;
        if    ($pid == $self->{pid}) { $data->{status} = $? }
        elsif ($pid < 0)             { $data->{status} = 0 }
        elsif (_now() < $deadline)   { select undef, undef, undef, 0.005 }
        else {
            kill KILL => $self->{pid};
            waitpid $self->{pid}, 0;
            $data->{status} = $?;
        }
    }
    return;
}

# ---- When there is no report ----------------------------------------------------------------------------------------

sub _end_in_words {
    my ($self, $wish, $data) = @_;
    return "has not come to an end within $wish->{seconds} s" if $data->{is_late};
    my $signal = $data->{status} & 127;
    return 'died of SIG' .  ($SIGNALS[$signal] || $signal) if $signal;
    return 'called exit(' . ($data->{status} >> 8) . ')';
}

sub _not_loaded {
    my ($self, $wish, $data) = @_;
    my $text = $data->{problem};
    $text = 'it ' . $self->_end_in_words($wish, $data) . ' while it was loaded' unless defined $text;
    return EventLoop::Fork::Command::fail("doctor: $wish->{name} cannot be loaded: $text");
}

# The parent of the canaries itself came to grief.
sub _lost {
    my ($self, $wish, $data) = @_;
    my $report = EventLoop::Fork::Doctor::Report->new(app => $wish->{name});
    my $open   = $data->{open};
    my $label  = $open                    ? $data->{hooks}[ $open->{number} ] : undef;
    my $how    = defined $data->{problem} ? "threw: $data->{problem}"         : $self->_end_in_words($wish, $data);
    $report->add(
        error => 'hooks',
        (defined $label ? (hook => $label) : ()),
        what => (defined $label ? "$open->{phase} hook $label: the process that forks " : 'the process that forks ')
            . $how,
        cause => 'the supervisor, or whatever forks, comes to that end',
        write => 'mend what the hook does before the fork and in the parent',
    );
    return $report;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Doctor - evfork doctor

=head1 SYNOPSIS

    evfork doctor [options] app.pl|Module [-- arguments]

=head1 DESCRIPTION

The command is explained in L<evfork>; what it looks at in L<EventLoop::Fork::Doctor>.

=head1 METHODS

=head2 run

=cut
