# Workers draw the keys of their sessions. The parent had drawn a number before, so each worker drew the same keys.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
my $loop = eval $ARGV[0] or die;
my $jitter = rand;
pipe my $reader, my $writer or die "pipe: $!";
my $ended = 0;
for my $worker (1 .. 4) {
    $loop->fork(
        code    => sub { syswrite $writer, join('', map { ('a' .. 'z')[ rand 26 ] } 1 .. 20) . "\n"; 0 },
        on_exit => sub { $ended++ },
    );
}
close $writer;
wait_until($loop, sub { $ended == 4 });
my %keys = map { $_ => 1 } split /\n/, slurp($reader);
print scalar(keys %keys), " different keys\n";
EOP

every_loop_says('each worker has its own keys', "4 different keys\n", $program);

control 'with IO::Async::Loop::Poll all have the same', ['IO::Async::Loop::Poll'], qr/\A1 different keys\n\z/, $program,
    'use IO::Async::Loop::Poll; IO::Async::Loop::Poll->new';

done_testing;
