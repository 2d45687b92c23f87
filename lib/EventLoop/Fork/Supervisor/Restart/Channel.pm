package EventLoop::Fork::Supervisor::Restart::Channel;

# What an old and a new supervisor tell each other: lines of a word and of texts in hexadecimal digits.

use strict;
use warnings;

use Errno      qw(EAGAIN EINTR);
use IO::Handle ();

our $VERSION = '0.001';

sub new {
    my ($class, $handle) = @_;
    IO::Handle::blocking($handle, 0);
    return bless { handle => $handle, buffer => '' }, $class;
}

sub is_at_end { return $_[0]{is_at_end} ? 1 : 0 }

sub line {
    my ($word, @texts) = @_;
    for my $text (@texts) {
        utf8::encode(my $bytes = $text);
        $word .= ' ' . unpack 'H*', $bytes;
    }
    return "$word\n";
}

# Bytes again if they were: a path is none of characters.
sub _text {
    my $text = pack 'H*', $_[0];
    utf8::decode($text);
    utf8::downgrade($text, 1);
    return $text;
}

# A line fits into the socket's buffer; nobody who does not read may stop this process.
sub tell {
    my ($self, $word, @texts) = @_;
    return 0 if !$self->{handle};
    local $!;
    local $SIG{PIPE} = 'IGNORE';
    return syswrite($self->{handle}, line($word, @texts)) ? 1 : 0;
}

# What has come: lists of word and texts.
sub read {
    my ($self) = @_;
    return if !$self->{handle};
    local $!;
    my $count;
    do { $count = sysread $self->{handle}, $self->{buffer}, 65_536, length $self->{buffer} } while $count;
    $self->{is_at_end} = 1 if defined $count || $! != EAGAIN && $! != EINTR;
    my @lines;
    while ($self->{buffer} =~ s/\A([^\n]*)\n//) {
        my ($word, @texts) = split / /, $1;
        push @lines, [ $word, map { _text($_) } @texts ];
    }
    return @lines;
}

sub watch {
    my ($self, $adapter, $code) = @_;
    @$self{qw(adapter io_id)} = ($adapter, $adapter->watch_io($self->{handle}, $code));
    return;
}

sub unwatch {
    my ($self) = @_;
    my $adapter = delete $self->{adapter} or return;
    $adapter->unwatch_io(delete $self->{io_id});
    return;
}

# In a child, too, which does not have the watch.
sub close {
    my ($self) = @_;
    my $handle = delete $self->{handle} or return;
    CORE::close $handle;
    return;
}

1;

__END__

=head1 NAME

EventLoop::Fork::Supervisor::Restart::Channel - words between an old and a new supervisor

=head1 DESCRIPTION

For L<EventLoop::Fork::Supervisor::Restart>. It does not block.

=head1 METHODS

=head2 new($socket)

=head2 tell($word, @texts)

False: nobody is there any more.

=head2 read

    for my $line ($channel->read) { my ($word, @texts) = @$line; ... }

=head2 is_at_end

The other one has closed its end, or has ended.

=head2 watch($adapter, $code)

Runs the code when there is something to read, or the end.

=head2 unwatch

Before C<close>, in the process that watches.

=head2 close

=head1 FUNCTIONS

=head2 line($word, @texts)

What is sent for them.

=cut
