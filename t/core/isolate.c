/* Epoll instances that a child inherits, of whichever library: after a fork by the protocol each is replaced by an
 * empty one under its number; after a raw fork those of unknown owners are left alone. */
#include "helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

static int fds[2];

/* An instance that has the first socket in it. */
static int make_epoll(int flags) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = 4711}};
    int epoll_fd = epoll_create1(flags);
    NEED(epoll_fd >= 0);
    CHECK_INT(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[0], &event), 0);
    return epoll_fd;
}

static bool has_socket(int epoll_fd) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = 4711}};
    return epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fds[0], &event) == 0;
}

static bool reports(int epoll_fd) {
    struct epoll_event event;
    give(fds[1]);
    int found = epoll_wait(epoll_fd, &event, 1, 0);
    (void)take(fds[0]);
    return found == 1 && event.data.u64 == 4711;
}

static bool is_epoll(int fd) {
    int probe_fd = dup(fds[0]);
    int rc = epoll_ctl(fd, EPOLL_CTL_DEL, probe_fd, NULL), code = errno;
    (void)close(probe_fd);
    return rc < 0 && code == ENOENT;
}

static bool is_empty(int epoll_fd) {
    return is_epoll(epoll_fd) && !has_socket(epoll_fd) && !reports(epoll_fd);
}

static void replaced(void) {
    struct tester tester;
    make_pair(fds);
    int plain = make_epoll(0), cloexec = make_epoll(EPOLL_CLOEXEC), copy = dup(plain);
    if (fork_clean_tester(&tester)) {
        CHECK(is_empty(plain) && is_empty(cloexec) && is_empty(copy));
        CHECK_INT(fcntl(plain, F_GETFD), 0);
        CHECK_INT(fcntl(cloexec, F_GETFD), FD_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN}; /* late calls of the library that owns it */
        CHECK_INT(epoll_ctl(plain, EPOLL_CTL_ADD, fds[1], &event), 0);
        CHECK_INT(epoll_ctl(plain, EPOLL_CTL_ADD, fds[0], &event), 0);
        CHECK_INT(epoll_ctl(plain, EPOLL_CTL_DEL, fds[0], NULL), 0);
        CHECK(epoll_ctl(cloexec, EPOLL_CTL_DEL, fds[0], NULL) < 0);
        (void)close(copy);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK(has_socket(plain) && has_socket(cloexec));
    CHECK(reports(plain) && reports(cloexec) && reports(copy));
    (void)close(plain);
    (void)close(cloexec);
    (void)close(copy);
    close_pair(fds);
}

static void counted(void) {
    enum { MOST = 40 };
    int epoll_fds[MOST];
    make_pair(fds);
    for (int i = 0; i < MOST; i++) epoll_fds[i] = make_epoll(EPOLL_CLOEXEC);
    sigset_t mask;
    int fds_before = tap_count_fds();
    CHECK_INT(evf_fork_prepare(0, &mask), 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) {
        int inherited = tap_count_fds(); /* a memory checker opens one of its own in each process */
        int found = evf_fork_child_begin();
        _exit(tap_count_fds() == inherited ? found : 255);
    }
    evf_fork_restore_mask(&mask);
    CHECK_INT(tap_count_fds(), fds_before);
    CHECK_INT(reap(pid), MOST << 8);
    for (int i = 0; i < MOST; i++) {
        CHECK(reports(epoll_fds[i]));
        (void)close(epoll_fds[i]);
    }
    close_pair(fds);
}

static void loops_are_not_counted(void) {
    make_pair(fds);
    struct evf_loop *loop = new_loop();
    int epoll_fd = make_epoll(0);
    sigset_t mask;
    CHECK_INT(evf_fork_prepare(0, &mask), 0);
    pid_t pid = fork();
    NEED(pid >= 0);
    if (pid == 0) _exit(evf_fork_child_begin());
    evf_fork_restore_mask(&mask);
    CHECK_INT(reap(pid), 1 << 8);
    (void)close(epoll_fd);
    evf_loop_free(loop);
    close_pair(fds);
}

/* Numbers far apart, and in gaps. */
static void anywhere(void) {
    static const int numbers[] = {0, 40, 41, 90, 500, 1000};
    struct tester tester;
    int moved[COUNT_OF(numbers)];
    make_pair(fds);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        int epoll_fd = make_epoll(0);
        moved[i] = fcntl(epoll_fd, F_DUPFD, numbers[i]);
        if (moved[i] < 0) moved[i] = epoll_fd; /* beyond the limit here */
        if (moved[i] != epoll_fd) (void)close(epoll_fd);
    }
    if (fork_clean_tester(&tester)) {
        for (size_t i = 0; i < COUNT_OF(numbers); i++) CHECK(is_empty(moved[i]));
        leave(&tester);
    }
    check_tester(&tester);
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        CHECK(reports(moved[i]));
        (void)close(moved[i]);
    }
    close_pair(fds);
}

static void in_place_of_stdin(void) {
    struct tester tester;
    make_pair(fds);
    int epoll_fd = make_epoll(0), saved = dup(0);
    NEED(saved >= 0 && dup2(epoll_fd, 0) == 0);
    if (fork_clean_tester(&tester)) {
        CHECK(is_empty(0));
        leave(&tester);
    }
    check_tester(&tester);
    CHECK(reports(0));
    CHECK_INT(dup2(saved, 0), 0);
    (void)close(saved);
    (void)close(epoll_fd);
    close_pair(fds);
}

static void other_files_stay(void) {
    struct tester tester;
    make_pair(fds);
    int event_fd = eventfd(5, EFD_NONBLOCK), null_fd = open("/dev/null", O_RDWR), ends[2];
    uint64_t value = 0;
    NEED(event_fd >= 0 && null_fd >= 0 && pipe(ends) == 0);
    if (fork_clean_tester(&tester)) {
        CHECK_INT(read(event_fd, &value, sizeof value), sizeof value);
        CHECK_INT(value, 5);
        CHECK(is_dev_null(null_fd));
        give(ends[1]);
        give(fds[1]);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK(read(event_fd, &value, sizeof value) < 0); /* the same object as the child's */
    char byte;
    CHECK_INT(read(ends[0], &byte, 1), 1);
    CHECK_INT(take(fds[0]), 1);
    (void)close(event_fd);
    (void)close(null_fd);
    close_pair(ends);
    close_pair(fds);
}

static void instance_in_an_instance(void) {
    struct tester tester;
    struct epoll_event event = {.events = EPOLLIN};
    make_pair(fds);
    int inner = make_epoll(0), outer = epoll_create1(0);
    NEED(outer >= 0);
    CHECK_INT(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &event), 0);
    if (fork_clean_tester(&tester)) {
        CHECK(is_empty(inner) && is_empty(outer));
        leave(&tester);
    }
    check_tester(&tester);
    give(fds[1]);
    CHECK_INT(epoll_wait(outer, &event, 1, 0), 1);
    (void)close(outer);
    (void)close(inner);
    close_pair(fds);
}

static void in_a_full_table(void) {
    struct tester tester;
    make_pair(fds);
    if (fork_tester(&tester)) {
        for (int left = 0; left < 3; left++) {
            int epoll_fd = make_epoll(EPOLL_CLOEXEC), high = fcntl(make_epoll(0), F_DUPFD, 150);
            NEED(high >= 150);
            sigset_t mask;
            fill_table(left);
            CHECK_INT(evf_fork_prepare(0, &mask), 0);
            pid_t pid = fork();
            NEED(pid >= 0);
            if (pid == 0) {
                /* The instance from which the high one was copied counts, too. */
                int found = evf_fork_child_begin();
                CHECK_INT(found, 3);
                CHECK(!has_socket(epoll_fd) && !has_socket(high));
                CHECK_INT(fcntl(epoll_fd, F_GETFD), FD_CLOEXEC);
                _exit(tap_failures() > 0);
            }
            evf_fork_restore_mask(&mask);
            CHECK_INT(reap(pid), 0);
            CHECK(reports(epoll_fd) && reports(high));
            for (int fd = 3; fd < 200; fd++) { /* without a free number nobody can tell what is an instance */
                if (is_dev_null(fd)) (void)close(fd);
            }
            for (int fd = 3; fd < 200; fd++) {
                if (is_epoll(fd)) (void)close(fd);
            }
        }
        leave(&tester);
    }
    check_tester(&tester);
    close_pair(fds);
}

/* Nobody tells who owns it; a program that became a daemon goes on with it. */
static void left_alone_by_a_raw_fork(void) {
    struct tester tester;
    make_pair(fds);
    int epoll_fd = make_epoll(0);
    struct evf_loop *loop = new_loop();
    if (fork_tester(&tester)) {
        CHECK_INT(evf_loop_run_once(loop, 0), 0);
        CHECK(has_socket(epoll_fd));
        CHECK(reports(epoll_fd));
        leave(&tester);
    }
    check_tester(&tester);
    CHECK(reports(epoll_fd));
    evf_loop_free(loop);
    (void)close(epoll_fd);
    close_pair(fds);
}

/* A library that opens a file in a child handler of its own may get a number that one of our loops has just freed. */
static bool opens_files;
static int opened[4];

static void open_files(void) {
    for (int i = 0; i < 4 && opens_files; i++) opened[i] = open("/dev/null", O_RDWR);
}

static void files_opened_by_other_handlers(void) {
    struct tester tester;
    make_pair(fds);
    struct evf_loop *loops[3];
    for (int i = 0; i < 3; i++) loops[i] = new_loop();
    NEED(pthread_atfork(NULL, NULL, open_files) == 0);
    opens_files = true;
    if (fork_clean_tester(&tester)) {
        for (int i = 0; i < 4; i++) CHECK(is_dev_null(opened[i]));
        leave(&tester);
    }
    opens_files = false;
    check_tester(&tester);
    for (int i = 0; i < 3; i++) evf_loop_free(loops[i]);
    close_pair(fds);
}

static void prepared_and_not_forked(void) {
    sigset_t mask;
    make_pair(fds);
    int epoll_fd = make_epoll(0);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(evf_fork_prepare(0, &mask), 0);
        evf_fork_restore_mask(&mask); /* the fork failed */
    }
    CHECK(reports(epoll_fd));
    (void)close(epoll_fd);
    struct tester tester;
    int null_fd = open("/dev/null", O_RDWR); /* what was found before is not remembered */
    CHECK_INT(null_fd, epoll_fd);
    if (fork_clean_tester(&tester)) {
        CHECK(is_dev_null(null_fd));
        leave(&tester);
    }
    check_tester(&tester);
    (void)close(null_fd);
    close_pair(fds);
}

/* ---- Eventfds ------------------------------------------------------------------------------------------------ */

static void eventfd_renewed(void) {
    struct tester tester;
    int shared_fd = eventfd(0, EFD_NONBLOCK), kept_fd = eventfd(0, EFD_CLOEXEC);
    NEED(shared_fd >= 0 && kept_fd >= 0);
    CHECK_INT(eventfd_write(shared_fd, 5), 0);
    if (fork_tester(&tester)) {
        eventfd_t value = 0;
        CHECK_INT(evf_renew_eventfd(shared_fd), 0);
        CHECK_INT(evf_renew_eventfd(kept_fd), 0);
        CHECK_INT(fcntl(kept_fd, F_GETFD), FD_CLOEXEC);
        CHECK_INT(fcntl(kept_fd, F_GETFL) & O_NONBLOCK, 0);
        CHECK(eventfd_read(shared_fd, &value) < 0 && errno == EAGAIN);
        CHECK_INT(eventfd_write(shared_fd, 7), 0);
        leave(&tester);
    }
    check_tester(&tester);
    eventfd_t value = 0;
    CHECK_INT(eventfd_read(shared_fd, &value), 0);
    CHECK_INT(value, 5);
    (void)close(shared_fd);
    (void)close(kept_fd);
    CHECK_INT(evf_renew_eventfd(kept_fd), EVF_EBADF);
}

/* ---- In raw forks, too -------------------------------------------------------------------------------------- */

static void isolated_always(void) {
    make_pair(fds);
    int epoll_fd = make_epoll(0);
    for (int always = 1; always >= 0; always--) {
        struct tester tester;
        evf_fork_isolate_always(always != 0);
        if (fork_tester(&tester)) {
            CHECK(always ? is_empty(epoll_fd) : has_socket(epoll_fd));
            leave(&tester);
        }
        check_tester(&tester);
        CHECK(reports(epoll_fd));
    }
    (void)close(epoll_fd);
    close_pair(fds);
}

/* ---- io_uring ----------------------------------------------------------------------------------------------- */

static int open_ring(void) {
    struct {
        uint32_t words[30];
    } parameters; /* struct io_uring_params (io_uring_setup(2)) */
    memset(&parameters, 0, sizeof parameters);
    return (int)syscall(425, 4, &parameters);
}

static void rings_are_found(void) {
    int found[4] = {-1, -1, -1, -1};
    make_pair(fds);
    int epoll_fd = make_epoll(0), ring_fd = open_ring();
    if (ring_fd < 0) {
        CHECK_INT(evf_fork_find_rings(found, COUNT_OF(found)), 0);
        tap_skip("the kernel lets us have no ring");
    } else {
        CHECK_INT(evf_fork_find_rings(found, COUNT_OF(found)), 1);
        CHECK_INT(found[0], ring_fd);
        int second_fd = fcntl(ring_fd, F_DUPFD, 90);
        CHECK_INT(evf_fork_find_rings(found, 1), 2);
        CHECK_INT(found[1], -1);
        CHECK_INT(evf_fork_find_rings(found, COUNT_OF(found)), 2);
        CHECK_INT(found[1], second_fd);
        (void)close(second_fd);
        (void)close(ring_fd);
        CHECK_INT(evf_fork_find_rings(found, COUNT_OF(found)), 0);
    }
    (void)close(epoll_fd);
    close_pair(fds);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(isolated_always, "on request an instance is replaced after a raw fork, too"),
        TAP_TEST(eventfd_renewed, "an eventfd is replaced under its number; the parent's has what it had"),
        TAP_TEST(rings_are_found, "io_uring rings are found"),
        TAP_TEST(replaced, "each instance is replaced under its number; the parent's has what it had"),
        TAP_TEST(counted, "the number of instances is returned"),
        TAP_TEST(loops_are_not_counted, "those of our loops are closed before"),
        TAP_TEST(anywhere, "numbers far apart are found"),
        TAP_TEST(in_place_of_stdin, "so is number 0"),
        TAP_TEST(other_files_stay, "other files stay what they are"),
        TAP_TEST(instance_in_an_instance, "instances in instances"),
        TAP_TEST(in_a_full_table, "without a free descriptor, too"),
        TAP_TEST(left_alone_by_a_raw_fork, "a raw fork leaves instances of unknown owners alone"),
        TAP_TEST(files_opened_by_other_handlers, "files that other fork handlers open are not taken for instances"),
        TAP_TEST(prepared_and_not_forked, "a fork that fails leaves everything"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}

#else

static void nothing_to_isolate(void) {
    sigset_t mask;
    CHECK_INT(evf_fork_prepare(0, &mask), 0);
    evf_fork_restore_mask(&mask);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {TAP_TEST(nothing_to_isolate, "without epoll nothing is shared")};
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
#endif
