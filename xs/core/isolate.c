/* Isolation of inherited kernel objects. An epoll instance is one object that parent and child share: what the child
 * adds or removes, the parent gains or loses. In the child each one is replaced, under its own number, by a fresh and
 * empty one; late calls of whichever library owns it then change nothing but the child. The numbers of kqueues, which
 * do not come along, are kept taken. io_uring rings can only be found. Single descriptors are disowned on request. */
#include "epoll.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#endif

/* Something else under the same number, close-on-exec as before. */
static int replace(int fd, int (*make)(void)) {
    const int flags = fcntl(fd, F_GETFD);
    if (flags < 0) return EVF_EBADF;
    /* Closing first leaves a free number even in a full table. It does not touch what others share. */
    (void)close(fd);
    const int fresh_fd = make();
    if (fresh_fd < 0) return EVF_ESYSTEM;
    if (fresh_fd != fd) {
        const int copy = dup2(fresh_fd, fd);
        (void)close(fresh_fd);
        if (copy < 0) return EVF_ESYSTEM;
    }
    return fcntl(fd, F_SETFD, flags) < 0 ? EVF_ESYSTEM : 0;
}

static int make_dead_socket(void) {
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

int evf_disown_fd(int fd) {
    return replace(fd, make_dead_socket);
}

#ifdef __linux__
static int make_eventfd(void) {
    return eventfd(0, 0);
}

int evf_renew_eventfd(int fd) {
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0) return EVF_EBADF;
    const int rc = replace(fd, make_eventfd);
    if (rc < 0) return rc;
    return fcntl(fd, F_SETFL, flags) < 0 ? EVF_ESYSTEM : 0;
}
#else
int evf_renew_eventfd(int fd) {
    (void)fd;
    return EVF_ENOTSUP;
}
#endif

#ifdef __linux__
/* ---- Finding them ------------------------------------------------------------------------------------------- */

/* True if it is what is looked for; errno is EBADF after false if the number is not open. */
typedef bool (*is_wanted_fn)(int fd, int probe_fd);

struct found {
    int *fds;
    size_t count, size;
};

static struct found inherited; /* collected in the parent: a new process's /proc is slow to open */
static struct found rings;

static int remember(struct found *found, int fd) {
    if (found->count == found->size) {
        size_t size = found->size ? found->size * 2 : 16;
        int *bigger = realloc(found->fds, size * sizeof *bigger);
        if (bigger == NULL) return EVF_ENOMEM;
        found->fds = bigger;
        found->size = size;
    }
    found->fds[found->count++] = fd;
    return 0;
}

/* How many descriptors are open; Linux 6.2 tells it as the size of the directory. 0: unknown. */
static size_t count_open(void) {
    struct stat st;
    return stat("/proc/self/fd", &st) == 0 && st.st_size > 0 ? (size_t)st.st_size : 0;
}

/* Asks each number until all open ones have answered. EVF_ENOTSUP: they lie too far apart for that. */
static int collect_by_number(struct found *found, is_wanted_fn is_wanted, size_t open_count, int probe_fd) {
    int free_count = 0;
    for (int fd = 0; open_count > 0; fd++) {
        if (fd == probe_fd || evf__processes_own_fd(fd)) { /* spares a call each */
            open_count--;
        } else if (is_wanted(fd, probe_fd)) {
            if (remember(found, fd) < 0) return EVF_ENOMEM;
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

static int collect_by_directory(struct found *found, is_wanted_fn is_wanted, int probe_fd) {
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
            if (!evf__processes_own_fd(fd) && is_wanted(fd, probe_fd)) rc = remember(found, fd);
        }
    }
    (void)close(dir_fd);
    return rc;
}

static int collect(struct found *found, is_wanted_fn is_wanted, int probe_fd) {
    const size_t open_count = count_open();
    found->count = 0;
    int rc = open_count > 0 ? collect_by_number(found, is_wanted, open_count, probe_fd) : EVF_ENOTSUP;
    if (rc != EVF_ENOTSUP) return rc;
    found->count = 0;
    return collect_by_directory(found, is_wanted, probe_fd);
}

/* ---- epoll -------------------------------------------------------------------------------------------------- */

static int collect_in_full_table(void) {
    struct rlimit limit;
    int last = 65536;
    inherited.count = 0;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)last) last = (int)limit.rlim_cur;
    for (int fd = 0; fd < last; fd++) {
        if (evf_epoll_is_named(fd) && remember(&inherited, fd) < 0) return EVF_ENOMEM;
    }
    return 0;
}

int evf__isolate_prepare(void) {
    int probe_fd = epoll_create1(EPOLL_CLOEXEC);
    if (probe_fd < 0) return collect_in_full_table();
    int rc = collect(&inherited, evf_epoll_answers, probe_fd);
    (void)close(probe_fd);
    return rc == EVF_ESYSTEM ? collect_in_full_table() : rc;
}

static int make_epoll(void) {
    return epoll_create1(0);
}

int evf__isolate_all(void) {
    int count = 0, probe_fd = inherited.count > 0 ? epoll_create1(EPOLL_CLOEXEC) : -1;
    for (size_t i = 0; i < inherited.count; i++) {
        /* Those of our loops are closed already, and their numbers may be somebody's new files. */
        int fd = inherited.fds[i];
        bool is_epoll = probe_fd < 0 ? evf_epoll_is_named(fd) : evf_epoll_answers(fd, probe_fd);
        if (is_epoll && replace(fd, make_epoll) == 0) count++;
    }
    if (probe_fd >= 0) (void)close(probe_fd);
    inherited.count = 0;
    return count;
}

/* ---- io_uring ----------------------------------------------------------------------------------------------- */

#ifndef SYS_io_uring_enter
#define SYS_io_uring_enter 426 /* the same on every architecture but alpha */
#endif

/* Asks to submit nothing: EOPNOTSUPP is the answer of what is no ring (io_uring_enter(2)). EBADFD: a disabled one. */
static bool is_ring(int fd, int probe_fd) {
    (void)probe_fd;
    return syscall(SYS_io_uring_enter, fd, 0, 0, 0, NULL, 0) >= 0 || errno == EBADFD;
}

static bool kernel_has_rings(void) {
    static signed char answer = -1;
    if (answer < 0) answer = is_ring(-1, -1) || errno == EBADF; /* not ENOSYS, nor a filter's EPERM */
    return answer != 0;
}

size_t evf_fork_find_rings(int *fds, size_t size) {
    static size_t looked_at; /* so many were open, and no ring among them: not worth another look */
    if (!kernel_has_rings()) return 0;
    const size_t open_count = count_open();
    if (open_count > 0 && open_count == looked_at) return 0;
    if (collect(&rings, is_ring, -1) < 0) return 0;
    looked_at = rings.count == 0 ? open_count : 0;
    for (size_t i = 0; i < rings.count && i < size; i++) fds[i] = rings.fds[i];
    return rings.count;
}

#elif defined(__FreeBSD__) || defined(__NetBSD__) || defined(__OpenBSD__) || defined(__DragonFly__) ||                 \
    defined(__APPLE__)
#include <sys/event.h>
#include <sys/time.h>

/* A kqueue does not survive a fork (kqueue(2)): in the child its number is free, and what is opened next gets it. The
 * library that owned it does not know, and would close or change somebody's file. So the number is taken by a fresh,
 * empty one. */
enum { MOST_NUMBERS = 256, WIDEST_GAP = 1024 };

static int numbers[MOST_NUMBERS];
static size_t numbers_count;

/* Asks for no event: what is no kqueue answers EBADF. */
static bool is_kqueue(int fd) {
    const struct timespec at_once = {0, 0};
    return kevent(fd, NULL, 0, NULL, 0, &at_once) == 0;
}

int evf__isolate_prepare(void) {
    numbers_count = 0;
    for (int fd = 0, gap = 0; gap < WIDEST_GAP && numbers_count < MOST_NUMBERS; fd++) {
        if (is_kqueue(fd)) {
            numbers[numbers_count++] = fd;
            gap = 0;
        } else {
            gap = fcntl(fd, F_GETFD) < 0 ? gap + 1 : 0;
        }
    }
    return 0;
}

static int occupy(int fd) {
    if (fcntl(fd, F_GETFD) >= 0) return EVF_EEXIST; /* somebody's new file */
    const int fresh_fd = kqueue();
    if (fresh_fd < 0) return EVF_ESYSTEM;
    if (fresh_fd != fd) {
        const int copy = dup2(fresh_fd, fd);
        (void)close(fresh_fd);
        if (copy < 0) return EVF_ESYSTEM;
    }
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? EVF_ESYSTEM : 0;
}

int evf__isolate_all(void) {
    int count = 0;
    for (size_t i = 0; i < numbers_count; i++) count += occupy(numbers[i]) == 0;
    numbers_count = 0;
    return count;
}

size_t evf_fork_find_rings(int *fds, size_t size) {
    (void)fds, (void)size;
    return 0;
}

#else /* neither epoll nor kqueue: nothing is shared */

int evf__isolate_prepare(void) {
    return 0;
}

int evf__isolate_all(void) {
    return 0;
}

size_t evf_fork_find_rings(int *fds, size_t size) {
    (void)fds, (void)size;
    return 0;
}
#endif
