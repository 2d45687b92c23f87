/* What the C tests share: loops on every backend and method that is linked in, descriptors, children, a trace of what
 * was called. The tests use the public interface, and internal.h nowhere. */
#ifndef HELPERS_H
#define HELPERS_H

#include "../../xs/core/backend.h"
#include "sim.h"
#include "tap.h"

#include <sys/types.h>

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

enum {
    MILLISECOND = 1000000,
    FAR_FD = 100 /* from here on are the pipes between a tester and its parent */
};
#define SECOND INT64_C(1000000000)

/* ---- Loops -------------------------------------------------------------------------------------------------- */

/* The one under test now; which ones there are is decided when helpers.c is compiled: -DWITH_LIBEV, -DWITH_LIBEVENT, or
 * neither for the built-in one. */
extern const struct evf_backend *backend_under_test;
extern const char *method_under_test;

/* main of a test program: the tests once, or on every method of the backend; argv[1] filters. */
int run_once_only(const struct tap_test *tests, size_t count, int argc, char **argv);
int run_on_every_method(const struct tap_test *tests, size_t count, int argc, char **argv);

struct evf_loop *new_loop(void);
struct evf_loop *new_loop_with(const struct evf_loop_hooks *hooks);
/* A loop in a simulated world; closing checks that the core kept the contract. */
struct sim *open_world(struct evf_loop **ret_loop);
void close_world(struct sim *sim, struct evf_loop *loop);
/* Turns until *counter is at least wanted, within a bound. */
bool turns_until(struct evf_loop *loop, const int *counter, int wanted);
/* Callbacks that ran in some turns without waiting, or the first error. */
int turns(struct evf_loop *loop);
/* One that counts its waits in *waits, which stays where it is. */
struct evf_loop *new_counting_loop(int *waits);
/* A loop with nothing to do waits once, or a few times; hundreds are a spin. */
void check_calm(struct evf_loop *loop, int *waits);

/* ---- The trace ---------------------------------------------------------------------------------------------- */

/* Callbacks that append their data, which is a text; trace_io adds ":" and r, w, h. */
extern char trace[4096];
void trace_clear(void);
void trace_add(const char *text);
int trace_io(struct evf_io *io, unsigned events, void *data);
int trace_timer(struct evf_timer *timer, void *data);
int trace_idle(struct evf_idle *idle, void *data);
int trace_signal(struct evf_signal *sig, int signo, void *data);
int trace_process(struct evf_process *process, int wait_status, void *data);

/* Callbacks that count in *(int *)data; count_io also reads all there is. */
int count_io(struct evf_io *io, unsigned events, void *data);
int count_timer(struct evf_timer *timer, void *data);
int count_idle(struct evf_idle *idle, void *data);
int count_signal(struct evf_signal *sig, int signo, void *data);
int count_process(struct evf_process *process, int wait_status, void *data);

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

void make_pair(int ret_fds[2]); /* connected sockets, non-blocking */
void close_pair(int fds[2]);
void give(int fd);    /* one byte */
int take(int fd);     /* all there is; returns how much */
void fill_up(int fd); /* until a write would block */
/* Opens /dev/null until no descriptor is left, then closes as many as are to stay free. For children only. */
void fill_table(int leave_free);
bool is_dev_null(int fd);

/* ---- Children ----------------------------------------------------------------------------------------------- */

/* A child that ends with this exit code once it is released (or its parent is gone). */
struct waiting_child {
    pid_t pid;
    int release_fd;
};
struct waiting_child waiting_child(int exit_code);
void release(struct waiting_child *child);
pid_t ended_child(int exit_code); /* a zombie */
void wait_for_end(pid_t pid);     /* takes nothing */
int reap(pid_t pid);              /* its wait status, or -1 */
bool has_pidfds(void);            /* this system has process descriptors */

/* A child that runs checks of its own. In it fork_tester returns true, and it ends by leave(). */
struct tester {
    pid_t pid;
    int report_fd;
    int to_child, from_child;   /* in the parent */
    int to_parent, from_parent; /* in the child */
};
bool fork_tester(struct tester *tester);       /* a raw fork */
bool copy_tester(struct tester *tester);       /* a copy by a system call: nobody is told */
bool has_copies(void);                         /* this test knows how to make one here */
bool fork_clean_tester(struct tester *tester); /* by the core's protocol, down to evf_fork_child_begin */
bool fork_clean_tester_with(struct tester *tester, bool keep_signals);
void leave(const struct tester *tester) __attribute__((noreturn));
void check_tester(struct tester *tester); /* its failures are ours */
/* One byte each way, waited for. */
void tell_child(const struct tester *tester);
void wait_for_child(const struct tester *tester);
void tell_parent(const struct tester *tester);
void wait_for_parent(const struct tester *tester);
/* Runs code in a raw fork, and checks it. */
void in_tester(void (*code)(void));

#endif
