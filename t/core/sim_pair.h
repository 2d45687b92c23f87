/* For the tests of descriptors in the simulated world: a loop there, and two descriptors. */
#ifndef SIM_PAIR_H
#define SIM_PAIR_H

#include "helpers.h"

extern struct sim *sim;
extern struct evf_loop *loop;
extern int fd, other_fd; /* real, because a descriptor has to be open; never ready by themselves */

void open_it(void);
void close_it(void);
void start(struct evf_io *io, int of_fd, unsigned mask, const char *name); /* with trace_io */
const char *call(unsigned old_mask, unsigned new_mask);                    /* "fd:old>new " for the first descriptor */
void check_calls(const char *calls);                                       /* those since the last check */

#endif
