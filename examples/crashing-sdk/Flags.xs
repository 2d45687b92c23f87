/* A stand-in for the SDK of a service of feature flags, with the fault that such libraries have had: a thread in the
 * background keeps a connection, a call after the fork asks that thread, and in a forked child there is none. */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"

#include "XSUB.h"

#include <pthread.h>
#include <unistd.h>

/* What the thread has on its stack, for as long as it lives. */
struct connection {
    int revision;
};

static struct {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct connection *connection; /* the thread's */
    pid_t owner;                   /* 0: not started */
} client = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Does not end: it waits for news of the service. */
static void *listen_for_changes(void *unused) {
    struct connection connection = {.revision = 1};
    PERL_UNUSED_ARG(unused);
#ifdef __linux__
    (void)pthread_setname_np(pthread_self(), "flags");
#endif
    (void)pthread_mutex_lock(&client.mutex);
    client.connection = &connection;
    (void)pthread_cond_broadcast(&client.changed);
    for (;;) (void)pthread_cond_wait(&client.changed, &client.mutex);
    return NULL;
}

/* Of the connection in use. In a child the thread has taken its own with it. */
static struct connection *current_connection(void) {
    return client.owner == getpid() ? client.connection : NULL;
}

MODULE = Flags    PACKAGE = Flags

PROTOTYPES: DISABLE

# Once in a process that has not inherited a client. False: there was one.
bool
_start()
  CODE:
    RETVAL = client.owner == 0;
    if (RETVAL) {
        if (pthread_create(&client.thread, NULL, listen_for_changes, NULL) != 0) croak("flags: no thread");
        (void)pthread_mutex_lock(&client.mutex);
        while (client.connection == NULL) (void)pthread_cond_wait(&client.changed, &client.mutex);
        (void)pthread_mutex_unlock(&client.mutex);
        client.owner = getpid();
    }
  OUTPUT:
    RETVAL

# "Call this after a fork." It asks the connection first what it had, and there is none.
int
_after_fork()
  CODE:
    RETVAL = ((volatile struct connection *)current_connection())->revision;
  OUTPUT:
    RETVAL

# Whether a flag is on.
bool
is_on(const char *name)
  CODE:
    RETVAL = current_connection() != NULL && current_connection()->revision > 0 && name[0] != '\0';
  OUTPUT:
    RETVAL
