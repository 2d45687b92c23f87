# The symbols that each shared object exports are the ones listed in xt/exports. An extra one can clash with another
# library in the process; a missing one breaks whoever uses it.
use strict;
use warnings;
use Test2::V0;

use File::Basename qw(basename);
use File::Find     ();

my @objects;
File::Find::find({ no_chdir => 1, wanted => sub { push @objects, $_ if /\.so\z/ } }, grep { -d } 'blib/arch/auto');
skip_all('no shared objects in blib/arch: run ./dev build') unless @objects;

for my $object (sort @objects) {
    my $list = 'xt/exports/' . basename($object, '.so') . '.txt';
    open my $fh, '<', $list or do { fail("$list: $!"); next };
    my %listed = map { $_ => 1 } grep { /\S/ && !/\A#/ } map { s/\s+\z//r } <$fh>;

    open my $nm, '-|', 'nm', '--dynamic', '--defined-only', '--format=posix', $object or die "nm: $!";
    my %exported = map { (split)[0] => 1 } <$nm>;
    close $nm or die "nm $object: exit $?";

    is([ grep { !$listed{$_} } sort keys %exported ], [], "$object exports nothing beyond $list");
    is([ grep { !$exported{$_} } sort keys %listed ], [], "$object exports all of $list");
}

done_testing;
