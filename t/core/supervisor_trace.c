/* The text form of a supervisor's options and events: what is written is read, nothing else is, and a recording that is
 * replayed leads to the same decisions. */
#include "helpers.h"
#include "supervisor_world.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 3000, WORLDS = 30 };

static const struct evf_supervisor_options all_options = {
    .workers = UINT_MAX,
    .startup_timeout_ns = INT64_MIN,
    .heartbeat_timeout_ns = INT64_MIN,
    .graceful_timeout_ns = INT64_MIN,
    .max_requests = UINT64_MAX,
    .max_requests_jitter = UINT64_MAX,
    .max_rss_bytes = UINT64_MAX,
    .max_lifetime_ns = INT64_MIN,
    .min_lifetime_ns = INT64_MIN,
    .max_unavailable = UINT_MAX,
    .respawn_delay_ns = INT64_MIN,
    .respawn_delay_max_ns = INT64_MIN,
    .crash_limit = UINT_MAX,
    .crash_window_ns = INT64_MIN,
    .only_spawn = true,
    .can_spawn = true,
    .seed = UINT64_MAX,
};

static uint64_t draw(void *data, uint64_t below) {
    uint64_t *state = data;
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*state >> 20) % below;
}

/* ---- Lines -------------------------------------------------------------------------------------------------- */

static void one_line(void) {
    const struct evf_supervisor_event exited = {
        .type = EVF_EVENT_EXITED, .berth = 3, .pid = 4711, .wait_status = -1, .error = 5};
    char line[EVF_TRACE_LINE_MAX];
    const int length = evf_supervisor_trace_format(&exited, 12, line, sizeof line);
    CHECK_TEXT(line, "12 exited berth=3 pid=4711 wait_status=-1");
    CHECK_INT(length, strlen(line));
    for (int size = 0; size <= length; size++)
        CHECK_INT(evf_supervisor_trace_format(&exited, 12, line, (size_t)size), EVF_EINVAL);
    CHECK_INT(evf_supervisor_trace_format(&exited, 12, line, (size_t)length + 1), length);
    const struct evf_supervisor_event none = {.type = EVF_EVENT_COUNT};
    CHECK_INT(evf_supervisor_trace_format(&none, 12, line, sizeof line), EVF_EINVAL);
}

static void longest_lines(void) {
    char line[EVF_TRACE_LINE_MAX], again[EVF_TRACE_LINE_MAX];
    struct evf_supervisor_options options;
    CHECK(evf_supervisor_trace_format_options(&all_options, line, sizeof line) > 0);
    CHECK_INT(evf_supervisor_trace_parse_options(line, &options), 0);
    CHECK(evf_supervisor_trace_format_options(&options, again, sizeof again) > 0);
    CHECK_TEXT(again, line);
    CHECK(options.only_spawn && options.can_spawn);
    CHECK(options.seed == UINT64_MAX && options.crash_window_ns == INT64_MIN);
    for (int type = 0; type < EVF_EVENT_COUNT; type++) {
        const struct evf_supervisor_event event = {.type = (enum evf_event_type)type,
                                                   .berth = UINT_MAX,
                                                   .pid = INT_MIN,
                                                   .wait_status = INT_MIN,
                                                   .error = INT_MIN,
                                                   .busy_since_ns = INT64_MIN,
                                                   .extension_ns = INT64_MIN,
                                                   .requests = UINT64_MAX,
                                                   .rss_bytes = UINT64_MAX,
                                                   .workers = UINT_MAX,
                                                   .is_fast = true};
        struct evf_supervisor_event parsed;
        int64_t now_ns = 0;
        CHECK(evf_supervisor_trace_format(&event, INT64_MIN, line, sizeof line) > 0);
        CHECK_INT(evf_supervisor_trace_parse(line, &parsed, &now_ns), 0);
        CHECK(now_ns == INT64_MIN && parsed.type == event.type);
        CHECK(evf_supervisor_trace_format(&parsed, INT64_MIN, again, sizeof again) > 0);
        CHECK_TEXT(again, line);
    }
}

static void what_is_no_line(void) {
    static const char *const wrong[] = {
        "",
        "12",
        "tick",
        " 12 tick",
        "12  tick",
        "12 tock",
        "12 ticks",
        "12 tick ",
        "12 tick berth=1",
        "12 ready berth=",
        "12 ready berth=x",
        "12 ready berth=-1",
        "12 ready berth=1x",
        "12 ready berth=4294967296",
        "12 ready pid=2147483648",
        "12 stop is_fast=2",
        "x tick",
        "9223372036854775808 tick",
        "12 tick\n\n",
        "12 ready berth= 1",
        "12 sample requests=18446744073709551616",
        "+12 tick",
    };
    struct evf_supervisor_event event = {.type = EVF_EVENT_COUNT};
    struct evf_supervisor_options options;
    int64_t now_ns = 77;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        if (!CHECK_INT(evf_supervisor_trace_parse(wrong[i], &event, &now_ns), EVF_EINVAL)) tap_diag("%s", wrong[i]);
    }
    CHECK(event.type == EVF_EVENT_COUNT && now_ns == 77);
    CHECK_INT(evf_supervisor_trace_parse("-12 stop is_fast=1\n", &event, &now_ns), 0);
    CHECK(event.type == EVF_EVENT_STOP && now_ns == -12 && event.is_fast);
    CHECK_INT(evf_supervisor_trace_parse_options("options sorrows=1", &options), EVF_EINVAL);
    CHECK_INT(evf_supervisor_trace_parse_options("option", &options), EVF_EINVAL);
    CHECK_INT(evf_supervisor_trace_parse_options("options workers=4\n", &options), 0);
    CHECK_INT(options.workers, 4);
}

/* ---- Replay ------------------------------------------------------------------------------------------------- */

static void describe(const struct evf_supervisor_action *action, char *text, size_t size) {
    check_describe(action, text, size);
    const size_t length = strlen(text);
    (void)snprintf(text + length, size - length, " %d %u %d %d %" PRIu64, (int)action->method, action->count,
                   action->error, action->is_fast, action->requests_max);
}

/* The same step by a second supervisor, which knows the lines only. */
static void replay(void *data, const struct evf_supervisor_event *event, int64_t now_ns,
                   const struct evf_supervisor_action *actions, int count) {
    const struct evf_supervisor_action *again;
    struct evf_supervisor_event parsed;
    char line[EVF_TRACE_LINE_MAX], one[300], other[300];
    int64_t then_ns;
    NEED(evf_supervisor_trace_format(event, now_ns, line, sizeof line) > 0);
    NEED(evf_supervisor_trace_parse(line, &parsed, &then_ns) == 0);
    NEED(evf_supervisor_step(data, &parsed, then_ns, &again) == count);
    for (int i = 0; i < count; i++) {
        describe(&actions[i], one, sizeof one);
        describe(&again[i], other, sizeof other);
        CHECK_TEXT(other, one);
    }
}

static void replay_world(uint64_t seed) {
    char line[EVF_TRACE_LINE_MAX];
    struct evf_supervisor_options options;
    struct evf_supervisor *second = NULL;
    struct world *world = world_new(draw, &seed);
    NEED(world != NULL);
    struct checker *checker = world_checker(world);
    NEED(evf_supervisor_trace_format_options(&checker->options, line, sizeof line) > 0);
    NEED(evf_supervisor_trace_parse_options(line, &options) == 0);
    NEED(evf_supervisor_new(&options, &second) == 0);
    checker->watch = replay;
    checker->watch_data = second;
    for (int i = 0; i < STEPS && world_step(world); i++) {}
    CHECK_TEXT(checker->complaint != NULL ? checker->complaint : "", "");
    CHECK(checker->lines > 0);
    CHECK(evf_supervisor_deadline(second) == checker->deadline_ns);
    evf_supervisor_free(second);
    world_free(world);
}

static void replays(void) {
    for (uint64_t seed = 1; seed <= WORLDS && !tap_has_failed(); seed++) replay_world(seed);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(one_line, "an event is a line of its fields that are not 0"),
        TAP_TEST(longest_lines, "the greatest values are written and read"),
        TAP_TEST(what_is_no_line, "what is no such line is refused"),
        TAP_TEST(replays, "a recording that is replayed leads to the same actions"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
