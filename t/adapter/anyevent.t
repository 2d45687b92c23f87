# AnyEvent around a fork, on its own loop and on EV: signals and children in a child, condition variables in a child
# that was forked in a callback, and destructors of what it has inherited.
use strict;
use warnings;

use lib 't/lib';
use AdapterTest;
use ForkTest qw(children_left control);
use Test2::V0;

my $prelude = <<'PERL';
    use strict; use warnings;
    use POSIX ();
    my ($model, $way);
    BEGIN { ($model, $way) = @ARGV; $ENV{PERL_ANYEVENT_MODEL} = $model }
    use AnyEvent;
    alarm 60;
    AnyEvent::detect();
    # False: it was not so in time.
    sub until_so (&;$) {
        my ($so, $seconds) = @_;
        my $is_late = 0;
        my $late = AnyEvent->timer(after => $seconds || 20, cb => sub { $is_late = 1 });
        my $tick = AnyEvent->timer(after => 0.01, interval => 0.01, cb => sub { });
        AnyEvent->_poll until $so->() || $is_late;
        return !$is_late;
    }
    # Runs the code in a child, and returns what it says.
    sub in_child {
        my ($code) = @_;
        pipe my $report, my $to or die;
        my $inner = sub { alarm 60; syswrite $to, join '', eval { $code->(@_) }, $@; return 0 };
        if ($way eq 'ours') {
            my $status;
            EventLoop::Fork->fork(loop => 'AnyEvent', code => $inner, on_exit => sub { $status = $_[1] });
            until_so { defined $status };
        }
        else {
            my $pid = fork // die;
            if (!$pid) { $inner->(); POSIX::_exit(0) }
            waitpid $pid, 0;
        }
        close $to;
        return readline($report) // '';
    }
PERL
my $ours = "BEGIN { require EventLoop::Fork } $prelude";

# Programs with what ours says, and, for those that have one, with what the plain fork says wrong.
my %programs = (
    'a signal of the child is heard there, and only there' => {
        expected => "child 1, parent 0, then 1\n",
        program  => <<'PERL',
            my $heard = 0;
            my $watcher = AnyEvent->signal(signal => 'USR1', cb => sub { $heard++ });
            until_so { 0 } 0.02;
            my $said = in_child(sub {
                my $own = 0;
                my $other = AnyEvent->signal(signal => 'USR1', cb => sub { $own++ });
                kill USR1 => $$;
                until_so { $own } 5;
                return "child $own";
            });
            until_so { $heard } 0.3;
            print "$said, parent $heard";
            $heard = 0;
            kill USR1 => $$;
            until_so { $heard };
            print ", then $heard\n";
PERL
    },
    'a child can watch its children' => {
        expected => "exit 7\n",
        program  => <<'PERL',
            my $watcher = AnyEvent->child(pid => 999_999, cb => sub { });
            my $handler = AnyEvent->signal(signal => 'USR2', cb => sub { });
            print in_child(sub {
                undef $_ for $watcher, $handler;
                my $pid = fork // die;
                POSIX::_exit(7) if !$pid;
                my $status;
                my $own = AnyEvent->child(pid => $pid, cb => sub { $status = $_[1] >> 8 });
                until_so { defined $status };
                return "exit $status";
            }), "\n";
PERL
    },
    'a child that is forked in a callback can wait for a condition' => {
        expected => "received 5\n",
        wrong    => { Perl => qr/recursive blocking wait/, EV => qr/recursive blocking wait/ },
        program  => <<'PERL',
            my $done = AnyEvent->condvar;
            my $said;
            my $start = AnyEvent->timer(after => 0, cb => sub {
                my $wait = sub {
                    my $own   = AnyEvent->condvar;
                    my $timer = AnyEvent->timer(after => 0.01, cb => sub { $own->send(5) });
                    return 'received ' . $own->recv;
                };
                $said = in_child($wait);
                $done->send;
            });
            $done->recv;
            print "$said\n";
PERL
    },
    'timers and idle watchers of the parent are not called in the child' => {
        expected => "child 0, parent 3\n",
        wrong    => { Perl => qr/child [1-9]/, EV => qr/child [1-9]/ },
        program  => <<'PERL',
            my $calls = 0;
            my ($idle, @watchers);
            $idle = AnyEvent->idle(cb => sub { $calls++; undef $idle });
            push @watchers, AnyEvent->timer(after => 0.01, cb => sub { $calls++ });
            AnyEvent::postpone { $calls++ };
            my $before = $calls;
            my $said = in_child(sub { until_so { 0 } 0.2; return 'child ' . ($calls - $before) });
            until_so { $calls == 3 };
            print "$said, parent $calls\n";
PERL
    },
    'a watcher that ends in the child takes nothing from a new one there' => {
        expected => "read 1, heard 1\n",
        program  => <<'PERL',
            pipe my $reader, my $writer or die;
            my $io     = AnyEvent->io(fh => $reader, poll => 'r', cb => sub { });
            my $signal = AnyEvent->signal(signal => 'USR1', cb => sub { });
            until_so { 0 } 0.02;
            print in_child(sub {
                pipe my $r, my $w or die;
                POSIX::dup2(fileno $r, fileno $reader);
                my ($read, $heard) = (0, 0);
                my $own   = AnyEvent->io(fh => $reader, poll => 'r', cb => sub { sysread $reader, my $byte, 1; $read++ });
                my $other = AnyEvent->signal(signal => 'USR1', cb => sub { $heard++ });
                undef $_ for $io, $signal;
                syswrite $w, 'x';
                kill USR1 => $$;
                until_so { $read && $heard } 5;
                return "read $read, heard $heard";
            }), "\n";
PERL
    },
);

for my $model (qw(Perl EV)) {
    my @modules = ('AnyEvent', $model eq 'EV' ? 'EV' : ());
    my ($missing) = grep { !defined ForkTest::has_version($_) } @modules;
    for my $name (sort keys %programs) {
        my $case  = $programs{$name};
        my $wrong = $case->{wrong}{$model};
        control("$model: $name", \@modules, $wrong, "$prelude $case->{program}", $model, 'plain') if $wrong;
    SKIP: {
            skip("$model: $missing is not installed", 1) if defined $missing;
            program_says("$model: $name", $case->{expected}, "$ours $case->{program}", $model, 'ours');
        }
    }
}

# The tables of the pure-perl loop are looked up by name. An AnyEvent that has others is reported, and the fork goes on.
my $changed = <<'PERL';
    no warnings 'redefine';
    *EventLoop::Fork::Adapter::AnyEvent::_tables = sub { die "AnyEvent::Loop has no \@fds\n" };
    print in_child(sub { 'goes on' }), "\n";
PERL
SKIP: {
    skip('AnyEvent is not installed', 1) unless defined ForkTest::has_version('AnyEvent');
    my $result =
        ForkTest::run_program("BEGIN { require EventLoop::Fork::Adapter::AnyEvent } $ours $changed", 'Perl', 'ours');
    is($result->{stdout}, "goes on\n", 'with an unknown AnyEvent the child runs');
    like($result->{stderr}, qr/EventLoop::Fork: .*AnyEvent->renew.*has no \@fds/, 'and what is missing is reported');
}

is(children_left(), '', 'no child is left');

done_testing;
