# IO::Async's own loop classes around a fork: what they share with a child by themselves, and no longer do.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use ForkTest qw(children_left control);
use Test2::V0;

my $prelude = <<'PERL';
    use strict; use warnings;
    use POSIX ();
    use IO::Async::Loop;
    use Time::HiRes ();
    alarm 60;
    my ($class, $way) = @ARGV;
    eval "require $class; 1" or die $@;
    my $loop = $class->new;
    my $end = Time::HiRes::time() + 20;
    # Turns until it is so.
    sub until_so (&) { my ($so) = @_; until ($so->() || Time::HiRes::time() > $end) { $loop->loop_once(0.02) } return }
    sub until_read { sysread $_[0], my $byte, 1; return $byte }
    # A child that runs the code when it is released; that gives its status.
    sub child_does {
        my ($how, $code) = @_;
        pipe my $ready, my $tell or die;
        pipe my $go, my $release or die;
        my $status;
        my $body = sub { close $release; alarm 60; syswrite $tell, 'r'; until_read($go); $code->(); return 0 };
        my $pid = $how->($body, sub { $status = $_[1] });
        close $go; close $tell;
        until_read($ready);
        return ($pid, sub { close $release; until_so { defined $status }; return $status });
    }
    sub with_loop { my ($code, $on_exit) = @_; return $loop->fork(code => $code, on_exit => $on_exit) }
    sub with_us {
        my ($code, $on_exit) = @_;
        return EventLoop::Fork->fork(loop => $loop, code => $code, on_exit => $on_exit)->pid;
    }
PERL
my $ours = "BEGIN { require EventLoop::Fork } $prelude";

# ---- Signals to a child ---------------------------------------------------------------------------------------------

# Sent at once, when the handlers of the parent may still be there.
my $phantom = <<'PERL';
    my $heard = 0;
    $loop->watch_signal(USR1 => sub { $heard++ });
    for (1 .. 100) {
        my $ended;
        my $pid = main->can($way)->(sub { return 0 }, sub { $ended = 1 });
        kill USR1 => $pid;
        until_so { $ended };
    }
    until_so { 1 };
    print $heard ? 'phantoms' : 'none', "\n";
PERL

# Whoever ends a turn of Glib's writes to an eventfd.
my $wakeups = <<'PERL';
    $loop->loop_once(0);
    sub eventfds { return grep { (readlink "/proc/self/fd/$_" // '') =~ /eventfd/ } 0 .. 63 }
    sub written {
        my $sum = 0;
        for my $fd (eventfds()) {
            open my $info, '<', "/proc/self/fdinfo/$fd" or die;
            $sum += hex $_ for map { /^eventfd-count:\s*([0-9a-f]+)/ ? $1 : () } readline $info;
        }
        return $sum;
    }
    pipe my $reader, my $writer or die;
    my $ended;
    my $code = sub {
        POSIX::write($_, pack('Q', 1000), 8) for eventfds();    # Glib itself writes 1
        syswrite $writer, written() >= 1000 ? 'written' : 'lost';
        return 0;
    };
    if   ($way eq 'raw') { my $pid = fork // die; POSIX::_exit($code->()) if !$pid; $ended = 1 }
    else                 { main->can($way)->($code, sub { $ended = 1 }) }
    close $writer;
    print readline($reader), ', ', written() >= 1000 ? 'shared' : 'private', "\n";
    until_so { $ended };
    1 until wait < 0;
PERL

# A handler that the child keeps must not write to the pipe of the parent.
my $kept_handler = <<'PERL';
    my $heard = 0;
    $loop->watch_signal(USR1 => sub { $heard++ });
    my $ended;
    my %how = (
        with_loop => sub { my ($code) = @_; $loop->fork(code => $code, keep_signals => 1, on_exit => sub { $ended = 1 }) },
        with_us   => sub {
            my ($code) = @_;
            EventLoop::Fork->fork(loop => $loop, code => $code, keep_signals => 1, on_exit => sub { $ended = 1 });
        },
    );
    $how{$way}->(sub { kill USR1 => $$; return 0 });
    until_so { $ended };
    $loop->loop_once(0) for 1 .. 5;
    print $heard ? 'phantoms' : 'none', "\n";
PERL

for my $class (map { "IO::Async::Loop::$_" } qw(Poll Select)) {
    control("$class: signals to children", [$class], qr/phantoms/, "$prelude $phantom", $class, 'with_loop');
    program_says("$class: signals to children are theirs", "none\n", "$ours $phantom", $class, 'with_us');
    control("$class: with keep_signals", [$class], qr/phantoms/, "$prelude $kept_handler", $class, 'with_loop');
    program_says("$class: with keep_signals, too", "none\n", "$ours $kept_handler", $class, 'with_us');
}

# ---- Loop::Epoll ----------------------------------------------------------------------------------------------------

my $blocked = <<'PERL';
    $loop->watch_signal(TERM => sub { });
    my ($pid, $release) = child_does(main->can($way), sub { });
    kill TERM => $pid;
    # A child that lives goes on from here, and ends by itself.
    my $status = $release->();
    print !defined $status ? 'nothing' : $status == POSIX::SIGTERM() ? 'ends' : $status ? "status $status" : 'lives', "\n";
PERL
my $epoll     = 'IO::Async::Loop::Epoll';
my $has_epoll = defined ForkTest::has_version($epoll);

control('a child of Loop::Epoll cannot be ended', [$epoll], qr/lives/, "$prelude $blocked", $epoll, 'with_loop');

my $post_fork = <<'PERL';
    pipe my $reader, my $writer or die;
    my ($read, $heard) = (0, 0);
    $loop->watch_io(handle => $reader, on_read_ready => sub { until_read($reader); $read++ });
    $loop->watch_signal(USR1 => sub { $heard++ });
    $loop->loop_once(0);
    pipe my $report, my $to or die;
    my $goes_on = sub {
        $end = Time::HiRes::time() + ($way eq 'plain' ? 1 : 20);
        # A pipe of its own under the number of its parent's.
        pipe my $own, my $own_writer or die;
        POSIX::dup2(fileno $own, fileno $reader); POSIX::dup2(fileno $own_writer, fileno $writer);
        eval { $loop->post_fork } if $way eq 'plain';
        eval { EventLoop::Fork::Adapter::IOAsync->rearm(undef, 'raw') } if $way ne 'plain';
        syswrite $writer, 'x';
        kill USR1 => $$;
        until_so { $read && $heard };
        my $unwatched = eval { $loop->unwatch_io(handle => $reader, on_read_ready => 1); 1 } ? 'unwatched' : $@;
        syswrite $to, "read $read, signals $heard, $unwatched\n";
    };
    if ($way eq 'keep') {
        my $ended;
        EventLoop::Fork->fork(loop => $loop, loop_in_child => 'keep', code => sub { $goes_on->(); 0 },
            on_exit => sub { $ended = 1 });
        until_so { $ended };
    }
    else {
        my $pid = fork // die;
        if (!$pid) { $goes_on->(); POSIX::_exit(0) }
        waitpid $pid, 0;
    }
    close $to;
    print readline $report;
    syswrite $writer, 'y';
    kill USR1 => $$;
    until_so { $read && $heard };
    print "parent: read $read, signals $heard\n";
PERL

control('post_fork of Loop::Epoll loses the watches', [$epoll], qr/^read 0/, "$prelude $post_fork", $epoll, 'plain');
SKIP: {
    skip('IO::Async::Loop::Epoll is not installed', 3) unless $has_epoll;
    program_says('a child of ours ends', "ends\n", "$ours $blocked", $epoll, 'with_us');
    program_says(
        "after a $_ fork its watches go on",
        "read 1, signals 1, unwatched\nparent: read 1, signals 1\n",
        "BEGIN { require EventLoop::Fork; require EventLoop::Fork::Adapter::IOAsync } $prelude $post_fork", $epoll, $_
    ) for qw(raw keep);
}

# ---- Which loop a child gets ----------------------------------------------------------------------------------------

my $same_class = <<'PERL';
    pipe my $report, my $to or die;
    my $ended;
    main->can($way)->(
        sub {
            my ($self) = @_;
            my $new = IO::Async::Loop->new;
            syswrite $to, ref($new) . ($new == $loop ? ' the same' : ' another') . ($way eq 'with_us' && $self->loop == $new ? ', is $self->loop' : '');
            return 0;
        },
        sub { $ended = 1 }
    );
    until_so { $ended };
    close $to;
    print readline($report), "\n";
PERL
control(
    'a wake-up of Glib in the child is one in the parent', ['IO::Async::Loop::Glib'], qr/^written, shared/,
    "$prelude $wakeups", 'IO::Async::Loop::Glib', 'with_loop'
);
SKIP: {
    skip('IO::Async::Loop::Glib is not installed', 1) unless defined ForkTest::has_version('IO::Async::Loop::Glib');
    program_says(
        "a wake-up of Glib in the child is its own, $_", "written, private\n", "$ours $wakeups",
        'IO::Async::Loop::Glib', $_
    ) for qw(with_us raw);
}
control(
    'a child of Loop::Select gets another class', ['IO::Async::Loop::Select'],
    qr/IO::Async::Loop::(?!Select)/, "$prelude $same_class", 'IO::Async::Loop::Select', 'with_loop'
);
for my $class (map { "IO::Async::Loop::$_" } qw(Poll Select Epoll Glib Mojo)) {
SKIP: {
        skip("$class is not installed", 1) unless defined ForkTest::has_version($class);
        program_says(
            "$class: so does the child", "$class another, is \$self->loop\n", "$ours $same_class", $class,
            'with_us'
        );
    }
}

# ---- Destructors ----------------------------------------------------------------------------------------------------

my $raw = <<'PERL';
    sub with_raw_fork {
        my ($code, $on_exit) = @_;
        my $pid = fork // die;
        if (!$pid) { undef $IO::Async::Loop::ONE_TRUE_LOOP; $code->(); POSIX::_exit(0) }
        waitpid $pid, 0;
        $on_exit->();
    }
PERL
my $destroyed = <<'PERL';
    { package Loud; sub new { bless [] } sub DESTROY { POSIX::write($_[0][0], "destroyed in a child\n", 21) if $$ != $main::parent } }
    our $parent = $$;
    pipe my $report, my $to or die;
    pipe my $reader, my $writer or die;
    {
        my @loud = map { Loud->new } 1 .. 3;
        $_->[0] = fileno $to for @loud;
        my ($one, $other, $third) = @loud;
        $loop->watch_time(after => 100, code => sub { $one });
        $loop->watch_io(handle => $reader, on_read_ready => sub { $other });
        $loop->watch_signal(USR2 => sub { $third });
    }
    my $ended;
    main->can($way)->(sub { IO::Async::Loop->new->loop_once(0); undef $loop; return 0 }, sub { $ended = 1 });
    until_so { $ended };
    close $to;
    print "children destroy: ", join('', readline $report), "\n";
PERL
for my $class (map { "IO::Async::Loop::$_" } qw(Poll Select Epoll)) {
SKIP: {
        skip("$class is not installed", 1) unless defined ForkTest::has_version($class);
        program_says(
            "$class: what the loop holds is not destroyed in the child", "children destroy: \n",
            "$ours $destroyed", $class, 'with_us'
        );
    }
}
control(
    'a child that drops the loop destroys what it holds', ['IO::Async::Loop::Poll'], qr/destroyed in a child/,
    "$prelude $raw $destroyed", 'IO::Async::Loop::Poll', 'with_raw_fork'
);

is(children_left(), '', 'no child is left');

# A kept loop stays the one that IO::Async->new gives, whether or not the adapters are loaded already.
for my $module (qw(EventLoop::Fork EventLoop::Fork::Adapter)) {
    ForkTest::has_module('IO::Async::Loop::Libev') or last;
    my $result = ForkTest::run_program(<<'PROGRAM', $module);
        use IO::Async::Loop::Libev;
        use EventLoop::Fork;
        (my $file = shift) =~ s{::}{/}g;
        require "$file.pm";
        $| = 1;
        my $loop = IO::Async::Loop::Libev->new;
        EventLoop::Fork->fork(
            loop          => $loop,
            loop_in_child => 'keep',
            code          => sub { print $_[0]->loop == IO::Async::Loop->new ? 'the same' : 'another'; 0 },
            on_exit       => sub { $loop->stop },
        );
        $loop->run;
PROGRAM
    is $result->{stdout}, 'the same', "$module is loaded: a kept loop of ours is still the singleton";
}

done_testing;
