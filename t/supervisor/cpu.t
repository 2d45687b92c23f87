# As many workers as there are CPUs for this process: affinity, and quotas of its control groups. Each case is a tree of
# files as a kernel shows them.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::CPU;
use File::Temp ();
use ForkTest;
use SystemFiles;
use Test2::V0;

sub usable { return EventLoop::Fork::Supervisor::CPU::usable(@_) }

pass 'the test library opens what it writes to';
my @before = open_fds();

sub with_files { return SystemFiles::with_files(\&usable, @_) }

sub allowed {
    return ('proc/self/status' => "Name:\tperl\nCpus_allowed:\tff\nCpus_allowed_list:\t$_[0]\nMems_allowed:\t1");
}
my $mount_new = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';
my $mount_old = '31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct';

subtest 'affinity' => sub {
    is with_files(allowed('0')), 1, 'one';
    is with_files(allowed('0-3')), 4, 'a range';
    is with_files(allowed('0-3,8,10-11')), 7, 'several';
    is with_files('proc/cpuinfo' => "processor\t: 0\nmodel : x\n\nprocessor\t: 1\n"), 2, 'an old kernel counts them';
};

subtest 'version 2' => sub {
    my @system = (allowed('0-7'), 'proc/self/mountinfo' => "1 0 8:1 / / rw - ext4 /dev/sda rw\n$mount_new");
    my %quota  = (
        'max 100000'    => 8,
        '200000 100000' => 2,
        '150000 100000' => 2,
        '10000 100000'  => 1,
        '900000 100000' => 8,
        '50000 25000'   => 2,
        'nonsense'      => 8,
    );
    for my $text (sort keys %quota) {
        is with_files(@system, 'proc/self/cgroup' => '0::/app', 'sys/fs/cgroup/app/cpu.max' => $text), $quota{$text},
            $text;
    }
    my @nested = (@system, 'proc/self/cgroup' => '0::/a.slice/b.service');
    is with_files(@nested, 'sys/fs/cgroup/a.slice/cpu.max' => '300000 100000'), 3, q(the parent's);
    is with_files(
        @nested,
        'sys/fs/cgroup/a.slice/cpu.max'           => '300000 100000',
        'sys/fs/cgroup/a.slice/b.service/cpu.max' => '500000 100000'
        ),
        3, 'the least of them';
    is with_files(@system, 'proc/self/cgroup' => '0::/', 'sys/fs/cgroup/cpu.max' => '200000 100000'), 2,
        'a container with a namespace of its own';
    is with_files(@system, 'proc/self/cgroup' => '0::/../other', 'sys/fs/cgroup/cpu.max' => '200000 100000'), 2,
        'a path outside of what is mounted';
    is with_files(@nested), 8, 'no quota at all';
};

subtest 'version 1' => sub {
    my @system = (
        allowed('0-7'),
        'proc/self/mountinfo' => $mount_old,
        'proc/self/cgroup'    => "5:memory:/m\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/x",
    );
    my $folder = 'sys/fs/cgroup/cpu,cpuacct';
    my $quota  = sub {
        my ($group, $quota) = @_;
        ("$folder$group/cpu.cfs_quota_us" => $quota, "$folder$group/cpu.cfs_period_us" => 100_000);
    };
    is with_files(@system, $quota->('/docker/abc', 250_000)), 3, 'its own';
    is with_files(@system, $quota->('/docker/abc', -1)), 8, 'none';
    is with_files(@system, $quota->('/docker', 100_000), $quota->('/docker/abc', -1)), 1, q(the parent's);
    my @inside = (
        @system,
        'proc/self/mountinfo' => '31 25 0:27 /docker/abc /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu'
    );
    is with_files(@inside, $quota->('', 400_000)), 4, 'in a container that sees its own part only';
};

subtest 'no /proc' => sub {
    local @EventLoop::Fork::Supervisor::CPU::COMMANDS =
        ([qw(no-such-command)], [ $^X, '-e', 'print "none"' ], [ $^X, '-e', 'print 5' ]);
    is with_files(), 5, 'a command says it';
    @EventLoop::Fork::Supervisor::CPU::COMMANDS = ();
    is with_files(), 1, 'or nothing does';
};

cmp_ok usable(), '>=', 1, 'this machine: ' . usable();

is [ open_fds() ], \@before, 'no descriptor is left';
is children_left(), '', 'no child is left';
done_testing;
