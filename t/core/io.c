/* Descriptors with a kernel behind them, on every method: readiness, hang-ups, files of all sorts, numbers that are
 * closed and used again. */
#include "helpers.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct evf_loop *loop;
static int waits;
static int fds[2];

static void open_it(void) {
    trace_clear();
    loop = new_counting_loop(&waits);
    make_pair(fds);
}

static void close_it(void) {
    CHECK(evf_loop_verify(loop));
    evf_loop_free(loop);
    close_pair(fds);
}

static void start(struct evf_io *io, int fd, unsigned mask, const char *name) {
    CHECK_INT(evf_io_start(loop, io, fd, mask, trace_io, (void *)(uintptr_t)name), 0);
}

static void check_turn(const char *expected) {
    trace_clear();
    CHECK_INT(evf_loop_run_once(loop, 0) >= 0, 1);
    CHECK_TEXT(trace, expected);
}

/* ---- Readiness ---------------------------------------------------------------------------------------------- */

static void reading(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fds[0], EVF_READ, "a");
    check_turn("");
    give(fds[1]);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a:r");
    check_turn("a:r"); /* as long as it is ready */
    CHECK_INT(take(fds[0]), 1);
    check_turn("");
    check_calm(loop, &waits);
    close_it();
}

static void writing(void) {
    struct evf_io io = {0};
    open_it();
    fill_up(fds[0]);
    start(&io, fds[0], EVF_WRITE, "a");
    check_turn("");
    CHECK(take(fds[1]) > 0);
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a:w");
    fill_up(fds[0]);
    check_turn("");
    close_it();
}

static void both(void) {
    struct evf_io io = {0};
    open_it();
    give(fds[1]);
    start(&io, fds[0], EVF_READ | EVF_WRITE, "a");
    CHECK_INT(evf_loop_run_once(loop, -1), 1); /* one callback */
    CHECK_TEXT(trace, "a:rw");
    CHECK_INT(evf_io_set(&io, EVF_WRITE), 0);
    check_turn("a:w");
    CHECK_INT(evf_io_set(&io, EVF_READ), 0);
    check_turn("a:r");
    CHECK_INT(evf_io_set(&io, 0), 0);
    check_turn("");
    check_calm(loop, &waits);
    CHECK_INT(evf_io_set(&io, EVF_READ), 0);
    check_turn("a:r");
    close_it();
}

static void many(void) {
    enum { COUNT = 200 };
    static struct evf_io ios[COUNT];
    static int pairs[COUNT][2];
    int count = 0;
    open_it();
    memset(ios, 0, sizeof ios);
    for (int i = 0; i < COUNT; i++) {
        make_pair(pairs[i]);
        CHECK_INT(evf_io_start(loop, &ios[i], pairs[i][0], EVF_READ, count_io, &count), 0);
    }
    for (int i = 0; i < COUNT; i += 2) give(pairs[i][1]);
    CHECK(turns_until(loop, &count, COUNT / 2));
    CHECK_INT(turns(loop), 0);
    CHECK_INT(count, COUNT / 2);
    for (int i = 0; i < COUNT; i += 3) evf_io_stop(&ios[i]);
    for (int i = 0; i < COUNT; i++) give(pairs[i][1]);
    count = 0;
    CHECK(turns_until(loop, &count, COUNT - (COUNT + 2) / 3));
    CHECK_INT(turns(loop), 0);
    CHECK_INT(count, COUNT - (COUNT + 2) / 3);
    close_it();
    for (int i = 0; i < COUNT; i++) close_pair(pairs[i]);
}

/* A method that cannot do it says so at once. */
static void try_high_number(void) {
    struct evf_io io = {0}, second = {0};
    int count = 0, low_count = 0;
    open_it();
    int fd = fcntl(fds[0], F_DUPFD, 1500);
    NEED(fd >= 1500);
    give(fds[1]);
    int rc = evf_io_start(loop, &io, fd, EVF_READ, count_io, &count);
    CHECK(rc == 0 || rc == EVF_ENOTSUP);
    CHECK_INT(evf_loop_run_once(loop, 0), rc == 0);
    CHECK_INT(count, rc == 0);
    evf_io_stop(&io);
    give(fds[1]);
    CHECK_INT(evf_io_start(loop, &second, fds[0], EVF_READ, count_io, &low_count), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 1);
    (void)close(fd);
    close_it();
}

static void high_number(void) {
    struct rlimit limit;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < 2000) tap_skip("fewer than 2,000 descriptors allowed");
    else in_tester(try_high_number); /* select may abort */
}

static void mistakes(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    CHECK_INT(evf_io_start(loop, &io, -1, EVF_READ, trace_io, ""), EVF_EBADF);
    int closed_fd = dup(fds[0]);
    (void)close(closed_fd);
    CHECK_INT(evf_io_start(loop, &io, closed_fd, EVF_READ, trace_io, ""), EVF_EBADF);
    start(&io, fds[0], EVF_READ, "a");
    CHECK_INT(evf_io_start(loop, &second, fds[0], EVF_WRITE, trace_io, ""), EVF_EEXIST);
    give(fds[1]);
    check_turn("a:r");
    close_it();
}

/* ---- Hang-ups ----------------------------------------------------------------------------------------------- */

static void hangup(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fds[0], EVF_READ | EVF_HANGUP, "a");
    give(fds[1]);
    check_turn("a:r");
    (void)close(fds[1]);
    fds[1] = -1;
    check_turn("a:rh"); /* with what is still unread */
    (void)take(fds[0]);
    check_turn("a:rh");
    CHECK_INT(evf_io_set(&io, EVF_READ | EVF_WRITE), 0);
    check_turn("a:rw"); /* not asked for: seen by reading */
    close_it();
}

static void hangup_alone(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fds[0], EVF_HANGUP, "a");
    check_turn("");
    check_calm(loop, &waits);
    (void)close(fds[1]);
    fds[1] = -1;
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "a:h");
    close_it();
}

/* Unread data makes the descriptor ready all the time. */
static void hangup_behind_data(void) {
    struct evf_io io = {0};
    open_it();
    start(&io, fds[0], EVF_HANGUP, "a");
    give(fds[1]);
    check_turn("");
    check_calm(loop, &waits);
    (void)close(fds[1]);
    fds[1] = -1;
    CHECK_INT(evf_loop_run_once(loop, 20 * SECOND), 1);
    CHECK_TEXT(trace, "a:h");
    close_it();
}

/* It may be full and have unread data, and only its becoming writable counts. */
static void writing_beside_unread_data(void) {
    struct evf_io io = {0};
    struct evf_timer timer = {0};
    int count = 0;
    open_it();
    fill_up(fds[0]);
    give(fds[1]);
    start(&io, fds[0], EVF_WRITE | EVF_HANGUP, "a");
    check_turn("");
    CHECK(take(fds[1]) > 0);
    int64_t deadline_ns = evf_loop_now(loop, EVF_CLOCK_MONOTONIC) + 20 * SECOND;
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, deadline_ns, count_timer, &count), 0);
    check_turn("a:w"); /* at once, not when unread data is looked at again */
    close_it();
}

static void reader_of_a_pipe_goes(void) {
    struct evf_io io = {0};
    int ends[2];
    open_it();
    NEED(pipe(ends) == 0);
    start(&io, ends[1], EVF_HANGUP, "a");
    check_turn("");
    check_calm(loop, &waits);
    (void)close(ends[0]);
    CHECK_INT(evf_loop_run_once(loop, 20 * SECOND), 1);
    CHECK_TEXT(trace, "a:h");
    evf_io_stop(&io);
    (void)close(ends[1]);
    close_it();
}

static void writer_of_a_pipe_goes(void) {
    struct evf_io io = {0};
    int ends[2];
    open_it();
    NEED(pipe(ends) == 0);
    start(&io, ends[0], EVF_READ | EVF_HANGUP, "a");
    check_turn("");
    (void)close(ends[1]);
    check_turn("a:rh");
    CHECK_INT(evf_io_set(&io, EVF_READ), 0);
    check_turn("a:r");
    evf_io_stop(&io);
    (void)close(ends[0]);
    close_it();
}

/* An error is for whoever asked: a connection that is refused makes the socket readable and writable. */
static void refused_connection(void) {
    struct evf_io io = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    open_it();
    int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    NEED(listener >= 0 && client >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0); /* bound, and nobody listens */
    (void)fcntl(client, F_SETFL, O_NONBLOCK);
    CHECK(connect(client, (struct sockaddr *)&address, sizeof address) < 0);
    start(&io, client, EVF_WRITE, "a");
    CHECK_INT(evf_loop_run_once(loop, 20 * SECOND), 1);
    CHECK_TEXT(trace, "a:w");
    evf_io_stop(&io);
    (void)close(client);
    (void)close(listener);
    close_it();
}

/* ---- Files that are always ready ---------------------------------------------------------------------------- */

static void regular_file(void) {
    struct evf_io io = {0}, second = {0};
    char path[] = "/tmp/evf-io-XXXXXX";
    open_it();
    int fd = mkstemp(path);
    NEED(fd >= 0 && unlink(path) == 0);
    start(&io, fd, EVF_READ | EVF_WRITE, "f");
    CHECK_INT(evf_loop_run_once(loop, -1), 1);
    CHECK_TEXT(trace, "f:rw");
    start(&second, fds[0], EVF_READ, "a");
    give(fds[1]);
    trace_clear();
    CHECK_INT(evf_loop_run_once(loop, -1), 2); /* nobody starves */
    CHECK_INT(strlen(trace), strlen("f:rwa:r"));
    evf_io_stop(&second);
    CHECK_INT(evf_io_set(&io, EVF_READ), 0);
    check_turn("f:r");
    CHECK_INT(evf_io_set(&io, 0), 0);
    check_turn("");
    check_calm(loop, &waits);
    CHECK_INT(evf_io_set(&io, EVF_HANGUP), 0);
    check_turn("");
    check_calm(loop, &waits);
    CHECK_INT(evf_io_set(&io, EVF_WRITE), 0);
    check_turn("f:w");
    evf_io_stop(&io);
    check_calm(loop, &waits);
    (void)close(fd);
    close_it();
}

static void odd_files(void) {
    static const char *const paths[] = {"/", "/dev/null", "/dev/zero"};
    open_it();
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct evf_io io = {0};
        int fd = open(paths[i], O_RDONLY);
        NEED(fd >= 0);
        start(&io, fd, EVF_READ, "f");
        check_turn("f:r");
        check_turn("f:r");
        evf_io_stop(&io);
        (void)close(fd);
    }
    check_calm(loop, &waits);
    close_it();
}

/* A number that was an ordinary file is a socket next. */
static void file_then_socket(void) {
    struct evf_io io = {0};
    open_it();
    int fd = open("/dev/null", O_RDONLY);
    NEED(fd >= 0);
    start(&io, fd, EVF_READ, "f");
    check_turn("f:r");
    evf_io_stop(&io);
    NEED(dup2(fds[0], fd) == fd);
    start(&io, fd, EVF_READ, "s");
    check_turn("");
    check_calm(loop, &waits);
    give(fds[1]);
    check_turn("s:r");
    evf_io_stop(&io);
    (void)close(fd);
    close_it();
}

/* ---- Numbers that are closed and used again ----------------------------------------------------------------- */

/* Another process holds the file open. */
static void closed_after_stop(void) {
    struct evf_io io = {0}, second = {0};
    struct tester tester;
    int more[2];
    open_it();
    make_pair(more);
    start(&io, fds[0], EVF_READ, "old");
    check_turn("");
    if (fork_tester(&tester)) {
        wait_for_parent(&tester);
        leave(&tester);
    }
    int number = fds[0];
    evf_io_stop(&io);
    (void)close(fds[0]);
    give(fds[1]); /* the child's copy is readable now */
    check_turn("");
    check_calm(loop, &waits);
    NEED(dup2(more[0], number) == number);
    start(&second, number, EVF_READ, "new");
    check_turn("");
    give(more[1]);
    check_turn("new:r");
    evf_io_stop(&second);
    close_pair(more);
    tell_child(&tester);
    check_tester(&tester);
    close_it();
}

static void closed_while_watched(void) {
    struct evf_io io = {0}, second = {0}, third = {0};
    int more[2];
    open_it();
    make_pair(more);
    start(&io, fds[0], EVF_READ, "old");
    start(&second, more[0], EVF_READ, "b");
    check_turn("");
    int number = fds[0];
    (void)close(fds[0]);
    check_turn("");
    check_calm(loop, &waits);
    give(more[1]);
    check_turn("b:r"); /* the others live */
    (void)take(more[0]);
    evf_io_stop(&io); /* late, but harmless */
    NEED(dup2(more[0], number) == number);
    start(&third, number, EVF_READ, "new");
    evf_io_stop(&second);
    give(more[1]);
    check_turn("new:r");
    evf_io_stop(&third);
    close_pair(more);
    close_it();
}

static void closed_before_the_turn(void) {
    struct evf_io io = {0}, second = {0};
    open_it();
    start(&io, fds[0], EVF_READ, "a");
    start(&second, fds[1], EVF_WRITE, "b");
    (void)close(fds[0]);
    fds[0] = -1;
    check_turn("b:w");
    evf_io_stop(&second);
    check_calm(loop, &waits);
    CHECK_INT(evf_io_set(&io, EVF_WRITE), 0);
    check_turn("");
    check_calm(loop, &waits);
    evf_io_stop(&io);
    close_it();
}

/* Closed without a stop while a child holds the file open: where the kernel keeps lists it reports for ever. */
static void closed_while_held(void) {
    struct evf_io io = {0}, second = {0};
    struct tester tester;
    int more[2];
    open_it();
    make_pair(more);
    start(&io, fds[0], EVF_READ, "old");
    start(&second, more[0], EVF_READ, "b");
    check_turn("");
    if (fork_tester(&tester)) {
        wait_for_parent(&tester);
        leave(&tester);
    }
    (void)close(fds[0]);
    fds[0] = -1;
    give(fds[1]);
    evf_io_stop_closed(&io);
    CHECK(io.w.loop == NULL);
    check_turn("");
    check_calm(loop, &waits);
    give(more[1]);
    check_turn("b:r");
    evf_io_stop(&second);
    close_pair(more);
    tell_child(&tester);
    check_tester(&tester);
    close_it();
}

/* What somebody else has closed, and the kernel gives to a process descriptor next. */
static void number_taken_by_the_core(void) {
    struct evf_io io = {0};
    struct evf_process process = {0};
    int count = 0;
    if (!has_pidfds()) {
        tap_skip("no process descriptors here");
        return;
    }
    open_it();
    int number = fds[0];
    start(&io, number, EVF_READ | EVF_WRITE, "old");
    check_turn("old:w");
    struct waiting_child child = waiting_child(3);
    (void)close(fds[0]);
    fds[0] = -1;
    CHECK_INT(evf_process_start(loop, &process, child.pid, count_process, &count), 0);
    CHECK_INT(process.pidfd, number);
    CHECK(io.w.loop == NULL);
    evf_io_stop(&io); /* late, and no longer of the number */
    check_turn("");
    release(&child);
    CHECK(turns_until(loop, &count, 1));
    close_it();
}

static struct evf_io *victim, *newcomer;
static int reused_fd;

static int swap_files(struct evf_io *io, unsigned events, void *data) {
    int fresh[2];
    if (victim->w.loop == NULL) return trace_io(io, events, data);
    int number = victim->fd;
    evf_io_stop(victim);
    (void)close(number);
    make_pair(fresh); /* takes the number, as a rule */
    if (fresh[0] != number) {
        NEED(dup2(fresh[0], number) == number);
        (void)close(fresh[0]);
    }
    (void)close(fresh[1]);
    reused_fd = number;
    CHECK_INT(evf_io_start(loop, newcomer, number, EVF_WRITE, trace_io, (void *)(uintptr_t) "new"), 0);
    return trace_io(io, events, data);
}

/* Two descriptors are ready; one closes the other's file and opens another under its number. */
static void number_reused_in_a_turn(void) {
    struct evf_io io = {0}, second = {0}, next = {0};
    int more[2];
    open_it();
    make_pair(more);
    give(fds[1]);
    give(more[1]);
    newcomer = &next;
    victim = &second;
    CHECK_INT(evf_io_start(loop, &second, more[0], EVF_READ, trace_io, (void *)(uintptr_t) "old"), 0);
    CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, swap_files, (void *)(uintptr_t) "a"), 0);
    CHECK(evf_loop_run_once(loop, -1) >= 1);
    CHECK(strcmp(trace, "a:r") == 0 || strcmp(trace, "old:ra:r") == 0);
    (void)take(fds[0]);
    check_turn("new:w"); /* it is writable, because its peer has gone */
    evf_io_stop(&next);
    evf_io_stop(&io);
    (void)close(reused_fd);
    (void)close(more[1]);
    close_it();
}

static void often_changed(void) {
    struct evf_io io = {0};
    int rounds = tap_is_slow() ? 200 : 2000;
    open_it();
    give(fds[1]);
    for (int i = 0; i < rounds; i++) {
        static const char *const names[] = {"", "a:r", "a:w", "a:rw"};
        unsigned mask = (unsigned)(i * 7 + i / 5) % 4;
        if (io.w.loop == NULL) start(&io, fds[0], mask, "a");
        else CHECK_INT(evf_io_set(&io, mask), 0);
        check_turn(names[mask]);
        if (i % 3 == 0) evf_io_stop(&io);
        if (tap_has_failed()) break;
    }
    close_it();
}

static void made_anew(void) {
    struct evf_io io = {0}, file_io = {0};
    int count = 0;
    open_it();
    int fd = open("/dev/null", O_RDONLY);
    CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
    start(&file_io, fd, EVF_READ, "f");
    for (int i = 1; i <= 5; i++) {
        check_turn("f:r");
        CHECK_INT(evf_loop_after_fork(loop, true), 0);
        give(fds[1]);
        trace_clear();
        CHECK_INT(evf_loop_run_once(loop, -1), 2);
        CHECK_INT(count, i);
        CHECK(evf_loop_verify(loop));
    }
    evf_io_stop(&file_io);
    (void)close(fd);
    check_calm(loop, &waits);
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(reading, "readable is reported while it is"),
        TAP_TEST(writing, "writable is reported while it is"),
        TAP_TEST(both, "both at once are one callback, and interest changes"),
        TAP_TEST(many, "hundreds, each reported once"),
        TAP_TEST(high_number, "a descriptor beyond 1,024"),
        TAP_TEST(mistakes, "closed and doubly watched descriptors"),
        TAP_TEST(hangup, "a hang-up comes with reading, also before all is read"),
        TAP_TEST(hangup_alone, "a hang-up alone"),
        TAP_TEST(hangup_behind_data, "a hang-up behind unread data, without spinning"),
        TAP_TEST(writing_beside_unread_data, "unread data that nobody wants delays no writing"),
        TAP_TEST(reader_of_a_pipe_goes, "a pipe whose reader goes has hung up"),
        TAP_TEST(writer_of_a_pipe_goes, "a pipe whose writer goes is readable"),
        TAP_TEST(refused_connection, "an error is readiness"),
        TAP_TEST(regular_file, "a regular file is always ready, and never a spin"),
        TAP_TEST(odd_files, "so are directories and devices that cannot be watched"),
        TAP_TEST(file_then_socket, "a number that was such a file and is a socket now"),
        TAP_TEST(closed_after_stop, "stopped and closed, but held open elsewhere: nothing comes, nothing spins"),
        TAP_TEST(closed_while_watched, "closed without a stop: silent, the others live"),
        TAP_TEST(closed_before_the_turn, "closed before it was asked for"),
        TAP_TEST(closed_while_held, "closed without a stop and held open elsewhere: stop_closed calms the loop"),
        TAP_TEST(number_taken_by_the_core, "a closed descriptor's number becomes the core's"),
        TAP_TEST(number_reused_in_a_turn, "a number reused in a turn never gets the old owner's event"),
        TAP_TEST(often_changed, "interest changes in every order"),
        TAP_TEST(made_anew, "new kernel objects report the same"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
