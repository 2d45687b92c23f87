/* The descriptor that ends a wait from a signal handler: an eventfd, or a pipe where there is none. One for the
 * process, private to it: in a child it is closed before anything else can run, and opened anew when it is needed.
 * Loops of several threads may wait on it at a time, and each wake-up is for all of them: it stays readable until each
 * has noticed. A second one, made when it is asked for, is for the owners of loops that are not ours. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

/* [0] is read by loops, [1] is written by handlers; the same number for an eventfd. */
static atomic_int wake_fds[2] = {-1, -1};
static atomic_int waits;    /* loops that wait */
static atomic_uint wakeups; /* written so far; wraps without harm */

int evf__pipe_open(int ret_fds[2]) {
    int fds[2];
#ifdef __linux__
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0) return EVF_ESYSTEM;
#else
    if (pipe(fds) < 0) return EVF_ESYSTEM;
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fds[i], F_SETFL, O_NONBLOCK); /* cannot fail on a fresh pipe */
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
    }
#endif
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return 0;
}

int evf__waker_open(int ret_fds[2]) {
#ifdef __linux__
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) return EVF_ESYSTEM;
    ret_fds[0] = ret_fds[1] = fd;
    return 0;
#else
    return evf__pipe_open(ret_fds);
#endif
}

int evf__wakeup_open(void) {
    int fds[2], rc = 0;
    evf__loops_lock();
    if (wake_fds[0] < 0 && (rc = evf__waker_open(fds)) == 0) {
        wake_fds[0] = fds[0];
        wake_fds[1] = fds[1];
    }
    if (rc == 0) rc = wake_fds[0];
    evf__loops_unlock();
    return rc;
}

void evf__wakeup_close(void) {
    int fds[2] = {wake_fds[0], wake_fds[1]};
    wake_fds[0] = wake_fds[1] = -1; /* first: a handler may run between here and close */
    waits = 0;
    for (struct evf_link *link = evf__loops.next; link != &evf__loops; link = link->next) {
        struct evf_loop *loop = EVF__CONTAINER(link, struct evf_loop, all);
        if (loop->waits) loop->waits = false; /* a page that is written is copied */
    }
    if (fds[0] >= 0) (void)close(fds[0]); /* nothing to do about a failure */
    if (fds[1] >= 0 && fds[1] != fds[0]) (void)close(fds[1]);
}

static void drain(void) {
    uint64_t buffer[16];
    while (wake_fds[0] >= 0 && read(wake_fds[0], buffer, sizeof buffer) == (ssize_t)sizeof buffer) {}
}

static void write_one(int fd) {
    static const uint64_t one = 1;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written; /* full means that the waits end anyway */
}

/* Another loop waits that has a wake-up still to notice. */
static bool is_wanted(const struct evf_loop *loop) {
    bool is_wanted = false;
    if (waits <= 1) return false;
    evf__loops_lock();
    for (const struct evf_link *link = evf__loops.next; link != &evf__loops && !is_wanted; link = link->next) {
        const struct evf_loop *other = EVF__CONTAINER(link, struct evf_loop, all);
        is_wanted = other != loop && other->waits && other->wakeups_seen != wakeups;
    }
    evf__loops_unlock();
    return is_wanted;
}

void evf__wakeup_notice(struct evf_loop *loop) {
    loop->wakeups_seen = wakeups;
    if (is_wanted(loop)) return;
    drain();
    /* One that came since the look was meant for who began to wait since, too. */
    if (is_wanted(loop)) write_one(wake_fds[1]);
}

void evf__wakeup_enter(struct evf_loop *loop) {
    loop->wakeups_seen = wakeups;
    loop->waits = true;
    waits++;
}

void evf__wakeup_leave(struct evf_loop *loop) {
    if (!loop->waits) return; /* forked within the wait, and this is the child */
    loop->waits = false;
    waits--;
}

/* ---- For loops of others ------------------------------------------------------------------------------------ */

/* A pipe on every system: it has an inode of its own. A program that becomes a daemon closes all descriptors, and what
 * has the number afterwards is a file of its own that must not find our bytes in it. */
static struct {
    atomic_int fds[2];
    dev_t device;
    ino_t inode;
} outside = {.fds = {-1, -1}};

static bool is_outside(int fd) {
    struct stat st;
    return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == outside.device && st.st_ino == outside.inode;
}

static int open_outside(void) {
    int fds[2];
    struct stat st;
    if (evf__pipe_open(fds) < 0) return EVF_ESYSTEM;
    (void)fstat(fds[0], &st); /* cannot fail on a fresh pipe */
    outside.device = st.st_dev;
    outside.inode = st.st_ino;
    outside.fds[0] = fds[0];
    outside.fds[1] = fds[1]; /* last: handlers look at it */
    return 0;
}

int evf_wakeup_fd(void) {
    int rc = evf__fork_init();
    if (rc < 0) return rc;
    evf__loops_lock();
    if (!is_outside(outside.fds[0]) || !is_outside(outside.fds[1])) {
        evf__wakeup_fd_close(); /* one end may be there still */
        rc = open_outside();
    }
    if (rc == 0) rc = outside.fds[0];
    evf__loops_unlock();
    return rc;
}

void evf_wakeup_fd_clear(void) {
    char buffer[512];
    evf__fork_check(); /* else it would take what is the parent's */
    const int fd = outside.fds[0], saved_errno = errno;
    if (is_outside(fd)) {
        while (read(fd, buffer, sizeof buffer) == (ssize_t)sizeof buffer) {}
    }
    errno = saved_errno;
}

void evf__wakeup_fd_close(void) {
    const int fds[2] = {outside.fds[0], outside.fds[1]};
    outside.fds[0] = outside.fds[1] = -1; /* first: a handler may run between here and close */
    for (int i = 0; i < 2; i++) {
        if (is_outside(fds[i])) (void)close(fds[i]); /* nothing to do about a failure */
    }
}

static void tell_outside(void) {
    const int fd = outside.fds[1];
    if (fd < 0 || !is_outside(fd)) return;
    const ssize_t written = write(fd, "", 1);
    (void)written; /* full means that it is readable */
}

/* ---- From handlers ------------------------------------------------------------------------------------------ */

void evf_wakeup(void) {
    if (evf__fork_is_unnoticed()) return; /* it would wake the parent; this process waits nowhere */
    const int saved_errno = errno;
    const int fd = wake_fds[1];
    if (waits != 0 && fd >= 0) {
        wakeups++; /* first: who drains what is written then sees that others have not noticed */
        write_one(fd);
    }
    tell_outside();
    errno = saved_errno;
}
