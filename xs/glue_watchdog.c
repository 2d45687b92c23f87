/* Reports what takes too long: a thread that sleeps, and speaks if nobody has called it off. A signal would end a sleep
 * of the code that is watched, and nobody else may be there: in the child of a raw fork no parent looks. */
#include "glue.h"

#include <pthread.h>
#include <time.h>

static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct timespec deadline;
    char text[512];
    bool is_called_off;
} watchdog;

static bool is_active;
static sig_atomic_t generation; /* of the process that started it: a child inherits all of this, but no thread */

#ifdef __APPLE__ /* has no other clock for conditions */
enum { WATCHDOG_CLOCK = CLOCK_REALTIME };
#else
enum { WATCHDOG_CLOCK = CLOCK_MONOTONIC };
#endif

static void *watch(void *unused) {
    int rc = 0;
    PERL_UNUSED_ARG(unused);
    (void)pthread_mutex_lock(&watchdog.mutex);
    while (!watchdog.is_called_off && rc == 0)
        rc = pthread_cond_timedwait(&watchdog.changed, &watchdog.mutex, &watchdog.deadline);
    if (!watchdog.is_called_off && write(STDERR_FILENO, watchdog.text, strlen(watchdog.text)) < 0) {
        /* There is no other place to say it. */
    }
    (void)pthread_mutex_unlock(&watchdog.mutex);
    return NULL;
}

/* Both anew each time: in a child the old ones may be locked, and waited for, by a thread that is not there. */
static void init_locks(void) {
    pthread_condattr_t attributes;
    (void)pthread_mutex_init(&watchdog.mutex, NULL);
    (void)pthread_condattr_init(&attributes);
#ifndef __APPLE__
    (void)pthread_condattr_setclock(&attributes, WATCHDOG_CLOCK);
#endif
    (void)pthread_cond_init(&watchdog.changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

void glue_watchdog_start(NV seconds, const char *format, ...) {
    sigset_t all, before;
    va_list arguments;
    if (is_active && generation == evf_fork_generation) return;
    generation = evf_fork_generation;
    va_start(arguments, format);
    (void)vsnprintf(watchdog.text, sizeof watchdog.text, format, arguments);
    va_end(arguments);
    init_locks();
    (void)clock_gettime(WATCHDOG_CLOCK, &watchdog.deadline);
    const NV end = (NV)watchdog.deadline.tv_nsec * 1e-9 + seconds;
    watchdog.deadline.tv_sec += (time_t)end;
    watchdog.deadline.tv_nsec = (long)((end - (NV)(time_t)end) * 1e9);
    watchdog.is_called_off = false;
    (void)sigfillset(&all); /* signals are for the thread that knows Perl */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    is_active = pthread_create(&watchdog.thread, NULL, watch, NULL) == 0; /* without one nothing is reported */
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void glue_watchdog_stop(void) {
    if (!is_active) return;
    is_active = false;
    if (generation != evf_fork_generation) return; /* the parent's */
    (void)pthread_mutex_lock(&watchdog.mutex);
    watchdog.is_called_off = true;
    (void)pthread_cond_signal(&watchdog.changed);
    (void)pthread_mutex_unlock(&watchdog.mutex);
    (void)pthread_join(watchdog.thread, NULL);
    (void)pthread_cond_destroy(&watchdog.changed);
    (void)pthread_mutex_destroy(&watchdog.mutex);
}
