/* An independent, naive model of what a supervisor may and must do. It sees options, events and actions, and of the
 * supervisor itself only the views; it looks at everything after every step. Shared by the scenarios, the simulation
 * and the fuzz target. */
#ifndef SUPERVISOR_CHECK_H
#define SUPERVISOR_CHECK_H

#include "../../xs/core/supervisor.h"

#include <stdio.h>

enum { CHECK_BERTHS = 2 * EVF_SLOTS_MAX, CHECK_CRASHES = 64, CHECK_HISTORY = 40 };

struct check_worker {
    bool is_awaited, is_running, is_ready, was_ready;
    bool is_examined, is_killed, is_drained;
    bool is_old;       /* its successor is ready */
    bool passed_limit; /* by its samples */
    unsigned large_samples;
    uint64_t requests_max;
    bool is_ready_early, has_exited_early;
    pid_t pid, early_ready_pid, early_exit_pid;
    int early_status;
    uint64_t early_culprit;
    unsigned generation;
    enum evf_start_method method;
    enum evf_cause cause; /* of the last EXAMINE */
    int64_t spawned_ns, ready_ns, drained_ns, killed_ns;
};

struct check_slot {
    unsigned failures, replacement_failures;
    int64_t not_before_ns, replacement_not_before_ns;
};

struct checker {
    struct evf_supervisor_options options;
    const char *complaint; /* NULL: all is well */
    unsigned complaint_berth;
    unsigned workers; /* wanted */
    bool is_started, is_stopping, is_halting, is_finished, is_open, was_ever_ready, is_fallen_back;
    int64_t now_ns, deadline_ns, resumed_ns, stop_before_ns;
    /* How long a simulated process resists a KILL and a driver may keep an answer; INT64_MAX: for ever. */
    int64_t slack_ns;
    unsigned generation, reloading, reloaded, proven; /* 0: none */
    unsigned crashes;
    struct {
        int64_t when_ns;
        bool is_fault;
        uint64_t culprit;
    } crash[CHECK_CRASHES];
    struct check_worker worker[CHECK_BERTHS];
    struct check_slot slot[EVF_SLOTS_MAX];
    unsigned berths;                     /* seen */
    unsigned reported[EVF_REPORT_COUNT]; /* in this step */
    bool expects_open, expects_close, expects_fallback, expects_rollback, expects_restore;
    bool has_skipped, tries_skipped_again;
    uint64_t expects_skip;    /* 0: none */
    unsigned skips, restores; /* in this step */
    bool tries_fork_again;
    bool is_fast, was_late;
    int64_t probe_ns;
    struct evf_worker_view before; /* of the event's berth */
    /* After each step, if not NULL. */
    void (*watch)(void *data, const struct evf_supervisor_event *event, int64_t now_ns,
                  const struct evf_supervisor_action *actions, int count);
    void *watch_data;
    /* Of all steps, to see that it was a real test. */
    unsigned long reports[EVF_REPORT_COUNT], actions[EVF_ACTION_FINISH + 1];
    struct check_line {
        bool is_action;
        int64_t now_ns;
        struct evf_supervisor_event event;
        struct evf_supervisor_action action;
    } history[CHECK_HISTORY];
    unsigned long lines;
};

void check_init(struct checker *checker, const struct evf_supervisor_options *options);
/* One step and all checks; returns the number of actions. When it answers < 0, or complaint is set, it is over. */
int check_step(struct checker *checker, struct evf_supervisor *supervisor, const struct evf_supervisor_event *event,
               int64_t now_ns, const struct evf_supervisor_action **ret_actions);
/* The last events and actions, the oldest first, each to the given function. */
void check_tell(const struct checker *checker, void (*tell)(const char *line));
void check_describe(const struct evf_supervisor_action *action, char *text, size_t size);

#endif
