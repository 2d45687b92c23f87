# A program forks for a moment, with perl's own fork, and the child exits. Its destructors took the watches out of the
# kernel object that both processes share: the parent heard of nothing any more.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

my $program = <<'EOP';
use strict;
use warnings;
use ForkTest;
our $loop = eval $ARGV[0] or die;
{
    # Stops its watch when it goes, as well-behaved objects do.
    package Connection;
    sub new {
        my ($class, $handle, $code) = @_;
        $main::loop->watch_io(handle => $handle, on_read_ready => $code);
        return bless { handle => $handle }, $class;
    }
    sub DESTROY { $main::loop->unwatch_io(handle => $_[0]{handle}, on_read_ready => 1) if $main::loop }
}
pipe my $reader, my $writer or die "pipe: $!";
my $read = '';
our $connection = Connection->new($reader, sub { sysread $reader, $read, 1, length $read });
$loop->loop_once(0);
for my $round (1 .. 3) {
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    exit 0 if !$pid;
    waitpid $pid, 0;
    syswrite $writer, $round;
    wait_until($loop, sub { length $read == $round });
}
print "read $read\n";
EOP

every_loop_says('the parent hears all', "read 123\n", $program);

control 'a Linux::Epoll does not survive such a child', ['Linux::Epoll'], qr/\Aread \n\z/, <<'EOP';
use strict;
use Linux::Epoll;
our $epoll = Linux::Epoll->new;
{
    package Connection;
    sub new {
        my ($class, $handle, $code) = @_;
        $main::epoll->add($handle, 'in', $code);
        return bless { handle => $handle }, $class;
    }
    sub DESTROY { my $done = $main::epoll->delete($_[0]{handle}) if $main::epoll }
}
pipe my $reader, my $writer or die "pipe: $!";
my $read = '';
our $connection = Connection->new($reader, sub { sysread $reader, $read, 1, length $read });
my $pid = fork;
if (!$pid) { undef $connection; exit 0 }
waitpid $pid, 0;
syswrite $writer, 1;
$epoll->wait(1, 0.3);
print "read $read\n";
EOP

done_testing;
