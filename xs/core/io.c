/* Watchers of descriptors. Keeps what is wanted and what the backend knows apart, so that changes of one turn cost one
 * system call or none; only deregistration is immediate, because the caller may close the descriptor next. */
#include "internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* A watcher that wants only the hang-up of a descriptor with unread data is looked at so often. */
static const int64_t muted_check_ns = 50 * EVF__MILLISECOND;

enum { FIRST_SIZE = 32 };

static int reserve(struct evf_loop *loop, int fd) {
    size_t needed = (size_t)fd + 1, size = loop->fds_size ? loop->fds_size : FIRST_SIZE;
    if (needed <= loop->fds_size) return 0;
    while (size < needed) size *= 2;
    int *changes = realloc(loop->changes, size * sizeof *changes);
    if (changes == NULL) return EVF_ENOMEM;
    loop->changes = changes;
    struct evf__fd *fds = realloc(loop->fds, size * sizeof *fds);
    if (fds == NULL) return EVF_ENOMEM;
    memset(fds + loop->fds_size, 0, (size - loop->fds_size) * sizeof *fds);
    loop->fds = fds;
    loop->fds_size = size;
    return 0;
}

static void mark_changed(struct evf_loop *loop, int fd) {
    struct evf__fd *slot = &loop->fds[fd];
    if (slot->changed) return;
    slot->changed = true;
    loop->changes[loop->changes_count++] = fd;
}

/* Libraries report readiness only. A hang-up makes a descriptor readable, so that is what the kernel is asked for. */
static unsigned kernel_mask(const struct evf__fd *slot) {
    if (slot->io == NULL || slot->always_ready || slot->closed) return 0;
    unsigned mask = slot->io->mask;
    if (slot->muted) return mask & EVF_WRITE;
    return (mask & (EVF_READ | EVF_WRITE)) | (mask & EVF_HANGUP ? (unsigned)EVF_READ : 0u);
}

static bool counts_as_ready(const struct evf__fd *slot) {
    return slot->always_ready && slot->io != NULL && (slot->io->mask & (EVF_READ | EVF_WRITE)) != 0;
}

static void forget_special(struct evf_loop *loop, struct evf__fd *slot) {
    if (counts_as_ready(slot)) loop->always_ready_count--;
    if (slot->muted) loop->muted_count--;
    slot->always_ready = slot->closed = slot->muted = false;
}

static int io_start(struct evf_loop *loop, struct evf_io *io, int fd, unsigned mask, evf_io_cb cb, void *data) {
    if (fd >= loop->backend->fd_limit(loop->state)) return EVF_ENOTSUP;
    int rc = reserve(loop, fd);
    if (rc < 0) return rc;
    struct evf__fd *slot = &loop->fds[fd];
    io->cb = cb;
    io->fd = fd;
    io->mask = mask;
    io->events = 0;
    slot->io = io;
    evf__watcher_start(loop, &io->w, EVF_WATCHER_IO, data);
    mark_changed(loop, fd);
    return 0;
}

int evf_io_start(struct evf_loop *loop, struct evf_io *io, int fd, unsigned mask, evf_io_cb cb, void *data) {
    if (cb == NULL || (mask & ~(unsigned)(EVF_READ | EVF_WRITE | EVF_HANGUP)) != 0) return EVF_EINVAL;
    int rc = evf__watcher_check(loop, &io->w);
    if (rc < 0) return rc;
    if (fd < 0 || fcntl(fd, F_GETFD) < 0) return EVF_EBADF;
    if ((size_t)fd < loop->fds_size && loop->fds[fd].io != NULL) return EVF_EEXIST;
    io->w.internal = false;
    return io_start(loop, io, fd, mask, cb, data);
}

int evf__io_start_internal(struct evf_loop *loop, struct evf_io *io, int fd, evf_io_cb cb, void *data) {
    /* The kernel has just given us this number: who still watches it has closed his file. */
    if ((size_t)fd < loop->fds_size && loop->fds[fd].io != NULL) evf_io_stop(loop->fds[fd].io);
    io->w.internal = true;
    return io_start(loop, io, fd, EVF_READ, cb, data);
}

int evf_io_set(struct evf_io *io, unsigned mask) {
    struct evf_loop *loop = io->w.loop;
    if (loop == NULL || loop->abandoned || (mask & ~(unsigned)(EVF_READ | EVF_WRITE | EVF_HANGUP)) != 0)
        return EVF_EINVAL;
    if (mask == io->mask) return 0;
    struct evf__fd *slot = &loop->fds[io->fd];
    if (counts_as_ready(slot)) loop->always_ready_count--;
    io->mask = mask;
    io->events &= mask;
    if (counts_as_ready(slot)) loop->always_ready_count++;
    if (slot->muted) {
        slot->muted = false;
        loop->muted_count--;
    }
    if (io->events == 0) evf__list_remove(&io->w.ready);
    mark_changed(loop, io->fd);
    return 0;
}

void evf_io_stop(struct evf_io *io) {
    struct evf_loop *loop = io->w.loop;
    if (loop == NULL || loop->abandoned) return;
    struct evf__fd *slot = &loop->fds[io->fd];
    if (slot->kernel_mask != 0) evf__fork_check_by_call();
    if (slot->kernel_mask != 0 && !evf__loop_is_inherited(loop)) {
        /* Now and not at the next turn: another process may hold the file open, and the kernel would go on to report
         * it after our descriptor is closed. A descriptor closed already is no longer registered, so errors do not
         * matter. */
        (void)loop->backend->set_io(loop->state, io->fd, slot->kernel_mask, 0);
    }
    slot->kernel_mask = 0;
    forget_special(loop, slot);
    slot->io = NULL;
    evf__watcher_stop(&io->w);
}

void evf_io_stop_closed(struct evf_io *io) {
    struct evf_loop *loop = io->w.loop;
    if (loop == NULL || loop->abandoned) return;
    loop->wants_rearm = true; /* first: then the backend is not asked about a number that may be another file */
    evf_io_stop(io);
}

bool evf_io_is_closed(const struct evf_io *io) {
    const struct evf_loop *loop = io->w.loop;
    return loop != NULL && !loop->abandoned && loop->fds[io->fd].closed;
}

struct evf_io *evf_io_find(const struct evf_loop *loop, int fd) {
    if (loop->abandoned || fd < 0 || (size_t)fd >= loop->fds_size) return NULL;
    struct evf_io *io = loop->fds[fd].io;
    return io == NULL || io->w.internal ? NULL : io;
}

static int tell_backend(struct evf_loop *loop, int fd) {
    struct evf__fd *slot = &loop->fds[fd];
    unsigned mask = kernel_mask(slot);
    if (mask == slot->kernel_mask) return 0;
    int rc = loop->backend->set_io(loop->state, fd, slot->kernel_mask, mask);
    slot->kernel_mask = rc == 0 ? (unsigned char)mask : 0;
    if (rc == EVF_ENOTSUP) {
        slot->always_ready = true;
        if (counts_as_ready(slot)) loop->always_ready_count++;
        return 0;
    }
    if (rc == EVF_EBADF) {
        evf__io_host_closed(loop, fd);
        return 0;
    }
    return rc;
}

/* What fails stays in the list, for the next turn, and keeps none of the others waiting. Returns the first failure. */
int evf__io_flush(struct evf_loop *loop) {
    const size_t count = loop->changes_count;
    size_t kept = count; /* those that stay, from here on */
    int first_rc = 0;
    for (size_t i = count; i > 0; i--) {
        int fd = loop->changes[i - 1];
        int rc = tell_backend(loop, fd);
        if (rc < 0) {
            if (first_rc == 0) first_rc = rc;
            loop->changes[--kept] = fd;
        } else {
            loop->fds[fd].changed = false;
        }
    }
    loop->changes_count = count - kept;
    if (kept > 0) memmove(loop->changes, loop->changes + kept, loop->changes_count * sizeof *loop->changes);
    return first_rc;
}

/* Before kernel objects are opened: one of them may get the number, and would be watched in place of the file. */
void evf__io_forget_closed(struct evf_loop *loop) {
    for (size_t fd = 0; fd < loop->fds_size; fd++) {
        if (loop->fds[fd].io != NULL && fcntl((int)fd, F_GETFD) < 0) evf__io_host_closed(loop, (int)fd);
    }
}

void evf__io_rearm_all(struct evf_loop *loop) {
    for (size_t fd = 0; fd < loop->fds_size; fd++) {
        struct evf__fd *slot = &loop->fds[fd];
        slot->kernel_mask = 0;
        if (slot->io == NULL) continue;
        if (slot->io->events != 0) { /* seen through the parent's eyes: the kernel will say it again */
            slot->io->events = 0;
            evf__list_remove(&slot->io->w.ready);
        }
        mark_changed(loop, (int)fd);
    }
}

static void deliver_later(struct evf_loop *loop, struct evf_io *io, unsigned events) {
    io->events |= events;
    if (io->events != 0) evf__ready(loop, &io->w);
}

static int look_at_muted(struct evf_timer *timer, void *data) {
    struct evf_loop *loop = data;
    for (size_t fd = 0; fd < loop->fds_size && loop->muted_count > 0; fd++) {
        struct evf__fd *slot = &loop->fds[fd];
        if (!slot->muted) continue;
        slot->muted = false;
        loop->muted_count--;
        mark_changed(loop, (int)fd);
    }
    (void)timer; /* started again when a descriptor is muted */
    return 0;
}

static bool has_hung_up(int fd) {
    struct pollfd pollfd = {.fd = fd};
    return poll(&pollfd, 1, 0) > 0 && (pollfd.revents & (POLLHUP | POLLERR)) != 0;
}

void evf__io_host_ready(void *data, int fd, unsigned mask) {
    struct evf_loop *loop = data;
    struct evf__fd *slot = &loop->fds[fd];
    struct evf_io *io = slot->io;
    if (io == NULL) return;
    if (io == &loop->wake) {
        evf__wakeup_notice(loop);
        return;
    }
    unsigned events = mask & io->mask & (EVF_READ | EVF_WRITE);
    if (io->mask & EVF_HANGUP && has_hung_up(fd)) events |= EVF_HANGUP;
    if (events == 0 && (io->mask & (EVF_READ | EVF_HANGUP)) == EVF_HANGUP && (mask & EVF_READ) != 0) {
        /* Unread data of a peer that is still there: asking on would spin. */
        if (!slot->muted) loop->muted_count++;
        slot->muted = true;
        mark_changed(loop, fd);
        if (loop->muted_timer.w.loop == NULL) {
            /* Without memory for a timer the kernel is asked again at once: slower, not wrong. */
            if (evf__timer_start_internal(loop, &loop->muted_timer, muted_check_ns, look_at_muted, loop) < 0)
                (void)look_at_muted(&loop->muted_timer, loop);
        }
        return;
    }
    deliver_later(loop, io, events);
}

void evf__io_host_closed(void *data, int fd) {
    struct evf_loop *loop = data;
    struct evf__fd *slot = &loop->fds[fd];
    forget_special(loop, slot);
    slot->kernel_mask = 0;
    slot->closed = slot->io != NULL;
}

void evf__io_collect(struct evf_loop *loop) {
    size_t left = loop->always_ready_count;
    for (size_t fd = 0; left > 0 && fd < loop->fds_size; fd++) {
        struct evf__fd *slot = &loop->fds[fd];
        if (!counts_as_ready(slot)) continue;
        left--;
        deliver_later(loop, slot->io, slot->io->mask & (EVF_READ | EVF_WRITE));
    }
}

static int ignore(struct evf_io *io, unsigned events, void *data) {
    (void)io, (void)events, (void)data; /* never delivered: the wake-up descriptor is drained where it is reported */
    return 0;
}

int evf__io_init(struct evf_loop *loop) {
    int fd = evf__wakeup_open();
    return fd < 0 ? fd : evf__io_start_internal(loop, &loop->wake, fd, ignore, NULL);
}

void evf__io_stop_all(struct evf_loop *loop) {
    for (size_t fd = 0; fd < loop->fds_size; fd++) {
        if (loop->fds[fd].io != NULL) evf_io_stop(loop->fds[fd].io);
    }
}

void evf__io_clear(struct evf_loop *loop) {
    free(loop->fds);
    free(loop->changes);
}
