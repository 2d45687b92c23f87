/* Child processes as events. On Linux a child is a pidfd: readable when it has ended, reaped by waitid through that
 * descriptor, so that a pid which was reaped elsewhere and reused cannot be mistaken. Without a pidfd (old kernel, a
 * seccomp filter, no free descriptor) SIGCHLD tells when to ask waitpid, for the watched pids only. Never waits for
 * "any child": the status of a child that is not watched belongs to somebody else. */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/types.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#endif

/* Children without a pidfd are looked at so often, besides at each SIGCHLD: a program may have replaced the handler. */
static const int64_t children_check_ns = 250 * EVF__MILLISECOND;

enum { NO_PIDFD = -1 };

static atomic_uint children_total; /* SIGCHLDs seen, by any handler of this process */
static bool use_pidfd = true;

void evf_process_use_pidfd(bool use) {
    use_pidfd = use;
}

void evf_process_hint(void) {
    children_total++;
    evf_wakeup();
}

/* ---- What the kernel offers --------------------------------------------------------------------------------- */

#ifdef __linux__
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434 /* the same on every architecture but alpha */
#endif
enum { P_PIDFD_ = 3 }; /* linux/wait.h */

static int open_pidfd(pid_t pid) {
    if (use_pidfd) return (int)syscall(SYS_pidfd_open, pid, 0); /* close-on-exec by definition */
    errno = ENOSYS;
    return NO_PIDFD;
}

static int wait_status_of(const siginfo_t *info) {
    switch (info->si_code) {
    case CLD_EXITED:
        return (info->si_status & 0xff) << 8;
    case CLD_DUMPED:
        return (info->si_status & 0x7f) | 0x80;
    default:
        return info->si_status & 0x7f;
    }
}

/* Linux 6.15 tells the wait status of an ended process even after somebody else has reaped it (linux/pidfd.h). */
struct pidfd_info_ {
    __u64 mask, cgroupid;
    __u32 pid, tgid, ppid, ids[8];
    __s32 exit_code;
};
_Static_assert(sizeof(struct pidfd_info_) == 64, "the first published size of struct pidfd_info");
#define PIDFD_GET_INFO_ _IOWR(0xFF, 11, struct pidfd_info_)
enum { PIDFD_INFO_EXIT_ = 1 << 3 };

static int stolen_status(int pidfd) {
    struct pidfd_info_ info = {.mask = PIDFD_INFO_EXIT_};
    if (ioctl(pidfd, PIDFD_GET_INFO_, &info) < 0 || (info.mask & PIDFD_INFO_EXIT_) == 0) return -1;
    return info.exit_code;
}
#else
static int open_pidfd(pid_t pid) {
    (void)pid;
    errno = ENOSYS;
    return NO_PIDFD;
}
#endif

/* 1: ended, *ret_status is set; 0: still running. */
static int reap_by_pid(pid_t pid, int *ret_status) {
    int status;
    pid_t reaped;
    do reaped = waitpid(pid, &status, WNOHANG);
    while (reaped < 0 && errno == EINTR);
    if (reaped == 0) return 0;
    *ret_status = reaped == pid ? status : -1;
    return 1;
}

static int reap(const struct evf_process *process, int *ret_status) {
#ifdef __linux__
    if (process->pidfd >= 0) {
        siginfo_t info;
        int rc;
        memset(&info, 0, sizeof info);
        do rc = waitid((idtype_t)P_PIDFD_, (id_t)process->pidfd, &info, WEXITED | WNOHANG);
        while (rc < 0 && errno == EINTR);
        if (rc == 0) {
            if (info.si_pid == 0) return 0;
            *ret_status = wait_status_of(&info);
            return 1;
        }
        if (errno == ECHILD) {
            *ret_status = stolen_status(process->pidfd);
            return 1;
        }
        /* Linux 5.3 has pidfds that waitid does not know. */
    }
#endif
    return reap_by_pid(process->pid, ret_status);
}

int evf_process_reap(pid_t pid, int fd, int *ret_wait_status) {
    if (pid <= 0) return EVF_EINVAL; /* to waitpid that is any child: somebody else's status */
    const struct evf_process process = {.pid = pid, .pidfd = fd};
    return reap(&process, ret_wait_status);
}

static int ask_stopped(idtype_t type, id_t id, siginfo_t *ret_info) {
    int rc;
    memset(ret_info, 0, sizeof *ret_info);
    do rc = waitid(type, id, ret_info, WSTOPPED | WNOHANG | WNOWAIT);
    while (rc < 0 && errno == EINTR);
    return rc;
}

bool evf_process_is_stopped(pid_t pid, int fd) {
    siginfo_t info;
    int rc = -1;
    if (pid <= 0) return false;
#ifdef __linux__
    if (fd >= 0) rc = ask_stopped((idtype_t)P_PIDFD_, (id_t)fd, &info);
#endif
    (void)fd;
    if (rc < 0) rc = ask_stopped(P_PID, (id_t)pid, &info);
    return rc == 0 && info.si_pid == pid && info.si_code == CLD_STOPPED;
}

/* ---- SIGCHLD, where there is no pidfd ----------------------------------------------------------------------- */

static void on_sigchld(int signo) {
    (void)signo;
    evf_process_hint();
}

/* Only where nobody handles SIGCHLD: a handler that is there is somebody's, and SIGCHLD ignored has a meaning. */
static void catch_sigchld(void) {
    struct sigaction now;
    if (sigaction(SIGCHLD, NULL, &now) < 0 || now.sa_handler != SIG_DFL) return;
    struct sigaction action = {.sa_handler = on_sigchld, .sa_flags = SA_RESTART | SA_NOCLDSTOP};
    (void)sigemptyset(&action.sa_mask);      /* cannot fail */
    (void)sigaction(SIGCHLD, &action, NULL); /* failing, the timer still looks */
}

static void release_sigchld(void) {
    struct sigaction now;
    if (sigaction(SIGCHLD, NULL, &now) < 0 || now.sa_handler != on_sigchld) return;
    struct sigaction action = {.sa_handler = SIG_DFL};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGCHLD, &action, NULL);
}

static bool another_loop_needs_sigchld(const struct evf_loop *loop) {
    bool is_needed = false;
    evf__loops_lock();
    for (const struct evf_link *link = evf__loops.next; link != &evf__loops && !is_needed; link = link->next) {
        const struct evf_loop *other = EVF__CONTAINER(link, struct evf_loop, all);
        is_needed = other != loop && other->unwatched_count > 0;
    }
    evf__loops_unlock();
    return is_needed;
}

static int look_at_children(struct evf_timer *timer, void *data) {
    struct evf_loop *loop = data;
    loop->children_seen = children_total - 1; /* differs: the next turn looks */
    if (loop->unwatched_count == 0) return 0;
    catch_sigchld(); /* again, should a program have set and restored it */
    return evf__timer_start_internal(loop, timer, children_check_ns, look_at_children, loop);
}

static int watch_without_pidfd(struct evf_loop *loop) {
    if (loop->children_timer.w.loop == NULL) {
        int rc = evf__timer_start_internal(loop, &loop->children_timer, children_check_ns, look_at_children, loop);
        if (rc < 0) return rc;
    }
    catch_sigchld();
    loop->unwatched_count++;
    loop->children_seen = children_total - 1; /* it may have ended before */
    return 0;
}

bool evf__processes_pending(const struct evf_loop *loop) {
    return loop->unwatched_count > 0 && loop->children_seen != children_total;
}

/* Looks without taking: until its callback is due, the status may still be left to somebody else. */
static bool has_ended(pid_t pid) {
    siginfo_t info;
    info.si_pid = 0;
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0 ? errno == ECHILD : info.si_pid != 0;
}

void evf__processes_collect(struct evf_loop *loop) {
    loop->children_seen = children_total;
    for (struct evf_link *link = loop->processes.next; link != &loop->processes; link = link->next) {
        struct evf_process *process = EVF__CONTAINER(EVF__WATCHER_OF_LINK(link), struct evf_process, w);
        if (process->pidfd >= 0 || process->w.ready.next != NULL) continue;
        if (has_ended(process->pid)) evf__ready(loop, &process->w);
    }
}

/* ---- Watchers ----------------------------------------------------------------------------------------------- */

static int on_pidfd(struct evf_io *io, unsigned events, void *data) {
    struct evf_process *process = data;
    (void)io, (void)events;
    evf__ready(process->w.loop, &process->w);
    return 0;
}

int evf__process_deliver(struct evf_process *process) {
    int wait_status;
    if (reap(process, &wait_status) == 0) return 0;
    void *data = process->w.data;
    evf_process_stop(process);
    return process->cb(process, wait_status, data);
}

static bool children_are_discarded(void) {
    struct sigaction now;
    if (sigaction(SIGCHLD, NULL, &now) < 0) return false;
    return now.sa_handler == SIG_IGN || (now.sa_flags & SA_NOCLDWAIT) != 0;
}

/* False, too, where the system has no process descriptors. */
static bool is_known_to_live(pid_t pid) {
    struct pollfd ended = {.fd = open_pidfd(pid), .events = POLLIN};
    if (ended.fd < 0) return false;
    const bool lives = poll(&ended, 1, 0) == 0;
    (void)close(ended.fd);
    return lives;
}

/* A child whose status nobody keeps is a stranger at its end, and its pid is there for an instant more: waitpid has
 * returned, and the kernel is about to release it (Linux 6.18: so at 1 end of 40,000). The zombie of somebody else
 * stays, which is seen by that. */
static bool is_gone(pid_t pid) {
    enum { LOOKS = 100, PAUSE_NS = 1000000 };
    const struct timespec pause = {.tv_nsec = PAUSE_NS};
    for (int look = 0; look < LOOKS; look++) {
        if (kill(pid, 0) < 0) return errno == ESRCH;
        if (is_known_to_live(pid)) return false;
        (void)nanosleep(&pause, NULL); /* interrupted, it looks sooner */
    }
    return false;
}

static bool is_child(pid_t pid) {
    siginfo_t info;
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0) return true;
    /* Where nobody keeps zombies a child that has ended is not to be told from a stranger. */
    return errno == ECHILD && children_are_discarded() && is_gone(pid);
}

int evf_process_open(pid_t pid) {
    if (pid <= 0 || !is_child(pid)) return EVF_ECHILD;
    const int fd = open_pidfd(pid);
    if (fd >= 0) return fd;
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? EVF_ESYSTEM : EVF_ENOTSUP;
}

int evf_process_start(struct evf_loop *loop, struct evf_process *process, pid_t pid, evf_process_cb cb, void *data) {
    if (cb == NULL) return EVF_EINVAL;
    if (pid <= 0) return EVF_ECHILD;
    evf__fork_check_by_call();
    int rc = evf__watcher_check(loop, &process->w);
    if (rc < 0) return rc;
    if (evf_process_find(loop, pid) != NULL) return EVF_EEXIST;
    if (!is_child(pid)) return EVF_ECHILD;

    process->cb = cb;
    process->pid = pid;
    process->w.internal = false;
    process->io.w.loop = NULL;
    process->pidfd = open_pidfd(pid);
    if (process->pidfd >= 0 && evf__io_start_internal(loop, &process->io, process->pidfd, on_pidfd, process) < 0) {
        (void)close(process->pidfd); /* the other way works without */
        process->pidfd = NO_PIDFD;
    }
    if (process->pidfd == NO_PIDFD) {
        rc = watch_without_pidfd(loop);
        if (rc < 0) return rc;
    }
    evf__watcher_start(loop, &process->w, EVF_WATCHER_PROCESS, data);
    evf__list_append(&loop->processes, &process->w.link);
    return 0;
}

void evf_process_stop(struct evf_process *process) {
    struct evf_loop *loop = process->w.loop;
    if (loop == NULL || loop->abandoned) return;
    evf_io_stop(&process->io);
    evf__watcher_stop(&process->w);
    if (process->pidfd != NO_PIDFD) {
        /* In a child it was closed at the fork, and the number may be another file by now. */
        if (loop->generation == evf_fork_generation) (void)close(process->pidfd);
        process->pidfd = NO_PIDFD;
        return;
    }
    if (--loop->unwatched_count == 0) {
        evf_timer_stop(&loop->children_timer);
        if (!another_loop_needs_sigchld(loop)) release_sigchld();
    }
}

struct evf_process *evf_process_find(const struct evf_loop *loop, pid_t pid) {
    if (loop->abandoned) return NULL;
    for (const struct evf_link *link = loop->processes.next; link != &loop->processes; link = link->next) {
        struct evf_process *process = EVF__CONTAINER(EVF__WATCHER_OF_LINK(link), struct evf_process, w);
        if (process->pid == pid) return process;
    }
    return NULL;
}

/* ---- In a child --------------------------------------------------------------------------------------------- */

#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9 */
#endif

static void close_run(int first, int last) {
#ifdef __linux__
    if (first < last && syscall(SYS_close_range, (unsigned)first, (unsigned)last, 0) == 0) return;
#endif
    for (int fd = first; fd >= 0 && fd <= last; fd++) (void)close(fd);
}

/* Many children have neighbouring numbers. Only reads the watchers: each page written would be copied. */
void evf__processes_close_fds(const struct evf_loop *loop) {
    int first = -1, last = -1;
    for (const struct evf_link *link = loop->processes.next; link != &loop->processes; link = link->next) {
        const struct evf_process *process = EVF__CONTAINER(EVF__WATCHER_OF_LINK(link), struct evf_process, w);
        if (process->pidfd < 0) continue;
        if (first >= 0 && process->pidfd == last + 1) {
            last++;
            continue;
        }
        close_run(first, last);
        first = last = process->pidfd;
    }
    close_run(first, last);
}

bool evf__processes_own_fd(int fd) {
    bool is_own = false;
    evf__loops_lock();
    for (const struct evf_link *link = evf__loops.next; link != &evf__loops && !is_own; link = link->next) {
        const struct evf_loop *loop = EVF__CONTAINER(link, struct evf_loop, all);
        if (loop->abandoned || (size_t)fd >= loop->fds_size) continue;
        const struct evf_io *io = loop->fds[fd].io;
        is_own = io != NULL && io->cb == on_pidfd;
    }
    evf__loops_unlock();
    return is_own;
}

void evf__processes_stop_all(struct evf_loop *loop) {
    while (!evf__list_is_empty(&loop->processes))
        evf_process_stop(EVF__CONTAINER(EVF__WATCHER_OF_LINK(loop->processes.next), struct evf_process, w));
}
