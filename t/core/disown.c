/* Descriptors that a child disowns: nothing it does with them reaches those who share them. */
#include "helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void nothing_reaches_the_peer(void) {
    int fds[2];
    struct tester tester;
    make_pair(fds);
    CHECK_INT(fcntl(fds[0], F_SETFD, FD_CLOEXEC), 0);
    if (fork_tester(&tester)) {
        char byte = 'x';
        CHECK_INT(evf_disown_fd(fds[0]), 0);
        CHECK(write(fds[0], &byte, 1) < 0);
        CHECK(read(fds[0], &byte, 1) < 0);
        CHECK_INT(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
        (void)shutdown(fds[0], SHUT_RDWR);
        (void)close(fds[0]);
        (void)close(fds[1]);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK_INT(take(fds[1]), 0);
    give(fds[0]);
    CHECK_INT(take(fds[1]), 1);
    give(fds[1]);
    CHECK_INT(take(fds[0]), 1);
    close_pair(fds);
}

static void pipes_too(void) {
    int fds[2];
    char byte = 'x';
    NEED(pipe(fds) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(evf_disown_fd(fds[i]), 0);
        CHECK_INT(fcntl(fds[i], F_GETFD), 0);
        CHECK(read(fds[i], &byte, 1) < 0);
        CHECK(write(fds[i], &byte, 1) < 0);
        (void)close(fds[i]);
    }
}

static void not_open(void) {
    CHECK_INT(evf_disown_fd(-1), EVF_EBADF);
    CHECK_INT(evf_disown_fd(1 << 20), EVF_EBADF);
}

static void fill_and_disown(void) {
    int fds[2];
    char byte = 'x';
    make_pair(fds);
    fill_table(0);
    CHECK_INT(evf_disown_fd(fds[0]), 0);
    CHECK(write(fds[0], &byte, 1) < 0);
    CHECK_INT(take(fds[1]), 0);
}

static void in_a_full_table(void) {
    in_tester(fill_and_disown);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(nothing_reaches_the_peer, "the parent's connection lives, and hears nothing"),
        TAP_TEST(pipes_too, "pipes too"),
        TAP_TEST(not_open, "a number that is not open"),
        TAP_TEST(in_a_full_table, "without a free descriptor"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
