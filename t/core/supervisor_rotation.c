/* Workers that are replaced for their requests, memory or age: one by one, under the tokens, the next before the old.
 */
#include "supervisor_scene.h"

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

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(make_before_break, "a worker that is replaced leaves when the next is ready"),
        TAP_TEST(min_lifetime, "nobody is replaced too young"),
        TAP_TEST(three_large_samples, "three large samples in a row are too large"),
        TAP_TEST(lifetime, "an old worker is replaced"),
        TAP_TEST(tokens_over_all_causes, "tokens bound replacements whatever the cause, the oldest request first"),
        TAP_TEST(replacement_fails, "when a replacement fails the old worker stays"),
        TAP_TEST(jitter_is_spread, "thresholds are spread evenly, and never wrap"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
