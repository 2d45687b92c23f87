/* A new generation: the canary, the others under the tokens, and what becomes of it when it fails. */
#include "supervisor_scene.h"

#include <string.h>

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

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(rolling_reload, "a reload tries a canary, then replaces the others under the tokens"),
        TAP_TEST(canary_fails, "when the canary fails all is as before"),
        TAP_TEST(death_is_a_canary, "who replaces a dead worker may be the canary"),
        TAP_TEST(breaker_ends_the_reload, "when later ones fail they are tried again until the breaker opens"),
        TAP_TEST(reload_of_a_reload, "a reload in a reload is a newer generation"),
        TAP_TEST(reload_with_nobody_to_keep, "with nobody to keep a reload starts all at once"),
        TAP_TEST(back_off_outlives_a_reload, "a request that follows a failed reload waits for the back-off"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
