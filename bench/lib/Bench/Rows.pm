package Bench::Rows;

# All rows, family by family. A family is a module with a function rows, which returns one hash for each row:
#
#   name, title      for --only; for the table
#   unit, count      what one operation is; how many a batch has
#   takes            sub { my ($contestant) = @_; ... }: does this contestant take part?
#   measures_count   optional: the batch returns the seconds of one operation by the row's clock, and those count
#   against          optional: 'same_modules' (raw perl of the same size), 'own_way' (of the family), or the name of a contestant:
#                    what is 1.00
#   also_against     optional, the same: a second ratio
#   clock            'wall', or 'processor' where one process does all the work: others that run do not show
#   target           the ratio to reach, or
#   limit            the seconds for one operation that it allows; a row may have neither
#   judged           sub { my ($contestant) = @_; ... }: is it asked of this one?
#   prepare          sub { my ($loop) = @_; ... return sub { my ($count) = @_; ... } }: what comes back is one batch.
#                    It dies if something did not happen as often as it should have.

use strict;
use warnings;

use Bench::Families   ();
use Bench::Fork       ();
use Bench::Hooks      ();
use Bench::PingPong   ();
use Bench::Timers     ();
use Bench::Later      ();
use Bench::WatchPairs ();

my @ROWS = map { $_->rows } qw(Bench::Fork Bench::Families Bench::Hooks Bench::PingPong Bench::Timers Bench::Later
    Bench::WatchPairs);

sub all { return @ROWS }

sub named {
    my ($name) = @_;
    my ($row)  = grep { $_->{name} eq $name } @ROWS;
    return $row || die "no row '$name'\n";
}

# The name of the contestant that this one is divided by, or undef for the one that is 1.00 itself.
sub reference {
    my ($row, $contestant, $which) = @_;
    my $against = $row->{$which} or return;
    my $name =
          $against eq 'own_way'        ? $contestant->{own_way}
        : $against ne 'same_modules'   ? $against
        : $contestant->{kind} eq 'raw' ? 'perl'
        :                                $contestant->{same_modules};
    return $name eq $contestant->{name} ? undef : $name;
}

1;
