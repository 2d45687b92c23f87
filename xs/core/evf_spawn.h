/* A new process that is another program, without a copy of this one: it takes the same time however large this process
 * is, runs no fork hook, and has of this process what it is given and no more. */
#ifndef EVF_SPAWN_H
#define EVF_SPAWN_H

#include "evf.h"

#ifdef __cplusplus
extern "C" {
#endif

struct evf_spawn {
    const char *program;             /* without a slash it is looked for in PATH */
    char *const *arguments;          /* the name first, NULL last */
    char *const *environment;        /* NULL last */
    const int *fds;                  /* become 3, 4, ... there, in this order and open across exec; */
    size_t fd_count;                 /* beside them only 0, 1 and 2 arrive */
    const sigset_t *blocked_signals; /* NULL: none. All actions are the default ones */
};

/* *ret_pid is a child. EVF_EINVAL: no program or no arguments. EVF_EBADF: a negative descriptor. EVF_ENOMEM. EVF_EFORK:
 * nothing was started, and errno tells why: ENOENT and its like of the program, E2BIG, EAGAIN, EBADF. */
int evf_spawn(const struct evf_spawn *spawn, pid_t *ret_pid);

#ifdef __cplusplus
}
#endif
#endif
