# Every file with POD parses without errors or warnings. Two headings over one paragraph are fine.
use strict;
use warnings;
use Test2::V0;

use File::Find ();
use Pod::Checker 1.60 ();

my @files;
File::Find::find(
    {
        no_chdir => 1,
        wanted   => sub { push @files, $_ if -f && (/\.(?:pm|pod|pl)\z/ || m{\Ascript/}) },
    },
    grep { -d } qw(lib script examples bench t/lib)
);

for my $file (sort @files) {
    my $checker = Pod::Checker->new(-warnings => 1);
    open my $report, '>', \my $text or die "open: $!";
    $checker->parse_from_file($file, $report);
    if ($checker->num_errors < 0) {    # no POD: right for what is not a module of the product
        ok($file !~ m{\Alib/}, "$file has no POD");
        next;
    }
    my @complaints = grep { /^\*\*\*/ && !/empty section in previous paragraph/ } split /\n/, $text // '';
    is(\@complaints, [], "$file: no complaints");
}

done_testing;
