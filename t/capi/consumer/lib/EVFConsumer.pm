package EVFConsumer;

use strict;
use warnings;

our $VERSION = '0.01';
our @log;

require XSLoader;
XSLoader::load('EVFConsumer', $VERSION);

1;
