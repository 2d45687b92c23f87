/* The scoreboard: one mapping that supervisor and workers share, a row for each berth. Written by plain atomic stores,
 * without a lock: a reader may see a row in the middle of a change, never a torn number. With a path it is a file that
 * another process reads, whatever became of the writers; without one it is gone with the last of them.
 *
 * The layout is the same for every process of a machine and is versioned: see struct evf_scoreboard_header. */
#ifndef EVF_SCOREBOARD_H
#define EVF_SCOREBOARD_H

#include "evf.h"
#include "recorder.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EVF_SCOREBOARD_MAGIC UINT64_C(0x314b52464c505645) /* "EVPLFRK1" in little endian: another order is refused */
enum {
    EVF_SCOREBOARD_VERSION = 3,
    EVF_SCOREBOARD_COUNTERS = 16,
    EVF_SCOREBOARD_NAME = 32,  /* bytes of a counter's name, with its NUL */
    EVF_SCOREBOARD_TEXT = 192, /* bytes of each text of a row, with its NUL */
    EVF_SCOREBOARD_INFO = 4096,
    EVF_SCOREBOARD_DEATHS = 16,
    EVF_SCOREBOARD_REASON = 448, /* bytes of the reason of a death, with its NUL */
    EVF_SCOREBOARD_ROWS = 2048   /* at most */
};

struct evf_death {
    int64_t epoch_ns; /* CLOCK_REALTIME */
    int64_t pid;
    uint32_t slot, generation;
    char reason[EVF_SCOREBOARD_REASON];
};

/* Before the rows. Written by the supervisor, but for `wanted_workers`. */
struct evf_scoreboard_header {
    uint64_t magic;
    uint32_t version, header_bytes, row_bytes, rows;
    int64_t supervisor_pid;
    int64_t started_ns;       /* CLOCK_MONOTONIC */
    int64_t started_epoch_ns; /* CLOCK_REALTIME */
    int64_t beat_ns;          /* of the supervisor's last look */
    int64_t due_ns;           /* when it means to look again; 0: when something happens */
    uint32_t pool_state;      /* enum evf_pool_state */
    uint32_t workers;         /* wanted */
    uint32_t generation;
    uint32_t wanted_workers; /* by `evfork scale`, which signals TTIN afterwards; 0: no wish */
    uint32_t breaker_is_open;
    int32_t exit_code;   /* once it has stopped */
    uint64_t starts[16]; /* by enum evf_cause */
    /* By workers whose rows have gone to others since: with the rows the numbers of all time. */
    uint64_t past_requests;
    int64_t past_counters[EVF_SCOREBOARD_COUNTERS];
    uint32_t counter_states[EVF_SCOREBOARD_COUNTERS]; /* of the names: 0 free, 1 being written, 2 written */
    char counter_names[EVF_SCOREBOARD_COUNTERS][EVF_SCOREBOARD_NAME];
    uint64_t deaths;                                     /* workers that ended without being asked. Set last */
    struct evf_death last_deaths[EVF_SCOREBOARD_DEATHS]; /* number n, from 0, is in place n % EVF_SCOREBOARD_DEATHS */
    struct evf_record record;                            /* of the supervisor itself */
    char info[EVF_SCOREBOARD_INFO];                      /* JSON, for people: name, listeners, program, versions */
};

struct evf_scoreboard_row {
    /* The supervisor's. */
    int64_t pid; /* 0: nobody */
    uint32_t slot, generation;
    uint32_t state;               /* enum evf_worker_state */
    uint32_t is_stopping;         /* set before the signal is sent */
    int64_t spawned_ns, ready_ns; /* 0: not yet */
    uint64_t requests_max;        /* 0: none */
    uint64_t rss_bytes;           /* of the last sample; private memory where the kernel tells it */
    int64_t exited_ns;            /* of the worker before */
    /* The worker's. */
    int64_t busy_since_ns; /* the heartbeat: 0 while its loop waits */
    uint64_t turns;        /* of its loop */
    int64_t extension_ns;  /* allowed beyond the heartbeat timeout, until the loop's next turn */
    uint64_t requests_started, requests_done;
    uint32_t is_ready, has_place; /* set last */
    int64_t counters[EVF_SCOREBOARD_COUNTERS];
    struct evf_record record;
    char reason[EVF_SCOREBOARD_REASON]; /* the supervisor's: how the worker before ended */
};

struct evf_scoreboard; /* this process's view of one */

/* path NULL: nameless memory. Else a new file, mode 0600, complete before it has its name; a scoreboard that is there
 * is replaced, unless a living process owns it: EVF_EBUSY. A file that is something else is left alone: EVF_ESYSTEM
 * with EEXIST. EVF_EINVAL: the number of rows (1 to EVF_SCOREBOARD_ROWS), a path too long. EVF_ESYSTEM: errno tells; no
 * room on the disk is found here, not by a fault later. The maker owns it: the file has its lock until it ends. Of the
 * header the layout, supervisor_pid, started_ns and started_epoch_ns are set. */
int evf_scoreboard_new(const char *path, unsigned rows, struct evf_scoreboard **ret_board);
/* For a reader; the maker may be one. EVF_EINVAL: not a scoreboard, or of another version. */
int evf_scoreboard_open(const char *path, bool is_writable, struct evf_scoreboard **ret_board);
/* Gives the maker's file another name, at most as long as the one it has. What has that name is replaced if it is a
 * scoreboard whose owner has ended or is `replaced`, a successor's way; 0: nobody. EVF_EBUSY: another process owns it.
 * EVF_ESYSTEM with EEXIST: it is something else, and left alone. EVF_EINVAL: no file of this process, or no path. */
int evf_scoreboard_rename(struct evf_scoreboard *board, const char *path, pid_t replaced);
/* For a program that was spawned: the descriptor of a board, open for reading and writing, is taken over. EVF_EINVAL as
 * above, EVF_ESYSTEM: it stays the caller's. */
int evf_scoreboard_open_fd(int fd, struct evf_scoreboard **ret_board);
/* Of the file, or of the nameless memory, to be given to such a program; the board's own. -1: there is none. Never to
 * be closed by the maker, nor a copy of it: that would give up the lock. */
int evf_scoreboard_fd(const struct evf_scoreboard *board);
/* Takes the mapping away, and the file's name if this process made it. In another process: the mapping only. A row of
 * it that is stamped, and a record that is written, are forgotten. NULL is fine. */
void evf_scoreboard_free(struct evf_scoreboard *board);
/* pid of the living owner; 0: it has ended. Of nameless memory: of the process that made it, as far as its pid tells.
 */
pid_t evf_scoreboard_owner(const struct evf_scoreboard *board);
bool evf_scoreboard_is_writable(const struct evf_scoreboard *board);

/* Borrowed as long as the board. NULL: no such row. */
struct evf_scoreboard_header *evf_scoreboard_header(struct evf_scoreboard *board);
unsigned evf_scoreboard_rows(const struct evf_scoreboard *board);
struct evf_scoreboard_row *evf_scoreboard_row(struct evf_scoreboard *board, unsigned row);
/* For another worker: keeps exited_ns and reason, and adds the numbers to those of the past. */
void evf_scoreboard_clear_row(struct evf_scoreboard *board, unsigned row);
/* By the supervisor. What is too long of the reason is cut. */
void evf_scoreboard_add_death(struct evf_scoreboard *board, int64_t epoch_ns, pid_t pid, unsigned slot,
                              unsigned generation, const char *reason, size_t length);
/* The counter of that name, in the rows of all; any process may make it known. EVF_EINVAL: the name is empty or too
 * long. EVF_ENOMEM: all are taken. */
int evf_scoreboard_counter(struct evf_scoreboard *board, const char *name);

/* How numbers are read and written: never torn, in no order. */
#define EVF_SCOREBOARD_GET(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define EVF_SCOREBOARD_SET(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
/* For is_ready and has_place: what was written before is seen by who sees the flag. */
#define EVF_SCOREBOARD_GET_FLAG(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define EVF_SCOREBOARD_SET_FLAG(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)

/* Texts, byte by byte. What is too long is cut where a UTF-8 character begins. Async-signal-safe. */
void evf_scoreboard_set_text(char *field, size_t size, const char *text, size_t length);
/* Returns the length; copy has room for size bytes and always gets its NUL. */
size_t evf_scoreboard_get_text(const char *field, size_t size, char *copy);

/* Static words for the numbers in a row and in the header; "unknown" for others. */
const char *evf_worker_state_name(unsigned state);
const char *evf_pool_state_name(unsigned state);

/* ---- In a worker -------------------------------------------------------------------------------------------- */

/* From now on every loop of this process stamps the row: busy from the end of a wait to the next. Its turns count from
 * 0. NULL: no more, and no bell. A forked child of the worker is not the worker: it forgets the row by itself. The
 * board must stay.
 */
void evf_heartbeat_attach(struct evf_scoreboard_row *row);
struct evf_scoreboard_row *evf_heartbeat_row(void); /* NULL: none. Async-signal-safe */
/* For loops of others: a turn of theirs has begun, which is proof of life and ends an extension; and "waiting". Nothing
 * without a row. */
void evf_heartbeat_busy(int64_t now_ns);
void evf_heartbeat_idle(void);
/* For workers without a loop: a request is proof of life only if nothing else is, so that a loop's stamp stays; the end
 * of the last one under way is "waiting" if no loop has made a turn. */
void evf_heartbeat_request_started(int64_t now_ns);
void evf_heartbeat_request_done(void);

/* ---- The bell ----------------------------------------------------------------------------------------------- */

/* By which workers tell the supervisor of a change that is not to wait for its next look: ready, examined. [0] is to be
 * watched for reading and answered, [1] to be rung; both close-on-exec, and the same number where the system can. */
int evf_bell_open(int ret_fds[2]);
void evf_bell_close(int fds[2]); /* sets them to -1 */
void evf_bell_ring(int fd);      /* async-signal-safe, keeps errno; -1: nothing */
bool evf_bell_answer(int fd);    /* true if it has rung since the last time */
/* The one that this worker rings; -1: none. Forgotten in a forked child, like the row. */
void evf_heartbeat_set_bell(int fd);
void evf_heartbeat_ring(void); /* async-signal-safe, keeps errno */

#ifdef __cplusplus
}
#endif
#endif
