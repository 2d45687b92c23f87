package EventLoop::Fork::Command::Help;

# evfork help: the commands in a list, or the part of the manual that is about one of them.

use strict;
use warnings;

use parent 'EventLoop::Fork::Command';

use Pod::Usage ();

our $VERSION = '0.001';

sub run {
    my ($self, @arguments) = @_;
    my $options = $self->options([], @arguments);
    my $command = $self->only_argument(@{ $options->{''} });
    my $text    = defined $command ? $self->_about($command) : $self->_overview;
    EventLoop::Fork::Command::put($text);
    return $self->OK;
}

sub _overview {
    my ($self) = @_;
    my @lines = ('Usage: evfork COMMAND [options] [arguments]', '');
    push @lines, map { sprintf '  %-9s %s', @$_ } EventLoop::Fork::Command::commands();
    push @lines, '', 'evfork COMMAND --help, or evfork help COMMAND, explains one; man evfork is the manual.';
    return join '', map { "$_\n" } @lines;
}

sub _about {
    my ($self, $command) = @_;
    my @known = map { $_->[0] } EventLoop::Fork::Command::commands();
    EventLoop::Fork::Command::fail(EventLoop::Fork::Command::unknown('command', $command, @known))
        unless grep { $_ eq $command } @known;
    open my $output, '>', \my $text or EventLoop::Fork::Command::fail("open: $!");
    Pod::Usage::pod2usage(
        -verbose  => 99,
        -sections => "COMMANDS/\Q$command\E\\b.*",
        -input    => $self->{script},
        -output   => $output,
        -exitval  => 'NOEXIT',
    );
    close $output;
    utf8::decode($text);
    my $heading = $self->_heading($command);
    $text =~ s/\A[^\n]*\n/Usage: evfork $heading\n\n/;
    return $text;
}

# As it is in the manual: Pod::Usage changes capitals.
sub _heading {
    my ($self, $command) = @_;
    open my $manual, '<', $self->{script} or EventLoop::Fork::Command::fail("cannot read '$self->{script}': $!");
    while (my $line = readline $manual) {
        return $1 if $line =~ /\A=head2 (\Q$command\E\b.*)/;
    }
    return $command;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Command::Help - evfork help

=head1 SYNOPSIS

    evfork help [COMMAND]

=head1 DESCRIPTION

The command is explained in L<evfork>.

=head1 METHODS

=head2 run

=cut
