#include "watched.h"

#include <string.h>

struct evf_loop *loop;
int waits, count;
int fds[2];
struct evf_io io;

void open_it(void) {
    trace_clear();
    loop = new_counting_loop(&waits);
    make_pair(fds);
    memset(&io, 0, sizeof io);
    count = 0;
    CHECK_INT(evf_io_start(loop, &io, fds[0], EVF_READ, count_io, &count), 0);
    CHECK_INT(evf_loop_run_once(loop, 0), 0);
}

void check_works(void) {
    int before = count;
    CHECK_INT(turns(loop), 0);
    give(fds[1]);
    CHECK(turns_until(loop, &count, before + 1));
    CHECK_INT(count, before + 1);
    CHECK_INT(turns(loop), 0);
    CHECK(evf_loop_verify(loop));
}

void close_it(void) {
    check_works();
    check_calm(loop, &waits);
    evf_loop_free(loop);
    close_pair(fds);
}

void check_loop_works(struct evf_loop *any_loop) {
    struct evf_io any = {0};
    struct evf_timer timer = {0};
    int pair[2], any_count = 0;
    make_pair(pair);
    CHECK_INT(evf_io_start(any_loop, &any, pair[0], EVF_READ, count_io, &any_count), 0);
    give(pair[1]);
    CHECK(turns_until(any_loop, &any_count, 1));
    CHECK_INT(evf_timer_start(any_loop, &timer, EVF_CLOCK_MONOTONIC, 0, count_timer, &any_count), 0);
    CHECK(turns_until(any_loop, &any_count, 2));
    evf_io_stop(&any);
    close_pair(pair);
    CHECK(evf_loop_verify(any_loop));
}
