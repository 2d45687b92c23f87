/* Inside the model of supervisor_check.h: what an event means to it, what an action may be, and what both need. */
#ifndef SUPERVISOR_CHECK_PARTS_H
#define SUPERVISOR_CHECK_PARTS_H

#include "supervisor_check.h"

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)
#define NEVER INT64_MAX

/* Before the step: the views are those of the state that the event meets. */
void check_take_event(struct checker *checker, const struct evf_supervisor *supervisor,
                      const struct evf_supervisor_event *event);

void check_action(struct checker *checker, const struct evf_supervisor *supervisor,
                  const struct evf_supervisor_action *action, const struct evf_supervisor_event *event);
bool check_is_stuck(const struct checker *checker, const struct check_worker *worker,
                    const struct evf_supervisor_event *event);

/* The first thing that is not so is what the checker complains of. */
static inline void require(struct checker *checker, bool is_so, const char *what, unsigned berth) {
    if (is_so || checker->complaint != NULL) return;
    checker->complaint = what;
    checker->complaint_berth = berth;
}

static inline int64_t sum(int64_t a, int64_t b) {
    return b > NEVER - a ? NEVER : a + b;
}

static inline int64_t delay_max(const struct checker *checker) {
    const struct evf_supervisor_options *options = &checker->options;
    return options->respawn_delay_max_ns > options->respawn_delay_ns ? options->respawn_delay_max_ns
                                                                     : options->respawn_delay_ns;
}

static inline int64_t probe_interval(const struct checker *checker) {
    return delay_max(checker) > 0 ? delay_max(checker) : 100 * MILLISECOND;
}

static inline void bound_from_above(int64_t *not_before_ns, int64_t value_ns) {
    if (value_ns < *not_before_ns) *not_before_ns = value_ns;
}

static inline bool is_alive(const struct check_worker *worker) {
    return worker->is_awaited || worker->is_running;
}

#endif
