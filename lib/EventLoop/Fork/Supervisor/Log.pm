package EventLoop::Fork::Supervisor::Log;

# What happened, for people: one line on STDERR for each event of a supervisor that nobody else takes.

use strict;
use warnings;

our $VERSION = '0.001';

use POSIX ();

sub new {
    my ($class, %self) = @_;
    return bless {%self}, $class;
}

sub line {
    my ($self, $text) = @_;
    $text =~ s/\s+\z//;
    my $name = defined $self->{name} ? "$self->{name} " : '';
    local $SIG{PIPE} = 'IGNORE';    # nobody reads the log any more: no reason to die
                                    # One write: processes that share STDERR would mix their words.
    print STDERR POSIX::strftime('%Y-%m-%d %H:%M:%S ', localtime) . "$name\[$$] $text\n";
    return;
}

my %TEXTS = (
    worker_started  => sub { 'started' . _why($_[0]) },
    worker_ready    => sub { 'ready after ' . _seconds($_[0]{elapsed}) },
    worker_draining => sub { 'is asked to stop' . _why($_[0]) },
    worker_stuck    => sub { 'stuck for ' . _seconds($_[0]{elapsed}) . _place($_[0]) . '; it is killed' },
    worker_killed   => sub { 'killed' . _why($_[0]) . _place($_[0]) },
    worker_exited   => sub { 'ended after ' . _seconds($_[0]{elapsed}) . ": $_[0]{reason}" },
    spawn_failed    => sub { "not started: $_[0]{reason}" },
    backoff         => sub { 'starts again in ' . _seconds($_[0]{elapsed}) },
    reload_failed   => sub {
        "reload failed, the workers that are there go on: the new one ended: $_[0]{reason}";
    },
    breaker_open         => sub { ($_[0]{count} || 0) . ' failed starts: no more than one try at a time from here on' },
    breaker_closed       => sub { 'a worker has started: as usual again' },
    start_method_changed => sub {
        my ($event) = @_;
        my $why = $event->{method} eq 'spawn' ? "; after a fork the last one was $event->{reason}" : '';
        return "workers are started by $event->{method} from here on$why";
    },
    hook_skipped => sub { "child hook $_[0]{hook} is left out until the next reload; the last one was $_[0]{reason}" },
    reloading    => sub { "reloading: generation $_[0]{generation}" },
    reloaded     => sub { "reloaded: all workers are of generation $_[0]{generation}" },
    resized      => sub { "$_[0]{count} workers wanted" },
    restart_started => sub { "restarting: the new supervisor is process $_[0]{pid}" },
    restart_failed  => sub { "restart failed: $_[0]{reason}" },
    restarted       => sub { "restarted: process $_[0]{pid} has taken over" },
    taken_over      => sub { 'has taken over' . ($_[0]{pid} ? " from process $_[0]{pid}" : '') },
    suspended       => sub { 'did not run for ' . _seconds($_[0]{elapsed}) . '; all deadlines moved' },
    stopping        => sub { $_[0]{is_fast} ? 'stopping now' : 'stopping; a second signal kills' },
    stopped         => sub { 'stopped' },
    halted => sub { ($_[0]{count} || 0) . " failed starts, no worker left: giving up with exit code $_[0]{exit_code}" },
);

sub text {
    my ($class, $event) = @_;
    my $writer = $TEXTS{ $event->{event} };
    my $text   = $writer ? $writer->($event) : $event->{event};
    return $text unless defined $event->{slot};
    my $pid = $event->{pid} ? "pid $event->{pid}, " : '';
    return "worker $event->{slot} (${pid}generation $event->{generation}) $text";
}

sub event {
    my ($self, $event) = @_;
    return $self->line($self->text($event));
}

sub _why { return length($_[0]{cause} // '') ? " ($_[0]{cause})" : '' }

sub _place {
    my ($event) = @_;
    my @where = (
        defined $event->{place}    ? " at $event->{place}"  : '',
        defined $event->{activity} ? ", $event->{activity}" : ''
    );
    return join '', @where;
}

sub _seconds {
    my ($seconds) = @_;
    $seconds ||= 0;
    return sprintf $seconds < 1 ? '%.3f s' : '%.1f s', $seconds;
}

# Of plain data, keys in order; as characters, also where the data are bytes of UTF-8, as arguments and paths are.
sub json {
    my ($data) = @_;
    require JSON::PP;
    my $text = JSON::PP->new->canonical->encode($data);
    utf8::decode($text) if $text !~ /[^\x00-\xff]/;
    return $text;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Log - the events of a supervisor as lines on STDERR

=head1 METHODS

=head2 new

    my $log = EventLoop::Fork::Supervisor::Log->new(name => 'shop');

=head2 line

    $log->line('text');

With time, name and pid before it, in one write.

=head2 event

    $log->event(\%event);

=head2 text

The words for an event.

=head1 FUNCTIONS

=head2 json

    my $text = EventLoop::Fork::Supervisor::Log::json(\%data);

=head1 SEE ALSO

L<EventLoop::Fork::Supervisor>

=cut
