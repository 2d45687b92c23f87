# The contract of an adapter: EventLoop::Fork::Loop.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;

contract_is_kept(qr/\AEventLoop/);
