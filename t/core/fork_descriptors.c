/* A raw fork, on every method, where descriptors are scarce: a child that uses its parent's numbers, a daemon that
 * closes everything, and tables that are full. */
#include "watched.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* ---- Numbers of the parent ---------------------------------------------------------------------------------- */

/* Opens /dev/null until it has the number. */
static void occupy(int number) {
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        NEED(fd >= 0);
    } while (fd < number);
    if (fd != number) {
        NEED(dup2(fd, number) == number);
        (void)close(fd);
    }
}

/* The numbers of process descriptors are the child's to use, whatever it does to the watchers later. */
static void numbers_of_process_descriptors(void) {
    for (int way = 0; way < 5; way++) {
        struct evf_process process = {0};
        struct tester tester;
        int ended = 0;
        open_it();
        struct waiting_child child = waiting_child(0);
        CHECK_INT(evf_process_start(loop, &process, child.pid, count_process, &ended), 0);
        int number = process.pidfd;
        if (number < 0) {
            tap_skip("no process descriptors here");
        } else if (fork_tester(&tester)) {
            CHECK(fcntl(number, F_GETFD) < 0); /* closed at the fork */
            occupy(number);
            if (way == 0) CHECK_INT(turns(loop), 0);
            if (way == 1) evf_process_stop(&process);
            if (way == 2) evf_loop_free(loop);
            if (way == 3) {
                CHECK_INT(evf_loop_after_fork(loop, false), 0);
                evf_loop_free(loop);
            }
            if (way == 4) { /* a daemon's second fork */
                struct tester second;
                if (fork_tester(&second)) {
                    CHECK(is_dev_null(number));
                    leave(&second);
                }
                check_tester(&second);
            }
            CHECK(is_dev_null(number));
            leave(&tester);
        } else {
            check_tester(&tester);
        }
        release(&child);
        CHECK(turns_until(loop, &ended, 1));
        close_it();
    }
}

/* ---- A daemon ----------------------------------------------------------------------------------------------- */

/* Closes all it has, opens files of its own under the first numbers, and goes on with the loops. */
static void daemonize(int files, struct evf_loop *second) {
    struct evf_timer timer = {0};
    struct evf_signal sig = {0};
    int fired = 0, got = 0;
    evf_io_stop(&io);
    for (int fd = 3; fd < FAR_FD; fd++) (void)close(fd);
    for (int i = 0; i < files; i++) CHECK_INT(open("/dev/null", O_RDWR), 3 + i);
    CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &fired), 0);
    CHECK(turns_until(loop, &fired, 1));
    check_loop_works(loop);
    if (second != NULL) {
        check_loop_works(second);
        check_loop_works(loop);
    }
    CHECK_INT(evf_signal_start(loop, &sig, SIGUSR1, count_signal, &got), 0);
    CHECK_INT(kill(getpid(), SIGUSR1), 0);
    CHECK(turns_until(loop, &got, 1));
    for (int i = 0; i < files; i++) CHECK(is_dev_null(3 + i));
    evf_loop_free(loop);
    evf_loop_free(second);
    for (int i = 0; i < files; i++) CHECK(is_dev_null(3 + i));
}

static void daemon_goes_on(void) {
    static const int files[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 30};
    for (int loops = 1; loops <= 2; loops++) {
        for (size_t i = 0; i < COUNT_OF(files); i++) {
            struct tester tester;
            open_it();
            struct evf_loop *second = loops == 2 ? new_loop() : NULL;
            if (fork_tester(&tester)) {
                daemonize(files[i], second);
                leave(&tester);
            }
            check_tester(&tester);
            evf_loop_free(second);
            close_it();
        }
    }
}

/* The old owner's watcher meets the new file under its number. */
static void daemon_keeps_a_watcher(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        int number = fds[0], pair[2];
        for (int fd = 3; fd < FAR_FD; fd++) (void)close(fd);
        CHECK(evf_loop_run_once(loop, 0) >= 0); /* closed: silent, and no error */
        make_pair(pair);
        evf_io_stop(&io);
        if (pair[0] != number && pair[1] != number) NEED(dup2(pair[0], number) == number);
        check_loop_works(loop);
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

/* ---- No descriptor left ------------------------------------------------------------------------------------- */

static void no_descriptor_after_the_fork(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        struct evf_timer timer = {0};
        int fired = 0, spare[8];
        for (int i = 0; i < 8; i++) NEED((spare[i] = open("/dev/null", O_RDWR)) >= 0);
        fill_table(0);
        int rc = evf_loop_run_once(loop, 0);
        CHECK(rc == EVF_ESYSTEM || rc == EVF_EBACKEND || rc == EVF_ENOMEM);
        CHECK_INT(evf_timer_start(loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &fired), rc);
        CHECK(timer.w.loop == NULL);
        for (int i = 0; i < 8; i++) (void)close(spare[i]);
        check_works(); /* the same watchers, as if nothing had been */
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

static void no_descriptor_at_the_fork(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        check_works(); /* has kernel objects of its own now */
        fill_table(0);
        pid_t pid = fork();
        NEED(pid >= 0);
        if (pid == 0) { /* what the fork closed is enough for what the loop needs */
            int before = tap_failures();
            evf_io_stop(&io);
            CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
            check_works();
            evf_loop_free(loop);
            _exit(tap_failures() > before);
        }
        CHECK_INT(reap(pid), 0);
        check_works();
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

/* A loop that got the last descriptors is as private in a child as any other. */
static void loop_with_the_last_descriptors(void) {
    struct tester tester;
    open_it();
    if (fork_tester(&tester)) {
        for (int left = 1; left < 12; left++) {
            struct evf_loop *last = NULL;
            fill_table(left);
            if (evf_loop_new(backend_under_test, method_under_test, NULL, &last) < 0) continue;
            evf_io_stop(&io);
            loop = last;
            CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
            check_works();
            pid_t pid = fork();
            NEED(pid >= 0);
            if (pid == 0) {
                evf_io_stop(&io);
                evf_loop_free(loop);
                _exit(0);
            }
            CHECK_INT(reap(pid), 0);
            check_works();
            leave(&tester);
        }
        CHECK_TEXT("no loop could be made", "");
        leave(&tester);
    }
    check_tester(&tester);
    close_it();
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(numbers_of_process_descriptors, "numbers of the parent's process descriptors are free for the child"),
        TAP_TEST(daemon_goes_on, "a daemon closes everything, opens files, and goes on with its loops"),
        TAP_TEST(daemon_keeps_a_watcher, "a daemon stops a watcher late"),
        TAP_TEST(no_descriptor_after_the_fork,
                 "without descriptors the child's loop fails, and works when there are some"),
        TAP_TEST(no_descriptor_at_the_fork, "a full table at the fork is no trouble"),
        TAP_TEST(loop_with_the_last_descriptors, "a loop made with the last descriptors is not shared"),
    };
    return run_on_every_method(tests, COUNT_OF(tests), argc, argv);
}
