/* The inside of the core: what its files share, and the map of who owns what. Never included outside of xs/core. */
#ifndef EVF_INTERNAL_H
#define EVF_INTERNAL_H

#include "backend.h"
#include "evf.h"

#include <stdatomic.h>

#ifndef NSIG
#define NSIG 65
#endif

#ifdef __GNUC__
#pragma GCC visibility push(hidden) /* nobody outside of this object */
#endif

#define EVF__SECOND INT64_C(1000000000)
#define EVF__MILLISECOND INT64_C(1000000)

/* ---- A circular list with a head ------------------------------------------------------------------- */

static inline void evf__list_init(struct evf_link *head) {
    head->next = head->prev = head;
}

static inline bool evf__list_is_empty(const struct evf_link *head) {
    return head->next == head;
}

static inline void evf__list_append(struct evf_link *head, struct evf_link *link) {
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* A link that is in no list is fine. */
static inline void evf__list_remove(struct evf_link *link) {
    if (link->next == NULL) return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->next = link->prev = NULL;
}

#define EVF__CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))
#define EVF__WATCHER_OF_READY(pointer) EVF__CONTAINER(pointer, struct evf_watcher, ready)
#define EVF__WATCHER_OF_LINK(pointer) EVF__CONTAINER(pointer, struct evf_watcher, link)

/* ---- A loop ------------------------------------------------------------------------------------------------- */

/* One slot for each descriptor number. Owned by the loop; the watcher in it is the caller's. */
struct evf__fd {
    struct evf_io *io;         /* NULL: nobody watches */
    unsigned char kernel_mask; /* what the backend was told */
    bool changed;              /* is in the list of changes */
    bool always_ready;         /* a file the kernel cannot watch */
    bool closed;               /* closed under its watcher: silent until it is started anew */
    bool muted;                /* only hang-up is wanted and there is data: looked at by timer */
};

struct evf__heap_entry {
    int64_t deadline_ns; /* beside the pointer, so that sifting reads no watcher */
    struct evf_timer *timer;
};

/* A 4-ary heap of deadlines on one clock. Owned by the loop; the timers in it are the caller's. */
struct evf__heap {
    struct evf__heap_entry *entries;
    size_t count, size;
};

struct evf_loop {
    const struct evf_backend *backend; /* static */
    void *state;                       /* the backend's, owned */
    const char *method;                /* static */
    struct evf_host host;
    struct evf_loop_hooks hooks;
    struct evf_link all; /* in the list of every loop of this process */

    struct evf__fd *fds;
    size_t fds_size;
    int *changes; /* descriptors whose interest the backend does not know yet; room for all of fds */
    size_t changes_count;
    size_t always_ready_count; /* those that somebody wants */
    size_t muted_count;
    struct evf_timer muted_timer;
    struct evf_io wake; /* the process's wake-up descriptor */
    atomic_bool waits;  /* other threads look at these two */
    atomic_uint wakeups_seen;

    struct evf_link ready; /* what waits for delivery, in order */
    struct evf_link idles, signals, processes;
    struct evf__heap heaps[EVF_CLOCK_COUNT];
    uint64_t timer_order;
    size_t watchers; /* active ones that are not internal */

    unsigned raised_seen;            /* signals.c: how much of the total was looked at */
    unsigned children_seen;          /* process.c: likewise */
    size_t unwatched_count;          /* processes without a pidfd */
    struct evf_timer children_timer; /* looks at those now and then, if SIGCHLD went astray */

    sig_atomic_t generation; /* of the process this loop's kernel objects belong to */
    bool abandoned;          /* its watchers may be gone: nothing is reached through them any more */
    bool wants_rearm;        /* at the next use, whether or not this is a child */
};

/* loop.c */
extern struct evf_link evf__loops; /* every loop of this process, of all threads */
/* Around each look at the list, and around forks; a child that has just been forked is alone and needs none. Never in a
 * signal handler, and never around code of others. */
void evf__loops_lock(void);
void evf__loops_unlock(void);
void evf__loops_renew(void); /* the lock, in a copy whose parent may have had it locked by another thread */
int64_t evf__now(const struct evf_loop *loop, enum evf_clock clock);
void evf__ready(struct evf_loop *loop, struct evf_watcher *watcher);
/* Binds a watcher to a loop that is fit for use; the reverse of evf__watcher_stop. */
int evf__watcher_check(struct evf_loop *loop, const struct evf_watcher *watcher);
void evf__watcher_start(struct evf_loop *loop, struct evf_watcher *watcher, enum evf_watcher_kind kind, void *data);
void evf__watcher_stop(struct evf_watcher *watcher);

/* In a child, for good: forgets watchers and kernel objects. The parent's descriptors are closed already. */
void evf__loop_abandon(struct evf_loop *loop);

/* io.c */
int evf__io_init(struct evf_loop *loop); /* starts the watcher of the wake-up descriptor */
void evf__io_stop_all(struct evf_loop *loop);
void evf__io_clear(struct evf_loop *loop); /* memory only */
int evf__io_start_internal(struct evf_loop *loop, struct evf_io *io, int fd, evf_io_cb cb, void *data);
int evf__io_flush(struct evf_loop *loop); /* changed interest to the backend */
void evf__io_forget_closed(struct evf_loop *loop);
void evf__io_rearm_all(struct evf_loop *loop);
void evf__io_collect(struct evf_loop *loop); /* always-ready files */
void evf__io_host_ready(void *data, int fd, unsigned mask);
void evf__io_host_closed(void *data, int fd);

/* timers.c */
void evf__timers_stop_all(struct evf_loop *loop);
void evf__timers_clear(struct evf_loop *loop); /* memory only */
/* How long the loop may wait: at most timeout_ns (-1: for ever). */
int64_t evf__timers_timeout(const struct evf_loop *loop, int64_t timeout_ns);
void evf__timers_collect(struct evf_loop *loop);
int evf__timer_start_internal(struct evf_loop *loop, struct evf_timer *timer, int64_t timeout_ns, evf_timer_cb cb,
                              void *data);

/* signals.c */
bool evf__signals_pending(const struct evf_loop *loop);
void evf__signals_collect(struct evf_loop *loop);
void evf__signals_forget(struct evf_loop *loop); /* the parent's deliveries; async-signal-safe */

/* process.c */
int evf__process_deliver(struct evf_process *process);
bool evf__processes_pending(const struct evf_loop *loop);
void evf__processes_collect(struct evf_loop *loop);
void evf__processes_close_fds(const struct evf_loop *loop); /* async-signal-safe */
bool evf__processes_own_fd(int fd);
void evf__processes_stop_all(struct evf_loop *loop);

/* wakeup.c: the descriptor that ends a wait */
int evf__wakeup_open(void);   /* once for the process; returns the descriptor to watch, or a negative code */
void evf__wakeup_close(void); /* in a child: the next to use it opens its own; async-signal-safe */
void evf__wakeup_notice(struct evf_loop *loop); /* the descriptor is readable */
void evf__wakeup_enter(struct evf_loop *loop);  /* a wait begins: from now on a wake-up is written down in the kernel */
void evf__wakeup_leave(struct evf_loop *loop);

void evf__wakeup_fd_close(void);     /* that of evf_wakeup_fd, in a child; async-signal-safe */
int evf__pipe_open(int ret_fds[2]);  /* non-blocking, closed on exec */
int evf__waker_open(int ret_fds[2]); /* to read and to write: an eventfd, twice the same number, or a pipe */

/* heartbeat.c */
extern struct evf_scoreboard_row *evf__heartbeat; /* what loops stamp; NULL: nothing */
static inline bool evf__heartbeat_is_on(void) {
    return __atomic_load_n(&evf__heartbeat, __ATOMIC_RELAXED) != NULL;
}
void evf__heartbeat_forget(void); /* in a child; async-signal-safe */

/* recorder.c */
void evf__recorder_forget(void); /* likewise */
unsigned evf__recorder_stage(void);
/* Before each call of a hook, whatever becomes of it. */
void evf__recorder_enter_hook(const struct evf_hook *hook, enum evf_phase phase);

/* isolate.c */
int evf__isolate_prepare(void); /* before a fork: finds them */
int evf__isolate_all(void);     /* in the child: replaces those; their number */

/* fork.c */
int evf__fork_init(void);
/* True: this process turns out to be a copy that nobody told of, and what is to be done is done. */
#ifdef __GNUC__
__attribute__((cold)) /* so that its callers pay for nothing but the look */
#endif
bool evf__fork_notice(void);

/* tripwire.c */
extern volatile unsigned char *evf__tripwire; /* 0 in such a copy */
extern pid_t evf__tripwire_owner;             /* where getpid must tell; 0: the byte does */
void evf__tripwire_init(void);
void evf__tripwire_arm(void);  /* in a child that is known: its own children are noticed, too; async-signal-safe */
bool evf__tripwire_take(void); /* true for the one who finds it first */

/* For handlers, which can do nothing about it but leave alone what is the parent's. */
static inline bool evf__fork_is_unnoticed(void) {
    return *evf__tripwire == 0;
}

/* At every use of what a parent may share: one read. Not under evf__loops_lock. */
static inline void evf__fork_check(void) {
    if (evf__fork_is_unnoticed()) (void)evf__fork_notice();
}

/* The same where a system call follows anyway. */
static inline void evf__fork_check_by_call(void) {
    if (evf__fork_is_unnoticed() || evf__tripwire_owner != 0) (void)evf__fork_notice();
}

static inline bool evf__loop_is_inherited(const struct evf_loop *loop) {
    evf__fork_check();
    return loop->generation != evf_fork_generation || loop->wants_rearm;
}

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#endif
