/* Isolation of inherited epoll instances. An epoll instance is one kernel object that parent and child share: what the
 * child adds or removes, the parent gains or loses. In the child each one is replaced, under its own number, by a fresh
 * and empty one; late calls of whichever library owns it then change nothing but the child. */
#include "epoll.h"
#include "internal.h"

#ifdef __linux__
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int replace(int fd) {
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

/* ---- All of them -------------------------------------------------------------------------------------------- */

static int *inherited; /* collected in the parent: a new process's /proc is slow to open */
static size_t inherited_count, inherited_size;

static int remember(int fd) {
    if (inherited_count == inherited_size) {
        size_t size = inherited_size ? inherited_size * 2 : 16;
        int *bigger = realloc(inherited, size * sizeof *bigger);
        if (bigger == NULL) return EVF_ENOMEM;
        inherited = bigger;
        inherited_size = size;
    }
    inherited[inherited_count++] = fd;
    return 0;
}

/* How many descriptors are open; Linux 6.2 tells it as the size of the directory. 0: unknown. */
static size_t count_open(void) {
    struct stat st;
    return stat("/proc/self/fd", &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
}

/* Asks each number until all open ones have answered. EVF_ENOTSUP: they lie too far apart for that. */
static int collect_by_number(size_t open_count, int probe_fd) {
    int free_count = 0;
    for (int fd = 0; open_count > 0; fd++) {
        if (fd == probe_fd || evf__processes_own_fd(fd)) { /* spares a call each */
            open_count--;
        } else if (evf_epoll_answers(fd, probe_fd)) {
            if (remember(fd) < 0) return EVF_ENOMEM;
            open_count--;
        } else if (errno != EBADF) {
            open_count--;
        } else if (++free_count > 32) {
            return EVF_ENOTSUP;
        }
    }
    return 0;
}

struct linux_dirent64 {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static int collect_by_directory(int probe_fd) {
    _Alignas(struct linux_dirent64) char buffer[4096];
    long length;
    int rc = 0, dir_fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) return EVF_ESYSTEM;
    while (rc == 0 && (length = syscall(SYS_getdents64, dir_fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < length && rc == 0;) {
            const struct linux_dirent64 *entry = (const void *)(buffer + at);
            at += entry->length;
            if (entry->name[0] < '0' || entry->name[0] > '9') continue;
            int fd = atoi(entry->name);
            if (!evf__processes_own_fd(fd) && evf_epoll_answers(fd, probe_fd)) rc = remember(fd);
        }
    }
    (void)close(dir_fd);
    return rc;
}

static int collect_in_full_table(void) {
    struct rlimit limit;
    int last = 65536;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)last) last = (int)limit.rlim_cur;
    for (int fd = 0; fd < last; fd++) {
        if (evf_epoll_is_named(fd) && remember(fd) < 0) return EVF_ENOMEM;
    }
    return 0;
}

int evf__isolate_prepare(void) {
    inherited_count = 0;
    size_t open_count = count_open();
    int probe_fd = epoll_create1(EPOLL_CLOEXEC);
    if (probe_fd < 0) return collect_in_full_table();
    int rc = open_count > 0 ? collect_by_number(open_count + 1, probe_fd) : EVF_ENOTSUP;
    if (rc == EVF_ENOTSUP) {
        inherited_count = 0;
        rc = collect_by_directory(probe_fd);
    }
    (void)close(probe_fd);
    return rc == EVF_ESYSTEM ? collect_in_full_table() : rc;
}

int evf__isolate_all(void) {
    int count = 0, probe_fd = inherited_count > 0 ? epoll_create1(EPOLL_CLOEXEC) : -1;
    for (size_t i = 0; i < inherited_count; i++) {
        /* Those of our loops are closed already, and their numbers may be somebody's new files. */
        int fd = inherited[i];
        bool is_epoll = probe_fd < 0 ? evf_epoll_is_named(fd) : evf_epoll_answers(fd, probe_fd);
        if (is_epoll && replace(fd) == 0) count++;
    }
    if (probe_fd >= 0) (void)close(probe_fd);
    inherited_count = 0;
    return count;
}

#else /* kqueues do not survive a fork: there is nothing to share */

int evf__isolate_prepare(void) {
    return 0;
}

int evf__isolate_all(void) {
    return 0;
}
#endif
