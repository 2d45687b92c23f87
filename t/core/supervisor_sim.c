/* The supervisor in random worlds, each step beside an independent model of what it may and must do. EVF_TEST_SEED
 * repeats a run, EVF_STEPS makes it longer or shorter. The worlds are in supervisor_world.c, the model in
 * supervisor_check.c. */
#include "helpers.h"
#include "supervisor_world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_WORLD = 4000 };

static unsigned long reports[EVF_REPORT_COUNT], actions[EVF_ACTION_FINISH + 1];
static unsigned long worlds;

static uint64_t draw(void *data, uint64_t below) {
    uint64_t *state = data;
    uint64_t value = *state += UINT64_C(0x9e3779b97f4a7c15);
    value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
    return (value ^ value >> 31) % below;
}

static void tell(const char *line) {
    tap_diag("%s", line);
}

static void add_up(const struct checker *checker) {
    for (int i = 0; i < EVF_REPORT_COUNT; i++) reports[i] += checker->reports[i];
    for (int i = 0; i <= EVF_ACTION_FINISH; i++) actions[i] += checker->actions[i];
    worlds++;
}

/* One world until its end; false when the checker complains. */
static bool run_world(uint64_t seed, uint64_t *state, long *steps, long steps_end) {
    struct world *world = world_new(draw, state);
    NEED(world != NULL);
    const struct checker *checker = world_checker(world);
    const long room = steps_end - *steps, first = *steps, length = room < LONGEST_WORLD ? room : LONGEST_WORLD;
    while (checker->complaint == NULL && world_step(world)) {
        ++*steps;
        if (*steps - first == length) world_stop(world);
    }
    if (checker->complaint != NULL) {
        check_tell(checker, tell);
        tap_diag("seed %" PRIu64 ", step %ld, berth %u: %s", seed, *steps, checker->complaint_berth,
                 checker->complaint);
    }
    const bool is_well = checker->complaint == NULL;
    CHECK(is_well);
    add_up(checker);
    world_free(world);
    return is_well;
}

static long run(uint64_t seed, long step_count) {
    uint64_t state = seed;
    long steps = 0;
    while (steps < step_count && run_world(seed, &state, &steps, step_count)) {}
    return steps;
}

static uint64_t number_from(const char *variable, uint64_t otherwise) {
    const char *value = getenv(variable);
    return value != NULL && *value != '\0' ? strtoull(value, NULL, 10) : otherwise;
}

/* It was a real test only if everything has happened. */
static void check_variety(void) {
    for (int i = 0; i < EVF_REPORT_COUNT; i++) {
        if (reports[i] == 0) tap_diag("never: %s", evf_report_word((enum evf_report)i));
        CHECK(reports[i] > 0);
    }
    for (int i = 0; i <= EVF_ACTION_FINISH; i++) CHECK(actions[i] > 0);
}

static void random_worlds(void) {
    const uint64_t seed = number_from("EVF_TEST_SEED", (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000);
    const long step_count = (long)number_from("EVF_STEPS", tap_is_slow() ? 100000 : 1000000);
    memset(reports, 0, sizeof reports);
    worlds = 0;
    tap_diag("EVF_TEST_SEED=%" PRIu64 " repeats this", seed);
    const long steps = run(seed, step_count);
    tap_diag("%ld steps in %lu worlds", steps, worlds);
    for (int i = 0; i < EVF_REPORT_COUNT; i++) tap_diag("%lu %s", reports[i], evf_report_word((enum evf_report)i));
    if (step_count >= 1000000 && !tap_has_failed()) check_variety();
}

/* Add those that find something; what was found so far has a scenario (supervisor_scene.h), because the worlds have
 * changed since. */
static void known_seeds(void) {
    static const struct {
        uint64_t seed;
        long steps;
    } known[] = {{1, 10000}, {2, 10000}, {3, 10000}};
    for (size_t i = 0; i < COUNT_OF(known) && !tap_has_failed(); i++) (void)run(known[i].seed, known[i].steps);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(known_seeds, "the same worlds as yesterday"),
        TAP_TEST(random_worlds, "whatever happens, every decision is one that may be taken"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
