package IsolationTest::Checks;

# The checks of t/isolation, each written once for all kinds of event loops; a folder of the same name has them by topic.
# Here are all of them, in the order of the tables in ForkSafety.pod.

use strict;
use warnings;

use IsolationTest::Check ();

use IsolationTest::Checks::Inherited   ();
use IsolationTest::Checks::OwnLoop     ();
use IsolationTest::Checks::Signals     ();
use IsolationTest::Checks::Statuses    ();
use IsolationTest::Checks::Generations ();
use IsolationTest::Checks::GoesOn      ();

sub names { return IsolationTest::Check::names() }

sub for_name { my ($class, $name) = @_; return IsolationTest::Check::for_name($name) }

1;
