#include "sim_pair.h"

#include <stdio.h>
#include <unistd.h>

struct sim *sim;
struct evf_loop *loop;
int fd, other_fd;
static char expected[200];

void open_it(void) {
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

void close_it(void) {
    close_world(sim, loop);
    (void)close(fd);
    (void)close(other_fd);
}

void start(struct evf_io *io, int of_fd, unsigned mask, const char *name) {
    CHECK_INT(evf_io_start(loop, io, of_fd, mask, trace_io, (void *)(uintptr_t)name), 0);
}

const char *call(unsigned old_mask, unsigned new_mask) {
    (void)snprintf(expected, sizeof expected, "%d:%u>%u ", fd, old_mask, new_mask);
    return expected;
}

void check_calls(const char *calls) {
    CHECK_TEXT(sim->calls, calls);
    *sim->calls = '\0';
}
