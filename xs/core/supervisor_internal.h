/* The inside of the supervisor's decisions: what its files share. A worker is the process of one berth; a slot has two
 * berths, of which one is *main*. The other holds a replacement that gets ready, or an old worker that leaves.
 *
 *   supervisor.c            the two tables state x event, the step, options, views
 *   supervisor_worker.c     the life of one process, from SPAWN to its end
 *   supervisor_slot.c       what follows from an end: back-off, respawn; slots that come and go
 *   supervisor_pool.c       what concerns all: tokens and their queue, reload, breaker
 *   supervisor_deadlines.c  the heap
 *   supervisor_trace.c      events as lines of text; knows nothing of the rest */
#ifndef EVF_SUPERVISOR_INTERNAL_H
#define EVF_SUPERVISOR_INTERNAL_H

#include "internal.h"
#include "supervisor.h"

#ifdef __GNUC__
#pragma GCC visibility push(hidden)
#endif

#define EVF__NEVER INT64_MAX

enum { EVF__BERTHS_MAX = 2 * EVF_SLOTS_MAX, EVF__NOT_IN_HEAP = -1 };

/* ---- The state ---------------------------------------------------------------------------------------------- */

struct evf__worker {
    enum evf_worker_state state;
    enum evf_cause cause;       /* why it leaves; before that, why it was started; in a back-off, why it will be */
    enum evf_cause start_cause; /* why it was started */
    enum evf_cause limit;       /* which of its limits it has passed */
    enum evf_start_method method;
    pid_t pid; /* 0: no process, or not known yet */
    unsigned generation;
    int64_t spawned_ns, ready_ns, deadline_ns;
    int64_t silent_since_ns;  /* of one that is stuck */
    int64_t waiting_since_ns; /* in a back-off */
    int heap_index;
    int early_status;
    uint64_t culprit;                      /* of its end, once that has come */
    pid_t early_ready_pid, early_exit_pid; /* whom that was about; 0: not told */
    unsigned char large_samples;           /* in a row, above max_rss */
    bool is_awaited;                       /* the answer to SPAWN has not come yet */
    bool is_replacement;                   /* until it is ready, or alone */
    bool was_ready;
    bool kill_is_sent;
    bool is_ready_early, has_exited_early; /* came before the answer to SPAWN */
};

struct evf__slot {
    struct evf_link queue;   /* NULL, NULL: not waiting for a token */
    uint64_t order;          /* of the request to replace its worker */
    enum evf_cause outdated; /* why its main worker is to be replaced */
    unsigned failures;       /* deaths and failed starts in a row */
    unsigned replacement_failures;
    unsigned char main; /* which berth: 0 or 1 */
    bool is_wanted, is_leaving;
    bool has_token;
};

struct evf__crash {
    int64_t when_ns;
    uint64_t culprit;
    bool is_fault;
};

struct evf_supervisor {
    struct evf_supervisor_options options;
    enum evf_pool_state state;
    enum evf_start_method method;
    int64_t now_ns, armed_ns, resumed_ns, look_ns;
    uint64_t random_state, next_order;
    unsigned generation, last_generation; /* the pool's; the highest number that was ever given */
    unsigned proven_generation;           /* the last of which a worker was ready */
    unsigned berths, slots;               /* used so far; wanted slots */
    unsigned alive, ready, starting, replacing;
    unsigned current; /* alive, and of the pool's generation */
    unsigned served;  /* alive, and ready now or before */
    bool is_started, is_fast, is_halting, was_ever_ready;
    bool retries_fork;    /* had fallen back before a reload: one fault is enough now */
    bool has_skipped;     /* something is left out */
    bool retries_skipped; /* was, before a reload: one end by it is enough now */

    bool breaker_is_open;
    int64_t probe_ns; /* while it is open: no start before */
    unsigned crash_count, crash_next;
    struct evf__crash *crashes; /* a ring of crash_limit; owned */
    uint64_t starts[EVF_CAUSE_COUNT];

    struct evf_link queue;               /* slots whose worker is to be replaced, the oldest request first */
    uint64_t unused[EVF_SLOTS_MAX / 64]; /* a bit for each slot that is nobody's */
    unsigned heap_count;
    unsigned heap[EVF__BERTHS_MAX];
    unsigned action_count;
    struct evf_supervisor_action *actions; /* owned; room for EVF__ACTIONS_MAX */
    struct evf__slot slot[EVF_SLOTS_MAX];
    struct evf__worker worker[EVF__BERTHS_MAX];
};

/* A worker causes at most this many actions in a step: its end, a change of the breaker or of a reload, a new start,
 * the drain of its neighbour. The pages that are never reached cost nothing. */
enum { EVF__ACTIONS_MAX = EVF__BERTHS_MAX * 8 + 64 };

static inline unsigned evf__slot_of(unsigned berth) {
    return berth / 2;
}

static inline unsigned evf__main_berth(const struct evf_supervisor *supervisor, unsigned slot) {
    return slot * 2 + supervisor->slot[slot].main;
}

static inline bool evf__is_alive(enum evf_worker_state state) {
    return state != EVF_WORKER_EMPTY && state != EVF_WORKER_BACKOFF;
}

static inline bool evf__is_stopping(const struct evf_supervisor *supervisor) {
    return supervisor->state >= EVF_POOL_STOPPING;
}

/* From now on; never wraps. */
static inline int64_t evf__after(const struct evf_supervisor *supervisor, int64_t timeout_ns) {
    return timeout_ns > EVF__NEVER - supervisor->now_ns ? EVF__NEVER : supervisor->now_ns + timeout_ns;
}

/* ---- supervisor.c ------------------------------------------------------------------------------------------- */

/* The next action; what does not belong to the type is 0. Borrowed until the next one. */
struct evf_supervisor_action *evf__act(struct evf_supervisor *supervisor, enum evf_action_type type, unsigned berth);
struct evf_supervisor_action *evf__report(struct evf_supervisor *supervisor, enum evf_report report, unsigned berth);
uint64_t evf__draw(struct evf_supervisor *supervisor);

/* ---- supervisor_deadlines.c --------------------------------------------------------------------------------- */

/* EVF__NEVER takes it away. Of equal deadlines who has waited longest comes first, then the lowest berth. */
void evf__deadline_set(struct evf_supervisor *supervisor, unsigned berth, int64_t deadline_ns);
int64_t evf__deadline_first(const struct evf_supervisor *supervisor);

/* ---- supervisor_worker.c ------------------------------------------------------------------------------------ */

typedef void evf__worker_handler(struct evf_supervisor *supervisor, unsigned berth,
                                 const struct evf_supervisor_event *event);
evf__worker_handler evf__worker_spawned, evf__worker_spawn_failed, evf__worker_ready, evf__worker_exited,
    evf__worker_heartbeat, evf__worker_sample, evf__worker_examined;
/* Deadlines; the event is NULL. */
evf__worker_handler evf__worker_is_late, evf__worker_reached_age, evf__worker_overstayed, evf__worker_resists;

void evf__worker_set_state(struct evf_supervisor *supervisor, unsigned berth, enum evf_worker_state state);
void evf__worker_clear(struct evf_supervisor *supervisor, unsigned berth);
void evf__worker_spawn(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause, bool is_replacement);
/* Without a process this empties the berth; one that leaves or is killed already is left alone. */
void evf__worker_leave(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause);
/* At once, without looking where it is. */
void evf__worker_kill(struct evf_supervisor *supervisor, unsigned berth, enum evf_cause cause);
uint64_t evf__requests_max(const struct evf_supervisor *supervisor, unsigned slot);

/* ---- supervisor_slot.c -------------------------------------------------------------------------------------- */

/* The process of a berth has gone, and the berth is empty. ended: as it was; cause: why it ended. */
void evf__slot_ended(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                     enum evf_cause cause, int wait_status);
void evf__slot_spawn_failed(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *failed);
evf__worker_handler evf__slot_retry; /* the back-off is over */
void evf__slots_fill(struct evf_supervisor *supervisor, enum evf_cause cause);
void evf__slots_resize(struct evf_supervisor *supervisor, unsigned workers);
/* While the breaker is open. */
int64_t evf__probe_interval(const struct evf_supervisor *supervisor);
/* Back-offs are as after one failure: the breaker has closed. */
void evf__backoffs_shorten(struct evf_supervisor *supervisor);

/* ---- supervisor_pool.c -------------------------------------------------------------------------------------- */

/* Requests the replacement of a slot's main worker. An earlier request stands. */
void evf__replace_request(struct evf_supervisor *supervisor, unsigned slot, enum evf_cause cause);
void evf__replace_forget(struct evf_supervisor *supervisor, unsigned slot);
/* Lets it wait for a token, if it is wanted and can be had now. */
void evf__replace_queue(struct evf_supervisor *supervisor, unsigned slot);
void evf__replace_start(struct evf_supervisor *supervisor); /* as many as there are tokens for */
int64_t evf__replace_deadline(const struct evf_supervisor *supervisor);
void evf__token_release(struct evf_supervisor *supervisor, unsigned slot);

void evf__reload_begin(struct evf_supervisor *supervisor);
void evf__reload_start_failed(struct evf_supervisor *supervisor, unsigned berth, unsigned generation,
                              enum evf_cause cause, int wait_status);
/* Of a reload that has failed; a replacement that has begun may go on. */
void evf__reload_forget(struct evf_supervisor *supervisor, unsigned slot);
void evf__reload_check(struct evf_supervisor *supervisor); /* is it done? */

bool evf__may_probe(const struct evf_supervisor *supervisor);
/* The failed start of a worker, which is passed as it was. */
void evf__breaker_count(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                        enum evf_cause cause, int wait_status);
/* True if that was a fork, tried once more by a reload, that died as those before it: the start method has changed. */
bool evf__fork_failed_again(struct evf_supervisor *supervisor, unsigned berth, const struct evf__worker *ended,
                            enum evf_cause cause, int wait_status);
void evf__breaker_close(struct evf_supervisor *supervisor);
void evf__breaker_check(struct evf_supervisor *supervisor); /* is anybody left who serves? */

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#endif
