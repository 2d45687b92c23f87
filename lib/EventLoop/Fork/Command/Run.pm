package EventLoop::Fork::Command::Run;

# evfork run: from switches to a supervisor, which then has the process.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::StatusFile;
use EventLoop::Fork::Loop;
use EventLoop::Fork::Supervisor;
use EventLoop::Fork::Supervisor::App;
use EventLoop::Fork::Supervisor::Log;
use EventLoop::Fork::Supervisor::Options;
use EventLoop::Fork::Supervisor::Orphans;
use File::Spec ();

our $VERSION = '0.001';

my %LOOPS = (
    'IO::Async'    => [ 'IO::Async::Loop', sub { IO::Async::Loop->new } ],
    'EV'           => [ 'EV', sub { 'EV' } ],
    'AnyEvent'     => [ 'AnyEvent', sub { 'AnyEvent' } ],
    'Mojo::IOLoop' => [ 'Mojo::IOLoop', sub { Mojo::IOLoop->singleton } ],
);

# Switches of their own, for short.
my %SERVERS = (mojo => 'Mojo', pagi => 'PAGI', psgi => 'PSGI');

sub run {
    my ($self, @arguments) = @_;
    my ($given, $own, $rest) = $self->_read(@arguments);
    unshift @INC, map { File::Spec->rel2abs($_) } @{ $own->{I} || [] };
    $given->{app} = _find_app($given->{app}) if defined $given->{app};
    my $options = EventLoop::Fork::Supervisor::Options::check_switches($given);
    $options->{loop} = $self->_loop($own);
    my $is_given = defined $options->{status_file};
    $self->_name($options);
    @ARGV = @$rest;    ## no critic (RequireLocalizedPunctuationVars): the app's
    my $supervisor =
        EventLoop::Fork::Supervisor->new(map { $_ => $options->{$_} } grep { defined $options->{$_} } keys %$options);
    $supervisor->start;
    _say_where($supervisor, $options, $is_given);
    my $orphans = EventLoop::Fork::Supervisor::Orphans->watch($supervisor);
    return $supervisor->run;
}

# ---- Switches -------------------------------------------------------------------------------------------------------

# What is after "--" is for the app.
sub _read {
    my ($self, @arguments) = @_;
    my @mine = EventLoop::Fork::Command::before_separator(@arguments);
    my @rest = @arguments > @mine ? @arguments[ @mine + 1 .. $#arguments ] : ();
    my %given;
    my $own = $self->options(
        [
            'I=s@', 'loop=s', 'backend=s', 'method=s', keys %SERVERS,
            EventLoop::Fork::Supervisor::Options::getopt_spec(\%given)
        ],
        @mine
    );
    my @apps = @{ $own->{''} };
    push @apps, $given{app}                                        if defined $given{app};
    $self->refuse('which app? evfork run [options] app.pl|Module') if !@apps && !length($ENV{EVENTLOOP_FORK_APP} // '');
    $self->refuse("unexpected argument '$apps[1]'; what is for the app comes after --") if @apps > 1;
    $given{app} = $apps[0]                                                              if @apps;
    my @servers =
        ((defined $given{server} ? $given{server} : ()), map { $SERVERS{$_} } grep { $own->{$_} } sort keys %SERVERS);
    $self->refuse('which server? ' . join ' or ', @servers) if @servers > 1;
    $given{server} = $servers[0]                            if @servers;
    return (\%given, $own, \@rest);
}

# A word is a module if there is one, else a file of that name; the supervisor tells them apart by "." and "/".
sub _find_app {
    my ($app) = @_;
    return $app if EventLoop::Fork::Supervisor::App::is_file($app);
    (my $file = "$app.pm") =~ s{::}{/}g;
    return $app     if grep { ref || -f "$_/$file" } @INC;
    return "./$app" if -f $app;
    EventLoop::Fork::Supervisor::App::check($app);
    return EventLoop::Fork::Command::fail(
        "there is no file '$app', and no module of that name in \@INC; -I adds a folder");
}

sub _loop {
    my ($self, $own) = @_;
    my $family = defined $own->{loop} ? $own->{loop} : 'native';
    my %how    = map { $_ => $own->{$_} } grep { defined $own->{$_} } qw(backend method);
    if ($family eq 'native') {
        return %how ? EventLoop::Fork::Loop->new(%how) : undef;
    }
    my ($class, $make) = @{ $LOOPS{$family} || [] };
    ($class, $make) = ($family, sub { $family->new }) if $family =~ /\AIO::Async::Loop::\w+\z/;
    $self->refuse(
        EventLoop::Fork::Command::unknown('loop', $family, 'native', keys %LOOPS) . '; there are: ' . join ', ',
        'native', sort keys %LOOPS
    ) unless $class;
    $self->refuse('--backend and --method are for the native loop') if %how;
    (my $file = "$class.pm") =~ s{::}{/}g;
    eval { require $file; 1 }
        or EventLoop::Fork::Command::fail("--loop $family: "
            . ($@ =~ /\ACan't locate \Q$file\E/ ? "$class is not installed" : EventLoop::Fork::Command::message_of($@))
        );
    return $make->();
}

# A name for people and, where none is given, a file that the other commands find.
sub _name {
    my ($self, $options) = @_;
    $options->{name} = EventLoop::Fork::Command::StatusFile::name_of_app($options->{app})
        unless defined $options->{name};
    return if defined $options->{status_file};
    my ($path, $why) = EventLoop::Fork::Command::StatusFile::to_write($options->{name});
    $options->{status_file} = $path;
    return if defined $path;
    print {*STDERR} "evfork: no status file, so the other commands will not find this supervisor: $why\n";
    return;
}

# ---- What a user wants to know --------------------------------------------------------------------------------------

sub _say_where {
    my ($supervisor, $options, $is_given) = @_;
    my $log       = EventLoop::Fork::Supervisor::Log->new(name => $options->{name});
    my @addresses = map { _address($_) } $supervisor->listeners;
    $log->line('listening on ' . join ', ', @addresses)      if @addresses;
    $log->line("its status file is $options->{status_file}") if !$is_given && defined $options->{status_file};
    return;
}

sub _address {
    my ($socket) = @_;
    return 'unix:' . $socket->hostpath if $socket->can('hostpath');
    my $host = $socket->sockhost;
    return ($host =~ /:/ ? "[$host]" : $host) . ':' . $socket->sockport;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Run - evfork run

=head1 SYNOPSIS

    evfork run [options] app.pl|Module [-- arguments]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
