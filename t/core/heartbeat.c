/* The stamps of loops in a row of the scoreboard: when they are made, and by whom. */
#include "helpers.h"

#include "../../xs/core/scoreboard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

static struct evf_scoreboard *board;
static struct evf_scoreboard_row *row;
static struct evf_loop *loop;

static void open_it(void) {
    NEED(evf_scoreboard_new(NULL, 2, &board) == 0);
    row = evf_scoreboard_row(board, 1);
    loop = new_loop();
    evf_heartbeat_attach(row);
    CHECK(evf_heartbeat_row() == row);
}

static void close_it(void) {
    evf_loop_free(loop);
    evf_scoreboard_free(board);
    CHECK(evf_heartbeat_row() == NULL); /* with its board */
}

static int64_t now(void) {
    return evf_clock_now(NULL, EVF_CLOCK_MONOTONIC);
}

static int64_t seen_busy;
static uint64_t seen_turns;

static int look(struct evf_timer *timer, void *data) {
    (void)timer;
    seen_busy = EVF_SCOREBOARD_GET(row->busy_since_ns);
    seen_turns = EVF_SCOREBOARD_GET(row->turns);
    ++*(int *)data;
    return 0;
}

static void busy_in_callbacks(void) {
    struct evf_timer timer = {0};
    int count = 0;
    open_it();
    EVF_SCOREBOARD_SET(row->extension_ns, 5);
    const int64_t before = now();
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, before + 5 * MILLISECOND, look, &count), 0);
    CHECK(turns_until(loop, &count, 1));
    CHECK(seen_busy >= before + 4 * MILLISECOND && seen_busy <= now());
    CHECK(seen_turns >= 1);
    CHECK_INT(row->extension_ns, 0);
    CHECK_INT(row->busy_since_ns, seen_busy); /* out of the loop is busy, too */
    CHECK_INT(row->turns, seen_turns);
    close_it();
}

/* Asked by another process while the loop waits. */
static void idle_in_a_wait(void) {
    struct tester tester;
    struct evf_io io = {0};
    int fds[2], count = 0;
    open_it();
    make_pair(fds);
    CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
    EVF_SCOREBOARD_SET(row->busy_since_ns, 1);
    if (fork_tester(&tester)) {
        while (EVF_SCOREBOARD_GET(row->busy_since_ns) != 0) (void)poll(NULL, 0, 1); /* the alarm ends it */
        give(fds[1]);
        leave(&tester);
    }
    CHECK(turns_until(loop, &count, 1));
    CHECK(EVF_SCOREBOARD_GET(row->busy_since_ns) > 1);
    check_tester(&tester);
    evf_io_stop(&io);
    close_pair(fds);
    close_it();
}

static int is_ever_idle;

static int64_t look_while_asked(void *data, enum evf_clock clock) {
    (void)data;
    if (row != NULL && row->busy_since_ns == 0) is_ever_idle++;
    return evf_clock_now(NULL, clock);
}

static void proof_of_life_without_a_wait(void) {
    struct evf_idle idle = {0};
    int count = 0;
    NEED(evf_scoreboard_new(NULL, 1, &board) == 0);
    row = evf_scoreboard_row(board, 0);
    EVF_SCOREBOARD_SET(row->busy_since_ns, 1);
    is_ever_idle = 0;
    loop = new_loop_with(&(struct evf_loop_hooks){.now = look_while_asked});
    evf_heartbeat_attach(row);
    int64_t last = now();
    for (int i = 0; i < 5; i++) {
        CHECK_INT(evf_idle_start(loop, &idle, count_idle, &count), 0);
        CHECK_INT(evf_loop_run_once(loop, -1), 1);
        CHECK(row->busy_since_ns >= last);
        last = row->busy_since_ns;
    }
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK(row->busy_since_ns >= last);
    CHECK_INT(is_ever_idle, 0);
    CHECK(row->turns >= 6);
    close_it();
}

static void not_attached(void) {
    struct evf_timer timer = {0};
    int count = 0;
    open_it();
    evf_heartbeat_attach(NULL);
    evf_heartbeat_busy(7);
    evf_heartbeat_idle();
    evf_heartbeat_request_started(7);
    evf_heartbeat_request_done();
    evf_heartbeat_ring();
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &count), 0);
    CHECK(turns_until(loop, &count, 1));
    CHECK_INT(row->turns, 0);
    CHECK_INT(row->busy_since_ns, 0);
    CHECK_INT(row->requests_started, 0);
    close_it();
}

static int run_nested(struct evf_timer *timer, void *data) {
    (void)timer;
    struct evf_timer inner = {0};
    int count = 0;
    const uint64_t before = row->turns;
    struct evf_loop *other = new_loop();
    CHECK_INT(evf_timer_start(other, &inner, EVF_CLOCK_MONOTONIC, now() + MILLISECOND, count_timer, &count), 0);
    CHECK(turns_until(other, &count, 1));
    CHECK(row->turns > before);
    CHECK(row->busy_since_ns > 0);
    evf_loop_free(other);
    ++*(int *)data;
    return 0;
}

static void nested(void) {
    struct evf_timer timer = {0};
    int count = 0;
    open_it();
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, run_nested, &count), 0);
    CHECK(turns_until(loop, &count, 1));
    close_it();
}

/* Neither kind of child is the worker. Its loops leave the row alone; the parent's go on. */
static void forgotten_in_a_child(void) {
    int fds[2];
    open_it();
    NEED(evf_bell_open(fds) == 0);
    evf_heartbeat_set_bell(fds[1]);
    for (int is_clean = 0; is_clean < 2; is_clean++) {
        struct tester tester;
        const uint64_t before = row->turns;
        if (is_clean ? fork_clean_tester(&tester) : fork_tester(&tester)) {
            CHECK(evf_heartbeat_row() == NULL);
            struct evf_loop *own = new_loop();
            CHECK_INT(evf_loop_run_once(own, 0), 0);
            if (!is_clean) CHECK_INT(evf_loop_run_once(loop, 0), 0);
            evf_heartbeat_request_started(1);
            evf_heartbeat_ring();
            evf_loop_free(own);
            leave(&tester);
        }
        check_tester(&tester);
        CHECK_INT(row->turns, before);
        CHECK_INT(row->requests_started, 0);
        CHECK(!evf_bell_answer(fds[0]));
        CHECK_INT(evf_loop_run_once(loop, 0), 0);
        CHECK_INT(row->turns, before + 1);
    }
    evf_heartbeat_ring();
    CHECK(evf_bell_answer(fds[0]));
    evf_heartbeat_set_bell(-1);
    evf_bell_close(fds);
    close_it();
}

static void blocking_worker(void) {
    open_it();
    evf_heartbeat_request_started(10);
    CHECK_INT(row->busy_since_ns, 10);
    evf_heartbeat_request_started(20);
    CHECK_INT(row->busy_since_ns, 10);
    EVF_SCOREBOARD_SET(row->extension_ns, 5);
    evf_heartbeat_request_done();
    CHECK_INT(row->busy_since_ns, 10);
    CHECK_INT(row->extension_ns, 5);
    evf_heartbeat_request_done();
    CHECK_INT(row->busy_since_ns, 0);
    CHECK_INT(row->extension_ns, 0);
    CHECK_INT(row->requests_started, 2);
    CHECK_INT(row->requests_done, 2);
    CHECK_INT(row->turns, 0);
    close_it();
}

static void requests_in_a_loop(void) {
    open_it();
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    const int64_t stamp = row->busy_since_ns;
    evf_heartbeat_request_started(10);
    CHECK_INT(row->busy_since_ns, stamp);
    evf_heartbeat_request_done();
    CHECK_INT(row->busy_since_ns, stamp);
    evf_heartbeat_attach(row); /* another worker of the same process: its turns count anew */
    CHECK_INT(row->turns, 0);
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(busy_in_callbacks, "a callback runs in a busy worker, whose extension is over"),
        TAP_TEST(idle_in_a_wait, "a loop that waits is idle"),
        TAP_TEST(proof_of_life_without_a_wait, "a turn that does not wait is proof of life, and never idle"),
        TAP_TEST(not_attached, "without a row nothing is stamped"),
        TAP_TEST(nested, "a nested loop stamps, too"),
        TAP_TEST(forgotten_in_a_child, "a child of the worker stamps and rings nothing"),
        TAP_TEST(blocking_worker, "without a loop, requests are the heartbeat"),
        TAP_TEST(requests_in_a_loop, "with a loop they are not"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
