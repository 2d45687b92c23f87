/* What the core asks of a backend for its descriptors, and what it does when that fails: in the simulated world. What
 * it makes of the answers is in readiness.c; the same with a kernel in io.c. */
#include "sim_pair.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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
        TAP_TEST(refusal_is_tried_again, "a backend that fails is asked again in the next turn"),
        TAP_TEST(refusal_holds_up_nobody, "what it refuses keeps no other change waiting"),
        TAP_TEST(refused_change_goes_back, "a refused change can be taken back"),
        TAP_TEST(closed_before_it_was_asked, "a closed descriptor is silent, and hurts nobody else"),
        TAP_TEST(closed_while_watched, "a descriptor that is closed while watched is silent"),
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
