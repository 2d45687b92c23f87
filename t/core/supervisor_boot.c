/* How workers come into being and come back: the first start, deaths, back-off, starts that fail or take too long. */
#include "supervisor_scene.h"

#include <errno.h>

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
        send_event((struct evf_supervisor_event){.type = EVF_EVENT_SPAWN_FAILED, .error = EAGAIN});
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
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
