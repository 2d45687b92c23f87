#include "both_ways.h"

#include <signal.h>

bool with_pidfd;

int note(struct evf_process *process, int wait_status, void *data) {
    struct ending *ending = data;
    CHECK(process->w.loop == NULL); /* stopped before it is called */
    ending->calls++;
    ending->wait_status = wait_status;
    return 0;
}

void both_ways(void (*code)(void)) {
    for (int way = 0; way < 2; way++) {
        bool had_failed = tap_has_failed();
        with_pidfd = way == 0 && has_pidfds();
        evf_process_use_pidfd(with_pidfd);
        open_it();
        code();
        close_it();
        evf_process_use_pidfd(true);
        if (!had_failed && tap_has_failed()) tap_diag("%s a process descriptor", with_pidfd ? "with" : "without");
    }
}

void start(struct evf_process *process, pid_t pid, struct ending *ending) {
    CHECK_INT(evf_process_start(loop, process, pid, note, ending), 0);
    CHECK((process->pidfd >= 0) == with_pidfd);
}

void (*sigchld_handler(void))(int) {
    struct sigaction now;
    CHECK_INT(sigaction(SIGCHLD, NULL, &now), 0);
    return now.sa_handler;
}
