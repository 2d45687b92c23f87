# A child starts with default actions for every signal that its parent caught, however it caught it; what the parent
# ignores stays ignored. keep_signals keeps the handlers.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use POSIX ();
use Test2::V0;

our @ran;
sub named_handler { return push @ran, "named $_[0]" }
*glob_handler = sub { push @ran, "glob $_[0]" };

# Every way to catch a signal, one signal each.
sub catch_them {
    no warnings 'once';
    $SIG{USR1} = sub { push @ran, "code $_[0]" };
    $SIG{USR2} = 'named_handler';
    $SIG{HUP}  = 'main::named_handler';
    $SIG{QUIT} = *main::glob_handler;
    my $handler = sub { push @ran, "sigaction $_[0]" };
    POSIX::sigaction(POSIX::SIGTTIN, POSIX::SigAction->new($handler, POSIX::SigSet->new, 0)) or die "sigaction: $!";
    my $safe = POSIX::SigAction->new($handler, POSIX::SigSet->new, 0);
    $safe->safe(1);
    POSIX::sigaction(POSIX::SIGTTOU, $safe) or die "sigaction: $!";
    $SIG{WINCH} = 'IGNORE';
    return;
}
my @caught = qw(USR1 USR2 HUP QUIT TTIN TTOU);

# What %SIG says of a signal, with code as a word.
sub in_perl {
    return { map { $_ => ref $SIG{$_} ? 'code' : $SIG{$_} } @_ };
}

each_loop sub {
    my ($new) = @_;
    local @SIG{ @caught, 'WINCH', 'TERM' };
    my $loop = $new->();
    catch_them();
    $loop->watch_signal(TERM => sub { push @ran, 'watched TERM' });
    my ($before, $state) = (in_perl(@caught, 'WINCH', 'TERM'), signal_state());

    my ($seen) = in_child($loop, sub { +{ perl => in_perl(@caught, 'TERM', 'WINCH'), kernel => signal_state() } });
    is $seen->{perl}, { (map { $_ => 'DEFAULT' } @caught, 'TERM'), WINCH => 'IGNORE' },
        'handlers by code, name, glob, sigaction and a watch are gone from %SIG; IGNORE stays';
    if ($state) {
        is $seen->{kernel}{caught}, [], 'the kernel knows of no handler';
        is $seen->{kernel}{ignored}, $state->{ignored}, 'what was ignored is';
    }

    for my $name (@caught[ 0 .. 3 ], 'TERM') {
        my ($returned, $status) = in_child($loop, sub { kill $name => $$; 'survived' });
        is [ $returned, $status & 127 ], [ undef, POSIX->can("SIG$name")->() ], "$name ends the child";
    }
    my ($returned) = in_child($loop, sub { kill WINCH => $$; 'survived' });
    is $returned, 'survived', 'an ignored signal does not';

    is in_perl(@caught, 'WINCH', 'TERM'), $before, 'the parent keeps its handlers';
    is signal_state(), $state, 'for the kernel, too';
    @ran = ();
    kill $_ => $$ for @caught, 'TERM';
    wait_until($loop, sub { @ran == @caught + 1 });
    is [ sort @ran ],
        [
        sort 'code USR1', 'named USR2', 'named HUP', 'glob QUIT', 'sigaction TTIN', 'sigaction TTOU',
        'watched TERM'
        ],
        'and they run';
    $loop->unwatch_signal('TERM');
};

each_loop sub {
    my ($new) = @_;
    local @SIG{ @caught, 'WINCH', 'TERM', 'INT' };
    my $loop = $new->();
    catch_them();
    $SIG{INT} = sub { push @ran, 'before the watch' };
    $loop->watch_signal($_ => sub { push @ran, "watched $_" }) for qw(TERM INT);
    my ($seen) = in_child(
        $loop,
        sub {
            @ran = ();
            kill $_ => $$ for @caught, 'INT';
            return [ sort(@ran), in_perl('WINCH', 'TERM') ];
        },
        keep_signals => 1
    );
    is $seen,
        [
        sort('code USR1', 'named USR2', 'named HUP', 'glob QUIT', 'sigaction TTIN', 'sigaction TTOU',
            'before the watch'),
        { WINCH => 'IGNORE', TERM => 'DEFAULT' }
        ],
        'keep_signals keeps the handlers; a watch of the parent is none';
    $loop->unwatch_signal($_) for qw(TERM INT);
};

each_loop sub {
    my ($new) = @_;
    local $SIG{INT} = sub { };
    my $loop = $new->();
    $loop->watch_signal(HUP => sub { });
    my ($seen) = in_child(
        $loop,
        sub {
            my $in_child = $new->();
            my @got;
            $in_child->watch_signal($_ => sub { push @got, 'watched' }) for qw(HUP USR1);
            $SIG{INT} = sub { push @got, 'handler' };
            kill $_ => $$ for qw(HUP USR1 INT);
            wait_until($in_child, sub { @got == 3 });
            return [ sort @got ];
        }
    );
    is $seen, [qw(handler watched watched)], 'the child can watch and catch anew';
    $loop->unwatch_signal('HUP');
};

control 'a handler by name survives in a child of IO::Async::Loop::Poll', ['IO::Async::Loop::Poll'],
    qr/\Amain::named\n\z/,
    <<'EOP';
use strict;
use IO::Async::Loop::Poll;
$| = 1;
sub named { }
my $loop = IO::Async::Loop::Poll->new;
$SIG{USR1} = 'main::named';
$loop->fork(code => sub { print "$SIG{USR1}\n"; 0 }, on_exit => sub { $loop->stop });
$loop->run;
EOP

done_testing;
