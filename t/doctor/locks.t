# Locks that are held at the fork: those of flock come along, those of fcntl do not.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";
use DoctorTest;
use Test2::V0;

skip_all 'locks of a process are not told here' unless -d '/proc/self/fdinfo' && -r '/proc/locks';

my $open = 'require File::Temp; require Fcntl; my $file = File::Temp->new; push @kept, $file;';
my $fcntl =
    'my $lock = pack("s! s! l! l! i x64", Fcntl::F_WRLCK(), 0, 0, 0, 0); fcntl $file, Fcntl::F_SETLK(), $lock or die "fcntl: $!"';
finds(
    warning => 'locks', qr/\Aa lock of flock is held on \S+ \(descriptor \d+, File::Temp/,
    "$open flock \$file, Fcntl::LOCK_EX() or die \$!",
    name    => 'flock',
    without => "$open flock \$file, Fcntl::LOCK_EX(); flock \$file, Fcntl::LOCK_UN()",
);
finds_not(
    locks => "$open flock \$file, Fcntl::LOCK_EX(); at_fork(child => sub { close \$file })",
    name  => 'a file that is closed in the child'
);
finds(
    warning => 'locks', qr/\Aa lock of fcntl is held on \S+ \(descriptor \d+, File::Temp/, "$open $fcntl",
    name    => 'fcntl',
    without => $open,
);

done_testing;
