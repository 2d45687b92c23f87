/* When too many starts fail: the breaker, its probes, the change of the start method, and the exit codes of a pool that
 * gives up. */
#include "supervisor_scene.h"

#include <string.h>

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

/* One of two workers serves, and nothing starts in the slot of the other one. */
static void open_broken(void) {
    defaults(2);
    open_ready();
    exited(0, 0);
    fail_starts(0, 5, EXIT_1);
    CHECK(pool().breaker_is_open);
    forget();
}

static void reload_while_open(void) {
    open_broken();
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
    open_broken();
    exited(2, BY_SEGV);
    EXPECT("finish:3");
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

static void signals_of_others(void) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGABRT | 0x80, SIGFPE};
    defaults(1);
    options.can_spawn = true;
    open_it();
    event(EVF_EVENT_START, 0);
    for (size_t i = 0; i < COUNT_OF(faults); i++) fail_starts(0, 1, faults[i]);
    CHECK_INT(pool().method, EVF_START_SPAWN);
    CHECK_INT(last_report[EVF_REPORT_FALLBACK].method, EVF_START_SPAWN);
    CHECK_INT(last_report[EVF_REPORT_FALLBACK].wait_status, SIGFPE);
    CHECK_INT(last_report[EVF_REPORT_FALLBACK].cause, EVF_CAUSE_FAILED);
    close_it();
    open_it();
    event(EVF_EVENT_START, 0);
    fail_starts(0, 4, BY_SEGV);
    fail_starts(0, 1, BY_KILL); /* somebody's, or for want of memory */
    CHECK_INT(pool().method, EVF_START_FORK);
    CHECK_INT(pool().state, EVF_POOL_HALTED);
    close_it();
}

/* Three of eight were forked when the method changed. */
static void forks_under_way(void) {
    defaults(8);
    options.can_spawn = true;
    options.crash_limit = 3;
    open_it();
    event(EVF_EVENT_START, 0);
    for (unsigned slot = 0; slot < 3; slot++) exited(slot * 2, BY_SEGV);
    CHECK_INT(pool().method, EVF_START_SPAWN);
    for (unsigned slot = 3; slot < 8; slot++) exited(slot * 2, BY_SEGV);
    CHECK(!pool().breaker_is_open);
    pass(SECOND);
    CHECK_INT(pool().alive, 8);
    close_it();
}

/* Two workers, started by spawn after five faults. */
static void open_fallen_back(void) {
    defaults(2);
    options.can_spawn = true;
    open_it();
    event(EVF_EVENT_START, 0);
    fail_starts(0, 4, BY_SEGV);
    exited(2, BY_SEGV);
    pass(30 * SECOND);
    ready(0);
    ready(2);
    forget();
}

static void reload_tries_fork_again(void) {
    open_fallen_back();
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("spawn:1");
    REPORTED("reloading start_method_changed worker_started");
    CHECK_INT(last_spawn.method, EVF_START_FORK);
    CHECK_INT(last_report[EVF_REPORT_FALLBACK].cause, EVF_CAUSE_RELOAD);
    ready(1);
    exited(0, 0);
    ready(3);
    exited(2, 0);
    CHECK_INT(pool().method, EVF_START_FORK);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    exited(1, 0);
    fail_starts(1, 1, BY_SEGV); /* a fork was ready: one fault more is one of five again */
    CHECK_INT(pool().method, EVF_START_FORK);
    close_it();
}

static void reload_falls_back_at_once(void) {
    open_fallen_back();
    event(EVF_EVENT_RELOAD, 0);
    forget();
    exited(1, BY_SEGV);
    REPORTED("worker_exited start_method_changed backoff worker_started");
    EXPECT("spawn:3"); /* the next slot's need not wait */
    CHECK_INT(pool().state, EVF_POOL_RELOADING);
    CHECK_INT(last_spawn.method, EVF_START_SPAWN);
    ready(3);
    exited(2, 0);
    pass(SECOND);
    ready(1);
    exited(0, 0);
    CHECK_INT(pool().state, EVF_POOL_RUNNING); /* what was new is in */
    close_it();
    open_fallen_back();
    event(EVF_EVENT_RELOAD, 0);
    exited(1, EXIT_1); /* that is the code's fault, not the fork's */
    CHECK_INT(pool().method, EVF_START_FORK);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    CHECK(strstr(told, "reload_failed") != NULL);
    exited(0, 0);
    fail_starts(0, 1, BY_SEGV);
    CHECK_INT(pool().method, EVF_START_SPAWN);
    close_it();
}

static void spawn_from_the_start(void) {
    defaults(2);
    options.only_spawn = options.can_spawn = true;
    open_it();
    event(EVF_EVENT_START, 0);
    CHECK_INT(last_spawn.method, EVF_START_SPAWN);
    ready(0);
    ready(2);
    forget();
    event(EVF_EVENT_RELOAD, 0);
    REPORTED("reloading worker_started");
    CHECK_INT(last_spawn.method, EVF_START_SPAWN);
    close_it();
    open_it();
    event(EVF_EVENT_START, 0);
    fail_starts(0, 5, BY_SEGV);
    CHECK_INT(pool().state, EVF_POOL_STOPPING);
    exited(2, BY_KILL);
    CHECK_INT(exit_code, EVF_EXIT_NOTHING_STARTED);
    close_it();
}

/* ---- What can be left out ----------------------------------------------------------------------------------- */

enum { HOOK = 7, OTHER_HOOK = 8 };

static void fail_by(unsigned berth, int count, uint64_t culprit) {
    for (int i = 0; i < count; i++) {
        if (worker(berth).state == EVF_WORKER_BACKOFF) pass(worker(berth).deadline_ns - now_ns);
        send_event((struct evf_supervisor_event){.type = EVF_EVENT_EXITED,
                                                 .berth = berth,
                                                 .pid = worker(berth).pid,
                                                 .wait_status = BY_SEGV,
                                                 .culprit = culprit});
    }
}

static void culprit_is_skipped(void) {
    defaults(1);
    options.can_spawn = true;
    open_it();
    event(EVF_EVENT_START, 0);
    fail_by(0, 4, HOOK);
    forget();
    fail_by(0, 1, HOOK);
    CHECK(strstr(did, "skip:0") != NULL);
    CHECK(strstr(told, "hook_skipped") != NULL);
    CHECK(last_report[EVF_REPORT_SKIPPED].culprit == HOOK);
    CHECK_INT(last_report[EVF_REPORT_SKIPPED].wait_status, BY_SEGV);
    CHECK_INT(pool().method, EVF_START_FORK); /* the first way out */
    CHECK(!pool().breaker_is_open);
    pass(30 * SECOND);
    ready(0);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    close_it();
}

static void different_culprits(void) {
    defaults(1);
    options.can_spawn = true;
    open_it();
    event(EVF_EVENT_START, 0);
    fail_by(0, 4, HOOK);
    fail_by(0, 1, OTHER_HOOK);
    CHECK(strstr(told, "hook_skipped") == NULL);
    CHECK_INT(pool().method, EVF_START_SPAWN); /* the next way out */
    close_it();
}

static void skipped_then_spawn(void) {
    defaults(1);
    options.can_spawn = true;
    options.crash_window_ns = 1000 * SECOND;
    open_it();
    event(EVF_EVENT_START, 0);
    fail_by(0, 5, HOOK);
    CHECK_INT(pool().method, EVF_START_FORK);
    pass(30 * SECOND);
    fail_by(0, 5, 0); /* it was not the hook alone */
    CHECK_INT(pool().method, EVF_START_SPAWN);
    close_it();
}

static void reload_restores(void) {
    defaults(1);
    open_it();
    event(EVF_EVENT_START, 0);
    fail_by(0, 5, HOOK);
    pass(30 * SECOND);
    ready(0);
    forget();
    event(EVF_EVENT_RELOAD, 0);
    EXPECT("restore:0 spawn:1");
    fail_by(1, 1, HOOK); /* one is enough now */
    CHECK(strstr(did, "skip:1") != NULL);
    CHECK_INT(pool().state, EVF_POOL_RELOADING);
    pass(30 * SECOND);
    ready(1);
    exited(0, 0);
    CHECK_INT(pool().state, EVF_POOL_RUNNING);
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(nothing_starts, "when nothing ever started the pool ends with 2"),
        TAP_TEST(nothing_starts_any_more, "when nothing starts any more it ends with 3"),
        TAP_TEST(outside_the_window, "failures that are far apart open nothing"),
        TAP_TEST(open_while_one_serves, "while one serves there is a probe now and then, and ready closes the breaker"),
        TAP_TEST(reload_while_open, "a reload is a probe at once"),
        TAP_TEST(last_one_dies_while_open, "when the last one dies meanwhile it ends with 3"),
        TAP_TEST(breaker_opens_before_the_canary, "a breaker that opens takes back what nobody has proved"),
        TAP_TEST(signals_after_fork, "signals after fork change the start method, once"),
        TAP_TEST(signals_of_others, "only signals by which a process faults do"),
        TAP_TEST(forks_under_way, "forks that were under way then do not count"),
        TAP_TEST(reload_tries_fork_again, "a reload tries fork again"),
        TAP_TEST(reload_falls_back_at_once, "one fault is enough then, and the reload goes on"),
        TAP_TEST(culprit_is_skipped, "what ended all of them is left out"),
        TAP_TEST(different_culprits, "not if it was not always the same"),
        TAP_TEST(skipped_then_spawn, "the other ways out are left"),
        TAP_TEST(reload_restores, "a reload tries it again, and one end is enough"),
        TAP_TEST(spawn_from_the_start, "a pool that only spawns never forks"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
