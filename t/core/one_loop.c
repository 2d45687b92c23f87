#include "one_loop.h"

struct evf_loop *loop;

void open_it(void) {
    trace_clear();
    loop = new_loop();
}

void close_it(void) {
    CHECK(evf_loop_verify(loop));
    evf_loop_free(loop);
}
