# How much memory there is: that of the machine, and limits of control groups. Each case is a tree of files as a kernel shows
# them. And an option that is a part of it.
use strict;
use warnings;

use lib 't/lib';
use EventLoop::Fork::Supervisor::Memory;
use EventLoop::Fork::Supervisor::Options;
use SystemFiles;
use Test2::V0;

use constant GIGABYTE => 2**30;

sub usable {
    my (%files) = @_;
    return SystemFiles::with_files(\&EventLoop::Fork::Supervisor::Memory::usable, %files);
}

my @machine   = ('proc/meminfo' => "MemTotal:        8388608 kB\nMemFree:          123456 kB");
my $mount_new = '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';
my $mount_old = '31 25 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory';

is(usable(@machine), 8 * GIGABYTE, 'that of the machine');
is(usable(), undef, 'not known');

subtest 'version 2' => sub {
    my @system = (@machine, 'proc/self/mountinfo' => $mount_new, 'proc/self/cgroup' => '0::/a.slice/b.service');
    my $group  = 'sys/fs/cgroup/a.slice';
    is(usable(@system, "$group/b.service/memory.max" => 2 * GIGABYTE), 2 * GIGABYTE, 'of the group');
    is(usable(@system, "$group/memory.max"           => 3 * GIGABYTE), 3 * GIGABYTE, 'of the one above');
    is(
        usable(@system, "$group/memory.max" => GIGABYTE, "$group/b.service/memory.max" => 2 * GIGABYTE),
        GIGABYTE, 'the least of them'
    );
    is(usable(@system, "$group/b.service/memory.max" => 'max'), 8 * GIGABYTE, 'no limit');
    is(usable(@system, "$group/b.service/memory.max" => 64 * GIGABYTE), 8 * GIGABYTE, 'more than there is');
};

subtest 'version 1' => sub {
    my @system = (@machine, 'proc/self/mountinfo' => $mount_old, 'proc/self/cgroup' => "5:memory:/m\n4:cpu:/c");
    my $limit  = 'sys/fs/cgroup/memory/m/memory.limit_in_bytes';
    is(usable(@system, $limit => GIGABYTE), GIGABYTE, 'of the group');
    is(usable(@system, $limit => '9223372036854771712'), 8 * GIGABYTE, 'no limit');
};

subtest 'max_rss as a part of it' => sub {
    my $whole = EventLoop::Fork::Supervisor::Memory::usable();
    plan skip_all => 'this system does not tell' if !defined $whole;
    ok($whole > 2**20, 'this system tells');
    my $check = sub {
        EventLoop::Fork::Supervisor::Options::check(worker => sub { }, max_rss => $_[0])->{max_rss};
    };
    is($check->('50%'), int $whole * 0.5, 'a half');
    is($check->('100%'), $whole, 'all of it');
    for my $value ('0%', '101%', '5.5%', '-1%', '%') {
        like(
            dies { $check->($value) },
            qr/'max_rss' is '\Q$value\E'; accepted is .* 2G, a part of the memory there is such as 20%, from 1M/,
            "not $value"
        );
    }
    no warnings 'redefine';
    local *EventLoop::Fork::Supervisor::Memory::usable = sub { undef };
    like(dies { $check->('50%') }, qr/such as 512M or 2G, from 1M/, 'where the system does not tell');
};

done_testing;
