/* The scoreboard: one mapping that supervisor and workers share, a row for each berth. Written by plain atomic stores,
 * without a lock: a reader may see a row in the middle of a change, never a torn number. With a path it is a file that
 * another process reads, whatever became of the writers; without one it is gone with the last of them.
 *
 * The layout is the same for every process of a machine and is versioned: see struct evf_scoreboard_header. */
#ifndef EVF_SCOREBOARD_H
#define EVF_SCOREBOARD_H

#include "evf.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EVF_SCOREBOARD_MAGIC UINT64_C(0x314b52464c505645) /* "EVPLFRK1" in little endian: another order is refused */
enum {
    EVF_SCOREBOARD_VERSION = 1,
    EVF_SCOREBOARD_COUNTERS = 16,
    EVF_SCOREBOARD_NAME = 32,  /* bytes of a counter's name, with its NUL */
    EVF_SCOREBOARD_TEXT = 192, /* bytes of each text of a row, with its NUL */
    EVF_SCOREBOARD_INFO = 4096
};

/* The first page. Written by the supervisor, but for `wanted_workers`. */
struct evf_scoreboard_header {
    uint64_t magic;
    uint32_t version, header_bytes, row_bytes, rows;
    int64_t supervisor_pid;
    int64_t started_ns;          /* CLOCK_MONOTONIC */
    int64_t started_epoch_ns;    /* CLOCK_REALTIME */
    int64_t beat_ns;             /* of the supervisor's last look */
    uint32_t pool_state;         /* enum evf_pool_state */
    uint32_t workers;            /* wanted */
    uint32_t generation;
    uint32_t wanted_workers;     /* by `evfork scale`, which signals TTIN afterwards; 0: no wish */
    uint32_t breaker_is_open;
    int32_t exit_code;           /* once it has stopped */
    uint64_t starts[16];         /* by enum evf_cause */
    char counter_names[EVF_SCOREBOARD_COUNTERS][EVF_SCOREBOARD_NAME];
    char info[EVF_SCOREBOARD_INFO]; /* JSON, for people: name, listeners, program, versions */
};

struct evf_scoreboard_row {
    /* The supervisor's. */
    int64_t pid; /* 0: nobody */
    uint32_t slot, generation;
    uint32_t state; /* enum evf_worker_state */
    uint32_t is_stopping; /* set before the signal is sent */
    int64_t spawned_ns, ready_ns; /* 0: not yet */
    uint64_t requests_max; /* 0: none */
    uint64_t rss_bytes;    /* of the last sample; private memory where the kernel tells it */
    int64_t exited_ns;     /* of the worker before */
    /* The worker's. */
    int64_t busy_since_ns; /* the heartbeat: 0 while its loop waits */
    uint64_t turns;        /* of its loop */
    int64_t extension_ns;  /* allowed beyond the heartbeat timeout, until the loop's next turn */
    uint64_t requests_started, requests_done;
    uint32_t is_ready, has_place; /* set last */
    int64_t counters[EVF_SCOREBOARD_COUNTERS];
    char place[EVF_SCOREBOARD_TEXT];  /* file and line where it stood when it was examined */
    char error[EVF_SCOREBOARD_TEXT];  /* the exception that ended it, its start of it */
    char reason[EVF_SCOREBOARD_TEXT]; /* the supervisor's: how the worker before ended */
};

struct evf_scoreboard; /* this process's view of one */

/* path NULL: nameless memory. Else a new file, mode 0600, complete before it has its name; one that is there is
 * replaced, unless a living supervisor owns it: EVF_EBUSY. EVF_EINVAL: the number of rows, a path too long.
 * EVF_ESYSTEM: errno tells. The maker owns it: the file has its lock until it ends. */
int evf_scoreboard_new(const char *path, unsigned rows, struct evf_scoreboard **ret_board);
/* For a reader. EVF_EINVAL: not a scoreboard, or of another version. */
int evf_scoreboard_open(const char *path, bool is_writable, struct evf_scoreboard **ret_board);
/* Takes the mapping away, and the file's name if this process made it. In another process: the mapping only. */
void evf_scoreboard_free(struct evf_scoreboard *board);
/* pid of the living owner of the file; 0: it has ended. */
pid_t evf_scoreboard_owner(const struct evf_scoreboard *board);

/* Borrowed as long as the board. NULL: no such row. */
struct evf_scoreboard_header *evf_scoreboard_header(struct evf_scoreboard *board);
struct evf_scoreboard_row *evf_scoreboard_row(struct evf_scoreboard *board, unsigned row);
void evf_scoreboard_clear_row(struct evf_scoreboard *board, unsigned row); /* keeps exited_ns and reason */

/* ---- In a worker -------------------------------------------------------------------------------------------- */

/* From now on every loop of this process stamps the row: busy from the end of a wait to the next. NULL: no more. A
 * forked child of the worker is not the worker: it forgets the row by itself. The board must stay. */
void evf_heartbeat_attach(struct evf_scoreboard_row *row);
struct evf_scoreboard_row *evf_heartbeat_row(void); /* NULL: none */
/* For loops of others: proof of life now; and "waiting". Nothing without a row. */
void evf_heartbeat_busy(int64_t now_ns);
void evf_heartbeat_idle(void);

#ifdef __cplusplus
}
#endif
#endif
