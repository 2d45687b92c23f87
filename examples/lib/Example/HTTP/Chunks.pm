package Example::HTTP::Chunks;

# Decodes a request body in chunked coding, as the bytes arrive.
# Strict: what two readers could frame differently is an error. Never touches the socket.

use strict;
use warnings;

use constant SIZE_LINE_LIMIT => 256;

# body_limit and trailer_limit are in bytes.
sub new {
    my ($class, %limit) = @_;
    return bless { %limit, body => '', expect => 'size', missing => 0, trailer => 0 }, $class;
}

sub body { return $_[0]{body} }

# Takes what it can from $$buffer. Returns 0 when it needs more, 1 when the body is complete,
# else the HTTP status of the error.
sub feed {
    my ($self, $buffer) = @_;
    while (1) {
        my $expect = $self->{expect};
        my $result =
              $expect eq 'size' ? $self->_size($buffer)
            : $expect eq 'data' ? $self->_data($buffer)
            : $expect eq 'end'  ? $self->_end_of_chunk($buffer)
            :                     $self->_trailer($buffer);
        return $result if defined $result;
    }
}

sub _size {
    my ($self, $buffer) = @_;
    my $end = index $$buffer, "\n";
    return length $$buffer > SIZE_LINE_LIMIT ? 400 : 0 if $end < 0;
    return 400                                         if $end > SIZE_LINE_LIMIT;
    my $line     = substr $$buffer, 0, $end + 1, '';
    my ($digits) = $line =~ /\A([0-9A-Fa-f]+)(?:[ \t]*;[^\r\n]*)?\r\n\z/ or return 400;
    $digits =~ s/\A0+(?=.)//;
    return 413 if length $digits > 7;
    $self->{missing} = hex $digits;
    return 413 if length($self->{body}) + $self->{missing} > $self->{body_limit};
    $self->{expect} = $self->{missing} ? 'data' : 'trailer';
    return;
}

sub _data {
    my ($self, $buffer) = @_;
    return 0 if $$buffer eq '';
    my $piece = substr $$buffer, 0, $self->{missing}, '';
    $self->{body} .= $piece;
    $self->{missing} -= length $piece;
    $self->{expect} = 'end' if !$self->{missing};
    return;
}

sub _end_of_chunk {
    my ($self, $buffer) = @_;
    if (length $$buffer < 2) {
        return $$buffer eq '' || $$buffer eq "\r" ? 0 : 400;
    }
    return 400 if substr($$buffer, 0, 2, '') ne "\r\n";
    $self->{expect} = 'size';
    return;
}

# Trailer fields are read and dropped, up to the empty line.
sub _trailer {
    my ($self, $buffer) = @_;
    my $end   = index $$buffer, "\n";
    my $taken = $end < 0 ? length $$buffer : $end + 1;
    return 431 if $self->{trailer} + $taken > $self->{trailer_limit};
    return 0   if $end < 0;
    my $line = substr $$buffer, 0, $taken, '';
    $self->{trailer} += $taken;
    return 400 if $line !~ /\r\n\z/;
    return 1   if $line eq "\r\n";
    return;
}

1;
