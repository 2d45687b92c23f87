package SystemFiles;

# A tree of files as a kernel shows them.

use strict;
use warnings;

use File::Basename qw(dirname);
use File::Path     qw(mkpath);
use File::Temp     ();

# What the code returns for a system with these files: it gets their root.
sub with_files {
    my ($code, %files) = @_;
    my $root = File::Temp->newdir;
    for my $path (keys %files) {
        mkpath dirname("$root/$path");
        open my $handle, '>', "$root/$path" or die "$root/$path: $!";
        print {$handle} "$files{$path}\n";
        close $handle or die "$root/$path: $!";
    }
    return $code->("$root");
}

1;
