/* See evf_notify.h. */
#include "evf_notify.h"
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

struct address {
    struct sockaddr_un un;
    socklen_t length;
};

static int parse(const char *text, struct address *ret_address) {
    struct address address = {.un = {.sun_family = AF_UNIX}};
    const size_t length = text != NULL ? strlen(text) : 0;
    if (length < 2 || (text[0] != '/' && text[0] != '@') || length >= sizeof address.un.sun_path) return EVF_ENOTSUP;
#ifndef __linux__
    if (text[0] == '@') return EVF_ENOTSUP;
#endif
    memcpy(address.un.sun_path, text, length);
    /* An abstract name begins with a NUL, and ends where the length says. */
    if (text[0] == '@') address.un.sun_path[0] = '\0';
    address.length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (text[0] == '/' ? 1 : 0));
    *ret_address = address;
    return 0;
}

static int send_to(int fd, const struct address *address, const char *text, const int *fds, size_t fd_count) {
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(EVF_NOTIFY_FDS_MAX * sizeof *fds)];
    } control;
    struct address to = *address;
    struct iovec part = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)}; /* only read */
    struct msghdr message = {.msg_name = &to.un, .msg_namelen = to.length, .msg_iov = &part, .msg_iovlen = 1};
    if (fd_count > 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(fd_count * sizeof *fds);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(fd_count * sizeof *fds);
        memcpy(CMSG_DATA(header), fds, fd_count * sizeof *fds);
    }
    ssize_t sent;
    do sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) return 0;
    return errno == EBADF ? EVF_EBADF : EVF_ESYSTEM;
}

int evf_notify(const char *address, const char *text, const int *fds, size_t fd_count) {
    struct address to;
    if (text == NULL || *text == '\0' || fd_count > EVF_NOTIFY_FDS_MAX || (fd_count > 0 && fds == NULL))
        return EVF_EINVAL;
    int rc = parse(address, &to);
    if (rc < 0) return rc;
    const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0) return EVF_ESYSTEM;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC); /* cannot fail: it is open */
    rc = send_to(fd, &to, text, fds, fd_count);
    const int saved_errno = errno;
    (void)close(fd);
    errno = saved_errno;
    return rc;
}
