/* What the core makes of what a backend reports of its descriptors: in the simulated world. What it asks is in
 * interest.c; the same with a kernel in io.c. */
#include "sim_pair.h"

#include <string.h>
#include <unistd.h>

/* ---- Being told --------------------------------------------------------------------------------------------- */

static void reports_are_masked_and_merged(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ | EVF_WRITE, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    sim->stale[fd] = EVF_WRITE;
    sim->ready[fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a:rw");
    CHECK_INT(evf_io_set(&io, EVF_READ), 0);
    sim->ready[fd] = 0;
    sim->stale[fd] = EVF_WRITE; /* no longer wanted */
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_TEXT(trace, "a:rw");
    close_it();
}

static void stale_reports(void) {
    struct evf_io io = {0}, next = {0};
    open_it();
    start(&io, fd, EVF_READ, "old");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    evf_io_stop(&io);
    sim->stale[fd] = EVF_READ | EVF_WRITE; /* nobody's now */
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    start(&next, fd, EVF_WRITE, "new");
    sim->stale[fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_TEXT(trace, "");
    close_it();
}

static struct evf_io *victim;
static int next_fd;

static int reuse_number(struct evf_io *io, unsigned events, void *data) {
    static struct evf_io next;
    memset(&next, 0, sizeof next);
    evf_io_stop(victim);
    CHECK_INT(evf_io_start(loop, &next, next_fd, EVF_READ | EVF_WRITE, trace_io, (void *)(uintptr_t) "new"), 0);
    victim = &next;
    return trace_io(io, events, data);
}

static void number_reused_in_a_turn(void) {
    struct evf_io io = {0}, old = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, reuse_number, (void *)(uintptr_t) "first "), 0);
    start(&old, other_fd, EVF_READ, "old");
    victim = &old;
    next_fd = other_fd;
    sim->ready[fd] = sim->ready[other_fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_TEXT(trace, "first :r");
    evf_io_stop(&io);
    CHECK_INT(evf_loop_run_once(loop, 0), 1); /* what the kernel says about the new one */
    CHECK_TEXT(trace, "first :rnew:r");
    close_it();
    CHECK(victim->w.loop == NULL);
}

static int drop_interest(struct evf_io *io, unsigned events, void *data) {
    CHECK_INT(evf_io_set(victim, 0), 0);
    return trace_io(io, events, data);
}

static void interest_dropped_in_a_turn(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, drop_interest, (void *)(uintptr_t) "a"), 0);
    start(&second, other_fd, EVF_READ | EVF_WRITE, "b");
    victim = &second;
    sim->ready[fd] = sim->ready[other_fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_TEXT(trace, "a:r");
    close_it();
}

static int narrow_interest(struct evf_io *io, unsigned events, void *data) {
    CHECK_INT(evf_io_set(victim, EVF_WRITE), 0);
    return trace_io(io, events, data);
}

static void interest_narrowed_in_a_turn(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, narrow_interest, (void *)(uintptr_t) "a"), 0);
    start(&second, other_fd, EVF_READ | EVF_WRITE, "b");
    victim = &second;
    sim->ready[fd] = EVF_READ;
    sim->ready[other_fd] = EVF_READ | EVF_WRITE;
    CHECK_INT(evf_loop_run_once(loop, 0), 2);
    CHECK_TEXT(trace, "a:rb:w");
    close_it();
}

static int fail(struct evf_io *io, unsigned events, void *data) {
    trace_io(io, events, data);
    return -77;
}

/* Readiness is asked for anew: what was true before the exception may not be true after it. */
static void error_forgets_readiness(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, fail, (void *)(uintptr_t) "a"), 0);
    start(&second, other_fd, EVF_READ, "b");
    sim->ready[fd] = sim->ready[other_fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), -77);
    sim->ready[fd] = sim->ready[other_fd] = 0;
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_TEXT(trace, "a:r");
    sim->ready[other_fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_TEXT(trace, "a:rb:r");
    close_it();
}

static void readiness_ends_a_wait(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    sim_plan(sim, 500, fd, EVF_READ);
    int64_t begin_ns = sim->now_ns[0];
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->now_ns[0] - begin_ns, 500);
    CHECK_TEXT(trace, "a:r");
    close_it();
}

/* ---- Files that are always ready ---------------------------------------------------------------------------- */

static void always_ready(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    start(&second, other_fd, EVF_READ, "b");
    sim_fail_set_io(sim, fd, EVF_ENOTSUP, 1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->last_timeout_ns, 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a:ra:r");
    trace_clear();
    CHECK_INT(evf_io_set(&io, EVF_READ | EVF_WRITE | EVF_HANGUP), 0);
    sim->ready[other_fd] = EVF_READ; /* the others get their turn */
    CHECK_INT(evf_loop_run_once(loop, -1), 2);
    CHECK(strcmp(trace, "a:rwb:r") == 0 || strcmp(trace, "b:ra:rw") == 0);
    evf_io_stop(&io);
    evf_io_stop(&second);
    *sim->calls = '\0';
    int64_t begin_ns = sim->now_ns[0];
    CHECK_INT(evf_loop_run_once(loop, 1000), 0); /* no longer in a hurry */
    CHECK_INT(sim->now_ns[0] - begin_ns, 1000);
    start(&io, fd, EVF_READ, "pipe"); /* now it is another file */
    CHECK_INT(evf_loop_run_once(loop, 1000), 0);
    check_calls(call(0, EVF_READ));
    close_it();
}

static void always_ready_but_unwanted(void) {
    static const unsigned masks[] = {0, EVF_HANGUP};
    for (size_t i = 0; i < COUNT_OF(masks); i++) {
        struct evf_io io = {0};
        open_it();
        start(&io, fd, EVF_READ, "a");
        sim_fail_set_io(sim, fd, EVF_ENOTSUP, 1);
        CHECK_INT(evf_loop_run_once(loop, -1), 1);
        CHECK_INT(evf_io_set(&io, masks[i]), 0);
        sim->waits = 0;
        sim->tick_ns = 1;
        CHECK_INT(evf_loop_run_once(loop, 1000), 0);
        CHECK(sim->waits < 10);
        trace_clear();
        CHECK_INT(evf_io_set(&io, EVF_WRITE), 0);
        CHECK_INT(evf_loop_run_once(loop, -1), 1);
        CHECK_TEXT(trace, "a:w");
        close_it();
    }
}

static void always_ready_only_hangup(void) {
    struct evf_io io = {0};
    open_it();
    sim_fail_set_io(sim, fd, EVF_ENOTSUP, 1);
    start(&io, fd, EVF_HANGUP, "a");
    sim->tick_ns = 1;
    CHECK_INT(evf_loop_run_once(loop, 1000), 0);
    CHECK(sim->waits < 10);
    close_it();
}

static int stop_both(struct evf_io *io, unsigned events, void *data) {
    trace_io(io, events, data);
    evf_io_stop(io);
    evf_io_stop(victim);
    return 0;
}

static void always_ready_stopped_in_a_turn(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, stop_both, (void *)(uintptr_t) "a"), 0);
    start(&second, other_fd, EVF_READ, "b");
    victim = &second;
    sim_fail_set_io(sim, fd, EVF_ENOTSUP, 1);
    sim_fail_set_io(sim, other_fd, EVF_ENOTSUP, 1);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a:r");
    CHECK_INT(evf_loop_run_once(loop, 1000), 0);
    close_it();
}

/* ---- A hang-up behind unread data --------------------------------------------------------------------------- */

static void hangup_does_not_spin(void) {
    struct evf_io io = {0};
    int fds[2];
    open_it();
    make_pair(fds);
    give(fds[1]);
    start(&io, fds[0], EVF_HANGUP, "a");
    sim->ready[fds[0]] = EVF_READ;
    int64_t begin_ns = sim->now_ns[0];
    CHECK_INT(evf_loop_run_once(loop, SECOND), 0);
    CHECK_INT(sim->now_ns[0] - begin_ns, SECOND);
    CHECK(sim->waits < 50);
    CHECK_INT(evf_loop_watchers(loop), 1);
    (void)close(fds[1]);
    fds[1] = -1;
    CHECK_INT(evf_loop_run_once(loop, SECOND), 1); /* though data is still there */
    CHECK_TEXT(trace, "a:h");
    evf_io_stop(&io);
    close_it();
    close_pair(fds);
}

static void muted_takes_only_reading_away(void) {
    struct evf_io io = {0};
    int fds[2];
    open_it();
    make_pair(fds);
    give(fds[1]);
    start(&io, fds[0], EVF_HANGUP | EVF_WRITE, "a");
    sim->ready[fds[0]] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    sim_plan(sim, 1000, fds[0], EVF_READ | EVF_WRITE);
    int64_t begin_ns = sim->now_ns[0];
    CHECK_INT(evf_loop_run_once(loop, SECOND), 1);
    CHECK_INT(sim->now_ns[0] - begin_ns, 1000);
    CHECK_TEXT(trace, "a:w");
    evf_io_stop(&io);
    close_it();
    close_pair(fds);
}

static void muted_and_changed(void) {
    struct evf_io io = {0};
    int fds[2];
    open_it();
    make_pair(fds);
    give(fds[1]);
    for (int i = 0; i < 3; i++) {
        trace_clear();
        start(&io, fds[0], EVF_HANGUP, "a");
        sim->ready[fds[0]] = EVF_READ;
        CHECK_INT(evf_loop_run_once(loop, 0), 0); /* muted now */
        if (i == 0) {
            CHECK_INT(evf_io_set(&io, EVF_HANGUP | EVF_READ), 0);
            CHECK_INT(evf_loop_run_once(loop, 0), 1);
            CHECK_TEXT(trace, "a:r");
        } else if (i == 1) {
            CHECK_INT(evf_io_set(&io, 0), 0);
            CHECK_INT(evf_loop_run_once(loop, SECOND), 0);
        } else {
            sim->ready[fds[0]] = 0; /* somebody has read it */
            (void)take(fds[0]);
            CHECK_INT(evf_loop_run_once(loop, SECOND), 0);
            CHECK_INT(sim->interest[fds[0]], EVF_READ);
        }
        evf_io_stop(&io);
    }
    close_it();
    close_pair(fds);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(reports_are_masked_and_merged, "a descriptor has one callback a turn, with what is wanted"),
        TAP_TEST(stale_reports, "late reports reach nobody"),
        TAP_TEST(number_reused_in_a_turn, "a number reused in a turn never gets the old owner's event"),
        TAP_TEST(interest_dropped_in_a_turn, "interest dropped in a turn is not delivered"),
        TAP_TEST(interest_narrowed_in_a_turn, "interest narrowed in a turn is delivered narrowed"),
        TAP_TEST(error_forgets_readiness, "after an error readiness is asked for anew"),
        TAP_TEST(readiness_ends_a_wait, "the turn ends when a descriptor becomes ready"),
        TAP_TEST(always_ready, "a file that the kernel cannot watch is ready in every turn"),
        TAP_TEST(always_ready_but_unwanted, "such a file without interest does not make the loop spin"),
        TAP_TEST(always_ready_only_hangup, "such a file watched for hang-up does not make the loop spin"),
        TAP_TEST(always_ready_stopped_in_a_turn, "such files stop in callbacks"),
        TAP_TEST(hangup_does_not_spin, "only hang-up wanted, unread data there: no spin, and the hang-up arrives"),
        TAP_TEST(muted_takes_only_reading_away, "unread data does not delay writing"),
        TAP_TEST(muted_and_changed, "interest changes while unread data is ignored"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
