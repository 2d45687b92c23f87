# For Starman: which process answers.
use strict;
use warnings;

sub { return [ 200, [ 'Content-Type' => 'text/plain' ], ["hello from process $$\n"] ] };
