package EventLoop::Fork::Command::Status;

# evfork status: one look, as text or as JSON.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use EventLoop::Fork::Command::Snapshot;
use EventLoop::Fork::Command::StatusFile;
use EventLoop::Fork::Command::Table;
use JSON::PP ();

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([ 'json', 'deaths' ], @arguments);
    my $wish    = $self->only_argument(@{ $options->{''} });
    my $data    = $options->{json} ? _look_anyway($wish) : _look($wish);
    EventLoop::Fork::Command::put($options->{json} ? _json($data) : _text($data, $options->{deaths}));
    return $data->{running} ? $self->OK : $self->NOT_RUNNING;
}

sub _look {
    my ($wish) = @_;
    return EventLoop::Fork::Command::Snapshot->new(EventLoop::Fork::Command::StatusFile::find($wish))->take;
}

# Who asks for JSON gets it, of a supervisor that is not there, too.
sub _look_anyway {
    my ($wish) = @_;
    my $data = eval { _look($wish) };
    return $data if $data;
    my $error = $@;
    die $error    ## no critic (RequireCarping): an object, thrown on
        unless ref $error eq 'EventLoop::Fork::Command::Failure'
        && $error->{exit_code} == EventLoop::Fork::Command::NOT_RUNNING;
    return { running => JSON::PP::false, state => 'not running', message => $error->{message}, workers => [] };
}

sub _json { return JSON::PP->new->canonical->pretty->encode($_[0]) }

sub _text {
    my ($data, $wants_deaths) = @_;
    my @lines = EventLoop::Fork::Command::Table::heading($data);
    push @lines, '', EventLoop::Fork::Command::Table::workers($data) if @{ $data->{workers} };
    push @lines, '', EventLoop::Fork::Command::Table::deaths($data)  if $wants_deaths;
    return join '', map { "$_\n" } @lines;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Status - evfork status

=head1 SYNOPSIS

    evfork status [FILE] [--json]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
