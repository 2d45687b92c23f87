/* The supervisor's rules, a scenario for each. The checker of the simulation looks on. Berth 2n is where slot n begins,
 * 2n + 1 where its first replacement gets ready. A scenario says what the supervisor did: EXPECT its actions since the
 * last look, REPORTED what it told. */
#include "helpers.h"
#include "supervisor_check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)
#define EXPECT(text) expect(did, (text), __LINE__)
#define REPORTED(text) expect(told, (text), __LINE__)

enum { BY_SEGV = 11, BY_KILL = 9, EXIT_1 = 1 << 8, EXIT_2 = 2 << 8 };

static struct evf_supervisor_options options;
static struct evf_supervisor *supervisor;
static struct checker *checker;
static int64_t now_ns;
static pid_t next_pid, pids[CHECK_BERTHS];
static char did[4000], told[4000];
static unsigned looks, ticks;
static int exit_code;
static bool answers; /* SPAWN is answered at once */
static struct evf_supervisor_action last_report[EVF_REPORT_COUNT], last_spawn;

/* ---- The world ---------------------------------------------------------------------------------------------- */

static void defaults(unsigned workers) {
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
    if (number < 0) (void)snprintf(to + length, sizeof did - length, "%s%s", gap, word);
    else (void)snprintf(to + length, sizeof did - length, "%s%s:%d", gap, word, number);
}

static void expect(char *got, const char *expected, int line) {
    if (!tap_check_text(got, expected, __FILE__, line, got == did ? "what it did" : "what it told"))
        check_tell(checker, tell_line);
    got[0] = '\0';
}

static void note_action(const struct evf_supervisor_action *action) {
    static const char *const words[] = {"spawn", "drain", "examine", "kill", "look", "report", "finish"};
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

static void send(struct evf_supervisor_event event);

static void answer(unsigned berth, pid_t pid) {
    pids[berth] = pid;
    send((struct evf_supervisor_event){.type = EVF_EVENT_SPAWNED, .berth = berth, .pid = pid});
}

static void send(struct evf_supervisor_event event) {
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

static void event(enum evf_event_type type, unsigned berth) {
    send((struct evf_supervisor_event){.type = type, .berth = berth, .pid = pids[berth]});
}

static void ready(unsigned berth) {
    event(EVF_EVENT_READY, berth);
}

static void exited(unsigned berth, int wait_status) {
    send((struct evf_supervisor_event){
        .type = EVF_EVENT_EXITED, .berth = berth, .pid = pids[berth], .wait_status = wait_status});
}

static void sample(unsigned berth, uint64_t requests, uint64_t rss_bytes) {
    send((struct evf_supervisor_event){
        .type = EVF_EVENT_SAMPLE, .berth = berth, .requests = requests, .rss_bytes = rss_bytes});
}

static void heartbeat(unsigned berth, int64_t busy_since_ns, int64_t extension_ns) {
    send((struct evf_supervisor_event){
        .type = EVF_EVENT_HEARTBEAT, .berth = berth, .busy_since_ns = busy_since_ns, .extension_ns = extension_ns});
}

static void resize(unsigned workers) {
    send((struct evf_supervisor_event){.type = EVF_EVENT_RESIZE, .workers = workers});
}

static void stop(bool is_fast) {
    send((struct evf_supervisor_event){.type = EVF_EVENT_STOP, .is_fast = is_fast});
}

/* Time passes, with a tick at each deadline, as a loop would do it. */
static void pass(int64_t timeout_ns) {
    const int64_t end_ns = now_ns + timeout_ns;
    for (int64_t deadline_ns; (deadline_ns = evf_supervisor_deadline(supervisor)) <= end_ns; ticks++) {
        now_ns = deadline_ns;
        event(EVF_EVENT_TICK, 0);
    }
    now_ns = end_ns;
}

static void forget(void) {
    did[0] = told[0] = '\0';
    looks = ticks = 0;
}

static void open_it(void) {
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

static void close_it(void) {
    evf_supervisor_free(supervisor);
    free(checker);
    supervisor = NULL;
    checker = NULL;
}

/* So many workers, all of them ready. */
static void open_ready(void) {
    open_it();
    event(EVF_EVENT_START, 0);
    for (unsigned slot = 0; slot < options.workers; slot++) ready(slot * 2);
    pass(2 * SECOND); /* their row of deaths begins anew */
    forget();
}

static struct evf_pool_view pool(void) {
    struct evf_pool_view view;
    evf_supervisor_pool(supervisor, &view);
    return view;
}

static struct evf_worker_view worker(unsigned berth) {
    struct evf_worker_view view = {.slot = 0};
    CHECK_INT(evf_supervisor_worker(supervisor, berth, &view), 0);
    return view;
}

/* ---- Start and respawn -------------------------------------------------------------------------------------- */

static void starts_all(void) {
    defaults(3);
    open_it();
    CHECK_INT(evf_supervisor_deadline(supervisor), INT64_MAX);
    event(EVF_EVENT_START, 0);
    EXPECT("spawn:0 spawn:2 spawn:4");
    REPORTED("worker_started worker_started worker_started");
    CHECK_INT(pool().alive, 3);
    CHECK_INT(pool().starts[EVF_CAUSE_INITIAL], 3);
    event(EVF_EVENT_START, 0);
    ready(2);
    EXPECT("");
    REPORTED("worker_ready");
    CHECK_INT(worker(2).state, EVF_WORKER_READY);
    CHECK_INT(pool().ready, 1);
    close_it();
}

static void first_death_at_once(void) {
    defaults(2);
    open_ready();
    exited(0, BY_SEGV);
    EXPECT("spawn:0");
    REPORTED("worker_exited worker_started");
    CHECK_INT(last_report[EVF_REPORT_EXITED].cause, EVF_CAUSE_DIED);
    CHECK_INT(last_spawn.cause, EVF_CAUSE_DIED);
    close_it();
}

/* Delays of a slot whose worker dies as soon as it is ready. */
static void deaths_in_a_row(void) {
    static const int64_t steps_ms[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    defaults(1);
    open_ready();
    exited(0, 0);
    EXPECT("spawn:0");
    for (size_t i = 0; i < COUNT_OF(steps_ms); i++) {
        ready(0);
        exited(0, 0);
        EXPECT("");
        const int64_t delay_ns = last_report[EVF_REPORT_BACKOFF].elapsed_ns;
        CHECK(delay_ns >= steps_ms[i] * MS / 2 && delay_ns <= steps_ms[i] * MS);
        pass(delay_ns - 1);
        EXPECT("");
        pass(1);
        EXPECT("spawn:0");
    }
    ready(0);
    pass(SECOND); /* long enough: the row has ended */
    exited(0, 0);
    EXPECT("spawn:0");
    close_it();
}

static void no_delay(void) {
    defaults(1);
    options.respawn_delay_ns = 0;
    open_ready();
    for (int i = 0; i < 10; i++) {
        exited(0, 0);
        EXPECT("spawn:0");
        ready(0);
    }
    close_it();
}

static void failed_starts(void) {
    defaults(2);
    options.crash_limit = 0;
    open_it();
    event(EVF_EVENT_START, 0);
    forget();
    exited(0, EXIT_1);
    EXPECT("spawn:0"); /* the first at once */
    CHECK_INT(last_report[EVF_REPORT_EXITED].cause, EVF_CAUSE_FAILED);
    exited(0, EXIT_1);
    EXPECT("");
    pass(100 * MS);
    EXPECT("spawn:0");
    for (int i = 0; i < 50; i++) {
        exited(0, EXIT_1);
        pass(30 * SECOND);
    }
    CHECK_INT(pool().state, EVF_POOL_RUNNING); /* a limit of 0 never halts */
    close_it();
}

static void exit_code_2(void) {
    defaults(2);
    options.respawn_delay_ns = SECOND;
    open_ready();
    exited(0, 0);
    EXPECT("spawn:0");
    exited(0, EXIT_2);
    EXPECT("");
    CHECK(last_report[EVF_REPORT_BACKOFF].elapsed_ns >= SECOND);
    close_it();
    open_it();
    event(EVF_EVENT_START, 0);
    forget();
    exited(0, EXIT_2); /* also when it is the first */
    EXPECT("");
    pass(SECOND - 1);
    EXPECT("");
    pass(1);
    EXPECT("spawn:0");
    close_it();
}

static void fork_fails(void) {
    defaults(1);
    options.crash_limit = 1;
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    EXPECT("spawn:0");
    for (int i = 0; i < 4; i++) {
        send((struct evf_supervisor_event){.type = EVF_EVENT_SPAWN_FAILED, .error = EAGAIN});
        EXPECT("");
        REPORTED("spawn_failed backoff");
        CHECK_INT(last_report[EVF_REPORT_SPAWN_FAILED].error, EAGAIN);
        CHECK(last_report[EVF_REPORT_BACKOFF].elapsed_ns >= 100 * MS);
        pass(last_report[EVF_REPORT_BACKOFF].elapsed_ns);
        EXPECT("spawn:0");
    }
    CHECK(!pool().breaker_is_open);
    CHECK_INT(pool().starts[EVF_CAUSE_INITIAL], 0);
    close_it();
}

static void pids_that_are_none(void) {
    static const pid_t wrong[] = {-1, 0, 1};
    defaults(1);
    options.respawn_delay_ns = 0;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        open_it();
        answers = false;
        event(EVF_EVENT_START, 0);
        forget();
        answer(0, wrong[i]);
        REPORTED("spawn_failed backoff");
        stop(true);
        EXPECT("finish:0");
        close_it();
    }
}

static void startup_timeout(void) {
    defaults(2);
    open_ready();
    exited(0, 0);
    forget();
    pass(60 * SECOND - 1);
    EXPECT("");
    pass(1);
    EXPECT("examine:0");
    pass(1000 * MS);
    EXPECT("kill:0");
    REPORTED("worker_stuck");
    CHECK_INT(last_report[EVF_REPORT_STUCK].cause, EVF_CAUSE_STARTUP);
    pass(SECOND);
    EXPECT("kill:0"); /* again, until its end has come */
    exited(0, BY_KILL);
    CHECK_INT(last_report[EVF_REPORT_EXITED].cause, EVF_CAUSE_STARTUP);
    pass(100 * MS);
    EXPECT("spawn:0");
    CHECK_INT(last_spawn.cause, EVF_CAUSE_STARTUP);
    close_it();
}

/* ---- What comes late, or early ------------------------------------------------------------------------------ */

static void late_answer_to_spawn(void) {
    defaults(1);
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    stop(false);
    EXPECT("spawn:0"); /* there is nobody to talk to yet */
    answer(0, 77);
    EXPECT("drain:0");
    stop(false);
    EXPECT("kill:0");
    exited(0, BY_KILL);
    EXPECT("finish:0");
    close_it();
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    stop(true);
    forget();
    answer(0, 77);
    EXPECT("kill:0");
    close_it();
}

static void before_the_answer(void) {
    defaults(1);
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    forget();
    send((struct evf_supervisor_event){.type = EVF_EVENT_READY, .pid = 77});
    CHECK_INT(worker(0).state, EVF_WORKER_STARTING);
    answer(0, 77);
    REPORTED("worker_started worker_ready");
    send((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = 77});
    EXPECT("spawn:0");
    send((struct evf_supervisor_event){.type = EVF_EVENT_READY, .pid = 77});  /* of the one before */
    send((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = 77}); /* told twice */
    answer(0, 78);
    CHECK_INT(worker(0).state, EVF_WORKER_STARTING);
    exited(0, EXIT_1);
    forget();
    pass(100 * MS);
    EXPECT("spawn:0");
    send((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = 79, .wait_status = EXIT_1});
    answer(0, 79);
    CHECK_INT(worker(0).state, EVF_WORKER_BACKOFF);
    CHECK_INT(last_report[EVF_REPORT_EXITED].pid, 79);
    close_it();
}

static void too_late(void) {
    defaults(2);
    open_ready();
    const pid_t pid = pids[0];
    exited(0, 0);
    forget();
    send((struct evf_supervisor_event){.type = EVF_EVENT_READY, .pid = pid});
    send((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = pid});
    event(EVF_EVENT_EXAMINED, 0);
    event(EVF_EVENT_SPAWNED, 0);
    event(EVF_EVENT_SPAWN_FAILED, 0);
    event(EVF_EVENT_READY, 1);
    event(EVF_EVENT_EXITED, 2047);
    heartbeat(0, 1, 0);
    sample(4, 1, 1);
    EXPECT("");
    REPORTED("");
    CHECK_INT(worker(0).state, EVF_WORKER_STARTING);
    close_it();
}

static void mistakes(void) {
    struct evf_supervisor *none = NULL;
    const struct evf_supervisor_action *actions = NULL;
    struct evf_worker_view view;
    defaults(0);
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    defaults(EVF_SLOTS_MAX / 2 + 1);
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    defaults(1);
    options.max_unavailable = 0;
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    defaults(1);
    options.crash_window_ns = -1;
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    CHECK(none == NULL);
    evf_supervisor_free(NULL);
    defaults(EVF_SLOTS_MAX / 2);
    open_it();
    const struct evf_supervisor_event wrong[] = {{.type = EVF_EVENT_COUNT},
                                                 {.type = EVF_EVENT_READY, .berth = 2 * EVF_SLOTS_MAX},
                                                 {.type = EVF_EVENT_RESIZE, .workers = 0},
                                                 {.type = EVF_EVENT_RESIZE, .workers = EVF_SLOTS_MAX / 2 + 1}};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        CHECK_INT(evf_supervisor_step(supervisor, &wrong[i], 0, &actions), EVF_EINVAL);
    CHECK(actions == NULL);
    CHECK_INT(evf_supervisor_worker(supervisor, 2 * EVF_SLOTS_MAX, &view), EVF_EINVAL);
    event(EVF_EVENT_START, 0);
    CHECK_INT(pool().alive, EVF_SLOTS_MAX / 2);
    close_it();
}

/* ---- The breaker -------------------------------------------------------------------------------------------- */

static void fail_starts(unsigned berth, int count, int wait_status) {
    for (int i = 0; i < count; i++) {
        if (worker(berth).state == EVF_WORKER_BACKOFF) pass(worker(berth).deadline_ns - now_ns);
        exited(berth, wait_status);
    }
}

static void nothing_starts(void) {
    defaults(2);
    open_it();
    event(EVF_EVENT_START, 0);
    fail_starts(0, 4, EXIT_1);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    forget();
    fail_starts(0, 1, EXIT_1);
    EXPECT("spawn:0 kill:2");
    exited(2, BY_KILL);
    EXPECT("finish:2");
    CHECK_INT(pool().state, EVF_POOL_HALTED);
    CHECK_INT(last_report[EVF_REPORT_HALTED].exit_code, EVF_EXIT_NOTHING_STARTED);
    CHECK_INT(last_report[EVF_REPORT_HALTED].count, 5);
    close_it();
}

static void nothing_starts_any_more(void) {
    defaults(1);
    open_ready();
    exited(0, 0);
    fail_starts(0, 5, EXIT_1);
    CHECK_INT(exit_code, EVF_EXIT_BREAKER);
    close_it();
}

static void outside_the_window(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    for (int i = 0; i < 20; i++) {
        fail_starts(0, 1, EXIT_1);
        pass(5 * SECOND);
    }
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    close_it();
}

static void open_while_one_serves(void) {
    defaults(3);
    open_ready();
    exited(0, 0);
    exited(2, 0);
    fail_starts(0, 3, EXIT_1);
    forget();
    fail_starts(2, 2, EXIT_1);
    CHECK(strstr(told, "breaker_open") != NULL);
    CHECK(pool().breaker_is_open);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    forget();
    pass(30 * SECOND);
    EXPECT("spawn:0"); /* one probe for all, so often */
    exited(0, EXIT_1);
    forget();
    pass(30 * SECOND - 1);
    EXPECT("");
    pass(1);
    EXPECT("spawn:2");
    pass(50 * SECOND);
    EXPECT(""); /* one at a time, however long it takes */
    ready(2);
    REPORTED("worker_started worker_ready breaker_closed");
    CHECK(!pool().breaker_is_open);
    pass(100 * MS);
    EXPECT("spawn:0");
    close_it();
}

static void reload_while_open(void) {
    defaults(2);
    open_ready();
    exited(0, 0);
    fail_starts(0, 5, EXIT_1);
    CHECK(pool().breaker_is_open);
    forget();
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("spawn:3"); /* the canary is the probe, and need not wait */
    ready(3);
    EXPECT("drain:2");
    CHECK(!pool().breaker_is_open);
    pass(100 * MS);
    EXPECT("spawn:0");
    close_it();
}

static void last_one_dies_while_open(void) {
    defaults(2);
    open_ready();
    exited(0, 0);
    fail_starts(0, 5, EXIT_1);
    CHECK(pool().breaker_is_open);
    forget();
    exited(2, BY_SEGV);
    EXPECT("finish:3");
    close_it();
}

static void signals_after_fork(void) {
    defaults(2);
    options.can_spawn = true;
    open_it();
    event(EVF_EVENT_START, 0);
    CHECK_INT(last_spawn.method, EVF_START_FORK);
    fail_starts(0, 4, BY_SEGV);
    forget();
    fail_starts(2, 1, BY_SEGV);
    CHECK(strstr(told, "start_method_changed") != NULL);
    CHECK_INT(pool().method, EVF_START_SPAWN);
    CHECK(!pool().breaker_is_open);
    pass(30 * SECOND);
    CHECK_INT(last_spawn.method, EVF_START_SPAWN);
    fail_starts(0, 4, BY_SEGV); /* it counts from 0 again, and there is no third method */
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    close_it();
    open_it();
    event(EVF_EVENT_START, 0);
    fail_starts(0, 4, BY_SEGV);
    fail_starts(2, 1, EXIT_1); /* not all by signals */
    CHECK_INT(pool().method, EVF_START_FORK);
    close_it();
}

/* ---- Rotation ----------------------------------------------------------------------------------------------- */

static void make_before_break(void) {
    defaults(2);
    options.max_requests = 100;
    open_ready();
    pass(10 * SECOND);
    sample(0, 99, 0);
    EXPECT("");
    sample(0, 100, 0);
    EXPECT("spawn:1");
    CHECK_INT(last_spawn.cause, EVF_CAUSE_REQUESTS);
    CHECK(worker(1).is_replacement);
    CHECK_INT(pool().replacing, 1);
    ready(1);
    EXPECT("drain:0");
    CHECK_INT(last_report[EVF_REPORT_DRAINING].cause, EVF_CAUSE_REQUESTS);
    exited(0, 0);
    EXPECT("");
    CHECK_INT(pool().replacing, 0);
    pass(30 * SECOND);
    sample(1, 100, 0);
    EXPECT("spawn:0"); /* the berths take turns */
    close_it();
}

static void min_lifetime(void) {
    defaults(1);
    options.max_requests = 1;
    open_ready();
    sample(0, 5, 0);
    pass(8 * SECOND - 1);
    EXPECT("");
    pass(1); /* ten seconds after it became ready */
    EXPECT("spawn:1");
    close_it();
}

static void three_large_samples(void) {
    static const uint64_t rss_bytes[] = {101, 101, 100, 101, 101, 0, 101};
    defaults(1);
    options.max_rss_bytes = 100;
    options.min_lifetime_ns = 0;
    open_ready();
    for (size_t i = 0; i < COUNT_OF(rss_bytes); i++) {
        EXPECT("");
        sample(0, 0, rss_bytes[i]); /* 0 is not known, and no sample */
    }
    EXPECT("spawn:1");
    CHECK_INT(last_spawn.cause, EVF_CAUSE_RSS);
    close_it();
}

static void lifetime(void) {
    defaults(2);
    options.max_lifetime_ns = 100 * SECOND;
    open_ready();
    pass(98 * SECOND - 1);
    EXPECT("");
    pass(1);
    EXPECT("spawn:1");
    CHECK_INT(last_spawn.cause, EVF_CAUSE_LIFETIME);
    ready(1);
    EXPECT("drain:0");
    exited(0, 0);
    EXPECT("spawn:3");
    close_it();
}

static void tokens_over_all_causes(void) {
    defaults(4);
    options.max_requests = 10;
    options.max_rss_bytes = 100;
    options.min_lifetime_ns = 0;
    options.max_unavailable = 2;
    open_ready();
    sample(4, 10, 0);
    sample(0, 10, 0);
    for (int i = 0; i < 3; i++) sample(6, 0, 200);
    EXPECT("spawn:5 spawn:1"); /* two tokens */
    exited(2, 0);
    EXPECT("spawn:2"); /* a death needs none */
    ready(1);
    EXPECT("drain:0");
    event(EVF_EVENT_RELOAD, 0);
    EXPECT(""); /* held until the old process has ended */
    exited(0, 0);
    EXPECT("spawn:7"); /* the oldest request first */
    CHECK_INT(last_spawn.cause, EVF_CAUSE_RSS);
    CHECK_INT(pool().replacing, 2);
    close_it();
}

static void replacement_fails(void) {
    defaults(1);
    options.max_requests = 10;
    options.min_lifetime_ns = 0;
    open_ready();
    sample(0, 10, 0);
    exited(1, EXIT_1);
    EXPECT("spawn:1");
    CHECK_INT(worker(0).state, EVF_WORKER_READY); /* stays in service */
    CHECK_INT(pool().replacing, 0);
    CHECK(last_report[EVF_REPORT_BACKOFF].elapsed_ns >= 100 * MS);
    pass(100 * MS);
    EXPECT("spawn:1");
    exited(0, BY_SEGV); /* what gets ready beside it takes its place */
    EXPECT("");
    CHECK(!worker(1).is_replacement);
    CHECK_INT(pool().replacing, 0);
    exited(1, EXIT_1);
    pass(SECOND);
    EXPECT("spawn:1");
    close_it();
}

/* The thresholds of any first slots are spread evenly. */
static void jitter_is_spread(void) {
    bool has[8] = {false};
    defaults(8);
    options.max_requests = 1000;
    options.max_requests_jitter = 800;
    open_it();
    answers = false;
    const struct evf_supervisor_event start = {.type = EVF_EVENT_START};
    const struct evf_supervisor_action *actions;
    CHECK_INT(evf_supervisor_step(supervisor, &start, now_ns, &actions), 8);
    for (int i = 0; i < 8; i++) {
        const uint64_t more = actions[i].requests_max - 1000;
        NEED(more < 800);
        CHECK_INT(more % 100, 0);
        has[more / 100] = true;
        if (i == 1) CHECK_INT(more, 400); /* neighbours are far from each other */
    }
    for (int i = 0; i < 8; i++) CHECK(has[i]);
    close_it();
    options.max_requests = UINT64_MAX - 5;
    options.max_requests_jitter = UINT64_MAX;
    open_it();
    CHECK_INT(evf_supervisor_step(supervisor, &start, now_ns, &actions), 8);
    for (int i = 1; i < 8; i++) CHECK(actions[i].requests_max == UINT64_MAX);
    close_it();
}

/* ---- Stuck workers ------------------------------------------------------------------------------------------ */

static void stuck(void) {
    defaults(2);
    open_ready();
    const int64_t since_ns = now_ns;
    pass(30 * SECOND);
    heartbeat(0, since_ns, 0);
    heartbeat(2, 0, 0); /* idle for ever is fine */
    EXPECT("");
    pass(1);
    heartbeat(0, since_ns, 5 * SECOND); /* it asked for more */
    EXPECT("");
    heartbeat(0, since_ns, 0);
    EXPECT("examine:0");
    REPORTED("");
    pass(10 * MS);
    event(EVF_EVENT_EXAMINED, 0);
    EXPECT("kill:0");
    REPORTED("worker_stuck");
    CHECK_INT(last_report[EVF_REPORT_STUCK].elapsed_ns, 30 * SECOND + 1 + 10 * MS);
    exited(0, BY_KILL);
    EXPECT("spawn:0");
    CHECK_INT(last_spawn.cause, EVF_CAUSE_STUCK);
    close_it();
}

static void nobody_examines(void) {
    defaults(1);
    open_ready();
    const int64_t since_ns = now_ns;
    pass(31 * SECOND);
    heartbeat(0, since_ns, 0);
    forget();
    pass(1000 * MS - 1);
    EXPECT("");
    pass(1);
    EXPECT("kill:0");
    event(EVF_EVENT_EXAMINED, 0);
    EXPECT("");
    close_it();
}

static void ready_from_a_long_turn(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    const int64_t since_ns = now_ns;
    pass(50 * SECOND);
    ready(0);
    forget();
    heartbeat(0, since_ns, 0);
    EXPECT("");
    close_it();
}

static void looks_now_and_then(void) {
    defaults(2);
    open_it();
    event(EVF_EVENT_START, 0);
    pass(50 * SECOND);
    CHECK_INT(looks, 0); /* nobody to look at */
    ready(0);
    ready(2);
    forget();
    pass(50 * SECOND);
    CHECK_INT(looks, 10);
    CHECK_INT(ticks, 10); /* and no other wake-up */
    close_it();
    options.heartbeat_timeout_ns = 40 * MS;
    open_ready();
    pass(SECOND);
    CHECK_INT(looks, 50); /* never more often */
    close_it();
    options.heartbeat_timeout_ns = 0;
    open_ready();
    pass(50 * SECOND);
    CHECK_INT(looks, 0);
    CHECK_INT(evf_supervisor_deadline(supervisor), INT64_MAX);
    close_it();
}

/* ---- Our own sleep ------------------------------------------------------------------------------------------ */

static void suspended(void) {
    defaults(2);
    open_ready();
    const int64_t since_ns = now_ns;
    exited(0, 0);
    forget();
    now_ns += 300 * SECOND; /* the machine slept; nobody is to blame */
    heartbeat(2, since_ns, 0);
    EXPECT("");
    REPORTED("suspended");
    CHECK_INT(last_report[EVF_REPORT_SUSPENDED].elapsed_ns, 297 * SECOND); /* a look was due after 3 */
    pass(30 * SECOND);
    heartbeat(2, since_ns, 0); /* counts from the awakening on */
    EXPECT("");
    pass(1);
    heartbeat(2, since_ns, 0);
    EXPECT("examine:2");
    exited(2, BY_KILL);
    forget();
    pass(27 * SECOND - 2);
    EXPECT("");
    pass(1); /* 60 seconds to start, as far as we were there to see it */
    EXPECT("examine:0");
    close_it();
}

static void hardly_late(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    forget();
    now_ns += 61 * SECOND;
    event(EVF_EVENT_TICK, 0);
    EXPECT("examine:0");
    REPORTED("");
    close_it();
}

static void clock_goes_back(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    forget();
    const int64_t deadline_ns = evf_supervisor_deadline(supervisor);
    now_ns -= 500 * SECOND;
    ready(0);
    CHECK_INT(worker(0).ready_ns, 1000 * SECOND);
    CHECK(evf_supervisor_deadline(supervisor) < deadline_ns);
    close_it();
}

/* ---- Stop --------------------------------------------------------------------------------------------------- */

static void stop_gracefully(void) {
    defaults(3);
    open_it();
    event(EVF_EVENT_START, 0);
    ready(0);
    ready(2);
    exited(2, 0);
    forget();
    stop(false);
    EXPECT("drain:0 drain:2 drain:4");
    event(EVF_EVENT_RELOAD, 0);
    resize(5 - 2);
    exited(0, 0);
    exited(4, EXIT_1);
    EXPECT("");
    pass(30 * SECOND);
    EXPECT("examine:2");
    pass(1000 * MS);
    EXPECT("kill:2");
    CHECK_INT(last_report[EVF_REPORT_KILLED].cause, EVF_CAUSE_GRACEFUL);
    exited(2, BY_KILL);
    EXPECT("finish:0");
    CHECK_INT(pool().state, EVF_POOL_STOPPED);
    stop(false);
    event(EVF_EVENT_START, 0);
    EXPECT("");
    CHECK_INT(evf_supervisor_deadline(supervisor), INT64_MAX);
    close_it();
}

static void stop_fast(void) {
    defaults(2);
    open_ready();
    stop(true);
    EXPECT("kill:0 kill:2");
    stop(true);
    EXPECT("");
    exited(0, BY_KILL);
    exited(2, BY_KILL);
    EXPECT("finish:0");
    close_it();
}

static void second_stop(void) {
    defaults(2);
    open_ready();
    stop(false);
    EXPECT("drain:0 drain:2");
    pass(SECOND);
    stop(false);
    EXPECT("kill:0 kill:2");
    CHECK(last_report[EVF_REPORT_STOPPING].is_fast);
    close_it();
}

static void nothing_to_stop(void) {
    defaults(1);
    open_it();
    stop(false);
    EXPECT("finish:0");
    REPORTED("stopping stopped");
    close_it();
    open_it();
    event(EVF_EVENT_START, 0);
    exited(0, EXIT_2); /* all that is left is a back-off */
    forget();
    stop(false);
    EXPECT("finish:0");
    close_it();
}

static void no_grace(void) {
    defaults(1);
    options.graceful_timeout_ns = 0;
    open_ready();
    stop(false);
    EXPECT("kill:0");
    close_it();
}

/* ---- Reload ------------------------------------------------------------------------------------------------- */

static void rolling_reload(void) {
    defaults(3);
    options.max_unavailable = 2;
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("spawn:1"); /* the canary alone */
    CHECK_INT(last_spawn.generation, 2);
    ready(1);
    EXPECT("drain:0 spawn:3");
    exited(0, 0);
    EXPECT("spawn:5");
    ready(3);
    ready(5);
    EXPECT("drain:2 drain:4");
    exited(2, 0);
    CHECK_INT(pool().state, EVF_POOL_RELOADING);
    forget();
    exited(4, 0);
    REPORTED("worker_exited reloaded");
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    close_it();
}

static void canary_fails(void) {
    defaults(2);
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("spawn:1");
    forget();
    exited(1, EXIT_1);
    REPORTED("worker_exited reload_failed");
    CHECK_INT(last_report[EVF_REPORT_RELOAD_FAILED].generation, 2);
    CHECK_INT(last_report[EVF_REPORT_RELOAD_FAILED].wait_status, EXIT_1);
    CHECK_INT(last_report[EVF_REPORT_RELOAD_FAILED].cause, EVF_CAUSE_FAILED);
    CHECK_INT(pool().generation, 1);
    CHECK_INT(pool().ready, 2);
    pass(100 * SECOND);
    EXPECT(""); /* no more tries */
    exited(2, 0);
    CHECK_INT(last_spawn.generation, 1);
    event(EVF_EVENT_RELOAD, 0);
    CHECK_INT(pool().generation, 3); /* a number that failed does not come again */
    close_it();
}

static void death_is_a_canary(void) {
    defaults(2);
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    exited(2, 0);
    EXPECT("spawn:1 spawn:2");
    ready(2);
    EXPECT("");
    exited(1, EXIT_1); /* the generation has proved itself: back-off, and again */
    CHECK_INT(pool().state, EVF_POOL_RELOADING);
    pass(200 * MS);
    EXPECT("spawn:1");
    close_it();
}

static void breaker_ends_the_reload(void) {
    defaults(2);
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    ready(1);
    exited(0, 0);
    forget();
    for (int i = 0; i < 5; i++) {
        pass(30 * SECOND); /* its back-off */
        now_ns -= 25 * SECOND;
        if (worker(3).state == EVF_WORKER_STARTING) exited(3, EXIT_1);
    }
    CHECK_INT(pool().state, EVF_POOL_RELOADING); /* too slow for the window */
    close_it();
    options.crash_window_ns = 1000 * SECOND;
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    ready(1);
    exited(0, 0);
    fail_starts(3, 4, EXIT_1);
    forget();
    fail_starts(3, 1, EXIT_1);
    CHECK(strstr(told, "breaker_open reload_failed") != NULL);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    CHECK_INT(pool().generation, 2); /* what is new stays, and what is old */
    CHECK_INT(pool().ready, 2);
    close_it();
}

static void reload_of_a_reload(void) {
    defaults(2);
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("spawn:1");
    ready(1); /* of generation 2: good enough to take over, and old already */
    EXPECT("drain:0");
    exited(0, 0);
    EXPECT("spawn:3");
    CHECK_INT(last_spawn.generation, 3);
    ready(3);
    exited(2, 0);
    ready(0);
    forget();
    exited(1, 0);
    REPORTED("worker_exited reloaded");
    CHECK_INT(last_report[EVF_REPORT_RELOADED].generation, 3);
    close_it();
}

static void reload_with_nobody_to_keep(void) {
    defaults(2);
    open_it();
    event(EVF_EVENT_START, 0);
    exited(0, EXIT_2);
    exited(2, EXIT_2);
    forget();
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("spawn:0 spawn:2");
    ready(0);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    close_it();
}

/* ---- Resize ------------------------------------------------------------------------------------------------- */

static void more_and_fewer(void) {
    defaults(3);
    open_ready();
    exited(2, 0);
    ready(2); /* the youngest now */
    pass(SECOND);
    forget();
    resize(2);
    EXPECT("drain:2");
    CHECK_INT(last_report[EVF_REPORT_DRAINING].cause, EVF_CAUSE_RESIZE);
    CHECK(worker(2).is_leaving);
    resize(3);
    EXPECT("spawn:6"); /* who leaves keeps its number */
    CHECK_INT(last_spawn.cause, EVF_CAUSE_RESIZE);
    exited(2, 0);
    EXPECT("");
    resize(4);
    EXPECT("spawn:2"); /* the lowest number that is nobody's */
    resize(4);
    EXPECT("");
    CHECK_INT(pool().workers, 4);
    close_it();
}

static void who_goes_first(void) {
    defaults(4);
    open_ready();
    exited(2, 0);
    exited(2, EXIT_1); /* in back-off */
    exited(0, 0);      /* starting */
    forget();
    resize(3);
    EXPECT("");
    CHECK_INT(worker(2).state, EVF_WORKER_EMPTY);
    resize(2);
    EXPECT("drain:0");
    resize(1);
    EXPECT("drain:6");
    exited(6, 0);
    exited(0, 0);
    pass(100 * SECOND);
    EXPECT(""); /* nobody comes back */
    CHECK_INT(pool().alive, 1);
    close_it();
}

static void all_numbers_leave(void) {
    defaults(EVF_SLOTS_MAX / 2);
    open_it();
    event(EVF_EVENT_START, 0);
    for (int i = 0; i < 4; i++) {
        resize(1);
        resize(EVF_SLOTS_MAX / 2);
    }
    forget();
    CHECK_INT(pool().alive, EVF_SLOTS_MAX); /* no number is left: the rest waits for one */
    unsigned berth = 2;
    while (!worker(berth).is_leaving) berth += 2;
    exited(berth, 0);
    CHECK_INT(worker(berth).state, EVF_WORKER_STARTING);
    CHECK_INT(pool().alive, EVF_SLOTS_MAX);
    close_it();
}

static void pair_leaves(void) {
    defaults(2);
    open_ready();
    event(EVF_EVENT_RELOAD, 0);
    exited(2, 0);
    ready(2);
    exited(0, 0);
    forget();
    resize(1);
    EXPECT("drain:1");
    exited(1, 0);
    CHECK_INT(pool().alive, 1);
    CHECK_INT(pool().replacing, 0);
    close_it();
}

/* ---- What the simulation has found -------------------------------------------------------------------------- */

static void back_off_outlives_a_reload(void) {
    defaults(1);
    options.max_requests = 10;
    open_ready();
    pass(10 * SECOND);
    event(EVF_EVENT_RELOAD, 0);
    sample(0, 10, 0);
    EXPECT("spawn:1");
    exited(1, EXIT_1);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    pass(100 * MS - 1);
    EXPECT("");
    pass(1);
    EXPECT("spawn:1");
    CHECK_INT(last_spawn.cause, EVF_CAUSE_REQUESTS);
    CHECK_INT(last_spawn.generation, 1);
    close_it();
}

static void grace_begins_when_told(void) {
    defaults(1);
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    stop(false);
    pass(100 * SECOND);
    EXPECT("spawn:0");
    answer(0, 77);
    EXPECT("drain:0");
    pass(30 * SECOND - 1);
    EXPECT("");
    pass(1);
    EXPECT("examine:0");
    close_it();
}

static void breaker_opens_before_the_canary(void) {
    defaults(3);
    options.crash_limit = 1;
    open_ready();
    exited(2, 0);
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("spawn:2 spawn:1");
    forget();
    exited(2, EXIT_1); /* of the old generation */
    REPORTED("worker_exited breaker_open reload_failed backoff");
    CHECK_INT(pool().generation, 1);
    ready(1); /* the canary may still come */
    EXPECT("drain:0");
    CHECK(!pool().breaker_is_open);
    close_it();
}

/* ---- Recording ---------------------------------------------------------------------------------------------- */

static void words(void) {
    CHECK_TEXT(evf_cause_word(EVF_CAUSE_RSS), "max rss");
    CHECK_TEXT(evf_cause_word(EVF_CAUSE_COUNT), "");
    CHECK_TEXT(evf_report_word(EVF_REPORT_HALTED), "halted");
    CHECK_TEXT(evf_report_word(EVF_REPORT_COUNT), "");
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(starts_all, "start spawns every slot"),
        TAP_TEST(first_death_at_once, "the first death is replaced at once"),
        TAP_TEST(deaths_in_a_row, "further ones wait, twice as long each time, with jitter, up to the longest delay"),
        TAP_TEST(no_delay, "a delay of 0 is none"),
        TAP_TEST(failed_starts, "failed starts wait likewise, and without a limit nothing halts"),
        TAP_TEST(exit_code_2, "exit code 2 is never started again at once"),
        TAP_TEST(fork_fails, "a fork that fails waits, and is no matter of the breaker"),
        TAP_TEST(pids_that_are_none, "a pid that is everybody's is a fork that failed"),
        TAP_TEST(startup_timeout, "who does not get ready in time is examined, killed, killed again"),
        TAP_TEST(late_answer_to_spawn, "who is told to go before its pid is known hears it then"),
        TAP_TEST(before_the_answer, "ready and the end may come before the answer to spawn"),
        TAP_TEST(too_late, "what comes too late changes nothing"),
        TAP_TEST(mistakes, "options and events out of range are refused"),
        TAP_TEST(nothing_starts, "when nothing ever started the pool ends with 2"),
        TAP_TEST(nothing_starts_any_more, "when nothing starts any more it ends with 3"),
        TAP_TEST(outside_the_window, "failures that are far apart open nothing"),
        TAP_TEST(open_while_one_serves, "while one serves there is a probe now and then, and ready closes the breaker"),
        TAP_TEST(reload_while_open, "a reload is a probe at once"),
        TAP_TEST(last_one_dies_while_open, "when the last one dies meanwhile it ends with 3"),
        TAP_TEST(signals_after_fork, "signals after fork change the start method, once"),
        TAP_TEST(make_before_break, "a worker that is replaced leaves when the next is ready"),
        TAP_TEST(min_lifetime, "nobody is replaced too young"),
        TAP_TEST(three_large_samples, "three large samples in a row are too large"),
        TAP_TEST(lifetime, "an old worker is replaced"),
        TAP_TEST(tokens_over_all_causes, "tokens bound replacements whatever the cause, the oldest request first"),
        TAP_TEST(replacement_fails, "when a replacement fails the old worker stays"),
        TAP_TEST(jitter_is_spread, "thresholds are spread evenly, and never wrap"),
        TAP_TEST(stuck, "a silent busy worker is examined, reported, killed, replaced"),
        TAP_TEST(nobody_examines, "the kill does not wait for the examination"),
        TAP_TEST(ready_from_a_long_turn, "time before ready is no silence"),
        TAP_TEST(looks_now_and_then, "it looks a few times per timeout, if there is somebody to look at"),
        TAP_TEST(suspended, "nobody is blamed for the sleep of this process"),
        TAP_TEST(hardly_late, "a second late is not asleep"),
        TAP_TEST(clock_goes_back, "a clock that goes back stands still"),
        TAP_TEST(stop_gracefully, "a stop asks, waits, examines, kills, and ends with 0"),
        TAP_TEST(stop_fast, "a fast stop kills"),
        TAP_TEST(second_stop, "a second stop is a fast one"),
        TAP_TEST(nothing_to_stop, "with no process a stop is done at once"),
        TAP_TEST(no_grace, "without a graceful timeout who leaves is killed"),
        TAP_TEST(rolling_reload, "a reload tries a canary, then replaces the others under the tokens"),
        TAP_TEST(canary_fails, "when the canary fails all is as before"),
        TAP_TEST(death_is_a_canary, "who replaces a dead worker may be the canary"),
        TAP_TEST(breaker_ends_the_reload, "when later ones fail they are tried again until the breaker opens"),
        TAP_TEST(reload_of_a_reload, "a reload in a reload is a newer generation"),
        TAP_TEST(reload_with_nobody_to_keep, "with nobody to keep a reload starts all at once"),
        TAP_TEST(more_and_fewer, "slots come with the lowest number, and the youngest goes"),
        TAP_TEST(who_goes_first, "back-offs go first, then those that start"),
        TAP_TEST(all_numbers_leave, "without a free number a new slot waits"),
        TAP_TEST(pair_leaves, "a slot that leaves takes its token along"),
        TAP_TEST(back_off_outlives_a_reload, "a request that follows a failed reload waits for the back-off"),
        TAP_TEST(grace_begins_when_told, "the graceful timeout begins when the worker is told"),
        TAP_TEST(breaker_opens_before_the_canary, "a breaker that opens takes back what nobody has proved"),
        TAP_TEST(words, "causes and reports have words"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
