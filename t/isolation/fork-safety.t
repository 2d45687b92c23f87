# The programs in ForkSafety.pod run as they are, and print what they say.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

open my $pod, '<', 'lib/EventLoop/Fork/ForkSafety.pod' or die "ForkSafety.pod: $!";
my @programs = grep { /\A    use / } split /\n\n/, do { local $/; readline $pod };
cmp_ok scalar @programs, '>=', 6, 'there are programs';

for my $program (@programs) {
    my @needs     = grep { !/\AEventLoop|\ASocket\z/ } $program =~ /^    use ([\w:]+)/mg;
    my ($missing) = grep { !defined ForkTest::has_version($_) } @needs;
    my $name      = join ', ', @needs ? @needs : 'ours';
SKIP: {
        skip "$missing is not installed", 1 if defined $missing;
        my $expected = join '', map { "$_\n" } $program =~ /# prints (.*)/g;
        is run_program("use strict; use warnings;\n$program"), { stdout => $expected, stderr => '', status => 0 },
            $name;
    }
}

done_testing;
