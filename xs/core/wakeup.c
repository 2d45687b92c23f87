/* The descriptor that ends a wait from a signal handler: an eventfd, or a pipe where there is none. One for the
 * process, private to it: in a child it is closed before anything else can run, and opened anew when it is needed. */
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
static atomic_int waits;

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
    int fds[2];
    if (wake_fds[0] < 0) {
        int rc = make(fds);
        if (rc < 0) return rc;
        wake_fds[0] = fds[0];
        wake_fds[1] = fds[1];
    }
    return wake_fds[0];
}

void evf__wakeup_close(void) {
    int fds[2] = {wake_fds[0], wake_fds[1]};
    wake_fds[0] = wake_fds[1] = -1; /* first: a handler may run between here and close */
    waits = 0;
    if (fds[0] >= 0) (void)close(fds[0]); /* nothing to do about a failure */
    if (fds[1] >= 0 && fds[1] != fds[0]) (void)close(fds[1]);
}

void evf__wakeup_drain(void) {
    uint64_t buffer[16];
    while (wake_fds[0] >= 0 && read(wake_fds[0], buffer, sizeof buffer) == (ssize_t)sizeof buffer) {}
}

void evf__wakeup_enter(void) {
    waits++;
}

void evf__wakeup_leave(void) {
    if (waits > 0) waits--;
}

void evf_wakeup(void) {
    int fd = wake_fds[1];
    if (waits == 0 || fd < 0) return;
    static const uint64_t one = 1;
    int saved_errno = errno;
    ssize_t written = write(fd, &one, sizeof one);
    (void)written; /* full means that the wait ends anyway */
    errno = saved_errno;
}
