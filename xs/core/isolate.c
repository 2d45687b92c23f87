/* Isolation of inherited epoll instances. An epoll instance is one kernel object that parent and child share: what the
 * child adds or removes, the parent gains or loses. In the child each one is replaced, under its own number, by a fresh
 * and empty one; late calls of whichever library owns it then change nothing but the child. */
#include "epoll.h"
#include "internal.h"

#ifdef __linux__
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* For a full descriptor table: needs no descriptor. */
static bool is_epoll_by_name(int fd) {
    char path[40], target[40];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return false;
    target[length] = '\0';
    return strstr(target, "eventpoll") != NULL;
}

bool evf__is_epoll(int fd) {
    int probe_fd = epoll_create1(EPOLL_CLOEXEC);
    if (probe_fd < 0) return is_epoll_by_name(fd);
    bool is_epoll = evf_epoll_answers(fd, probe_fd);
    (void)close(probe_fd);
    return is_epoll;
}

int evf__isolate_one(int fd) {
    int flags = fcntl(fd, F_GETFD);
    if (flags < 0) return EVF_EBADF;
    flags = flags & FD_CLOEXEC ? O_CLOEXEC : 0;
    /* Closing first leaves a free number even in a full table. It does not touch the parent's instance. */
    (void)close(fd);
    int fresh_fd = epoll_create1(flags ? EPOLL_CLOEXEC : 0);
    if (fresh_fd < 0) return EVF_ESYSTEM;
    if (fresh_fd == fd) return 0;
    int rc = dup3(fresh_fd, fd, flags) < 0 ? EVF_ESYSTEM : 0;
    (void)close(fresh_fd);
    return rc;
}

struct linux_dirent64 {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

/* Replacing does not change which numbers are open, so the directory may be read on meanwhile. */
static int isolate_open_ones(int dir_fd, int probe_fd) {
    _Alignas(struct linux_dirent64) char buffer[4096];
    int count = 0;
    long length;
    while ((length = syscall(SYS_getdents64, dir_fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < length;) {
            const struct linux_dirent64 *entry = (const void *)(buffer + at);
            at += entry->length;
            if (entry->name[0] < '0' || entry->name[0] > '9') continue;
            int fd = atoi(entry->name);
            if (evf_epoll_answers(fd, probe_fd) && evf__isolate_one(fd) == 0) count++;
        }
    }
    return count;
}

static int isolate_in_full_table(void) {
    struct rlimit limit;
    int count = 0, last = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)last) last = (int)limit.rlim_cur;
    for (int fd = 3; fd < last; fd++) {
        if (is_epoll_by_name(fd) && evf__isolate_one(fd) == 0) count++;
    }
    return count;
}

int evf__isolate_all(void) {
    int probe_fd = epoll_create1(EPOLL_CLOEXEC);
    int dir_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int count = probe_fd < 0 || dir_fd < 0 ? isolate_in_full_table() : isolate_open_ones(dir_fd, probe_fd);
    if (dir_fd >= 0) (void)close(dir_fd);
    if (probe_fd >= 0) (void)close(probe_fd);
    return count;
}

#else /* kqueues do not survive a fork: there is nothing to share */

bool evf__is_epoll(int fd) {
    (void)fd;
    return true;
}

int evf__isolate_one(int fd) {
    (void)fd;
    return 0;
}

int evf__isolate_all(void) {
    return 0;
}
#endif
