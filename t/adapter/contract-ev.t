# The contract of an adapter: EV, its default loop and others.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;

contract_is_kept(qr/\AEV/);
