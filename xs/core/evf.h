/* EventLoop::Fork core: the public C interface.
 *
 * A loop over one backend (libev, libevent, poll, or a simulated one), with timers, signals and child processes as
 * watchers, and a fork that leaves parent and child each with kernel objects of their own. Contains no Perl, prints
 * nothing, exits never and reads no environment. Start at loop.c for one turn, at fork.c for the life of a child.
 *
 * Conventions: functions that can fail return 0 or a negative EVF_E… code and leave their outputs untouched on
 * failure. Times are int64_t nanoseconds; a deadline is absolute, a timeout is relative. Memory of watchers belongs to
 * the caller, is zeroed before the first start, and stays where it is while the watcher is active. A loop and its
 * watchers belong to one thread. */
#ifndef EVF_H
#define EVF_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Errors ------------------------------------------------------------------------------------------------- */

/* X(name, number, text). The numbers are part of the binary interface: append, never reorder. */
#define EVF_ERRORS(X)                                                                                                  \
    X(EVF_ENOMEM, -1, "out of memory")                                                                                 \
    X(EVF_EINVAL, -2, "invalid argument")                                                                              \
    X(EVF_EBADF, -3, "not an open descriptor")                                                                         \
    X(EVF_EEXIST, -4, "already watched")                                                                               \
    X(EVF_ECHILD, -5, "not a child of this process")                                                                   \
    X(EVF_ENOTSUP, -6, "not supported here")                                                                           \
    X(EVF_EBACKEND, -7, "the backend failed")                                                                          \
    X(EVF_ECALLBACK, -8, "a callback failed")                                                                          \
    X(EVF_EABANDONED, -9, "the loop belongs to the parent process")                                                    \
    X(EVF_EFORK, -10, "fork failed")                                                                                   \
    X(EVF_ESIGNAL, -11, "not a signal that can be caught")                                                             \
    X(EVF_ESYSTEM, -12, "a system call failed")                                                                        \
    X(EVF_ECANCELED, -13, "a hook refused the fork")                                                                   \
    X(EVF_EBUSY, -14, "a fork is under way")                                                                           \
    X(EVF_EDISOWNED, -15, "it belongs to the parent process")                                                          \
    X(EVF_EPREVENTED, -16, "forks are prevented here")

enum evf_error {
#define EVF_X(name, number, text) name = number,
    EVF_ERRORS(EVF_X)
#undef EVF_X
};

/* Static strings; an unknown code answers "EVF_EUNKNOWN" and "unknown error". */
const char *evf_error_name(int code);
const char *evf_error_text(int code);

/* ---- Time --------------------------------------------------------------------------------------------------- */

enum evf_clock {
    EVF_CLOCK_MONOTONIC, /* for timeouts: never jumps */
    EVF_CLOCK_REALTIME,  /* for wall-clock deadlines: follows the administrator */
    EVF_CLOCK_COUNT
};

/* The default clock_fn of a loop: clock_gettime. */
int64_t evf_clock_now(void *data, enum evf_clock clock);

/* ---- Loops -------------------------------------------------------------------------------------------------- */

struct evf_loop;
struct evf_backend; /* backend.h */

/* What a loop needs from its surroundings. Every member may be NULL. All are called outside of the backend.
 * The int-returning ones answer 0, or a negative code that leaves evf_loop_run_once at once. */
struct evf_loop_hooks {
    int64_t (*now)(void *data, enum evf_clock clock);
    int (*before_wait)(void *data);
    int (*after_wait)(void *data);
    /* Run what the host's own signal handlers left to do. Sets *ran if it did anything: the wait is then over. */
    int (*run_pending)(void *data, bool *ran);
    /* True while run_pending has something to do: the loop will not block. Reads memory only. */
    bool (*has_pending)(void *data);
    void *data;
};

/* method: NULL for the backend's best. EVF_EINVAL: no such method; EVF_ENOTSUP: not on this system. */
int evf_loop_new(const struct evf_backend *backend, const char *method, const struct evf_loop_hooks *hooks,
                 struct evf_loop **ret_loop);
/* Stops every watcher, without calling it. NULL is fine. Not from inside a callback of the same loop. */
void evf_loop_free(struct evf_loop *loop);

const char *evf_loop_backend(const struct evf_loop *loop);
const char *evf_loop_method(const struct evf_loop *loop); /* borrowed as long as the loop */

/* One turn. timeout_ns: -1 waits until something happens, 0 does not block. Returns how many callbacks ran, or the
 * first negative value that a callback or hook returned; what was not delivered stays for the next turn. */
int evf_loop_run_once(struct evf_loop *loop, int64_t timeout_ns);
int64_t evf_loop_now(struct evf_loop *loop, enum evf_clock clock);
/* Number of active watchers that are the caller's, for tests and for "nothing left to do". */
size_t evf_loop_watchers(const struct evf_loop *loop);
/* True when the descriptor is asked of the kernel with exactly the interest of its watcher; for tests. */
bool evf_loop_verify(const struct evf_loop *loop);

/* Interrupts the wait of this process's loops. Async-signal-safe. */
void evf_wakeup(void);
/* For the owner of another loop: a descriptor (ours, close-on-exec) that is readable from each such call, and so from
 * each watched signal and what a host's handlers tell, until it is cleared. Opened at the first call; a forked child
 * has none until it asks for its own. EVF_ESYSTEM, EVF_ENOMEM. */
int evf_wakeup_fd(void);
void evf_wakeup_fd_clear(void);

/* ---- Watchers ----------------------------------------------------------------------------------------------- */
/* Every callback returns 0, or a negative value that ends the turn. A callback may start, stop or reuse any watcher,
 * run the loop nested, and fork. After stop returned, the callback is not called. A watcher that is started in a turn
 * is looked at in the next one. */

struct evf_link {
    struct evf_link *next, *prev; /* NULL, NULL: in no list */
};

enum evf_watcher_kind { EVF_WATCHER_IO, EVF_WATCHER_TIMER, EVF_WATCHER_IDLE, EVF_WATCHER_SIGNAL, EVF_WATCHER_PROCESS };

/* The head of every watcher: private to the core. */
struct evf_watcher {
    struct evf_loop *loop; /* NULL: not active */
    struct evf_link ready; /* in the ready list while an event waits for delivery */
    struct evf_link link;  /* in the list of its kind */
    unsigned char kind;    /* enum evf_watcher_kind */
    bool internal;         /* the core's own */
    void *data;
};

enum {
    EVF_READ = 1,
    EVF_WRITE = 2,
    EVF_HANGUP = 4 /* the peer has gone; reported together with READ and WRITE, or alone when only that is asked */
};

struct evf_io;
typedef int (*evf_io_cb)(struct evf_io *io, unsigned events, void *data);
struct evf_io {
    struct evf_watcher w;
    evf_io_cb cb;
    int fd;
    unsigned mask;   /* what the caller wants */
    unsigned events; /* what waits for delivery */
};
/* One watcher for each descriptor of a loop: a second is EVF_EEXIST. EVF_EBADF: not open. EVF_ENOTSUP: the number is
 * too high for the method. */
int evf_io_start(struct evf_loop *loop, struct evf_io *io, int fd, unsigned mask, evf_io_cb cb, void *data);
/* Changes the mask of an active watcher; 0 keeps it without interest. */
int evf_io_set(struct evf_io *io, unsigned mask);
/* Stop before closing the descriptor. Inactive watchers are fine, here and in every other stop function. */
void evf_io_stop(struct evf_io *io);
/* Stop, when the descriptor turns out to have been closed before. Another process may hold the file open, and the
 * kernel would report it for ever: the loop makes its kernel objects anew. */
void evf_io_stop_closed(struct evf_io *io);
/* True when the loop has found the descriptor closed under its watcher, which is silent until it is started anew. Not
 * every backend looks. */
bool evf_io_is_closed(const struct evf_io *io);
/* The active watcher of a descriptor, or NULL; of an abandoned loop nothing is found. */
struct evf_io *evf_io_find(const struct evf_loop *loop, int fd);

struct evf_timer;
typedef int (*evf_timer_cb)(struct evf_timer *timer, void *data);
struct evf_timer {
    struct evf_watcher w;
    evf_timer_cb cb;
    int64_t deadline_ns;
    uint64_t order; /* of equal deadlines the first started fires first */
    size_t index;   /* in its heap */
    unsigned char clock;
};
/* Fires once, never early; a deadline that has passed fires in the next turn. */
int evf_timer_start(struct evf_loop *loop, struct evf_timer *timer, enum evf_clock clock, int64_t deadline_ns,
                    evf_timer_cb cb, void *data);
void evf_timer_stop(struct evf_timer *timer);

struct evf_idle;
typedef int (*evf_idle_cb)(struct evf_idle *idle, void *data);
struct evf_idle {
    struct evf_watcher w;
    evf_idle_cb cb;
};
/* Called once, at the end of the next turn, which does not block. */
int evf_idle_start(struct evf_loop *loop, struct evf_idle *idle, evf_idle_cb cb, void *data);
void evf_idle_stop(struct evf_idle *idle);

/* ---- Signals ------------------------------------------------------------------------------------------------ */

struct evf_signal;
typedef int (*evf_signal_cb)(struct evf_signal *sig, int signo, void *data);
struct evf_signal {
    struct evf_watcher w;
    evf_signal_cb cb;
    int signo;
    unsigned seen; /* deliveries so far */
};
/* Several watchers, in several loops, may watch one signal. Deliveries between two turns are merged into one call.
 * EVF_ESIGNAL: no such signal, or KILL, STOP, or a fault. */
int evf_signal_start(struct evf_loop *loop, struct evf_signal *sig, int signo, evf_signal_cb cb, void *data);
void evf_signal_stop(struct evf_signal *sig);

/* Records one delivery and wakes the loops. Async-signal-safe: for handlers of the host's own. */
void evf_signal_raise(int signo);

/* Who installs handlers. The default uses sigaction and restores what it found. A host with a signal table of its own
 * (a language runtime) installs there instead, and calls evf_signal_raise when the signal arrives. */
struct evf_signal_host {
    int (*catch_signal)(int signo);
    void (*release_signal)(int signo);
};
void evf_signal_set_host(const struct evf_signal_host *host); /* borrowed for ever; NULL: the default */

/* ---- Processes ---------------------------------------------------------------------------------------------- */

struct evf_process;
/* wait_status as of waitpid; -1: the process has gone, but somebody else took its status. */
typedef int (*evf_process_cb)(struct evf_process *process, int wait_status, void *data);
struct evf_process {
    struct evf_watcher w;
    evf_process_cb cb;
    pid_t pid;
    int pidfd;        /* -1: watched by SIGCHLD */
    struct evf_io io; /* of the pidfd */
};
/* One call when the child has ended, also if it had before. Takes the status of this child and of no other.
 * EVF_ECHILD: not a child of this process. EVF_EEXIST: this loop watches it already. */
int evf_process_start(struct evf_loop *loop, struct evf_process *process, pid_t pid, evf_process_cb cb, void *data);
void evf_process_stop(struct evf_process *process); /* the child stays unreaped */
struct evf_process *evf_process_find(const struct evf_loop *loop, pid_t pid);
/* Leaves pidfd_open alone, as on a system without it; for tests. */
void evf_process_use_pidfd(bool use);

/* Without a loop, for the owner of another one. A descriptor (close-on-exec, the caller's to close) that is readable
 * when the child has ended. EVF_ENOTSUP: the system has none such, or lets us have none; ask evf_process_reap now and
 * then. EVF_ECHILD: not a child of this process. EVF_ESYSTEM: no descriptor is free, and the like; errno tells. */
int evf_process_open(pid_t pid);
/* 1: the child has ended, *ret_wait_status is set as for evf_process_cb; 0: it runs. fd: of evf_process_open, or -1.
 * EVF_EINVAL: not the pid of one process. */
int evf_process_reap(pid_t pid, int fd, int *ret_wait_status);

/* True while a signal (SIGSTOP, say) keeps the child from running, as long as nobody else has taken the news. Takes
 * nothing. fd: of evf_process_open, or -1. */
bool evf_process_is_stopped(pid_t pid, int fd);

/* "read" for its number on this machine, as /proc/PID/syscall has it; static. NULL: of those that do not wait, or of
 * another machine. */
const char *evf_syscall_name(long number);

/* SIGCHLD has arrived: for a host whose own handler took it. Async-signal-safe. */
void evf_process_hint(void);

/* ---- Forking ------------------------------------------------------------------------------------------------ */

/* Counts the forks between the first process and this one: a changed value means "I am a child". See also
 * evf_fork_check. */
extern volatile sig_atomic_t evf_fork_generation;

enum {
    EVF_FORK_KEEP_SIGNALS = 1, /* the handlers of caught signals stay */
    EVF_FORK_KEEP_LOOPS = 2    /* the loops of this core go on in the child, on kernel objects of their own */
};

/* Blocks all signals but the synchronous faults, until evf_fork_restore_mask. */
int evf_fork_block_signals(sigset_t *ret_old_mask);
/* Around a fork that is followed by evf_fork_child_begin: blocks all signals but the synchronous faults, and finds what
 * the child must isolate. */
int evf_fork_prepare(unsigned flags, sigset_t *ret_old_mask);
void evf_fork_restore_mask(const sigset_t *old_mask);

/* In the child, signals still blocked: every inherited epoll instance, of any library, is replaced in place by an
 * empty private one; caught signals get their default action; every loop of this core is abandoned. Returns the number
 * of epoll instances replaced. */
int evf_fork_child_begin(void);

/* The replacement also in the child of a raw fork, for a program whose children go on with no inherited loop but those
 * of this core. */
void evf_fork_isolate_always(bool always);

/* The io_uring rings that a child would share with this process. They cannot be isolated: their memory is shared, too.
 * Returns how many there are; the first of them, up to size, are stored. A system call for each open descriptor, unless
 * as many are open as when there was no ring among them. */
size_t evf_fork_find_rings(int *fds, size_t size);

/* Gives a loop that was inherited by a raw fork private kernel objects with the same interest, and drops the process
 * watchers. Done by the loop itself at its next use; a no-op in the process that made the loop. force: also there. */
int evf_loop_after_fork(struct evf_loop *loop, bool force);
/* After evf_fork_child_begin: every start on the loop answers EVF_EABANDONED, every stop does nothing. Its watchers
 * keep pointing to it: free them, or forget them, before the loop. */
bool evf_loop_is_abandoned(const struct evf_loop *loop);

/* What a host has to say and to do at forks, whoever makes them. Called inside fork, by the pthread_atfork handlers. */
struct evf_fork_host {
    /* True for a fork that will only exec: nothing is done for it. Also called in the child; async-signal-safe. */
    bool (*is_exec_only)(void);
    /* Around every other fork that is not between evf_fork_prepare and evf_fork_restore_mask. */
    void (*before)(void);
    void (*in_parent)(void);
    void (*in_child)(void);
    /* Instead of in_child, and not inside fork: in a copy that nobody told of, where it is found out. */
    void (*in_copy)(void);
};
/* Borrowed for ever; NULL: none. EVF_ENOMEM. */
int evf_fork_set_host(const struct evf_fork_host *host);

/* A process may be a copy that nobody told of: made by a system call (clone, say) past the C library, so that no
 * handler of pthread_atfork has run. Loops, watchers and hooks look for that at each use, and do then what is done in
 * the child of a raw fork. This looks now; true: it is one, and was not known to be. A system call on some systems. Not
 * in a signal handler. */
bool evf_fork_check(void);
/* Leaves the page alone that the kernel wipes in copies, as on a system without it; for tests. */
void evf_fork_use_page(bool use);

/* Makes the number a socket that is connected to nobody: what this process says on it reaches nobody, what it reads is
 * an error, and other processes keep what they share. Async-signal-safe. EVF_EBADF: not open. */
int evf_disown_fd(int fd);
/* Puts a new eventfd under the number of one that a child has inherited: what is written to it reaches nobody else.
 * EVF_EBADF: not open. EVF_ENOTSUP: this system has none. */
int evf_renew_eventfd(int fd);

/* Number of threads of this process; 0 where the system does not tell. */
int evf_fork_threads(void);

/* ---- Hooks at a fork ---------------------------------------------------------------------------------------- */

enum evf_phase {
    EVF_PREPARE, /* in the parent, before */
    EVF_PARENT,  /* in the parent, after; also when the system refused the child */
    EVF_CHILD,
    EVF_PHASE_COUNT
};

/* A priority below all: the last to prepare and the first afterwards. For what must be right before others' hooks run.
 */
#define EVF_PRIORITY_NEAREST 255

struct evf_hook;
/* Returns 0. Of a prepare hook a negative value refuses the fork, if the hook is registered still; of other phases it
 * means nothing. May register and cancel hooks, itself too; what is registered while hooks run takes part in the next
 * fork. */
typedef int (*evf_hook_cb)(struct evf_hook *hook, enum evf_phase phase, void *data);

/* The caller's memory, zeroed before the first use, where it is until it is cancelled. */
struct evf_hook {
    evf_hook_cb cb[EVF_PHASE_COUNT]; /* NULL: not called in that phase, and costs nothing there */
    void *data;
    const char *name;       /* for reports; borrowed; may be NULL */
    unsigned char priority; /* 0 to 100: prepare runs from high to low, parent and child from low to high */
    /* The registry's. */
    struct evf_link links[EVF_PHASE_COUNT];
    unsigned registered_in, prepared_in; /* rounds of the registry: one for each fork */
};

/* Of equal priorities prepare runs the youngest first, parent and child the oldest. EVF_EINVAL: the priority, or no
 * callback at all. EVF_EEXIST: is registered. */
int evf_hook_register(struct evf_hook *hook);
void evf_hook_cancel(struct evf_hook *hook); /* an inactive one is fine */
bool evf_hook_is_registered(const struct evf_hook *hook);

/* For who forks. Runs prepare hooks. When one refuses, *ret_refused is that one, the answer is its negative value, and
 * those that were prepared before get their parent call. EVF_EBUSY: called inside a hook. After 0 comes
 * evf_hooks_finish, in the parent and in the child. */
int evf_hooks_prepare(struct evf_hook **ret_refused);
/* The parent or child hooks. Without evf_hooks_prepare before, as in the child of a fork that nobody could prepare,
 * only those are run that have no prepare callback. Ignored inside a hook. */
void evf_hooks_finish(enum evf_phase phase);
bool evf_hooks_are_running(void);
/* The hook that runs was left by a jump that goes past evf_hooks_prepare or evf_hooks_finish, as exit in Perl does. The
 * rest of that round is dropped, and the next fork runs its hooks again. Ignored outside of a hook. */
void evf_hooks_break(void);
/* The hooks of a phase in the order of their calls: the one after hook, the first for NULL; NULL at the end. */
struct evf_hook *evf_hook_next(const struct evf_hook *hook, enum evf_phase phase);

#ifdef __cplusplus
}
#endif
#endif
