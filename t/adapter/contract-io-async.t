# The contract of an adapter: IO::Async on its loop classes.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;

contract_is_kept(qr/\AIO::Async/);
