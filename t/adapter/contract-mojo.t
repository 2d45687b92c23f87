# The contract of an adapter: Mojo::IOLoop on its reactors.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;

contract_is_kept(qr/\AMojo/);
