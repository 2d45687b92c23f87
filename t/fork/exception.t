# What the code of a child throws is printed to STDERR with the name of the child; the exit code is 255. Nothing leaves
# the child into the parent's frames.
use strict;
use warnings;

use lib 't/lib';
use ForkTest;
use Test2::V0;

{

    package Text;
    use overload '""' => sub { "as text: $_[0][0]" }, fallback => 1;
    sub throw { my ($class, $text) = @_; die bless [$text], $class }

    package False;
    use overload bool => sub { 0 }, '""' => sub { 'a false object' }, fallback => 1;
    sub throw { my ($class) = @_; die bless [], $class }

    package Empty;
    use overload bool => sub { 0 }, '""' => sub { '' }, fallback => 1;
    sub throw { my ($class) = @_; die bless [], $class }

    package Broken;
    use overload '""' => sub { die "no text\n" }, fallback => 1;
    sub throw { my ($class) = @_; die bless [], $class }

    package Plain;
    sub throw { my ($class) = @_; die bless {}, $class }

    package DiesInDestructor;
    sub DESTROY { die "from the destructor\n" }

    package EvalsInDestructor;

    sub DESTROY {
        eval { 1 };
        return;
    }
}

# What a child prints to STDERR, and its wait status.
sub errors_of {
    my ($loop, $code, %options) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    my $status;
    $loop->fork(
        code    => sub { alarm 2 * BOUND; open STDERR, '>&', $writer; $code->() },
        on_exit => sub { $status = $_[1] },
        %options,
    );
    close $writer;
    wait_until($loop, sub { defined $status });
    return (slurp($reader), $status);
}

my $failed = 255 << 8;

each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    my ($text, $status);

    ($text, $status) = errors_of($loop, sub { die "broken\n" }, name => 'resizer');
    like $text, qr/\AEventLoop::Fork: child 'resizer' \(pid [0-9]+\): broken\n\z/, 'with the name of the child';
    is $status, $failed, 'and exit code 255';

    ($text, $status) = errors_of($loop, sub { die "broken\n" });
    like $text, qr/\AEventLoop::Fork: child \(pid [0-9]+\): broken\n\z/, 'without a name';

    my $line = __LINE__ + 1;
    ($text, $status) = errors_of($loop, sub { die 'broken' }, name => 'resizer');
    like $text, qr/: broken at \S+exception\.t line $line\.\n\z/, 'with the place, as everywhere';

    ($text, $status) = errors_of($loop, sub { die "no newline", "\nand two lines" });
    like $text, qr/: no newline\nand two lines at \S+ line [0-9]+\.\n\z/, 'of several lines';

    ($text, $status) = errors_of($loop, sub { my $undef; no warnings; $undef->method });
    like $text, qr/: Can't call method "method" on an undefined value at /, "perl's own";

    my %objects = (
        Text  => qr/\): as text: one\n\z/,
        False => qr/\): a false object\n\z/,
        Empty => qr/\): \n\z/,
        Plain => qr/\): Plain=HASH\(0x[0-9a-f]+\)\n\z/,
    );
    for my $class (sort keys %objects) {
        ($text, $status) = errors_of($loop, sub { $class->throw('one') });
        like $text, $objects{$class}, "an object of a class '$class'";
        is $status, $failed, 'and exit code 255';
    }
    ($text, $status) = errors_of($loop, sub { Broken->throw });
    is $status, $failed, 'an object without a text still ends the child with 255';
    like $text, qr/\AEventLoop::Fork: child \(pid [0-9]+\): /, 'and a word is said';

    ($text, $status) = errors_of($loop, sub { my $object = bless [], 'EvalsInDestructor'; die "broken\n" });
    like $text, qr/\): broken\n\z/, 'a destructor on the way does not hide it';

    ($text, $status) = errors_of(
        $loop,
        sub {
            { my $object = bless [], 'DiesInDestructor' }
            0;
        }
    );
    is $status, 0, 'an exception of a destructor is none of the code';

    ($text, $status) = errors_of(
        $loop,
        sub {
            eval { die "caught\n" };
            5;
        }
    );
    is [ $text, $status ], [ '', 5 << 8 ], 'one that the code has caught is none';

    ($text, $status) = errors_of(
        $loop,
        sub {
            local $SIG{__DIE__} = sub { die "changed: $_[0]" };
            die "broken\n";
        }
    );
    like $text, qr/\): changed: broken\n\z/, 'a handler of exceptions may change it';

    ($text, $status) = errors_of(
        $loop,
        sub {
            local $SIG{ALRM} = sub { die "from a handler\n" };
            kill ALRM => $$;
            0;
        }
    );
    like $text, qr/\): from a handler\n\z/, 'one of a handler of a signal';
};

# Ways to leave a sub that are no exception. None may end in the code around the fork.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    pipe my $reader, my $writer or die "pipe: $!";
    my $parent    = $$;
    my $in_parent = sub { syswrite $writer, "a child runs the parent's code\n" if $$ != $parent };
    my @results;
    {
        no warnings 'exiting';
    OUTER: for my $round (1) {
            for my $leave (
                sub { last },
                sub { last OUTER },
                sub { next },
                sub { redo OUTER },
                sub { goto AFTER },
                sub {
                    goto &{ sub { 3 } };
                },
                sub { return 4 },
                sub {
                    eval { last OUTER };
                    6;
                },
                sub {
                    my @sorted = sort { last OUTER } 2, 1;
                    7;
                },
                )
            {
                my (undef, $status) = errors_of($loop, $leave);
                $in_parent->();
                push @results, $status >> 8;
            }
            $in_parent->();
        }
    AFTER:
        $in_parent->();
    }
    close $writer;
    is \@results, [ (255) x 5, 3, 4, 6, 255 ], 'last, next, redo and goto find no loop and no label to leave to';
    is slurp($reader), '', 'and nothing of the parent runs in a child';
};

# The same from a callback of a running loop, where C frames lie between.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    pipe my $reader, my $writer or die "pipe: $!";
    my $parent    = $$;
    my $in_parent = sub { syswrite $writer, "a child runs the parent's code\n" if $$ != $parent };
    my @statuses;
    my @codes = (
        sub { open STDERR, '>', '/dev/null'; no warnings 'exiting'; last TURN },
        sub { open STDERR, '>', '/dev/null'; die "broken\n" },
        sub { exit 3 },
        sub { 4 },
    );
    $loop->later(sub {
        for my $code (@codes) {
            $loop->fork(
                code    => $code,
                on_exit => sub { push @statuses, $_[1] >> 8; $loop->stop if @statuses == @codes }
            );
            $in_parent->();
        }
    });
TURN: { $loop->run; $in_parent->() }
    $in_parent->();
    close $writer;
    is [ sort { $a <=> $b } @statuses ], [ 3, 4, 255, 255 ], 'from a callback: each ends as it should';
    is slurp($reader), '', 'and nothing of the parent runs in a child';
};

# Not in eval: a child is not in its parent's.
each_loop sub {
    my ($new) = @_;
    my $loop = $new->();
    pipe my $reader, my $writer or die "pipe: $!";
    my ($parent, $text, $status) = ($$);
    eval {
        local $SIG{__DIE__} = sub { syswrite $writer, 'handler of the parent ' };
        ($text, $status) = errors_of($loop, sub { die "broken\n" });
        1;
    } or $$ == $parent or syswrite $writer, 'caught by the parent';
    close $writer;
    like $text, qr/\): broken\n\z/, 'thrown inside of an eval of the parent';
    is slurp($reader), 'handler of the parent ', 'which does not catch it; a handler that is set is called';
};

done_testing;
