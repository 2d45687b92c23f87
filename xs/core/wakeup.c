/* The descriptor that ends a wait from a signal handler: an eventfd, or a pipe where there is none. One for the
 * process, private to it: in a child it is closed before anything else can run, and opened anew when it is needed.
 * Loops of several threads may wait on it at a time, and each wake-up is for all of them: it stays readable until each
 * has noticed. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

/* [0] is read by loops, [1] is written by handlers; the same number for an eventfd. */
static atomic_int wake_fds[2] = {-1, -1};
static atomic_int waits;    /* loops that wait */
static atomic_uint wakeups; /* written so far; wraps without harm */

static int make(int ret_fds[2]) {
#ifdef __linux__
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (fd < 0) return EVF_ESYSTEM;
    ret_fds[0] = ret_fds[1] = fd;
#else
    if (pipe(ret_fds) < 0) return EVF_ESYSTEM;
    for (int i = 0; i < 2; i++) {
        (void)fcntl(ret_fds[i], F_SETFL, O_NONBLOCK); /* cannot fail on a fresh pipe */
        (void)fcntl(ret_fds[i], F_SETFD, FD_CLOEXEC);
    }
#endif
    return 0;
}

int evf__wakeup_open(void) {
    int fds[2], rc = 0;
    evf__loops_lock();
    if (wake_fds[0] < 0 && (rc = make(fds)) == 0) {
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

void evf_wakeup(void) {
    int fd = wake_fds[1];
    if (waits == 0 || fd < 0) return;
    int saved_errno = errno;
    wakeups++; /* first: who drains what is written then sees that others have not noticed */
    write_one(fd);
    errno = saved_errno;
}
