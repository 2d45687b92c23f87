/* The simulated backend: a world without a kernel. Both clocks stand still until a wait moves them; which descriptors
 * are ready, what fails and when a wait ends early is the test's to say. Checks on the way that the core keeps its side
 * of the contract in backend.h. A world has one loop. */
#ifndef SIM_H
#define SIM_H

#include "../../xs/core/backend.h"

enum { SIM_FDS = 2048, SIM_PLANS = 64 };

struct sim_plan {
    int64_t at_ns; /* monotonic */
    int fd;
    unsigned mask;
};

struct sim {
    /* Clocks, indexed by enum evf_clock. A test may set them at any time. */
    int64_t now_ns[EVF_CLOCK_COUNT];
    int64_t tick_ns; /* each look at a clock moves both by so much */

    /* What the world looks like. */
    unsigned char ready[SIM_FDS];     /* level-triggered: reported while asked for */
    unsigned char stale[SIM_FDS];     /* reported once in the next wait, asked for or not */
    bool closed[SIM_FDS];             /* reported as closed in the next wait */
    struct sim_plan plans[SIM_PLANS]; /* readiness to come, unordered; ends a wait */
    int plans_count;

    /* Faults. The next call fails with this code; of set_io so many calls, for a descriptor. */
    int fail_open, fail_wait, fail_after_fork;
    int fail_set_io[SIM_FDS], fail_set_io_count[SIM_FDS];
    int fd_limit; /* SIM_FDS at most */
    int early;    /* so many waits end at once, as on EINTR */

    /* What the core did. */
    unsigned char interest[SIM_FDS];
    int opens, closes, waits, set_ios, leaves, after_forks;
    bool last_for_good;
    int64_t last_timeout_ns;
    char calls[512]; /* of set_io: "fd:old>new " each, till it is cleared */
    int refusal;     /* the first code that set_io answered, EBADF and ENOTSUP apart, till it is cleared */
    int violations;  /* of the contract, and a line about the first */
    char violation[120];
    int stuck; /* waits for ever with nothing to come; they fail with EVF_EBACKEND, so that the test goes on */

    /* Called by the hooks of the same names; NULL is fine. */
    int (*before_wait)(void *data);
    int (*after_wait)(void *data);
    int (*run_pending)(void *data, bool *ran);
    bool (*has_pending)(void *data);
    /* Right before a descriptor is reported. */
    void (*reports)(void *data, int fd, unsigned mask);
    void *data;

    const struct evf_host *host; /* while open */
    int fds_end;                 /* past the highest descriptor that was ever set */
    bool is_waiting, has_left;
};

struct sim *sim_new(void); /* NULL: out of memory */
void sim_free(struct sim *sim);
/* A loop in this world: hooks and clocks included. */
int sim_loop_new(struct sim *sim, struct evf_loop **ret_loop);
void sim_advance(struct sim *sim, int64_t ns); /* both clocks */
void sim_plan(struct sim *sim, int64_t timeout_ns, int fd, unsigned mask);
void sim_fail_set_io(struct sim *sim, int fd, int code, int count);

#endif
