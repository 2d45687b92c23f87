/* What a step of the supervisor costs with many slots: see bench/supervisor-step. Every event is one that a live
 * supervisor gets: heartbeats and samples, deaths and starts, replacements, ticks. */
#include "../xs/core/supervisor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECOND INT64_C(1000000000)

enum { STEPS = 2000000, BERTHS = 2 * EVF_SLOTS_MAX };

static struct evf_supervisor *supervisor;
static int64_t now_ns = SECOND;
static pid_t next_pid = 1000;
static unsigned long steps;
static unsigned waiting[BERTHS], waiting_count, leaving[BERTHS], leaving_count;

static void fail(const char *what) {
    (void)fprintf(stderr, "supervisor-step: %s\n", what);
    exit(1);
}

static void send(struct evf_supervisor_event event) {
    const struct evf_supervisor_action *actions;
    const int count = evf_supervisor_step(supervisor, &event, now_ns, &actions);
    steps++;
    for (int i = 0; i < count; i++) {
        if (actions[i].type == EVF_ACTION_SPAWN) waiting[waiting_count++] = actions[i].berth;
        if (actions[i].type == EVF_ACTION_DRAIN) leaving[leaving_count++] = actions[i].berth;
        if (actions[i].type == EVF_ACTION_KILL) fail("it killed somebody");
    }
}

static void start_waiting(void) {
    while (waiting_count > 0) {
        const unsigned berth = waiting[--waiting_count];
        send((struct evf_supervisor_event){.type = EVF_EVENT_SPAWNED, .berth = berth, .pid = next_pid++});
        send((struct evf_supervisor_event){.type = EVF_EVENT_READY, .berth = berth});
    }
}

static void end_leaving(void) {
    while (leaving_count > 0)
        send((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .berth = leaving[--leaving_count]});
}

/* Each worker in turn: a heartbeat, a sample; every tenth dies or is replaced. */
static void visit(unsigned berth, unsigned round) {
    struct evf_worker_view view;
    (void)evf_supervisor_worker(supervisor, berth, &view);
    if (view.state != EVF_WORKER_READY) return;
    const bool is_used_up = (berth / 2 + round) % 20 == 0;
    send((struct evf_supervisor_event){.type = EVF_EVENT_HEARTBEAT, .berth = berth, .busy_since_ns = now_ns - SECOND});
    send((struct evf_supervisor_event){
        .type = EVF_EVENT_SAMPLE, .berth = berth, .requests = is_used_up ? 1000 : 1, .rss_bytes = 1});
    if ((berth / 2 + round) % 20 == 10) send((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .berth = berth});
    start_waiting();
    end_leaving();
    now_ns += 1000;
    send((struct evf_supervisor_event){.type = EVF_EVENT_TICK});
}

static double seconds(void) {
    struct timespec time;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* wanted workers, all ready, and as many slots beside them whose workers take their time to leave. */
static void open_it(unsigned wanted, unsigned departing) {
    const struct evf_supervisor_options options = {
        .workers = departing > 0 ? departing : wanted,
        .startup_timeout_ns = 60 * SECOND,
        .heartbeat_timeout_ns = 30 * SECOND,
        .graceful_timeout_ns = 3600 * SECOND,
        .max_requests = 1000,
        .max_unavailable = 4,
        .respawn_delay_ns = SECOND / 10,
        .respawn_delay_max_ns = 30 * SECOND,
        .crash_limit = 5,
        .crash_window_ns = 10 * SECOND,
        .seed = 1,
    };
    if (evf_supervisor_new(&options, &supervisor) < 0) fail("no supervisor");
    send((struct evf_supervisor_event){.type = EVF_EVENT_START});
    start_waiting();
    if (departing == 0) return;
    send((struct evf_supervisor_event){.type = EVF_EVENT_RESIZE, .workers = 1});
    leaving_count = 0; /* they stay */
    send((struct evf_supervisor_event){.type = EVF_EVENT_RESIZE, .workers = wanted});
    start_waiting();
}

static void measure(unsigned wanted, unsigned departing) {
    struct evf_pool_view pool;
    open_it(wanted, departing);
    evf_supervisor_pool(supervisor, &pool);
    const unsigned slots = pool.alive;
    steps = 0;
    const double begin = seconds();
    for (unsigned round = 0; steps < STEPS; round++) {
        for (unsigned berth = 0; berth < pool.berths; berth++) visit(berth, round);
        now_ns += 2 * SECOND / 10;
    }
    const double took = seconds() - begin;
    evf_supervisor_pool(supervisor, &pool);
    if (pool.starts[EVF_CAUSE_DIED] == 0 || pool.starts[EVF_CAUSE_REQUESTS] == 0) fail("nobody was replaced");
    (void)printf("%5u slots (%u wanted): %6.0f ns a step, %.1f million steps a second\n", slots, wanted,
                 took / (double)steps * 1e9, (double)steps / took / 1e6);
    evf_supervisor_free(supervisor);
    supervisor = NULL;
}

int main(void) {
    measure(4, 0);
    measure(100, 0);
    measure(500, 0);
    measure(500, 501); /* 1,000 slots: one of those 501 stays */
    return 0;
}
