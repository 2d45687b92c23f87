/* Names of the system calls in which a process may be found that waits for ever. Their numbers differ between kinds of
 * machines, so the compiler's are taken; what is not here has a number only. */
#include "evf.h"

#include <stddef.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

struct call {
    long number;
    const char *name;
};

#define CALL(name) {SYS_##name, #name},
static const struct call calls[] = {
#ifdef SYS_accept
    CALL(accept)
#endif
#ifdef SYS_accept4
        CALL(accept4)
#endif
#ifdef SYS_clock_nanosleep
            CALL(clock_nanosleep)
#endif
#ifdef SYS_close
                CALL(close)
#endif
#ifdef SYS_connect
                    CALL(connect)
#endif
#ifdef SYS_epoll_pwait
                        CALL(epoll_pwait)
#endif
#ifdef SYS_epoll_pwait2
                            CALL(epoll_pwait2)
#endif
#ifdef SYS_epoll_wait
                                CALL(epoll_wait)
#endif
#ifdef SYS_fcntl
                                    CALL(fcntl)
#endif
#ifdef SYS_fdatasync
                                        CALL(fdatasync)
#endif
#ifdef SYS_flock
                                            CALL(flock)
#endif
#ifdef SYS_fsync
                                                CALL(fsync)
#endif
#ifdef SYS_futex
                                                    CALL(futex)
#endif
#ifdef SYS_io_getevents
                                                        CALL(io_getevents)
#endif
#ifdef SYS_io_pgetevents
                                                            CALL(io_pgetevents)
#endif
#ifdef SYS_io_uring_enter
                                                                CALL(io_uring_enter)
#endif
#ifdef SYS_msgrcv
                                                                    CALL(msgrcv)
#endif
#ifdef SYS_msgsnd
                                                                        CALL(msgsnd)
#endif
#ifdef SYS_nanosleep
                                                                            CALL(nanosleep)
#endif
#ifdef SYS_open
                                                                                CALL(open)
#endif
#ifdef SYS_openat
                                                                                    CALL(openat)
#endif
#ifdef SYS_pause
                                                                                        CALL(pause)
#endif
#ifdef SYS_poll
                                                                                            CALL(poll)
#endif
#ifdef SYS_ppoll
                                                                                                CALL(ppoll)
#endif
#ifdef SYS_pread64
                                                                                                    CALL(pread64)
#endif
#ifdef SYS_pselect6
                                                                                                        CALL(pselect6)
#endif
#ifdef SYS_pwrite64
                                                                                                            CALL(
                                                                                                                pwrite64)
#endif
#ifdef SYS_read
                                                                                                                CALL(
                                                                                                                    read)
#endif
#ifdef SYS_readv
                                                                                                                    CALL(
                                                                                                                        readv)
#endif
#ifdef SYS_recvfrom
                                                                                                                        CALL(
                                                                                                                            recvfrom)
#endif
#ifdef SYS_recvmmsg
                                                                                                                            CALL(
                                                                                                                                recvmmsg)
#endif
#ifdef SYS_recvmsg
                                                                                                                                CALL(
                                                                                                                                    recvmsg)
#endif
#ifdef SYS_restart_syscall
                                                                                                                                    CALL(
                                                                                                                                        restart_syscall)
#endif
#ifdef SYS_rt_sigsuspend
                                                                                                                                        CALL(
                                                                                                                                            rt_sigsuspend)
#endif
#ifdef SYS_rt_sigtimedwait
                                                                                                                                            CALL(
                                                                                                                                                rt_sigtimedwait)
#endif
#ifdef SYS_select
                                                                                                                                                CALL(
                                                                                                                                                    select)
#endif
#ifdef SYS_semop
                                                                                                                                                    CALL(
                                                                                                                                                        semop)
#endif
#ifdef SYS_semtimedop
                                                                                                                                                        CALL(
                                                                                                                                                            semtimedop)
#endif
#ifdef SYS_sendfile
                                                                                                                                                            CALL(
                                                                                                                                                                sendfile)
#endif
#ifdef SYS_sendmsg
                                                                                                                                                                CALL(
                                                                                                                                                                    sendmsg)
#endif
#ifdef SYS_sendto
                                                                                                                                                                    CALL(
                                                                                                                                                                        sendto)
#endif
#ifdef SYS_splice
                                                                                                                                                                        CALL(
                                                                                                                                                                            splice)
#endif
#ifdef SYS_wait4
                                                                                                                                                                            CALL(
                                                                                                                                                                                wait4)
#endif
#ifdef SYS_waitid
                                                                                                                                                                                CALL(
                                                                                                                                                                                    waitid)
#endif
#ifdef SYS_write
                                                                                                                                                                                    CALL(
                                                                                                                                                                                        write)
#endif
#ifdef SYS_writev
                                                                                                                                                                                        CALL(
                                                                                                                                                                                            writev)
#endif
                                                                                                                                                                                            {-1,
                                                                                                                                                                                             NULL},
};

const char *evf_syscall_name(long number) {
    for (const struct call *call = calls; call->name != NULL; call++) {
        if (call->number == number) return call->name;
    }
    return NULL;
}
