/* The naive model beside the random programs of model.c: what must be delivered, and when, by plain arrays that are
 * searched from end to end, and one queue. The programs tell it what they do by writing into it. */
#ifndef NAIVE_MODEL_H
#define NAIVE_MODEL_H

#include "helpers.h"

enum { IOS = 12, TIMERS = 16, IDLES = 6, SIGNALS = 5, QUEUE = 64, DEEPEST = 3 };
enum kind { IO, TIMER, IDLE, SIGNAL };

struct model_io {
    bool active, always_ready, closed;
    unsigned mask, events;
};
struct model_timer {
    bool active, due;
    int clock;
    int64_t deadline_ns;
    uint64_t order;
};
struct model_idle {
    bool active, due;
    uint64_t order;
};
struct model_signal {
    bool active, raised;
    int signo;
    uint64_t order;
};
struct model_call {
    enum kind kind;
    int index;
};
extern struct model_io m_ios[IOS];
extern struct model_timer m_timers[TIMERS];
extern struct model_idle m_idles[IDLES];
extern struct model_signal m_sigs[SIGNALS];
extern struct model_call m_queue[QUEUE];
extern int m_queue_count;
extern uint64_t m_order;
extern bool m_anything_raised, m_wants_rearm;

/* The world, with the descriptors of the ios and what is to fail there. */
extern struct sim *sim;
extern int fds[IOS], fault_counts[IOS];
extern bool close_pending[IOS];

/* The turn under way; turns nest. */
struct turn {
    int64_t timeout_ns, deadline_ns, expected_wait_ns;
    int calls, expected_rc;
};
extern struct turn turn_stack[DEEPEST + 1];
extern int depth; /* 0: between turns */

/* Where the program is, for those who are told of the first thing that differs. */
extern uint64_t seed;
extern long steps, waits_total;
extern bool has_failed;
void differs(const char *what, intmax_t got, intmax_t expected);
void expect(const char *what, intmax_t got, intmax_t expected);

void queue_remove(enum kind kind, int index);
void forget_readiness(void);
void forget_everything(void);
size_t count_active(void);
/* Every use of the loop after stop_closed makes the backend anew. Returns what that use must answer. */
int use(void);

/* Hooks of the simulated world: before a wait the model says how long it must be, afterwards what is due. */
int before_wait(void *data);
int after_wait(void *data);
void reports(void *data, int fd, unsigned mask);

#endif
