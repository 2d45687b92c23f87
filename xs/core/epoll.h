/* Telling epoll instances from other descriptors. For the core and for adapters of libraries that keep
 * their descriptor to themselves. */
#ifndef EVF_EPOLL_H
#define EVF_EPOLL_H

#ifdef __linux__
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Asks to remove a descriptor that is in no set: an epoll instance answers that it has none such, anything else that
 * it is no epoll instance (epoll_ctl(2)). Changes nothing. Async-signal-safe. */
static inline bool evf_epoll_answers(int fd, int probe_fd) {
    return fd != probe_fd && epoll_ctl(fd, EPOLL_CTL_DEL, probe_fd, NULL) < 0 && errno == ENOENT;
}

/* By the name that /proc gives it: for a full descriptor table, because it needs no descriptor. */
static inline bool evf_epoll_is_named(int fd) {
    char path[40], target[40];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(path, target, sizeof target - 1);
    if (length < 0) return false;
    target[length] = '\0';
    return strstr(target, "eventpoll") != NULL;
}

/* The kernel gives out the lowest free number: an epoll instance that is made next will have this one. */
static inline int evf_epoll_guess(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    if (fd >= 0) (void)close(fd);
    return fd;
}

/* The guess, if there is an epoll instance now, or -1. */
static inline int evf_epoll_confirm(int guessed_fd) {
    int probe_fd = epoll_create1(EPOLL_CLOEXEC);
    bool confirmed = probe_fd < 0 ? evf_epoll_is_named(guessed_fd) : evf_epoll_answers(guessed_fd, probe_fd);
    if (probe_fd >= 0) (void)close(probe_fd);
    return confirmed ? guessed_fd : -1;
}

static inline void evf_epoll_remove(int epoll_fd, int fd) {
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* failing, it was not there */
}
#else
static inline int evf_epoll_guess(void) {
    return -1;
}

static inline int evf_epoll_confirm(int guessed_fd) {
    (void)guessed_fd;
    return -1;
}

static inline void evf_epoll_remove(int epoll_fd, int fd) {
    (void)epoll_fd, (void)fd;
}
#endif
#endif
