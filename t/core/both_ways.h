/* For the tests of processes: each runs with process descriptors, where the system has them, and without. */
#ifndef BOTH_WAYS_H
#define BOTH_WAYS_H

#include "one_loop.h"

extern bool with_pidfd; /* the way under test */

struct ending {
    int calls, wait_status;
};
int note(struct evf_process *process, int wait_status, void *data); /* into the struct ending of data */

void both_ways(void (*code)(void));
void start(struct evf_process *process, pid_t pid, struct ending *ending);
void (*sigchld_handler(void))(int); /* the one that is installed */

#endif
