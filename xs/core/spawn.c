/* See evf_spawn.h. By posix_spawn: what failed, the exec too, is known when it returns. No descriptor of this process
 * is duplicated here: to close a copy would drop the record locks of its file. */
#include "evf_spawn.h"
#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST = 3, SCAN_MAX = 65536 };

#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 34)
#define HAS_CLOSEFROM 1
#endif
#endif

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

static bool is_given(const struct evf_spawn *spawn, int number) {
    for (size_t i = 0; i < spawn->fd_count; i++) {
        if (spawn->fds[i] == number) return true;
    }
    return false;
}

/* Out of the way of the numbers that are given and of those that are wanted. */
static int next_aside(const struct evf_spawn *spawn, int number) {
    do number++;
    while (is_given(spawn, number));
    return number;
}

static int first_free(const struct evf_spawn *spawn) {
    return FIRST + (int)spawn->fd_count;
}

/* In two steps, because a number may be wanted that is still to be copied. */
static int add_copies(posix_spawn_file_actions_t *actions, const struct evf_spawn *spawn) {
    int error = 0, aside = first_free(spawn) - 1;
    for (size_t i = 0; i < spawn->fd_count && error == 0; i++) {
        aside = next_aside(spawn, aside);
        error = posix_spawn_file_actions_adddup2(actions, spawn->fds[i], aside);
    }
    aside = first_free(spawn) - 1;
    for (size_t i = 0; i < spawn->fd_count && error == 0; i++) {
        aside = next_aside(spawn, aside);
        error = posix_spawn_file_actions_adddup2(actions, aside, FIRST + (int)i);
    }
    return error;
}

#if defined(HAS_CLOSEFROM)
static int add_closes(posix_spawn_file_actions_t *actions, const struct evf_spawn *spawn) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first_free(spawn));
}
#elif defined(POSIX_SPAWN_CLOEXEC_DEFAULT)
static int add_closes(posix_spawn_file_actions_t *actions, const struct evf_spawn *spawn) {
    int error = 0, aside = first_free(spawn) - 1;
    for (int fd = 0; fd < FIRST && error == 0; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) error = posix_spawn_file_actions_addinherit_np(actions, fd);
    }
    for (size_t i = 0; i < spawn->fd_count && error == 0; i++) {
        aside = next_aside(spawn, aside);
        error = posix_spawn_file_actions_addclose(actions, aside);
    }
    return error;
}
#else
static int add_close(posix_spawn_file_actions_t *actions, int fd) {
    const int flags = fcntl(fd, F_GETFD);
    return flags >= 0 && (flags & FD_CLOEXEC) == 0 ? posix_spawn_file_actions_addclose(actions, fd) : 0;
}

/* One that another thread opens meanwhile is its own to keep from others. */
static int add_closes_of_open(posix_spawn_file_actions_t *actions, int from) {
    int error = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) folder = opendir("/dev/fd");
    if (folder == NULL) {
        long most = sysconf(_SC_OPEN_MAX);
        if (most < 0 || most > SCAN_MAX) most = SCAN_MAX;
        for (int fd = from; fd < most && error == 0; fd++) error = add_close(actions, fd);
        return error;
    }
    for (const struct dirent *entry; error == 0 && (entry = readdir(folder)) != NULL;) {
        const int fd = entry->d_name[0] >= '0' && entry->d_name[0] <= '9' ? atoi(entry->d_name) : -1;
        if (fd >= from && fd != dirfd(folder)) error = add_close(actions, fd);
    }
    (void)closedir(folder);
    return error;
}

static int add_closes(posix_spawn_file_actions_t *actions, const struct evf_spawn *spawn) {
    int error = add_closes_of_open(actions, first_free(spawn)), aside = first_free(spawn) - 1;
    for (size_t i = 0; i < spawn->fd_count && error == 0; i++) {
        aside = next_aside(spawn, aside);
        error = posix_spawn_file_actions_addclose(actions, aside);
    }
    return error;
}
#endif

/* ---- Signals ------------------------------------------------------------------------------------------------ */

static int set_signals(posix_spawnattr_t *attributes, const struct evf_spawn *spawn) {
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    sigset_t all, none;
    (void)sigfillset(&all); /* these cannot fail */
    (void)sigdelset(&all, SIGKILL);
    (void)sigdelset(&all, SIGSTOP);
    (void)sigemptyset(&none);
#if defined(POSIX_SPAWN_CLOEXEC_DEFAULT) && !defined(HAS_CLOSEFROM)
    flags |= POSIX_SPAWN_CLOEXEC_DEFAULT;
#endif
    int error = posix_spawnattr_setflags(attributes, flags);
    if (error == 0) error = posix_spawnattr_setsigdefault(attributes, &all);
    if (error == 0)
        error = posix_spawnattr_setsigmask(attributes, spawn->blocked_signals != NULL ? spawn->blocked_signals : &none);
    return error;
}

/* ---- The process -------------------------------------------------------------------------------------------- */

int evf_spawn(const struct evf_spawn *spawn, pid_t *ret_pid) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid;
    if (spawn->program == NULL || spawn->arguments == NULL || spawn->environment == NULL) return EVF_EINVAL;
    if (spawn->program[0] == '\0' || spawn->arguments[0] == NULL || spawn->fd_count > SCAN_MAX) return EVF_EINVAL;
    for (size_t i = 0; i < spawn->fd_count; i++) {
        if (spawn->fds[i] < 0) return EVF_EBADF;
    }
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return EVF_ENOMEM;
    error = posix_spawnattr_init(&attributes);
    if (error != 0) goto no_attributes;
    error = set_signals(&attributes, spawn);
    if (error == 0) error = add_copies(&actions, spawn);
    if (error == 0) error = add_closes(&actions, spawn);
    if (error == 0)
        error = posix_spawnp(&pid, spawn->program, &actions, &attributes, spawn->arguments, spawn->environment);
    (void)posix_spawnattr_destroy(&attributes); /* was initialised */
no_attributes:
    (void)posix_spawn_file_actions_destroy(&actions);
    if (error == 0) {
        *ret_pid = pid;
        return 0;
    }
    errno = error;
    return EVF_EFORK;
}
