/* See supervisor_world.h. */
#include "supervisor_world.h"

#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000000)
#define MILLISECOND INT64_C(1000000)
#define NEVER INT64_MAX

enum { WORKERS_MAX = 6, BERTHS = 64, AFTER_THE_END = 5, PID_BASE = 1000 };

/* Longest resistance to a KILL, latest answer to a SPAWN, and the second after which a KILL comes again. */
static const int64_t slack_ns = 8 * SECOND;

struct process {
    bool is_spawned; /* from SPAWN to the delivery of its end, or of the failure */
    bool is_answered, is_real, is_ready_told, is_killed;
    pid_t pid, last_pid;
    int status;
    int64_t answer_ns, ready_ns, exit_ns, examined_ns, heartbeat_ns, sample_ns; /* when these are delivered; NEVER */
    int64_t busy_since_ns;
    uint64_t requests;
};

struct world {
    struct evf_supervisor *supervisor;
    struct checker checker;
    struct evf_supervisor_options options;
    world_draw *draw;
    void *data;
    int64_t now_ns;
    pid_t next_pid;
    bool is_start_wanted, is_stop_wanted;
    unsigned after_the_end, haste; /* one operator's event in so many steps */
    /* Of 100. */
    unsigned fails, signals, dies, hangs, is_deaf, forks_fail, is_slow, culprits;
    struct process process[BERTHS];
};

/* ---- Choices ------------------------------------------------------------------------------------------------ */

static uint64_t draw(struct world *world, uint64_t below) {
    return world->draw(world->data, below);
}

static bool chance(struct world *world, unsigned of_100) {
    return draw(world, 100) < of_100;
}

static int64_t draw_ns(struct world *world, int64_t most_ns) {
    return (int64_t)draw(world, (uint64_t)most_ns + 1);
}

static int64_t soon(struct world *world, int64_t most_ns) {
    return world->now_ns + draw_ns(world, most_ns);
}

static int64_t one_of(struct world *world, const int64_t *values, size_t count) {
    return values[draw(world, count)];
}
#define ONE_OF(world, ...)                                                                                             \
    one_of(world, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void draw_options(struct world *world) {
    const int64_t second = SECOND, ms = MILLISECOND;
    world->options = (struct evf_supervisor_options){
        .workers = 1 + (unsigned)draw(world, WORKERS_MAX),
        .startup_timeout_ns = ONE_OF(world, 0, 60 * second, 2 * second, 50 * ms),
        .heartbeat_timeout_ns = ONE_OF(world, 0, 30 * second, second, 60 * ms),
        .graceful_timeout_ns = ONE_OF(world, 0, 30 * second, 2 * second, 30 * ms),
        .max_requests = (uint64_t)ONE_OF(world, 0, 0, 100, 10),
        .max_requests_jitter = (uint64_t)ONE_OF(world, 0, 10),
        .max_rss_bytes = (uint64_t)ONE_OF(world, 0, 0, 100),
        .max_lifetime_ns = ONE_OF(world, 0, 0, 20 * second, 500 * ms),
        .min_lifetime_ns = ONE_OF(world, 0, 10 * second, 100 * ms),
        .max_unavailable = 1 + (unsigned)draw(world, 3),
        .respawn_delay_ns = ONE_OF(world, 0, 100 * ms, 10 * ms, second),
        .respawn_delay_max_ns = ONE_OF(world, 30 * second, second, 0),
        .crash_limit = (unsigned)ONE_OF(world, 5, 0, 3, 1, 8),
        .crash_window_ns = ONE_OF(world, 10 * second, second, 0),
        .can_spawn = draw(world, 2) == 0,
        .seed = draw(world, UINT64_C(1) << 32),
    };
    world->options.only_spawn = world->options.seed % 8 == 0;
}

static void draw_manners(struct world *world) {
    world->fails = (unsigned)ONE_OF(world, 0, 10, 60, 100);
    world->signals = (unsigned)ONE_OF(world, 0, 50, 100, 100);
    world->dies = (unsigned)ONE_OF(world, 0, 20, 80);
    world->hangs = (unsigned)ONE_OF(world, 0, 20, 60);
    world->is_deaf = (unsigned)ONE_OF(world, 0, 30, 100);
    world->forks_fail = (unsigned)ONE_OF(world, 0, 0, 10, 50);
    world->is_slow = (unsigned)ONE_OF(world, 0, 20, 80);
    world->culprits = (unsigned)ONE_OF(world, 0, 2, 3);
    world->haste = (unsigned)ONE_OF(world, 10, 30, 200);
}

/* ---- Workers ------------------------------------------------------------------------------------------------ */

static int draw_status(struct world *world) {
    static const int signals[] = {6, 9, 11, 11 | 0x80};
    if (chance(world, world->signals)) return signals[draw(world, 4)];
    return chance(world, 5) ? -1 : (int)draw(world, 4) << 8;
}

static void spawn(struct world *world, const struct evf_supervisor_action *action) {
    struct process *process = &world->process[action->berth];
    const bool is_slow = chance(world, world->is_slow);
    const pid_t last_pid = process->pid;
    *process = (struct process){.is_spawned = true, .is_real = !chance(world, world->forks_fail)};
    process->last_pid = last_pid;
    process->answer_ns = is_slow ? soon(world, 3 * SECOND) : world->now_ns;
    process->ready_ns = process->exit_ns = process->examined_ns = process->heartbeat_ns = process->sample_ns = NEVER;
    if (!process->is_real) return;
    process->pid = world->next_pid++;
    process->status = draw_status(world);
    if (chance(world, world->fails)) process->exit_ns = soon(world, is_slow ? 3 * SECOND : 20 * MILLISECOND);
    else process->ready_ns = soon(world, is_slow ? 5 * SECOND : 30 * MILLISECOND);
    if (chance(world, world->dies)) process->exit_ns = soon(world, chance(world, 50) ? 60 * SECOND : SECOND);
}

static void sooner(int64_t *at_ns, int64_t value_ns) {
    if (value_ns < *at_ns) *at_ns = value_ns;
}

static void look(struct world *world) {
    for (unsigned berth = 0; berth < BERTHS; berth++) {
        struct process *process = &world->process[berth];
        if (!process->is_spawned || !process->is_ready_told) continue;
        process->heartbeat_ns = soon(world, MILLISECOND);
        process->sample_ns = soon(world, MILLISECOND);
        if (process->busy_since_ns == 0 && chance(world, world->hangs)) process->busy_since_ns = world->now_ns;
        else if (chance(world, 50)) process->busy_since_ns = 0;
    }
}

static void carry_out(struct world *world, const struct evf_supervisor_action *action) {
    struct process *process = &world->process[action->berth];
    if (action->type == EVF_ACTION_SPAWN) spawn(world, action);
    if (action->type == EVF_ACTION_LOOK) look(world);
    if (action->type == EVF_ACTION_DRAIN && !chance(world, world->is_deaf))
        sooner(&process->exit_ns, soon(world, chance(world, 50) ? 100 * MILLISECOND : 40 * SECOND));
    if (action->type == EVF_ACTION_EXAMINE && chance(world, 70)) process->examined_ns = soon(world, 300 * MILLISECOND);
    if (action->type == EVF_ACTION_KILL) {
        if (!process->is_killed) process->status = 9;
        process->is_killed = true;
        sooner(&process->exit_ns, soon(world, chance(world, 10) ? 3 * SECOND : 5 * MILLISECOND));
    }
}

/* ---- What is delivered -------------------------------------------------------------------------------------- */

/* A fork that failed may also come as an answer that names nobody. */
static void answer(struct process *process, struct evf_supervisor_event *event, int odd) {
    const bool is_spawned = process->is_real || odd < 3;
    event->type = is_spawned ? EVF_EVENT_SPAWNED : EVF_EVENT_SPAWN_FAILED;
    event->pid = process->is_real ? process->pid : is_spawned ? odd - 1 : 0;
    event->error = is_spawned ? 0 : 11;
    process->is_answered = true;
    process->answer_ns = NEVER;
    if (!process->is_real) process->is_spawned = false;
}

/* What is due at a process; its time is then NEVER. An end before the answer to SPAWN stays a process until then. */
static bool take_due(struct world *world, struct process *process, struct evf_supervisor_event *event) {
    const int64_t now_ns = world->now_ns;
    event->pid = chance(world, 90) ? process->pid : 0;
    if (process->answer_ns <= now_ns) answer(process, event, (int)draw(world, 8));
    else if (process->ready_ns <= now_ns) {
        event->type = EVF_EVENT_READY;
        process->ready_ns = NEVER;
        process->is_ready_told = true;
    } else if (process->heartbeat_ns <= now_ns) {
        event->type = EVF_EVENT_HEARTBEAT;
        event->busy_since_ns = process->busy_since_ns;
        event->extension_ns = chance(world, 10) ? draw_ns(world, 5 * SECOND) : 0;
        process->heartbeat_ns = NEVER;
    } else if (process->sample_ns <= now_ns) {
        event->type = EVF_EVENT_SAMPLE;
        event->requests = process->requests += draw(world, 20);
        event->rss_bytes = draw(world, 4) * 50;
        process->sample_ns = NEVER;
    } else if (process->examined_ns <= now_ns) {
        event->type = EVF_EVENT_EXAMINED;
        process->examined_ns = NEVER;
    } else if (process->exit_ns <= now_ns) {
        event->type = EVF_EVENT_EXITED;
        event->wait_status = process->status;
        event->culprit = world->culprits > 0 && !process->is_ready_told ? draw(world, world->culprits) : 0;
        process->exit_ns = process->ready_ns = process->heartbeat_ns = process->sample_ns = NEVER;
        process->is_ready_told = false;
        process->is_spawned = !process->is_answered;
    } else return false;
    return true;
}

static int64_t next_of(const struct process *process) {
    if (!process->is_spawned) return NEVER;
    int64_t next_ns = process->answer_ns;
    sooner(&next_ns, process->ready_ns);
    sooner(&next_ns, process->exit_ns);
    sooner(&next_ns, process->examined_ns);
    sooner(&next_ns, process->heartbeat_ns);
    sooner(&next_ns, process->sample_ns);
    return next_ns;
}

/* Time goes to the next thing that happens; sometimes this process oversleeps. */
static void pass_time(struct world *world, int64_t until_ns) {
    if (until_ns != NEVER && until_ns > world->now_ns) world->now_ns = until_ns;
    if (until_ns == NEVER) world->now_ns += SECOND;
    if (draw(world, 16) == 0) world->now_ns += draw_ns(world, MILLISECOND);
    if (draw(world, 256) != 0) return;
    const int64_t gap_ns = draw_ns(world, 20 * SECOND);
    world->now_ns += gap_ns;
    if (world->checker.stop_before_ns != NEVER) world->checker.stop_before_ns += gap_ns; /* it could do nothing */
}

static bool next_event(struct world *world, struct evf_supervisor_event *event) {
    const unsigned first = (unsigned)draw(world, BERTHS);
    int64_t next_ns = evf_supervisor_deadline(world->supervisor);
    unsigned chosen = BERTHS;
    for (unsigned i = 0; i < BERTHS; i++) {
        const unsigned berth = (first + i) % BERTHS;
        const int64_t at_ns = next_of(&world->process[berth]);
        if (at_ns >= next_ns) continue;
        next_ns = at_ns;
        chosen = berth;
    }
    pass_time(world, next_ns);
    event->type = EVF_EVENT_TICK;
    event->berth = chosen % BERTHS;
    return chosen == BERTHS || take_due(world, &world->process[chosen], event);
}

/* Something that was true once, or never: it carries a pid that is not the worker's of now, or meets a berth where no
 * such thing is awaited. */
static void stale_event(struct world *world, struct evf_supervisor_event *event) {
    static const enum evf_event_type types[] = {EVF_EVENT_READY,    EVF_EVENT_EXITED,  EVF_EVENT_HEARTBEAT,
                                                EVF_EVENT_SAMPLE,   EVF_EVENT_SPAWNED, EVF_EVENT_SPAWN_FAILED,
                                                EVF_EVENT_EXAMINED, EVF_EVENT_START,   EVF_EVENT_TICK};
    const unsigned berth = (unsigned)draw(world, BERTHS);
    const struct process *process = &world->process[berth];
    event->type = types[draw(world, sizeof types / sizeof *types)];
    event->berth = berth;
    event->pid = process->last_pid != 0 ? process->last_pid : 999;
    event->wait_status = 11;
    event->culprit = 1;
    event->busy_since_ns = 1;
    event->requests = UINT64_MAX;
    const bool is_answer = event->type == EVF_EVENT_SPAWNED || event->type == EVF_EVENT_SPAWN_FAILED;
    if (is_answer && process->is_spawned && !process->is_answered) event->type = EVF_EVENT_TICK;
}

/* Who leaves keeps its number; there is room here for so many. */
static bool has_room(const struct world *world) {
    struct evf_pool_view pool;
    evf_supervisor_pool(world->supervisor, &pool);
    return pool.berths + 2 * WORKERS_MAX <= BERTHS;
}

static void operator_event(struct world *world, struct evf_supervisor_event *event) {
    switch (draw(world, 8)) {
    case 0:
    case 1:
        event->type = EVF_EVENT_RELOAD;
        break;
    case 2:
    case 3:
        event->type = has_room(world) ? EVF_EVENT_RESIZE : EVF_EVENT_TICK;
        event->workers = 1 + (unsigned)draw(world, WORKERS_MAX);
        break;
    case 4:
        event->type = draw(world, 20) == 0 ? EVF_EVENT_STOP : EVF_EVENT_TICK;
        event->is_fast = draw(world, 4) == 0;
        break;
    default:
        stale_event(world, event);
    }
}

static void stop_event(struct world *world, struct evf_supervisor_event *event) {
    event->type = EVF_EVENT_STOP;
    event->is_fast = draw(world, 4) == 0;
    world->is_stop_wanted = false;
}

/* ---- The world ---------------------------------------------------------------------------------------------- */

static bool send(struct world *world, const struct evf_supervisor_event *event) {
    const struct evf_supervisor_action *actions;
    int64_t told_ns = draw(world, 64) == 0 ? world->now_ns - draw_ns(world, SECOND) : world->now_ns;
    int count = check_step(&world->checker, world->supervisor, event, told_ns, &actions);
    if (world->checker.complaint != NULL) return false;
    for (int i = 0; i < count; i++) carry_out(world, &actions[i]);
    return true;
}

bool world_step(struct world *world) {
    struct evf_supervisor_event event = {.type = EVF_EVENT_TICK};
    if (world->checker.is_finished && ++world->after_the_end > AFTER_THE_END) return false;
    if (world->is_start_wanted) event.type = EVF_EVENT_START;
    else if (world->is_stop_wanted) stop_event(world, &event);
    else if (draw(world, world->haste) == 0 || world->checker.is_finished) operator_event(world, &event);
    else if (!next_event(world, &event)) event.type = EVF_EVENT_TICK;
    world->is_start_wanted = false;
    return send(world, &event);
}

struct world *world_new(world_draw *draw_cb, void *data) {
    struct world *world = calloc(1, sizeof *world);
    if (world == NULL) return NULL;
    world->draw = draw_cb;
    world->data = data;
    world->next_pid = PID_BASE;
    draw_options(world);
    draw_manners(world);
    check_init(&world->checker, &world->options);
    world->checker.slack_ns = slack_ns;
    world->now_ns = ONE_OF(world, 0, SECOND, NEVER / 4);
    if (evf_supervisor_new(&world->options, &world->supervisor) < 0) {
        free(world);
        return NULL;
    }
    world->is_start_wanted = draw(world, 16) != 0;
    return world;
}

void world_free(struct world *world) {
    if (world == NULL) return;
    evf_supervisor_free(world->supervisor);
    free(world);
}

void world_stop(struct world *world) {
    world->is_stop_wanted = true;
}

struct checker *world_checker(struct world *world) {
    return &world->checker;
}
