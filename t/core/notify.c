/* Messages to a service manager: what arrives, with which descriptors, and what is told where nothing does. */
#include "helpers.h"

#include "../../xs/core/evf_notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- A manager ---------------------------------------------------------------------------------------------- */

struct manager {
    char folder[32], address[108];
    int fd;
};

static void open_manager(struct manager *manager) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    (void)strcpy(manager->folder, "/tmp/evf-notify-XXXXXX");
    NEED(mkdtemp(manager->folder) != NULL);
    (void)snprintf(manager->address, sizeof manager->address, "%s/socket", manager->folder);
    (void)strcpy(un.sun_path, manager->address);
    manager->fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    NEED(manager->fd >= 0 && bind(manager->fd, (struct sockaddr *)&un, sizeof un) == 0);
    NEED(fcntl(manager->fd, F_SETFL, O_NONBLOCK) == 0);
}

static void close_manager(struct manager *manager) {
    (void)close(manager->fd);
    (void)unlink(manager->address);
    (void)rmdir(manager->folder);
}

/* The next message, and the descriptors that came with it; their number, or -1 if there is no message. */
static int receive(const struct manager *manager, char *text, size_t size, int *fds) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(EVF_NOTIFY_FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = text, .iov_len = size - 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    const ssize_t length = recvmsg(manager->fd, &message, 0);
    if (length < 0) return -1;
    text[length] = '\0';
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header == NULL || header->cmsg_type != SCM_RIGHTS) return 0;
    const size_t bytes = header->cmsg_len - CMSG_LEN(0);
    memcpy(fds, CMSG_DATA(header), bytes);
    return (int)(bytes / sizeof(int));
}

static void check_received(const struct manager *manager, const char *expected) {
    char text[256];
    int fds[EVF_NOTIFY_FDS_MAX];
    CHECK_INT(receive(manager, text, sizeof text, fds), 0);
    CHECK_TEXT(text, expected);
}

/* ---- Messages ----------------------------------------------------------------------------------------------- */

static void by_path(void) {
    struct manager manager;
    open_manager(&manager);
    CHECK_INT(evf_notify(manager.address, "READY=1\nSTATUS=two of two", NULL, 0), 0);
    CHECK_INT(evf_notify(manager.address, "STOPPING=1", NULL, 0), 0);
    check_received(&manager, "READY=1\nSTATUS=two of two");
    check_received(&manager, "STOPPING=1");
    close_manager(&manager);
}

static void abstract(void) {
#ifdef __linux__
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char address[64];
    const int length = snprintf(address, sizeof address, "@evf-notify-%d", (int)getpid());
    memcpy(un.sun_path + 1, address + 1, (size_t)length - 1);
    struct manager manager = {.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)};
    NEED(bind(manager.fd, (struct sockaddr *)&un, (socklen_t)(sizeof un.sun_family + (size_t)length)) == 0);
    CHECK_INT(evf_notify(address, "READY=1", NULL, 0), 0);
    check_received(&manager, "READY=1");
    (void)close(manager.fd);
#else
    tap_skip("abstract names are Linux's");
#endif
}

/* The same files, and not these numbers. */
static void descriptors(void) {
    struct manager manager;
    char text[256];
    int pair[2], fds[EVF_NOTIFY_FDS_MAX];
    open_manager(&manager);
    make_pair(pair);
    CHECK_INT(evf_notify(manager.address, "FDSTORE=1\nFDNAME=pair", pair, 2), 0);
    const int count = receive(&manager, text, sizeof text, fds);
    CHECK_TEXT(text, "FDSTORE=1\nFDNAME=pair");
    if (CHECK_INT(count, 2)) {
        struct stat sent, received;
        for (int i = 0; i < 2; i++) {
            CHECK(fds[i] != pair[i]);
            NEED(fstat(pair[i], &sent) == 0 && fstat(fds[i], &received) == 0);
            CHECK(sent.st_ino == received.st_ino);
            (void)close(fds[i]);
        }
    }
    close_pair(pair);
    close_manager(&manager);
}

static void most(void) {
    struct manager manager;
    char text[256];
    int fds[EVF_NOTIFY_FDS_MAX + 1];
    open_manager(&manager);
    for (size_t i = 0; i < COUNT_OF(fds); i++) fds[i] = manager.fd;
    CHECK_INT(evf_notify(manager.address, "FDSTORE=1", fds, COUNT_OF(fds)), EVF_EINVAL);
    CHECK_INT(evf_notify(manager.address, "FDSTORE=1", fds, EVF_NOTIFY_FDS_MAX), 0);
    const int count = receive(&manager, text, sizeof text, fds);
    CHECK_INT(count, EVF_NOTIFY_FDS_MAX);
    for (int i = 0; i < count; i++) (void)close(fds[i]);
    close_manager(&manager);
}

/* ---- What does not arrive ----------------------------------------------------------------------------------- */

static void refused(void) {
    struct manager manager;
    char too_long[200];
    open_manager(&manager);
    memset(too_long, 'x', sizeof too_long - 1);
    too_long[0] = '/';
    too_long[sizeof too_long - 1] = '\0';
    CHECK_INT(evf_notify(manager.address, "", NULL, 0), EVF_EINVAL);
    CHECK_INT(evf_notify(manager.address, NULL, NULL, 0), EVF_EINVAL);
    CHECK_INT(evf_notify(manager.address, "FDSTORE=1", NULL, 1), EVF_EINVAL);
    CHECK_INT(evf_notify(NULL, "READY=1", NULL, 0), EVF_ENOTSUP);
    CHECK_INT(evf_notify("", "READY=1", NULL, 0), EVF_ENOTSUP);
    CHECK_INT(evf_notify("@", "READY=1", NULL, 0), EVF_ENOTSUP);
    CHECK_INT(evf_notify("vsock:2:1234", "READY=1", NULL, 0), EVF_ENOTSUP);
    CHECK_INT(evf_notify("socket", "READY=1", NULL, 0), EVF_ENOTSUP);
    CHECK_INT(evf_notify(too_long, "READY=1", NULL, 0), EVF_ENOTSUP);
    CHECK_INT(evf_notify(manager.address, "FDSTORE=1", (const int[]){FAR_FD + 900}, 1), EVF_EBADF);
    close_manager(&manager);
    CHECK_INT(evf_notify(manager.address, "READY=1", NULL, 0), EVF_ESYSTEM);
    CHECK_INT(errno, ENOENT);
}

/* A manager that takes nothing holds nobody up. */
static void nobody_reads(void) {
    struct manager manager;
    int rc = 0;
    open_manager(&manager);
    for (int i = 0; i < 100000 && rc == 0; i++) rc = evf_notify(manager.address, "STATUS=again", NULL, 0);
    CHECK_INT(rc, EVF_ESYSTEM);
    CHECK_INT(errno, EAGAIN);
    close_manager(&manager);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(by_path, "a message arrives whole, and in order"),
        TAP_TEST(abstract, "at an abstract name, too"),
        TAP_TEST(descriptors, "descriptors come along, as copies"),
        TAP_TEST(most, "as many as the kernel takes"),
        TAP_TEST(refused, "what cannot be sent is told"),
        TAP_TEST(nobody_reads, "a manager that does not read holds nobody up"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
