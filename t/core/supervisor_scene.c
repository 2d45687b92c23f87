/* See supervisor_scene.h. */
#include "supervisor_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct evf_supervisor_options options;
struct evf_supervisor *supervisor;
int64_t now_ns;
bool answers;
unsigned looks, ticks;
int exit_code;
char did[TOLD_MAX], told[TOLD_MAX];
struct evf_supervisor_action last_report[EVF_REPORT_COUNT], last_spawn;
pid_t pids[CHECK_BERTHS];

static struct checker *checker;
static pid_t next_pid;

void defaults(unsigned workers) {
    options = (struct evf_supervisor_options){
        .workers = workers,
        .startup_timeout_ns = 60 * SECOND,
        .heartbeat_timeout_ns = 30 * SECOND,
        .graceful_timeout_ns = 30 * SECOND,
        .min_lifetime_ns = 10 * SECOND,
        .max_unavailable = 1,
        .respawn_delay_ns = 100 * MS,
        .respawn_delay_max_ns = 30 * SECOND,
        .crash_limit = 5,
        .crash_window_ns = 10 * SECOND,
        .seed = 1,
    };
}

static void tell_line(const char *line) {
    tap_diag("%s", line);
}

static void add(char *to, const char *word, int number) {
    const size_t length = strlen(to);
    const char *gap = length > 0 ? " " : "";
    if (number < 0) (void)snprintf(to + length, TOLD_MAX - length, "%s%s", gap, word);
    else (void)snprintf(to + length, TOLD_MAX - length, "%s%s:%d", gap, word, number);
}

void expect(char *got, const char *expected, const char *file, int line) {
    if (!tap_check_text(got, expected, file, line, got == did ? "what it did" : "what it told"))
        check_tell(checker, tell_line);
    got[0] = '\0';
}

static void note_action(const struct evf_supervisor_action *action) {
    static const char *const words[] = {"spawn", "drain",   "examine", "kill",  "look",
                                        "skip",  "restore", "report",  "finish"};
    if (action->type == EVF_ACTION_LOOK) looks++;
    else if (action->type == EVF_ACTION_REPORT) {
        last_report[action->report] = *action;
        add(told, evf_report_word(action->report), -1);
    } else if (action->type == EVF_ACTION_FINISH) {
        exit_code = action->exit_code;
        add(did, words[action->type], action->exit_code);
    } else add(did, words[action->type], (int)action->berth);
    if (action->type == EVF_ACTION_SPAWN) last_spawn = *action;
}

void answer(unsigned berth, pid_t pid) {
    pids[berth] = pid;
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_SPAWNED, .berth = berth, .pid = pid});
}

void send_event(struct evf_supervisor_event event) {
    const struct evf_supervisor_action *actions;
    unsigned spawned[CHECK_BERTHS], spawns = 0;
    const int count = check_step(checker, supervisor, &event, now_ns, &actions);
    if (!CHECK(checker->complaint == NULL)) {
        check_tell(checker, tell_line);
        tap_diag("%s, berth %u", checker->complaint, checker->complaint_berth);
        checker->complaint = NULL;
    }
    for (int i = 0; i < count; i++) {
        note_action(&actions[i]);
        if (actions[i].type == EVF_ACTION_SPAWN) spawned[spawns++] = actions[i].berth;
    }
    for (unsigned i = 0; i < spawns && answers; i++) answer(spawned[i], next_pid++);
}

void event(enum evf_event_type type, unsigned berth) {
    send_event((struct evf_supervisor_event){.type = type, .berth = berth, .pid = pids[berth]});
}

void ready(unsigned berth) {
    event(EVF_EVENT_READY, berth);
}

void exited(unsigned berth, int wait_status) {
    send_event((struct evf_supervisor_event){
        .type = EVF_EVENT_EXITED, .berth = berth, .pid = pids[berth], .wait_status = wait_status});
}

void sample(unsigned berth, uint64_t requests, uint64_t rss_bytes) {
    send_event((struct evf_supervisor_event){
        .type = EVF_EVENT_SAMPLE, .berth = berth, .requests = requests, .rss_bytes = rss_bytes});
}

void heartbeat(unsigned berth, int64_t busy_since_ns, int64_t extension_ns) {
    send_event((struct evf_supervisor_event){
        .type = EVF_EVENT_HEARTBEAT, .berth = berth, .busy_since_ns = busy_since_ns, .extension_ns = extension_ns});
}

void resize(unsigned workers) {
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_RESIZE, .workers = workers});
}

void stop(bool is_fast) {
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_STOP, .is_fast = is_fast});
}

void pass(int64_t timeout_ns) {
    const int64_t end_ns = now_ns + timeout_ns;
    for (int64_t deadline_ns; (deadline_ns = evf_supervisor_deadline(supervisor)) <= end_ns; ticks++) {
        now_ns = deadline_ns;
        event(EVF_EVENT_TICK, 0);
    }
    now_ns = end_ns;
}

void forget(void) {
    did[0] = told[0] = '\0';
    looks = ticks = 0;
}

void open_it(void) {
    now_ns = 1000 * SECOND;
    next_pid = 100;
    exit_code = -1;
    answers = true;
    memset(pids, 0, sizeof pids);
    memset(last_report, 0, sizeof last_report);
    forget();
    checker = malloc(sizeof *checker);
    NEED(checker != NULL && evf_supervisor_new(&options, &supervisor) == 0);
    check_init(checker, &options);
}

void close_it(void) {
    evf_supervisor_free(supervisor);
    free(checker);
    supervisor = NULL;
    checker = NULL;
}

void open_ready(void) {
    open_it();
    event(EVF_EVENT_START, 0);
    for (unsigned slot = 0; slot < options.workers; slot++) ready(slot * 2);
    pass(2 * SECOND); /* their row of deaths begins anew */
    forget();
}

struct evf_pool_view pool(void) {
    struct evf_pool_view view;
    evf_supervisor_pool(supervisor, &view);
    return view;
}

struct evf_worker_view worker(unsigned berth) {
    struct evf_worker_view view = {.slot = 0};
    CHECK_INT(evf_supervisor_worker(supervisor, berth, &view), 0);
    return view;
}

void fail_starts(unsigned berth, int count, int wait_status) {
    for (int i = 0; i < count; i++) {
        if (worker(berth).state == EVF_WORKER_BACKOFF) pass(worker(berth).deadline_ns - now_ns);
        exited(berth, wait_status);
    }
}
