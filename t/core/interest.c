/* What the core asks of a backend for its descriptors, and what it makes of the answers: in the simulated world. The
 * same with a kernel is in io.c. */
#include "helpers.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct sim *sim;
static struct evf_loop *loop;
static int fd, other_fd; /* real, because a descriptor has to be open; never ready by themselves */
static char expected[200];

static void open_it(void) {
    trace_clear();
    loop = NULL;
    sim = open_world(&loop);
    CHECK_INT(evf_loop_run_once(loop, 0), 0); /* the wake-up descriptor is asked for */
    sim->set_ios = 0;
    *sim->calls = '\0';
    int fds[2];
    make_pair(fds);
    fd = fds[0] < fds[1] ? fds[0] : fds[1]; /* the simulated world reports in order of numbers */
    other_fd = fds[0] < fds[1] ? fds[1] : fds[0];
}

static void close_it(void) {
    close_world(sim, loop);
    (void)close(fd);
    (void)close(other_fd);
}

static void start(struct evf_io *io, int of_fd, unsigned mask, const char *name) {
    CHECK_INT(evf_io_start(loop, io, of_fd, mask, trace_io, (void *)(uintptr_t)name), 0);
}

/* "fd:old>new " for the first descriptor. */
static const char *call(unsigned old_mask, unsigned new_mask) {
    (void)snprintf(expected, sizeof expected, "%d:%u>%u ", fd, old_mask, new_mask);
    return expected;
}

static void check_calls(const char *calls) {
    CHECK_TEXT(sim->calls, calls);
    *sim->calls = '\0';
}

/* ---- Asking ------------------------------------------------------------------------------------------------- */

static void lazy(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    check_calls("");
    CHECK_INT(evf_io_set(&io, EVF_READ | EVF_WRITE), 0);
    CHECK_INT(evf_io_set(&io, EVF_WRITE), 0);
    check_calls("");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls(call(0, EVF_WRITE));
    CHECK_INT(evf_io_set(&io, EVF_READ), 0);
    CHECK_INT(evf_io_set(&io, EVF_WRITE), 0); /* as it was */
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls("");
    CHECK_INT(evf_io_set(&io, EVF_READ | EVF_WRITE), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls(call(EVF_WRITE, EVF_READ | EVF_WRITE));
    CHECK_INT(evf_io_set(&io, 0), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls(call(EVF_READ | EVF_WRITE, 0));
    CHECK_INT(evf_loop_watchers(loop), 1);
    close_it();
}

static void never_asked(void) {
    struct evf_io io = {0};
    open_it();
    for (int i = 0; i < 100; i++) {
        start(&io, fd, EVF_READ, "a");
        evf_io_stop(&io);
    }
    start(&io, fd, 0, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls("");
    close_it();
    CHECK(io.w.loop == NULL);
}

static void eager_removal(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls(call(0, EVF_READ));
    evf_io_stop(&io);
    check_calls(call(EVF_READ, 0));
    evf_io_stop(&io);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls("");
    close_it();
}

/* The number may be another file by now: it has to be registered anew. */
static void stopped_and_started(void) {
    struct evf_io one = {0}, other = {0};
    open_it();
    start(&one, fd, EVF_READ, "one");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls(call(0, EVF_READ));
    evf_io_stop(&one);
    start(&other, fd, EVF_READ, "other");
    check_calls(call(EVF_READ, 0));
    sim->ready[fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    check_calls(call(0, EVF_READ));
    CHECK_TEXT(trace, "other:r");
    close_it();
}

static void hangup_is_reading(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_HANGUP, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls(call(0, EVF_READ));
    CHECK_INT(evf_io_set(&io, EVF_HANGUP | EVF_WRITE), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls(call(EVF_READ, EVF_READ | EVF_WRITE));
    CHECK_INT(evf_io_set(&io, EVF_READ | EVF_WRITE), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    check_calls("");
    close_it();
}

static void mistakes(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    CHECK_INT(evf_io_set(&io, EVF_READ), EVF_EINVAL);
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, NULL, NULL), EVF_EINVAL);
    CHECK_INT(evf_io_start(loop, &io, fd, 8, trace_io, ""), EVF_EINVAL);
    CHECK_INT(evf_io_start(loop, &io, fd, UINT32_MAX, trace_io, ""), EVF_EINVAL);
    CHECK_INT(evf_io_start(loop, &io, -1, EVF_READ, trace_io, ""), EVF_EBADF);
    CHECK_INT(evf_io_start(loop, &io, INT32_MIN, EVF_READ, trace_io, ""), EVF_EBADF);
    CHECK_INT(evf_io_start(loop, &io, INT32_MAX, EVF_READ, trace_io, ""), EVF_EBADF);
    int closed_fd = dup(fd);
    (void)close(closed_fd);
    CHECK_INT(evf_io_start(loop, &io, closed_fd, EVF_READ, trace_io, ""), EVF_EBADF);
    CHECK(io.w.loop == NULL);
    evf_io_stop(&io);
    evf_io_stop_closed(&io);

    start(&io, fd, EVF_READ, "a");
    struct evf_io before = io;
    CHECK_INT(evf_io_start(loop, &io, other_fd, EVF_WRITE, count_io, NULL), EVF_EEXIST);
    CHECK(memcmp(&before, &io, sizeof io) == 0);
    CHECK_INT(evf_io_start(loop, &second, fd, EVF_WRITE, trace_io, ""), EVF_EEXIST);
    CHECK(second.w.loop == NULL);
    CHECK_INT(evf_io_set(&io, 8), EVF_EINVAL);
    CHECK_INT(io.mask, EVF_READ);
    CHECK_INT(evf_loop_watchers(loop), 1);
    CHECK_INT(sim->after_forks, 0);
    close_it();
}

static void number_too_high(void) {
    struct evf_io io = {0};
    struct evf_process process = {0};
    int count = 0;
    open_it();
    sim->fd_limit = other_fd;
    CHECK_INT(evf_io_start(loop, &io, other_fd, EVF_READ, trace_io, ""), EVF_ENOTSUP);
    CHECK(io.w.loop == NULL);
    pid_t pid = ended_child(0);
    CHECK_INT(evf_process_start(loop, &process, pid, count_process, &count), 0); /* there is another way */
    CHECK(turns_until(loop, &count, 1));
    start(&io, fd, EVF_READ, "a");
    sim->ready[fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    close_it();
}

static void find(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    CHECK(evf_io_find(loop, fd) == NULL);
    CHECK(evf_io_find(loop, -1) == NULL);
    CHECK(evf_io_find(loop, INT32_MAX) == NULL);
    start(&io, fd, EVF_READ, "a");
    start(&second, other_fd, 0, "b");
    CHECK(evf_io_find(loop, fd) == &io);
    CHECK(evf_io_find(loop, other_fd) == &second);
    evf_io_stop(&io);
    CHECK(evf_io_find(loop, fd) == NULL);
    for (int i = 0; i < 200; i++) CHECK(i == other_fd || evf_io_find(loop, i) == NULL); /* never the core's own */
    close_it();
}

static void high_numbers(void) {
    static const int numbers[] = {31, 32, 33, 63, 64, 65, 500, 1023, 1024, 2000};
    struct evf_io ios[COUNT_OF(numbers)];
    int count = 0, opened = 0;
    memset(ios, 0, sizeof ios);
    open_it();
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        int high_fd = fcntl(fd, F_DUPFD, numbers[i]);
        if (high_fd < 0) break; /* as far as the limit allows */
        CHECK_INT(evf_io_start(loop, &ios[i], high_fd, EVF_READ, count_io, &count), 0);
        sim->ready[high_fd] = EVF_READ;
        opened++;
    }
    CHECK_INT(evf_loop_run_once(loop, 0), opened);
    CHECK_INT(count, opened);
    for (int i = 0; i < opened; i++) {
        int high_fd = ios[i].fd;
        evf_io_stop(&ios[i]);
        (void)close(high_fd);
    }
    close_it();
}

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
    CHECK_INT(evf_io_start(loop, &next, next_fd, EVF_READ | EVF_WRITE, trace_io, (void *)(uintptr_t)"new"), 0);
    victim = &next;
    return trace_io(io, events, data);
}

static void number_reused_in_a_turn(void) {
    struct evf_io io = {0}, old = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, reuse_number, (void *)(uintptr_t)"first "), 0);
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
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, drop_interest, (void *)(uintptr_t)"a"), 0);
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
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, narrow_interest, (void *)(uintptr_t)"a"), 0);
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
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, fail, (void *)(uintptr_t)"a"), 0);
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

/* ---- Backends that refuse ----------------------------------------------------------------------------------- */

static void refusal_is_tried_again(void) {
    static const int codes[] = {EVF_ENOMEM, EVF_EBACKEND, EVF_ESYSTEM};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        struct evf_io io = {0}, second = {0};
        open_it();
        start(&io, fd, EVF_READ, "a");
        start(&second, other_fd, EVF_READ, "b");
        sim_fail_set_io(sim, fd, codes[i], 2);
        sim->ready[fd] = sim->ready[other_fd] = EVF_READ;
        CHECK_INT(evf_loop_run_once(loop, -1), codes[i]);
        CHECK_INT(evf_loop_run_once(loop, -1), codes[i]);
        CHECK_INT(evf_loop_run_once(loop, -1), 2);
        CHECK(strcmp(trace, "a:rb:r") == 0 || strcmp(trace, "b:ra:r") == 0);
        close_it();
    }
}

/* Whichever of them is refused, and however often. */
static void refusal_holds_up_nobody(void) {
    for (int refused = 0; refused < 3; refused++) {
        struct evf_io ios[3];
        memset(ios, 0, sizeof ios);
        open_it();
        const int numbers[3] = {fd, other_fd, dup(fd)};
        for (int i = 0; i < 3; i++) {
            start(&ios[i], numbers[i], EVF_READ, "a");
            sim->ready[numbers[i]] = EVF_READ;
        }
        sim_fail_set_io(sim, numbers[refused], EVF_EBACKEND, 3);
        CHECK_INT(evf_loop_run_once(loop, -1), EVF_EBACKEND);
        for (int i = 0; i < 3; i++) CHECK_INT(sim->interest[numbers[i]], i == refused ? 0 : EVF_READ);
        CHECK_INT(evf_io_set(&ios[(refused + 1) % 3], EVF_READ | EVF_WRITE), 0);
        CHECK_INT(evf_loop_run_once(loop, -1), EVF_EBACKEND);
        CHECK_INT(sim->interest[numbers[(refused + 1) % 3]], EVF_READ | EVF_WRITE);
        evf_io_stop(&ios[refused]); /* who gives up goes on without it */
        CHECK_INT(evf_loop_run_once(loop, -1), 2);
        start(&ios[refused], numbers[refused], EVF_READ, "a");
        CHECK_INT(evf_loop_run_once(loop, -1), EVF_EBACKEND);
        CHECK_INT(evf_loop_run_once(loop, -1), 3);
        evf_io_stop(&ios[2]);
        (void)close(numbers[2]);
        close_it();
    }
}

/* What fails leaves no interest in the backend (backend.h): going back to what worked has to ask again. */
static void refused_change_goes_back(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(evf_io_set(&io, EVF_READ | EVF_WRITE), 0);
    sim_fail_set_io(sim, fd, EVF_EBACKEND, 1);
    CHECK_INT(evf_loop_run_once(loop, 0), EVF_EBACKEND);
    CHECK_INT(evf_io_set(&io, EVF_READ), 0);
    sim->ready[fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    CHECK_TEXT(trace, "a:r");
    close_it();
}

static void closed_before_it_was_asked(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    start(&second, other_fd, EVF_READ, "b");
    sim_fail_set_io(sim, fd, EVF_EBADF, 1);
    sim->ready[fd] = sim->ready[other_fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "b:r");
    *sim->calls = '\0';
    CHECK(evf_io_is_closed(&io) && !evf_io_is_closed(&second));
    CHECK_INT(evf_io_set(&io, EVF_WRITE), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    check_calls(""); /* silent until it is started anew */
    CHECK(evf_io_is_closed(&io));
    CHECK_INT(evf_loop_watchers(loop), 2);
    evf_io_stop(&io);
    check_calls("");
    evf_io_stop(&second);
    trace_clear();
    CHECK(!evf_io_is_closed(&io));
    start(&io, fd, EVF_READ, "anew");
    CHECK(!evf_io_is_closed(&io));
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "anew:r");
    close_it();
}

static void closed_while_watched(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    *sim->calls = '\0';
    sim->closed[fd] = true;
    CHECK_INT(evf_loop_run_once(loop, 100), 0);
    CHECK_INT(evf_loop_run_once(loop, 100), 0);
    check_calls("");
    evf_io_stop(&io);
    check_calls("");
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
    CHECK_INT(evf_io_start(loop, &io, fd, EVF_READ, stop_both, (void *)(uintptr_t)"a"), 0);
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

/* ---- Making the backend anew -------------------------------------------------------------------------------- */

static void rearmed(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    start(&second, other_fd, EVF_READ | EVF_WRITE, "b");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(evf_loop_after_fork(loop, false), 0); /* this is no child */
    CHECK_INT(sim->after_forks, 0);
    CHECK_INT(evf_loop_after_fork(loop, true), 0);
    CHECK_INT(sim->after_forks, 1);
    CHECK_INT(sim->interest[fd], 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(sim->interest[fd], EVF_READ);
    CHECK_INT(sim->interest[other_fd], EVF_READ | EVF_WRITE);
    CHECK_INT(sim->after_forks, 1);
    close_it();
}

static void rearming_fails_once(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    sim->ready[fd] = EVF_READ;
    sim->fail_after_fork = EVF_EBACKEND;
    CHECK_INT(evf_loop_after_fork(loop, true), EVF_EBACKEND);
    sim->fail_after_fork = EVF_ENOMEM;
    CHECK_INT(evf_loop_run_once(loop, -1), EVF_ENOMEM);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a:r");
    CHECK_INT(sim->after_forks, 3);
    close_it();
}

static void stopped_while_unarmed(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    *sim->calls = '\0';
    sim->fail_after_fork = EVF_EBACKEND;
    CHECK_INT(evf_loop_after_fork(loop, true), EVF_EBACKEND);
    evf_io_stop(&io); /* not asked of a backend that may be the parent's */
    check_calls("");
    sim->fail_after_fork = EVF_EBACKEND;
    CHECK_INT(evf_io_start(loop, &second, fd, EVF_READ, trace_io, ""), EVF_EBACKEND);
    CHECK(second.w.loop == NULL);
    start(&second, fd, EVF_WRITE, "b");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    CHECK_INT(sim->interest[fd], EVF_WRITE);
    close_it();
}

static void free_while_unarmed(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    *sim->calls = '\0';
    sim->fail_after_fork = EVF_EBACKEND;
    CHECK_INT(evf_loop_after_fork(loop, true), EVF_EBACKEND);
    evf_loop_free(loop);
    check_calls("");
    CHECK(io.w.loop == NULL);
    loop = NULL;
    close_it();
}

/* The kernel would go on to report a file that a child holds open: only new kernel objects help. */
static void stopped_after_close(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    start(&second, other_fd, EVF_READ, "b");
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
    *sim->calls = '\0';
    evf_io_stop_closed(&io);
    check_calls("");
    CHECK(io.w.loop == NULL);
    sim->ready[other_fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_INT(sim->after_forks, 1);
    CHECK_TEXT(trace, "b:r");
    CHECK_INT(sim->interest[fd], 0);
    close_it();
}

static void cannot_open(void) {
    struct sim *world = sim_new();
    struct evf_loop *untouched = (struct evf_loop *)(uintptr_t)0x5a5a, *made = untouched;
    NEED(world != NULL);
    world->fail_open = EVF_ENOTSUP;
    CHECK_INT(sim_loop_new(world, &made), EVF_ENOTSUP);
    CHECK(made == untouched);
    CHECK_INT(world->closes, 0);
    sim_free(world);
}

static void wait_fails(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fd, EVF_READ, "a");
    sim->fail_wait = EVF_EBACKEND;
    CHECK_INT(evf_loop_run_once(loop, -1), EVF_EBACKEND);
    sim->ready[fd] = EVF_READ;
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    close_it();
}

static void verify(void) {
    open_it();
    CHECK(evf_loop_verify(loop));
    sim->violations = 1;
    CHECK(!evf_loop_verify(loop));
    sim->violations = 0;
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(lazy, "changes of a turn cost one call, or none"),
        TAP_TEST(never_asked, "what is started and stopped at once costs nothing"),
        TAP_TEST(eager_removal, "stop takes the descriptor out at once"),
        TAP_TEST(stopped_and_started, "a number that is watched anew is registered anew"),
        TAP_TEST(hangup_is_reading, "a hang-up is asked for as reading"),
        TAP_TEST(mistakes, "a wrong start changes nothing"),
        TAP_TEST(number_too_high, "a number that is too high for the method is refused"),
        TAP_TEST(find, "find knows what is active, and not the core's own"),
        TAP_TEST(high_numbers, "descriptors with high numbers"),
        TAP_TEST(reports_are_masked_and_merged, "a descriptor has one callback a turn, with what is wanted"),
        TAP_TEST(stale_reports, "late reports reach nobody"),
        TAP_TEST(number_reused_in_a_turn, "a number reused in a turn never gets the old owner's event"),
        TAP_TEST(interest_dropped_in_a_turn, "interest dropped in a turn is not delivered"),
        TAP_TEST(interest_narrowed_in_a_turn, "interest narrowed in a turn is delivered narrowed"),
        TAP_TEST(error_forgets_readiness, "after an error readiness is asked for anew"),
        TAP_TEST(readiness_ends_a_wait, "the turn ends when a descriptor becomes ready"),
        TAP_TEST(refusal_is_tried_again, "a backend that fails is asked again in the next turn"),
        TAP_TEST(refusal_holds_up_nobody, "what it refuses keeps no other change waiting"),
        TAP_TEST(refused_change_goes_back, "a refused change can be taken back"),
        TAP_TEST(closed_before_it_was_asked, "a closed descriptor is silent, and hurts nobody else"),
        TAP_TEST(closed_while_watched, "a descriptor that is closed while watched is silent"),
        TAP_TEST(always_ready, "a file that the kernel cannot watch is ready in every turn"),
        TAP_TEST(always_ready_but_unwanted, "such a file without interest does not make the loop spin"),
        TAP_TEST(always_ready_only_hangup, "such a file watched for hang-up does not make the loop spin"),
        TAP_TEST(always_ready_stopped_in_a_turn, "such files stop in callbacks"),
        TAP_TEST(hangup_does_not_spin, "only hang-up wanted, unread data there: no spin, and the hang-up arrives"),
        TAP_TEST(muted_takes_only_reading_away, "unread data does not delay writing"),
        TAP_TEST(muted_and_changed, "interest changes while unread data is ignored"),
        TAP_TEST(rearmed, "after_fork asks for everything again"),
        TAP_TEST(rearming_fails_once, "after_fork that fails is tried again"),
        TAP_TEST(stopped_while_unarmed, "until then nothing is asked of the old kernel object"),
        TAP_TEST(free_while_unarmed, "not even when the loop is freed"),
        TAP_TEST(stopped_after_close, "stop_closed makes the kernel objects anew"),
        TAP_TEST(cannot_open, "a backend that does not open leaves nothing"),
        TAP_TEST(wait_fails, "a wait that fails leaves the turn, and the next one works"),
        TAP_TEST(verify, "verify asks the backend"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
