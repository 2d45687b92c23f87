/* A spawned child for Perl: lists of texts and numbers to the core's, and the watch of its end. */
#include "glue.h"

#include "core/evf_spawn.h"

/* Room for so many, until the caller's statement is over. */
static void *room(pTHX_ size_t count, size_t size) {
    return SvPVX(sv_2mortal(newSV(count * size)));
}

static SV *element(pTHX_ AV *list, SSize_t index) {
    SV **value = av_fetch(list, index, 0);
    return value != NULL ? *value : &PL_sv_undef;
}

static char **texts_of(pTHX_ AV *list) {
    const SSize_t count = av_len(list) + 1;
    char **texts = room(aTHX_(size_t) count + 1, sizeof *texts);
    for (SSize_t i = 0; i < count; i++) texts[i] = SvPV_nolen(element(aTHX_ list, i));
    texts[count] = NULL;
    return texts;
}

static int *numbers_of(pTHX_ AV *list) {
    const SSize_t count = av_len(list) + 1;
    int *numbers = room(aTHX_(size_t) count + 1, sizeof *numbers);
    for (SSize_t i = 0; i < count; i++) numbers[i] = (int)SvIV(element(aTHX_ list, i));
    return numbers;
}

static void refuse(pTHX_ int rc, const char *program) {
    const int saved_errno = errno;
    if (rc != EVF_EFORK)
        glue_throw(aTHX_ EVF_EFORK, "spawn", NULL, "cannot spawn '%s': %s", program, evf_error_text(rc));
    glue_throw(aTHX_ rc, "spawn", NULL, "cannot spawn '%s': %s%s", program, Strerror(saved_errno),
               saved_errno == EAGAIN  ? " (a limit on processes: ulimit -u, or pids.max of the cgroup)"
               : saved_errno == E2BIG ? " (arguments and environment together, or one of them)"
                                      : "");
}

pid_t glue_spawn(pTHX_ struct glue_loop *loop, struct glue_spawn_options *options) {
    sigset_t blocked, mask;
    pid_t pid;
    const int *signals = numbers_of(aTHX_ options->blocked_signals);
    const struct evf_spawn spawn = {
        .program = options->program,
        .arguments = texts_of(aTHX_ options->arguments),
        .environment = texts_of(aTHX_ options->environment),
        .fds = numbers_of(aTHX_ options->fds),
        .fd_count = (size_t)(av_len(options->fds) + 1),
        .blocked_signals = &blocked,
    };
    (void)sigemptyset(&blocked); /* cannot fail */
    for (SSize_t i = 0; i <= av_len(options->blocked_signals); i++) (void)sigaddset(&blocked, signals[i]);
    int rc = evf_fork_block_signals(&mask);
    if (rc < 0) glue_throw(aTHX_ EVF_EFORK, "spawn", NULL, "%s", evf_error_text(rc));
    const int spawned = evf_spawn(&spawn, &pid);
    const int saved_errno = errno;
    /* Before the signals are let in: nothing can have reaped the child. */
    if (spawned == 0 && loop == NULL) options->fd = evf_process_open(pid);
    if (spawned == 0 && loop != NULL) rc = glue_start_process(aTHX_ loop, pid, options->on_exit);
    evf_fork_restore_mask(&mask);
    errno = saved_errno;
    if (spawned < 0) refuse(aTHX_ spawned, options->program);
    if (rc < 0)
        glue_throw(aTHX_ rc, "spawn", sv_2mortal(newSViv((IV)pid)), "process %ld runs, but cannot be watched: %s",
                   (long)pid, evf_error_text(rc));
    return pid;
}
