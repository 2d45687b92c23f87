# The contract of an adapter: AnyEvent in pure perl and on EV.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;

contract_is_kept(qr/\AAnyEvent/);
