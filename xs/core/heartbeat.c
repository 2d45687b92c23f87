/* The heartbeat: the stamps that this process's loops leave in its row of the scoreboard, and the bell for what is not
 * to wait until the supervisor looks. The supervisor judges; nothing is decided here. */
#include "internal.h"
#include "scoreboard.h"

#include <errno.h>
#include <unistd.h>

struct evf_scoreboard_row *evf__heartbeat; /* read by handlers, and by loops of other threads */
static volatile sig_atomic_t bell = -1;

/* ---- The row ------------------------------------------------------------------------------------------------ */

void evf_heartbeat_attach(struct evf_scoreboard_row *row) {
    if (row != NULL) {
        (void)evf__fork_init(); /* failing, there is no memory, and the next loop fails by that */
        EVF_SCOREBOARD_SET(row->turns, 0);
        EVF_SCOREBOARD_SET(row->extension_ns, 0);
    } else {
        bell = -1;
    }
    __atomic_store_n(&evf__heartbeat, row, __ATOMIC_RELEASE);
}

struct evf_scoreboard_row *evf_heartbeat_row(void) {
    if (evf__fork_is_unnoticed()) return NULL; /* it is the parent's */
    return __atomic_load_n(&evf__heartbeat, __ATOMIC_ACQUIRE);
}

void evf__heartbeat_forget(void) {
    if (evf__heartbeat != NULL) evf__heartbeat = NULL; /* a page that is written is copied */
    if (bell >= 0) bell = -1;
}

void evf_heartbeat_busy(int64_t now_ns) {
    struct evf_scoreboard_row *row = evf_heartbeat_row();
    if (row == NULL) return;
    EVF_SCOREBOARD_SET(row->busy_since_ns, now_ns); /* first: what is done with must not look overdue */
    EVF_SCOREBOARD_SET(row->extension_ns, 0);
    (void)__atomic_fetch_add(&row->turns, 1, __ATOMIC_RELAXED);
}

void evf_heartbeat_idle(void) {
    struct evf_scoreboard_row *row = evf_heartbeat_row();
    if (row == NULL) return;
    EVF_SCOREBOARD_SET(row->busy_since_ns, 0);
    EVF_SCOREBOARD_SET(row->extension_ns, 0);
}

void evf_heartbeat_request_started(int64_t now_ns) {
    struct evf_scoreboard_row *row = evf_heartbeat_row();
    if (row == NULL) return;
    (void)__atomic_fetch_add(&row->requests_started, 1, __ATOMIC_RELAXED);
    if (EVF_SCOREBOARD_GET(row->busy_since_ns) == 0) EVF_SCOREBOARD_SET(row->busy_since_ns, now_ns);
}

void evf_heartbeat_request_done(void) {
    struct evf_scoreboard_row *row = evf_heartbeat_row();
    if (row == NULL) return;
    const uint64_t done = __atomic_add_fetch(&row->requests_done, 1, __ATOMIC_RELAXED);
    if (EVF_SCOREBOARD_GET(row->turns) == 0 && done >= EVF_SCOREBOARD_GET(row->requests_started)) evf_heartbeat_idle();
    if (done == EVF_SCOREBOARD_GET(row->requests_max)) evf_heartbeat_ring(); /* a replacement is due */
}

/* ---- The bell ----------------------------------------------------------------------------------------------- */

int evf_bell_open(int ret_fds[2]) {
    return evf__waker_open(ret_fds);
}

void evf_bell_close(int fds[2]) {
    if (fds[0] >= 0) (void)close(fds[0]); /* nothing to do about a failure */
    if (fds[1] >= 0 && fds[1] != fds[0]) (void)close(fds[1]);
    fds[0] = fds[1] = -1;
}

void evf_bell_ring(int fd) {
    static const uint64_t one = 1;
    if (fd < 0) return;
    const int saved_errno = errno;
    const ssize_t written = write(fd, &one, sizeof one);
    (void)written; /* full means that it has rung */
    errno = saved_errno;
}

bool evf_bell_answer(int fd) {
    uint64_t buffer[16];
    bool has_rung = false;
    const int saved_errno = errno;
    ssize_t length;
    while ((length = read(fd, buffer, sizeof buffer)) > 0 || (length < 0 && errno == EINTR)) {
        if (length > 0) has_rung = true;
    }
    errno = saved_errno;
    return has_rung;
}

void evf_heartbeat_set_bell(int fd) {
    bell = fd;
}

void evf_heartbeat_ring(void) {
    evf_bell_ring(bell);
}
