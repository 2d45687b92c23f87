/* What a service manager is told: datagrams of "NAME=value" lines to the socket that it names in NOTIFY_SOCKET, see
 * sd_notify(3). Nothing is open between two messages, so no child inherits anything. */
#ifndef EVF_NOTIFY_H
#define EVF_NOTIFY_H

#include "evf.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EVF_NOTIFY_FDS_MAX = 253 }; /* SCM_MAX_FD of Linux */

/* address: "/path", or "@name" for Linux's abstract names. The manager gets copies of the descriptors, for its store
 * (FDSTORE=1); they stay the caller's. Does not wait. EVF_EINVAL: no text, or too many descriptors. EVF_EBADF: one that
 * is not open. EVF_ENOTSUP: an address of another kind, or one that is too long. EVF_ESYSTEM: errno tells; EAGAIN:
 * those before have not been taken yet. */
int evf_notify(const char *address, const char *text, const int *fds, size_t fd_count);

#ifdef __cplusplus
}
#endif
#endif
