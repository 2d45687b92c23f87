package Example::HTTP::Limits;

# What an Example::HTTP::Worker allows where nobody says anything else: seconds and bytes.

use strict;
use warnings;

my %DEFAULT = (
    graceful_timeout => 30,
    header_timeout   => 10,
    body_timeout     => 30,
    idle_timeout     => 60,
    write_timeout    => 30,
    header_limit     => 16_384,
    body_limit       => 1_048_576,
);

sub default { return %DEFAULT }

1;
