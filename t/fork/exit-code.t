# The value of the code is the exit code of the child, if it is one; exit works in it as everywhere.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

# Forks a child for each code and returns the wait statuses in the same order.
sub statuses_of {
    my ($loop, @codes) = @_;
    my @statuses;
    my $ended = 0;
    for my $i (0 .. $#codes) {
        $loop->fork(
            code    => sub { alarm 2 * BOUND;       $codes[$i]->() },
            on_exit => sub { $statuses[$i] = $_[1]; $ended++ },
        );
    }
    wait_until($loop, sub { $ended == @codes });
    return @statuses;
}

sub exit_code { return $_[0] << 8 }

each_loop sub {
    my ($new, $kind) = @_;
    my $loop   = $new->();
    my @values = $kind->{backend} eq 'poll' ? 0 .. 255 : (0, 1, 127, 128, 254, 255);
    is [
        statuses_of(
            $loop,
            map {
                my $value = $_;
                sub { $value }
            } @values
        )
        ],
        [ map { exit_code($_) } @values ],
        'a value of 0 to 255 is the exit code';
};

# What is no exit code, and as what the child reports it; what is nothing it does not report.
my @no_codes = (
    [ 'undef', sub { undef }, undef ],
    [ 'an empty list', sub { return }, undef ],
    [ '-1', sub { -1 }, undef ],
    [ '256', sub { 256 }, qr/256/ ],
    [ '300', sub { 300 }, qr/300/ ],
    [ '-2', sub { -2 }, qr/-2/ ],
    [ '1.5', sub { 1.5 }, qr/1\.5/ ],
    [ 'a string', sub { 'done' }, qr/done/ ],
    [ 'an empty string', sub { '' }, qr// ],
    [ 'a huge number', sub { 1e300 }, qr/1e\+300/ ],
    [ 'no number', sub { 9**9**9**9 / 9**9**9**9 }, qr/-?nan/i ],
    [ 'a reference', sub { [] }, qr/ARRAY\(0x[0-9a-f]+\)/ ],
    [ 'an object', sub { bless {}, 'Object' }, qr/Object=HASH\(0x[0-9a-f]+\)/ ],
);

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my (@readers, @codes);
    for my $case (@no_codes) {
        pipe my $reader, my $writer or die "pipe: $!";
        push @readers, [ $reader, $writer ];
        push @codes, sub { open STDERR, '>&', $writer; $case->[1]->() };
    }
    my @statuses = statuses_of($loop, @codes);
    for my $i (0 .. $#no_codes) {
        my ($name, undef, $reported) = @{ $no_codes[$i] };
        close $readers[$i][1];
        my $text = slurp($readers[$i][0]);
        is $statuses[$i], exit_code(255), "$name ends the child with 255";
        if (defined $reported) {
            like $text, qr/\AEventLoop::Fork: child \(pid [0-9]+\): '$reported' is not an exit code \(0 to 255\)\n\z/,
                'and the child says so';
        }
        else {
            is $text, '', 'without a word';
        }
    }
};

each_loop sub {
    my ($new) = @_;
    my $loop  = $new->();
    my @cases = (
        [ 'a number as a string' => 12, sub { '12' } ],
        [ 'a number with a dot'  => 12, sub { 12.0 } ],
        [ 'true'                 => 1, sub { 1 == 1 } ],
        [ 'false'                => 0, sub { 1 == 2 } ],
        [
            'what a loop leaves' => 0,
            sub {
                my $i = 0;
                while ($i < 3) { $i++ }
            }
        ],
        [ 'the last value of a list' => 3, sub { return (1, 2, 3) } ],
        [ 'the last statement'       => 9, sub { my $x = 4; $x + 5 } ],
        [ 'exit'                     => 0, sub { exit } ],
        [ 'exit 0'                   => 0, sub { exit 0 } ],
        [ 'exit 7'                   => 7, sub { exit 7; 1 } ],
        [ 'exit 255'                 => 255, sub { exit 255 } ],
        [ 'exit 256, as everywhere'  => 0, sub { exit 256 } ],
        [ 'exit -1, as everywhere'   => 255, sub { exit(-1) } ],
        [
            'exit in eval' => 7,
            sub {
                eval { exit 7 };
                1;
            }
        ],
        [ 'exit in eval of a string' => 7, sub { eval 'exit 7'; 1 } ],
        [
            'exit in a sub in an eval' => 7,
            sub {
                my $exit = sub { exit 7 };
                eval {
                    eval { $exit->() }
                };
                1;
            }
        ],
        [
            'exit in sort' => 7,
            sub {
                my @sorted = sort { exit 7 } 2, 1;
                1;
            }
        ],
        [
            'exit in map' => 7,
            sub {
                my @mapped = map { exit 7 } 1;
                1;
            }
        ],
        [
            'exit in a destructor' => 7,
            sub {
                { my $object = bless [], 'ExitsInDestructor' }
                1;
            }
        ],
        [
            'exit in a handler of a signal' => 7,
            sub {
                $SIG{USR1} = sub { exit 7 };
                kill USR1 => $$;
                1;
            }
        ],
        [
            'exit in a handler of warnings' => 7,
            sub {
                local $SIG{__WARN__} = sub { exit 7 };
                warn 'x';
                1;
            }
        ],
        [
            'exit in a handler of exceptions' => 7,
            sub {
                local $SIG{__DIE__} = sub { exit 7 };
                die 'x';
            }
        ],
        [ '_exit'               => 9, sub { POSIX::_exit(9) } ],
        [ '$? has no say'       => 0, sub { $? = 5 << 8; 0 } ],
        [ 'an executed program' => 6, sub { exec 'sh', '-c', 'exit 6' } ],
    );
    my @statuses = statuses_of($loop, map { $_->[2] } @cases);
    is $statuses[$_], exit_code($cases[$_][1]), $cases[$_][0] for 0 .. $#cases;
};

sub ExitsInDestructor::DESTROY { exit 7 }

each_loop sub {
    my ($new)   = @_;
    my $loop    = $new->();
    my @signals = qw(TERM KILL INT HUP USR1 ALRM PIPE);
    my @ignored = grep { ($SIG{$_} // '') eq 'IGNORE' } @signals;
    local @SIG{@ignored} = ('DEFAULT') x @ignored;
    is [
        statuses_of(
            $loop,
            map {
                my $name = $_;
                sub { kill $name => $$; sleep 2 * BOUND; 0 }
            } @signals
        )
        ],
        [ map { POSIX->can("SIG$_")->() } @signals ], 'a child that sends itself a signal';
};

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my $status;
    my $pid = $loop->fork(code => sub { alarm 2 * BOUND; kill STOP => $$; 5 }, on_exit => sub { $status = $_[1] });
    is waitpid($pid, POSIX::WUNTRACED()), $pid, 'a child stops';
    $loop->loop_once(0) for 1 .. 5;
    is $status, undef, 'it has not ended';
    kill CONT => $pid;
    wait_until($loop, sub { defined $status });
    is $status, exit_code(5), 'and goes on';
};

control 'IO::Async::Loop::Poll makes 44 of 300, and 255 of nothing, without a word', ['IO::Async::Loop::Poll'],
    qr/\A11264 65280\n\z/, <<'EOP';
use strict;
use IO::Async::Loop::Poll;
open STDERR, '>&', \*STDOUT;
my $loop = IO::Async::Loop::Poll->new;
my @statuses;
$loop->fork(code => sub { 300 }, on_exit => sub { $statuses[0] = $_[1] });
$loop->loop_once(1) until defined $statuses[0];
$loop->fork(code => sub { undef }, on_exit => sub { $statuses[1] = $_[1] });
$loop->loop_once(1) until defined $statuses[1];
print "@statuses\n";
EOP

done_testing;
