/* The supervisor's decisions: which worker to start, ask to leave, examine or kill, and when. A pure function of its
 * state, one event and the time: nothing here forks, signals, waits, reads a clock or draws from anywhere but the seed
 * it was given. The driver carries out the actions and tells what came of them, as further events. Perl's driver is
 * lib/EventLoop/Fork/Supervisor/Driver.pm; t/core/supervisor_sim.c is one made of random numbers.
 *
 * A *slot* is a place for one worker, numbered from 0; its number outlives the workers in it. A slot has two *berths*,
 * so that a replacement can get ready beside the worker it replaces: berth 2 * slot and 2 * slot + 1. A worker's row of
 * the scoreboard has the number of its berth. Times are int64_t nanoseconds of a clock that does not count sleep. */
#ifndef EVF_SUPERVISOR_H
#define EVF_SUPERVISOR_H

#include "evf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct evf_supervisor;

enum { EVF_SLOTS_MAX = 1024 };

/* A zero timeout, limit or size means "off", but for those that say otherwise. */
struct evf_supervisor_options {
    unsigned workers;             /* 1 to EVF_SLOTS_MAX / 2 */
    int64_t startup_timeout_ns;   /* from spawn to ready */
    int64_t heartbeat_timeout_ns; /* longest silence of a busy worker */
    int64_t graceful_timeout_ns;  /* from drain to kill; 0: killed at once */
    uint64_t max_requests;        /* a worker is replaced after so many ... */
    uint64_t max_requests_jitter; /* ... and up to so many more, spread evenly over the slots */
    uint64_t max_rss_bytes;       /* in three samples one after the other */
    int64_t max_lifetime_ns;      /* since ready */
    int64_t min_lifetime_ns;      /* no replacement for one of these three reasons before; 0 is no bound */
    unsigned max_unavailable;     /* replacements under way at a time, whatever the cause; at least 1 */
    int64_t respawn_delay_ns;     /* 0: always at once, but for failed forks, exit code 2 and replacements: 100 ms */
    int64_t respawn_delay_max_ns; /* less than respawn_delay is taken as that */
    unsigned crash_limit;         /* so many failed starts, at most 65536, ... */
    int64_t crash_window_ns;      /* ... within this open the breaker; a 0 in one of the two never does */
    bool only_spawn;              /* every start is an EVF_START_SPAWN. Else all are forks, until ... */
    bool can_spawn; /* ... the breaker would open because of faults after fork: EVF_START_SPAWN is tried instead */
    uint64_t seed;  /* of the jitter */
};

enum evf_worker_state {
    EVF_WORKER_EMPTY,    /* no process */
    EVF_WORKER_STARTING, /* from the action SPAWN to READY */
    EVF_WORKER_READY,
    EVF_WORKER_DRAINING, /* was asked to leave */
    EVF_WORKER_KILLING,  /* is examined, then killed; until its end has come */
    EVF_WORKER_BACKOFF,  /* no process; a start is put off */
    EVF_WORKER_STATE_COUNT
};

enum evf_pool_state {
    EVF_POOL_RUNNING,
    EVF_POOL_RELOADING, /* workers of an older generation are replaced */
    EVF_POOL_STOPPING,
    EVF_POOL_STOPPED, /* by request, no process is left */
    EVF_POOL_HALTED,  /* because nothing could start; no process is left */
    EVF_POOL_STATE_COUNT
};

enum evf_start_method { EVF_START_FORK, EVF_START_SPAWN };

/* ---- Events: what the driver tells -------------------------------------------------------------------------- */
/* An event of a worker should carry the pid that it is about, if that is known: then what comes late about a worker
 * cannot be taken for the next one of that berth. A pid of 0 is not compared. */

enum evf_event_type {
    EVF_EVENT_START,        /* once, first */
    EVF_EVENT_TICK,         /* a deadline may have passed */
    EVF_EVENT_SPAWNED,      /* berth, pid: an action SPAWN succeeded */
    EVF_EVENT_SPAWN_FAILED, /* berth, error (an errno): it did not */
    EVF_EVENT_READY,        /* berth */
    /* berth, wait_status: as of waitpid; -1 unknown. culprit: a number for what ended it, if that can be left out; 0:
       no */
    EVF_EVENT_EXITED,
    EVF_EVENT_HEARTBEAT, /* berth, busy_since_ns: 0 is idle; extension_ns: what it was allowed beyond the timeout. What
                          * it was busy with before READY does not count */
    EVF_EVENT_SAMPLE,    /* berth, requests, rss_bytes (0: not known) */
    EVF_EVENT_EXAMINED,  /* berth: the place where it is stuck is known now */
    EVF_EVENT_STOP,      /* is_fast: kill now, do not wait for requests */
    EVF_EVENT_RELOAD,
    EVF_EVENT_RESIZE, /* workers */
    EVF_EVENT_COUNT
};

struct evf_supervisor_event {
    enum evf_event_type type;
    unsigned berth;
    pid_t pid;
    int wait_status, error;
    int64_t busy_since_ns, extension_ns;
    uint64_t requests, rss_bytes, culprit;
    unsigned workers;
    bool is_fast;
};

/* ---- Actions: what the driver must do ----------------------------------------------------------------------- */

/* Why a worker leaves or an event is reported. X(name, word). */
#define EVF_CAUSES(X)                                                                                                  \
    X(EVF_CAUSE_NONE, "")                                                                                              \
    X(EVF_CAUSE_INITIAL, "start")       /* the first worker of a slot */                                               \
    X(EVF_CAUSE_DIED, "died")           /* an exit nobody asked for, after ready */                                    \
    X(EVF_CAUSE_FAILED, "failed start") /* an end before ready */                                                      \
    X(EVF_CAUSE_STARTUP, "startup timeout")                                                                            \
    X(EVF_CAUSE_STUCK, "heartbeat timeout")                                                                            \
    X(EVF_CAUSE_REQUESTS, "max requests")                                                                              \
    X(EVF_CAUSE_RSS, "max rss")                                                                                        \
    X(EVF_CAUSE_LIFETIME, "max lifetime")                                                                              \
    X(EVF_CAUSE_RELOAD, "reload")                                                                                      \
    X(EVF_CAUSE_RESIZE, "resize")                                                                                      \
    X(EVF_CAUSE_STOP, "stop")                                                                                          \
    X(EVF_CAUSE_GRACEFUL, "graceful timeout") /* did not leave in time */

enum evf_cause {
#define EVF_X(name, word) name,
    EVF_CAUSES(EVF_X)
#undef EVF_X
        EVF_CAUSE_COUNT
};
const char *evf_cause_word(enum evf_cause cause); /* static */

enum evf_action_type {
    EVF_ACTION_SPAWN,   /* berth, generation, method, requests_max (0: none), cause. Answer: SPAWNED or SPAWN_FAILED */
    EVF_ACTION_DRAIN,   /* berth, pid: ask it to leave */
    EVF_ACTION_EXAMINE, /* berth, pid: have its place written down. Answer, if any: EXAMINED. A KILL follows */
    EVF_ACTION_KILL,    /* berth, pid */
    EVF_ACTION_LOOK,    /* answer with a HEARTBEAT and a SAMPLE for each worker that is ready */
    EVF_ACTION_SKIP,    /* culprit: leave it out of every fork from now on */
    EVF_ACTION_RESTORE, /* what was left out takes part again */
    EVF_ACTION_REPORT,  /* report, and what belongs to it */
    EVF_ACTION_FINISH   /* exit_code; the last action of all */
};

/* What happened, for people. X(name, word). */
#define EVF_REPORTS(X)                                                                                                 \
    X(EVF_REPORT_STARTED, "worker_started")    /* berth, pid, cause, generation */                                     \
    X(EVF_REPORT_READY, "worker_ready")        /* berth, pid, generation, elapsed_ns since its spawn */                \
    X(EVF_REPORT_EXITED, "worker_exited")      /* berth, pid, wait_status, cause, generation, elapsed_ns: its age */   \
    X(EVF_REPORT_STUCK, "worker_stuck")        /* berth, pid, cause, elapsed_ns: the silence; before the KILL */       \
    X(EVF_REPORT_DRAINING, "worker_draining")  /* berth, pid, cause */                                                 \
    X(EVF_REPORT_KILLED, "worker_killed")      /* berth, pid, cause */                                                 \
    X(EVF_REPORT_SPAWN_FAILED, "spawn_failed") /* berth, error, cause: why it was to start */                          \
    X(EVF_REPORT_BACKOFF, "backoff")           /* berth, elapsed_ns: until the next start */                           \
    X(EVF_REPORT_BREAKER_OPEN, "breaker_open") /* count: failed starts in the window */                                \
    X(EVF_REPORT_BREAKER_CLOSED, "breaker_closed")                                                                     \
    /* method, cause: FAILED or RELOAD; after failed starts berth and wait_status of the last one */                   \
    X(EVF_REPORT_FALLBACK, "start_method_changed")                                                                     \
    X(EVF_REPORT_SKIPPED, "hook_skipped")        /* culprit, berth and wait_status of the last one that it ended */    \
    X(EVF_REPORT_RELOADING, "reloading")         /* generation */                                                      \
    X(EVF_REPORT_RELOADED, "reloaded")           /* generation */                                                      \
    X(EVF_REPORT_RELOAD_FAILED, "reload_failed") /* generation that failed, berth, cause, wait_status */               \
    X(EVF_REPORT_RESIZED, "resized")             /* count */                                                           \
    X(EVF_REPORT_SUSPENDED, "suspended")         /* elapsed_ns that this process did not run: all deadlines moved */   \
    X(EVF_REPORT_STOPPING, "stopping")           /* is_fast */                                                         \
    X(EVF_REPORT_STOPPED, "stopped")             /* exit_code */                                                       \
    X(EVF_REPORT_HALTED, "halted")               /* exit_code, count: failed starts */

enum evf_report {
#define EVF_X(name, word) name,
    EVF_REPORTS(EVF_X)
#undef EVF_X
        EVF_REPORT_COUNT
};
const char *evf_report_word(enum evf_report report); /* static */

struct evf_supervisor_action {
    enum evf_action_type type;
    enum evf_report report;
    enum evf_cause cause;
    enum evf_start_method method;
    unsigned berth, generation, count;
    pid_t pid;
    int wait_status, error, exit_code;
    int64_t elapsed_ns;
    uint64_t requests_max, culprit;
    bool is_fast;
};

enum {
    EVF_EXIT_CLEAN = 0,
    EVF_EXIT_USAGE = 1,
    EVF_EXIT_NOTHING_STARTED = 2, /* also what a worker exits with that could not start */
    EVF_EXIT_BREAKER = 3
};

/* ---- The machine -------------------------------------------------------------------------------------------- */

/* EVF_EINVAL: an option out of its range. EVF_ENOMEM: later calls need no memory. */
int evf_supervisor_new(const struct evf_supervisor_options *options, struct evf_supervisor **ret_supervisor);
void evf_supervisor_free(struct evf_supervisor *supervisor); /* NULL is fine */

/* One step. now_ns may stand still; one that goes back is taken as the last one. *ret_actions are to be carried out in
 * order; borrowed until the next step. Returns their number, or EVF_EINVAL for an event that cannot be (an unknown
 * type, a berth out of range, no workers at all), which changes nothing. An event that comes too late for the state of
 * its worker is no error and changes nothing. */
int evf_supervisor_step(struct evf_supervisor *supervisor, const struct evf_supervisor_event *event, int64_t now_ns,
                        const struct evf_supervisor_action **ret_actions);
/* When the next TICK is wanted; INT64_MAX: never. */
int64_t evf_supervisor_deadline(const struct evf_supervisor *supervisor);

/* ---- Recording ---------------------------------------------------------------------------------------------- */

enum { EVF_TRACE_LINE_MAX = 640 }; /* bytes that any line needs at most, with its NUL */

/* An event, or the options, as a line of text without its line feed: see supervisor_trace.c. Returns the length.
 * EVF_EINVAL: no such type, or too little room; the text is undefined then. */
int evf_supervisor_trace_format(const struct evf_supervisor_event *event, int64_t now_ns, char *text, size_t size);
int evf_supervisor_trace_format_options(const struct evf_supervisor_options *options, char *text, size_t size);
/* The reverse; a line feed at the end is fine. EVF_EINVAL: not such a line. */
int evf_supervisor_trace_parse(const char *line, struct evf_supervisor_event *ret_event, int64_t *ret_now_ns);
int evf_supervisor_trace_parse_options(const char *line, struct evf_supervisor_options *ret_options);

/* ---- Looking at it ------------------------------------------------------------------------------------------ */

struct evf_worker_view {
    enum evf_worker_state state;
    enum evf_cause cause; /* why it leaves; why it was started */
    pid_t pid;            /* 0: no process */
    unsigned slot, generation;
    int64_t spawned_ns, ready_ns, deadline_ns; /* deadline: INT64_MAX is none */
    bool is_replacement;                       /* gets ready beside the worker it replaces */
    bool is_leaving;                           /* a resize: the slot goes with it */
};
/* EVF_EINVAL: no such berth. */
int evf_supervisor_worker(const struct evf_supervisor *supervisor, unsigned berth, struct evf_worker_view *ret_view);

struct evf_pool_view {
    enum evf_pool_state state;
    enum evf_start_method method;
    unsigned workers; /* wanted */
    unsigned berths;  /* berths from here on have never been used */
    unsigned alive, ready, replacing;
    unsigned generation;
    bool breaker_is_open;
    uint64_t starts[EVF_CAUSE_COUNT]; /* so far, by why */
};
void evf_supervisor_pool(const struct evf_supervisor *supervisor, struct evf_pool_view *ret_view);

#ifdef __cplusplus
}
#endif
#endif
