# The C interface for other XS modules: builds one (t/capi/consumer) with ExtUtils::Depends against what an installation
# would put on the disk, and does through it what a module may do.

use strict;
use warnings;

use Config;
use File::Basename        qw(dirname);
use File::Copy            ();
use File::Path            ();
use File::Spec::Functions qw(catdir catfile devnull rel2abs);
use File::Temp            ();
use FindBin;
use lib "$FindBin::Bin/../lib";
use Test2::V0;

use ForkTest;
use EventLoop::Fork ();    # before the forks below are compiled: they can be refused

my $can_build = has_module('ExtUtils::Depends');
skip_all('ExtUtils::Depends is not installed') unless $can_build;

my $source = "$FindBin::Bin/consumer";
my $root   = rel2abs("$FindBin::Bin/../..");
my $dir    = File::Temp->newdir('evf-capi-XXXXXX', TMPDIR => 1);

# ---- Building -------------------------------------------------------------------------------------------------------

# The exit status, and what the command said.
sub output_of {
    my ($folder, @command) = @_;
    my $log = catfile($dir, 'log');
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    if ($pid == 0) {
        open STDIN, '<', devnull()  or POSIX::_exit(126);
        open STDOUT, '>', $log      or POSIX::_exit(126);
        open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
        chdir $folder               or POSIX::_exit(126);
        no warnings 'exec';
        exec @command or POSIX::_exit(127);
    }
    waitpid $pid, 0;
    my $status = $?;
    open my $fh, '<', $log or die "$log: $!";
    local $/;
    return ($status, scalar readline $fh);
}

# What `make install` does with a module that has C in it: lib and arch go to one folder. If the tests run on a module
# that is installed there is nothing to do.
sub installed {
    # A checkout's own lib may come first; built things are in blib.
    my ($lib) = map { rel2abs($_) } (grep { !ref && -e "$_/EventLoop/Fork/Install/eventloop_fork.h" } @INC),
        dirname(dirname($INC{'EventLoop/Fork.pm'}));
    return $lib unless $lib =~ m{\bblib\W+lib\z};
    my $to      = catdir($dir, 'installed');
    my $install = 'install([ from_to => { "blib/lib", $ARGV[0], "blib/arch", $ARGV[0], "read", "", "write", "" } ])';
    my ($status, $text) = output_of(dirname(dirname($lib)), $^X, '-MExtUtils::Install', '-e', $install, $to);
    $status == 0 or die "$install: $text";
    return $to;
}

my $installed = installed();
my $build     = catdir($dir, 'consumer');

sub copy_consumer {
    for my $file ('Makefile.PL', 'EVFConsumer.xs', 'lib/EVFConsumer.pm') {
        my $to = catfile($build, split m{/}, $file);
        File::Path::make_path(dirname($to));
        File::Copy::copy(catfile($source, split m{/}, $file), $to) or die "$to: $!";
    }
    return;
}

# Warnings are errors for those who can mend them.
sub flags { return -e catfile($root, '.git') ? '-O1 -g -Wall -Wextra -Werror' : '-O1' }

subtest 'a module is built against the installed headers' => sub {
    local $ENV{PERL5LIB} = join ':', $installed, $ENV{PERL5LIB} || ();
    copy_consumer();
    for my $command ([ $^X, "-I$installed", 'Makefile.PL', 'OPTIMIZE=' . flags() ], [ $Config{make} ]) {
        my ($status, $text) = output_of($build, @$command);
        is($status, 0, "@$command") or diag($text);
        unlike($text, qr/\Q$root\E(?!\W+t\W)/, 'nothing of the source tree is used') if $installed =~ /^\Q$dir/;
    }
    open my $makefile, '<', catfile($build, 'Makefile') or die $!;
    my ($inc) = map { /^INC = (.*)/ ? $1 : () } <$makefile>;
    is($inc, match(qr{-I\Q$installed\E/EventLoop/Fork/Install\b}), 'the headers are found where they were installed');
};

subtest 'the headers are C++, too' => sub {
    my ($compiler) = grep { (output_of($dir, $_, '--version'))[0] == 0 } qw(c++ g++ clang++);
    skip_all('no C++ compiler') unless defined $compiler;
    my $file = catfile($dir, 'try.cc');
    open my $fh, '>', $file or die "$file: $!";
    print {$fh} map { "$_\n" } '#define PERL_NO_GET_CONTEXT',
        map({ qq{#include "$_"} } qw(EXTERN.h perl.h XSUB.h eventloop_fork.h)),
        'const void *try_it(pTHX);', 'const void *try_it(pTHX) { return EVENTLOOP_FORK_API("X"); }';
    close $fh or die "$file: $!";
    my @flags = (split(' ', $Config{ccflags}), "-I$installed/EventLoop/Fork/Install", "-I$Config{archlibexp}/CORE");
    my ($status, $text) = output_of($dir, $compiler, @flags, '-fsyntax-only', $file);
    is($status, 0, $compiler) or diag($text);
};

my ($loads, $why);
{
    local $@;
    unshift @INC, map { catdir($build, 'blib', $_) } qw(arch lib);
    $loads = eval { require EVFConsumer; 1 } or $why = $@;
}
ok($loads, 'it loads') or diag($why);
unless ($loads) {
    done_testing;
    exit;
}

# The consumer's functions, as methods would be; its XSUBs have no place for a class.
sub log_of { my @log = @EVFConsumer::log; @EVFConsumer::log = (); return \@log }

# ---- The table ------------------------------------------------------------------------------------------------------

is(EVFConsumer::version(), 1, 'version 1 of the interface');
is(EVFConsumer::release(), EventLoop::Fork->VERSION, 'the release is that of the distribution');
ok(EVFConsumer::has_all(), 'the table has all members');

subtest 'what does not fit is refused with a reason' => sub {
    my $refused = sub {
        my (@arguments) = @_;
        my $lived       = eval { EVFConsumer::load_other(@arguments); 1 };
        my $error       = $@;
        EVFConsumer::restore();
        return $lived ? 'not refused' : $error;
    };
    like(
        $refused->(1, 0, 1),
        qr/^EVFConsumer was built for version 1 .*; EventLoop::Fork 7\.5 has version 2: build EVFConsumer again at /,
        'a later version'
    );
    like($refused->(-1, 0, 1), qr/^EVFConsumer was built for version 1 .* has version 0: /, 'an earlier one');
    like(
        $refused->(0, 8, 1),
        qr/^EVFConsumer was built for a later EventLoop::Fork than 7\.5, .* has \d+ of \d+ bytes at /,
        'a table with less in it'
    );
    like($refused->(0, 0, 0), qr/^EVFConsumer needs the C interface of EventLoop::Fork, which /, 'no table');
    is($refused->(0, -8, 1), 'not refused', 'a table with more in it is fine');
    is($refused->(0, 0, 1), 'not refused', 'and so is another release');

    eval { EVFConsumer::load_other(0, 8, 1) };
    ok(EVFConsumer::load_part_of_other(), 'a module may be content with less, and see what is there');
    EVFConsumer::restore();
};

is(EVFConsumer::error_name(-10), 'EVF_EFORK', 'an error has a name');
is(EVFConsumer::error_text(-10), 'fork failed', 'and a text');
is(EVFConsumer::error_name(-999), 'EVF_EUNKNOWN', 'an unknown one too');
is(EVFConsumer::error_text(-999), 'unknown error', 'both');

# ---- The fork -------------------------------------------------------------------------------------------------------

my %code_of = map { $_ => EventLoop::Fork::Loop::_error_code($_) } qw(EVF_EINVAL EVF_ENOTSUP EVF_ECALLBACK EVF_ECHILD);

# Through the loop until the child has ended; the lines it left.
sub until_logged {
    my ($loop) = @_;
    wait_until($loop, sub { @EVFConsumer::log });
    return log_of();
}

each_loop(
    sub {
        my ($new) = @_;
        my $loop = $new->();

        my $pid = EVFConsumer::fork($loop, sub { 7 }, 'sum');
        ok($pid > 0, 'a fork answers the pid') or diag(EVFConsumer::error_name($pid));
        is(
            until_logged($loop), [ 'exit of EventLoop::Fork::Child: ' . (7 << 8) ],
            'the exit code comes through the loop'
        );

        pipe my $reader, my $writer or die "pipe: $!";
        my $generation = EVFConsumer::generation();
        my $code       = sub {
            my ($child) = @_;
            my $own = $child->loop;
            my $is_turning;
            $own->later(sub { $is_turning = 1 });
            $own->loop_once(0);
            ForkTest::send_value(
                $writer,
                [ $$, $child->pid, $child->name, $own == $loop ? 1 : 0, $is_turning, EVFConsumer::generation() ]
            );
            return 0;
        };
        $pid = EVFConsumer::fork($loop, $code, 'sum');
        close $writer;
        is(
            ForkTest::thaw_from($reader),
            [ $pid, $pid, 'sum', 0, 1, $generation + 1 ],
            'in the child: pid, name, a loop of its own that turns, another generation'
        );
        is(until_logged($loop), ['exit of EventLoop::Fork::Child: 0'], 'it ended well');
        is(EVFConsumer::generation(), $generation, 'in the parent the generation stays');

        my $failing = EVFConsumer::fork($loop, sub { open STDERR, '>', devnull(); die "on purpose\n" });
        ok($failing > 0, 'a child that throws');
        is(until_logged($loop), [ 'exit of EventLoop::Fork::Child: ' . (255 << 8) ], 'exits with 255');

        my $seed = sub {
            my ($flags) = @_;
            my %seen;
            srand 1;
            rand;
            for (1 .. 2) {
                pipe my $from, my $to or die "pipe: $!";
                EVFConsumer::fork($loop, sub { ForkTest::send_value($to, rand); 0 }, '', $flags, 1);
                close $to;
                $seen{ ForkTest::thaw_from($from) }++;
                until_logged($loop);
            }
            return scalar keys %seen;
        };
        is($seed->(0), 2, 'siblings draw different numbers');
        is($seed->(2), 1, 'with EVENTLOOP_FORK_KEEP_SRAND the same');

        local $SIG{USR1} = sub { };
        my $handled = sub {
            my ($flags) = @_;
            pipe my $from, my $to or die "pipe: $!";
            EVFConsumer::fork($loop, sub { ForkTest::send_value($to, ref $SIG{USR1}); 0 }, '', $flags, 1);
            close $to;
            my $value = ForkTest::thaw_from($from);
            until_logged($loop);
            return $value;
        };
        is($handled->(0), '', 'handlers are reset');
        is($handled->(1), 'CODE', 'with EVENTLOOP_FORK_KEEP_SIGNALS they stay');
    },
    best => 1
);

subtest 'a fork that cannot be is refused' => sub {
    my $loop = EventLoop::Fork::Loop->new;
    local $@ = 'mine';
    is(EVFConsumer::fork($loop, undef), $code_of{EVF_EINVAL}, 'without a function to run');
    isa_ok($@, ['EventLoop::Fork::Error'], 'the exception is in $@');
    like($@, qr/^EventLoop::Fork: fork: 'run' is missing at /, 'and says why');
    is(EVFConsumer::fork($loop, sub { 0 }, '', 1024), $code_of{EVF_EINVAL}, 'with a flag that means nothing');
    like($@, qr/'flags'/, 'named');
    is(EVFConsumer::fork_with_size(8), $code_of{EVF_EINVAL}, 'options of a later header');
    is(EVFConsumer::fork_with_size(-128), $code_of{EVF_EINVAL}, 'and of none');
    like($@, qr/'size'/, 'named');
    is(EVFConsumer::fork('no loop', sub { 0 }), $code_of{EVF_ENOTSUP}, 'on what is no loop');
    like($@, qr/no loop/, 'with the reason of EventLoop::Fork->fork');
    like(
        dies {
            EVFConsumer::fork_or_throw('no loop', sub { 0 })
        },
        qr/^EventLoop::Fork: fork: .*no loop.* at \Q$0\E /,
        'which croak(NULL) throws, with the place of the caller'
    );
    $@ = 'mine';
    EVFConsumer::fork($loop, sub { 0 });
    is($@, 'mine', '$@ is left alone by a fork that succeeds');
    until_logged($loop);
    is(children_left(), '', 'no child is left');
};

# ---- Processes ------------------------------------------------------------------------------------------------------

subtest 'a child that no loop knows of' => sub {
    my @before = open_fds();
    pipe my $reader, my $writer or die "pipe: $!";
    my ($pid, $fd) =
        EVFConsumer::fork_alone(sub { my ($child) = @_; close $writer; slurp($reader); defined $child ? 1 : 5 });
    ok($pid > 0, 'a pid') or diag(EVFConsumer::error_name($pid));
    close $reader;
    is([ EVFConsumer::process_reap($pid, $fd) ], [ 0, -7 ], 'it runs, and the wait status is left alone');
    close $writer;
SKIP: {
        skip('the system has no process descriptors', 1) if $fd < 0;
        vec(my $bits = '', $fd, 1) = 1;
        ok(select($bits, undef, undef, BOUND) > 0, 'the descriptor becomes readable at its end');
    }
    my ($answer, $wait_status) = (0);
    my $deadline = ForkTest::now() + BOUND;
    until ($answer != 0 || ForkTest::now() > $deadline) {
        ($answer, $wait_status) = EVFConsumer::process_reap($pid, $fd);
        ForkTest::pause() unless $answer;
    }
    is([ $answer, $wait_status ], [ 1, 5 << 8 ], 'it is waited for, and its exit code arrives');
    POSIX::close($fd) if $fd >= 0;
    is(children_left(), '', 'no zombie is left');

    is([ EVFConsumer::fork_alone(sub { 0 }, '', 1) ], [ $code_of{EVF_EINVAL}, -7 ], 'on_exit is nobody\'s to call');
    is([ open_fds() ], \@before, 'no descriptor is left');
};

subtest 'a child of somebody else\'s fork' => sub {
    my @before = open_fds();
    my $pid    = fork // die "fork: $!";
    POSIX::_exit(6) unless $pid;
    my $fd = EVFConsumer::process_open($pid);
SKIP: {
        skip('the system has no process descriptors', 2) if $fd == $code_of{EVF_ENOTSUP};
        vec(my $bits = '', $fd, 1) = 1;
        ok(select($bits, undef, undef, BOUND) > 0, 'has a descriptor that becomes readable');
        is([ EVFConsumer::process_reap($pid, $fd) ], [ 1, 6 << 8 ], 'and is waited for');
        POSIX::close($fd);
    }
    waitpid $pid, 0;
    is(EVFConsumer::process_open($pid), $code_of{EVF_ECHILD}, 'one that has gone is not');
    is(EVFConsumer::process_open($$), $code_of{EVF_ECHILD}, 'nor is a stranger');
    is([ open_fds() ], \@before, 'no descriptor is left');
};

subtest 'nothing leaks' => sub {
    skip_all('Test::LeakTrace is not installed') unless has_module('Test::LeakTrace');
    my $loop = EventLoop::Fork::Loop->new;
    my $code = sub { 0 };
    my %ways = (
        'a fork through a loop' => sub {
            EVFConsumer::fork($loop, $code, 'leaks');
            until_logged($loop);
        },
        'a fork through none' => sub {
            my ($pid, $fd) = EVFConsumer::fork_alone($code, 'leaks');
            waitpid $pid, 0;
            POSIX::close($fd);
        },
        'a refused one' => sub { EVFConsumer::fork('no loop', $code); EVFConsumer::fork($loop, undef); $@ = '' },
    );
    for my $way (sort keys %ways) {
        my $run = $ways{$way};
        $run->() for 1 .. 2;
        is(Test::LeakTrace::leaked_count(sub { $run->() }), 0, $way);
    }
};

# ---- Hooks ----------------------------------------------------------------------------------------------------------

# Perl's hooks and those of the module write to one log. What the child's has comes through a pipe.
sub in_perl {
    my ($text) = @_;
    return sub { push @EVFConsumer::log, $text }
}

sub log_of_child {
    my ($fork) = @_;
    pipe my $reader, my $writer or die "pipe: $!";
    @EVFConsumer::log = ();
    my $pid = $fork->(sub { ForkTest::send_value($writer, log_of()); 0 });
    close $writer;
    return ($pid, ForkTest::thaw_from($reader));
}

# What parent and child have seen of a fork, by each of three ways.
sub raw_fork {
    my ($code) = @_;
    my $pid = fork // die "fork: $!";
    POSIX::_exit($code->()) unless $pid;
    return $pid;
}

my %ways = (
    'the module\'s fork'    => sub { my ($code) = @_; return (EVFConsumer::fork_alone($code))[0] },
    'EventLoop::Fork->fork' => sub { my ($code) = @_; return EventLoop::Fork->fork(code => $code)->pid },
    'perl\'s fork'          => \&raw_fork,
);

sub seen {
    my ($way) = @_;
    my ($pid, $child) = log_of_child($ways{$way});
    my $parent = log_of();
    waitpid $pid, 0 if defined $pid && $pid > 0;
    return { parent => $parent, child => $child };
}

subtest 'hooks of the module and of Perl run in one order' => sub {
    my @hooks = (EVFConsumer::hook('C 20', 20), EVFConsumer::hook('C 50', 50));
    my @perl  = map {
        my $name = $_;
        EventLoop::Fork::at_fork(
            name     => $name,
            priority => $name =~ /(\d+)/,
            map { $_ => in_perl("$_ $name") } qw(prepare parent child)
        )
    } 'Perl 10', 'Perl 50', 'Perl 90';
    cmp_ok($_, '>', 0, 'registered') for @hooks;
    is(EVFConsumer::hook_again($hooks[0]), EventLoop::Fork::Loop::_error_code('EVF_EEXIST'), 'not twice');
    is(EVFConsumer::hook('C', 101), $code_of{EVF_EINVAL}, 'not with a priority of 101');

    my @order   = ('Perl 10', 'C 20', 'C 50', 'Perl 50', 'Perl 90');
    my @prepare = map { "prepare $_" } reverse @order;
    for my $way (sort keys %ways) {
        is(
            seen($way),
            {
                parent => [ @prepare, map { "parent $_" } @order ],
                child  => [ @prepare, map { "child $_" } @order ],
            },
            $way
        );
    }
    is(system($^X, '-e', '0'), 0, 'a command');
    is(log_of(), [], 'runs no hook');

    $_->cancel for @perl;
    ok(EVFConsumer::is_registered($hooks[1]), 'is registered');
    EVFConsumer::cancel($_) for @hooks;
    is(seen('perl\'s fork'), { parent => [], child => [] }, 'no hook is left');
};

subtest 'a prepare hook refuses the fork' => sub {
    my $before   = EVFConsumer::hook('before', 90);
    my $hook     = EVFConsumer::hook('no', 50, 0);
    my $after    = EVFConsumer::hook('after', 10);
    my $expected = [ 'prepare before', 'prepare no', 'parent before' ];
    @EVFConsumer::log = ();
    is((EVFConsumer::fork_alone(sub { 0 }))[0], EventLoop::Fork::Loop::_error_code('EVF_ECANCELED'), 'of the module');
    isa_ok($@, ['EventLoop::Fork::Error'], 'the reason');
    is(log_of(), $expected, 'who was prepared is told; who was not is not asked');
    my @warnings;
    my $pid = do {
        local $SIG{__WARN__} = sub { push @warnings, @_ };
        fork;
    };
    POSIX::_exit(0) if defined $pid && $pid == 0;
    is($pid, undef, 'of perl');
    is(log_of(), $expected, 'in the same way');
    EVFConsumer::cancel($_) for $before, $hook, $after;
    is(children_left(), '', 'no child is left');
};

subtest 'what a hook answers afterwards changes nothing' => sub {
    for my $phase (1, 2) {
        my $hook = EVFConsumer::hook('bad', 50, $phase);
        is(
            seen('the module\'s fork'),
            { parent => [ 'prepare bad', 'parent bad' ], child => [ 'prepare bad', 'child bad' ] },
            qw(prepare parent child) [$phase]
        );
        EVFConsumer::cancel($hook);
    }
};

subtest 'a hook may cancel itself' => sub {
    my $hook = EVFConsumer::hook('once', 50, -1, 1);
    is(seen('perl\'s fork'), { parent => ['prepare once'], child => ['prepare once'] }, 'and is not called again');
    ok(!EVFConsumer::is_registered($hook), 'it is not registered any more');
    EVFConsumer::cancel($hook);
};

subtest 'a hook cannot fork' => sub {
    my $answer;
    my $hook = EventLoop::Fork::at_fork(
        prepare => sub {
            ($answer) = EVFConsumer::fork_alone(sub { 0 });
        }
    );
    seen('perl\'s fork');
    $hook->cancel;
    is($answer, EventLoop::Fork::Loop::_error_code('EVF_EBUSY'), 'it is refused');
    is(children_left(), '', 'no child is left');
};

# ---- Descriptors ----------------------------------------------------------------------------------------------------

subtest 'a disowned descriptor reaches nobody' => sub {
    require Socket;
    socketpair my $ours, my $peer, Socket::AF_UNIX(), Socket::SOCK_STREAM(), 0 or die "socketpair: $!";
    my ($value) = in_raw_child(sub {
        local $SIG{PIPE} = 'IGNORE';
        my @values =
            (EVFConsumer::disown_fd(fileno $ours), syswrite($ours, 'x') ? 1 : 0, EVFConsumer::disown_fd(10_000));
        shutdown $ours, 2;
        return \@values;
    });
    is($value, [ 0, 0, EventLoop::Fork::Loop::_error_code('EVF_EBADF') ], 'writing fails; a closed number is refused');
    syswrite $ours, 'y';
    sysread $peer, my $got, 10;
    is($got, 'y', 'the peer has heard the parent only, and is not shut down');
};

is(children_left(), '', 'no child is left');
done_testing;
