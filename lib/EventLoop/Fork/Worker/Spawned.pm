package EventLoop::Fork::Worker::Spawned;

# The first code of a worker that is a new perl: makes of what EventLoop::Fork::Supervisor::Spawn has passed on what a forked
# worker finds, and goes on as that does. Nothing of the program is loaded before EventLoop::Fork::Worker does it.

use strict;
use warnings;

our $VERSION = '0.001';

use EventLoop::Fork;
use EventLoop::Fork::Adapter;
use EventLoop::Fork::Child;
use EventLoop::Fork::Scoreboard;
use EventLoop::Fork::Supervisor::Listener;
use EventLoop::Fork::Supervisor::Spawn;
use EventLoop::Fork::Worker;
use JSON::PP ();
use POSIX    ();

my $bell;    # open for as long as the process: the scoreboard has its number

sub run {
    my $given = _take();
    my $name  = "worker $given->{slot}";
    EventLoop::Fork::_run_to_end(sub { _begin($given, $name) }, $name);
    return;
}

sub _take {
    my $text = delete $ENV{ EventLoop::Fork::Supervisor::Spawn::VARIABLE() };
    die "this is for workers that a supervisor starts\n" if !defined $text;
    my ($trusted) = $text =~ /\A(.*)\z/s;                         # under -T: it is our own
    my $given = _as_bytes(JSON::PP->new->decode($trusted));
    $_ += 0 for @$given{qw(berth slot generation supervisor)};
    return $given;
}

# Text of JSON is of characters, and as such another name of a file.
sub _as_bytes {
    my ($data) = @_;
    return { map { $_ => _as_bytes($data->{$_}) } keys %$data } if ref $data eq 'HASH';
    return [ map { _as_bytes($_) } @$data ]                     if ref $data eq 'ARRAY';
    utf8::downgrade($data)                                      if defined $data;
    return $data;
}

sub _begin {
    my ($given, $name) = @_;
    my ($board_fd, $bell_fd, $life_fd, @listener_fds) =
        map { EventLoop::Fork::Supervisor::Spawn::FIRST_FD() + $_ } 0 .. 2 + @{ $given->{listeners} };
    my $board = EventLoop::Fork::Scoreboard->_open_fd($board_fd);
    $board->attach_record($given->{berth});
    my (%supervisor, $child);
    my $done = eval {
        $given->{version} eq $VERSION
            or die "EventLoop::Fork is $VERSION here and $given->{version} in the supervisor; restart that\n";
        ($0, @INC) = ($given->{program}, @{ $given->{inc} });    ## no critic (LocalizedPunctuationVars): for good
        open $bell, '>&=', $bell_fd    or die "descriptor $bell_fd, the bell: $!\n";    ## no critic (BriefOpen)
        open my $life, '<&=', $life_fd or die "descriptor $life_fd, the pipe: $!\n";    ## no critic (BriefOpen)
        $board->set_bell($bell_fd);
        _find_server($given->{options}{server}) if defined $given->{options}{server};
        %supervisor = (
            board       => $board,
            options     => $given->{options},
            life_reader => $life,
            pid         => $given->{supervisor},
            listeners   => [
                map {
                    EventLoop::Fork::Supervisor::Listener->_take_given(shift @listener_fds, $_, $given->{supervisor})
                } @{ $given->{listeners} }
            ],
        );
        $child = EventLoop::Fork::Child->_new(pid => $$, name => $name, loop_maker => _loop_maker($given->{loop}));
        1;
    };
    if (!$done) {
        my $error = EventLoop::Fork::Loop::_exception_text($@);
        (my $line = $error) =~ s/\s+\z//;
        $board->set_row($given->{berth}, error => $line);
        die $error;    ## no critic (RequireCarping): reported as that of any child
    }
    my $held = POSIX::SigSet->new(EventLoop::Fork::Worker::held_signals());
    return EventLoop::Fork::Worker->_begin(\%supervisor, $given, $child, $held);
}

# While this process may still read it.
sub _find_server {
    my ($name) = @_;
    require EventLoop::Fork::Server;
    EventLoop::Fork::Server::find($name);
    return;
}

# By the adapter that the supervisor has: one that is registered there is so here.
sub _loop_maker {
    my ($kind) = @_;
    my $class = $kind->{adapter};
    if (!$class->can('loop_maker')) {
        (my $file = "$class.pm") =~ s{::}{/}g;
        require $file;
    }
    EventLoop::Fork::Adapter::register($class) unless $class->is_ours;
    return $class->loop_maker($kind);
}

1;

__END__

=head1 NAME

EventLoop::Fork::Worker::Spawned - how a worker that is a new perl begins

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor> with C<start_method> C<spawn>.

=head1 FUNCTIONS

=head2 run

Never returns.

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor>, L<EventLoop::Fork::Worker>

=cut
