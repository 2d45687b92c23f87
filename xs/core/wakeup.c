/* The descriptor that ends a wait from a signal handler: an eventfd, or a pipe where there is none. One for the
 * process, private to it: a child gets its own under the same number before anything else can run. */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>
#ifdef __linux__
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#else
#include <sys/stat.h>
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

void evf__wakeup_forget(void) {
    wake_fds[0] = wake_fds[1] = -1;
}

void evf__wakeup_close(void) {
    int fds[2] = {wake_fds[0], wake_fds[1]};
    evf__wakeup_forget(); /* first: a handler may run between here and close */
    if (fds[0] >= 0) (void)close(fds[0]); /* nothing to do about a failure */
    if (fds[1] >= 0 && fds[1] != fds[0]) (void)close(fds[1]);
}

void evf__wakeup_renew(void) {
    int old[2] = {wake_fds[0], wake_fds[1]}, fresh[2];
    if (old[0] < 0) return;
    evf__wakeup_forget();
    waits = 0;
    /* Closing first leaves a free number even in a full table. */
    (void)close(old[0]);
    if (old[1] != old[0]) (void)close(old[1]);
    if (make(fresh) < 0) return; /* the loop opens one at its next use */
    for (int i = 0; i < 2; i++) {
        if (i == 1 && old[1] == old[0]) break;
        if (fresh[i] == old[i]) continue;
        if (fresh[1 - i] == old[i] && fresh[0] != fresh[1]) { /* a pipe came out crosswise: keep its numbers */
            old[0] = fresh[0];
            old[1] = fresh[1];
            break;
        }
        if (dup2(fresh[i], old[i]) < 0) {
            old[i] = fresh[i];
            continue;
        }
        (void)fcntl(old[i], F_SETFD, FD_CLOEXEC);
        (void)close(fresh[i]);
    }
    wake_fds[0] = old[0];
    wake_fds[1] = old[1];
}

bool evf__wakeup_is_ours(void) {
    int fd = wake_fds[0];
    if (fd < 0) return false;
#ifdef __linux__
    char path[40], target[40];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return fcntl(fd, F_GETFD) >= 0; /* no /proc: the best there is */
    target[length] = '\0';
    return strstr(target, "eventfd") != NULL;
#else
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
#endif
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
