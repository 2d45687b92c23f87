/* The Perl side of a loop: which code belongs to which watcher. Callbacks run through the trampoline; an exception
 * travels back through the core as EVF_ECALLBACK and is thrown where Perl called us. */
#include "glue.h"

#include <fcntl.h>

/* ---- The object --------------------------------------------------------------------------------------------- */

static void drop_error(pTHX_ struct glue_loop *loop) {
    SV *error = loop->error;
    loop->error = NULL;
    SvREFCNT_dec(error);
}

static void free_io(pTHX_ struct glue_io *watch) {
    SvREFCNT_dec(watch->handle);
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) SvREFCNT_dec(watch->code[i]);
    Safefree(watch);
}

static void remove_io(pTHX_ struct glue_io *watch) {
    struct glue_loop *loop = watch->loop;
    evf_io_stop(&watch->io);
    if (watch->prev != NULL) watch->prev->next = watch->next;
    else loop->ios = watch->next;
    if (watch->next != NULL) watch->next->prev = watch->prev;
    watch->is_removed = true;
    if (watch->delivers == 0) free_io(aTHX_ watch);
}

static void loop_free(pTHX_ struct glue_loop *loop) {
    /* First the core, so that no watcher is active; then what Perl may destroy. An abandoned loop does not know its
     * watchers any more, and they look at it to see that there is nothing to stop: that one goes last. */
    const bool is_abandoned = evf_loop_is_abandoned(loop->evf);
    if (!is_abandoned) evf_loop_free(loop->evf);
    while (loop->ios != NULL) remove_io(aTHX_ loop->ios);
    for (struct glue_signal *signal = loop->signals, *next; signal != NULL; signal = next) {
        next = signal->next;
        SvREFCNT_dec(signal->code);
        Safefree(signal);
    }
    for (struct glue_process *process = loop->processes, *next; process != NULL; process = next) {
        next = process->next;
        SvREFCNT_dec(process->code);
        Safefree(process);
    }
    for (U32 i = 0; i < loop->slots_count; i++) {
        SvREFCNT_dec(loop->slots[i]->code);
        Safefree(loop->slots[i]);
    }
    Safefree(loop->slots);
    drop_error(aTHX_ loop);
    if (is_abandoned) evf_loop_free(loop->evf);
    Safefree(loop);
}

static int magic_free(pTHX_ SV *object, MAGIC *magic) {
    PERL_UNUSED_ARG(object);
    struct glue_loop *loop = (struct glue_loop *)(void *)magic->mg_ptr;
    magic->mg_ptr = NULL;
    if (loop != NULL) loop_free(aTHX_ loop);
    return 0;
}

#ifdef USE_ITHREADS
/* A loop belongs to the thread that made it; the copy in a new thread is an empty shell. */
static int magic_dup(pTHX_ MAGIC *magic, CLONE_PARAMS *parameters) {
    PERL_UNUSED_ARG(parameters);
    magic->mg_ptr = NULL;
    return 0;
}
#else
#define magic_dup NULL
#endif

static const MGVTBL loop_magic = {.svt_free = magic_free, .svt_dup = magic_dup};

static int call_method_of(pTHX_ struct glue_loop *loop, const char *method) {
    SV *argument = newRV_inc(loop->object);
    GV *found = gv_fetchmethod_autoload(SvSTASH(loop->object), method, FALSE);
    int rc = 0;
    if (found != NULL && GvCV(found) != NULL) rc = glue_call(aTHX_(SV *) GvCV(found), &argument, 1, &loop->error);
    else SvREFCNT_dec(argument);
    return rc;
}

static int before_wait(void *data) {
    struct glue_loop *loop = data;
    dTHXa(loop->perl);
    return call_method_of(aTHX_ loop, "pre_wait");
}

static int after_wait(void *data) {
    struct glue_loop *loop = data;
    dTHXa(loop->perl);
    return call_method_of(aTHX_ loop, "post_wait");
}

struct glue_loop *glue_loop_attach(pTHX_ SV *self, const struct evf_backend *backend, const char *method,
                                   bool is_io_async, bool calls_wait) {
    struct glue_loop *loop;
    Newxz(loop, 1, struct glue_loop);
    loop->perl = PERL_GET_CONTEXT;
    loop->generation = evf_fork_generation;
    loop->object = SvRV(self);
    loop->is_io_async = is_io_async;
    loop->calls_wait = calls_wait;
    struct evf_loop_hooks hooks = {
        .before_wait = calls_wait ? before_wait : NULL,
        .after_wait = calls_wait ? after_wait : NULL,
        .run_pending = glue_signals_run_pending,
        .has_pending = glue_signals_has_pending,
        .data = loop,
    };
    errno = 0;
    int rc = evf_loop_new(backend, method, &hooks, &loop->evf);
    if (rc < 0) {
        /* Of other errors it says nothing. */
        const int system_errno = rc == EVF_ESYSTEM || rc == EVF_EBACKEND ? errno : 0;
        Safefree(loop);
        glue_throw(aTHX_ rc, "new", NULL, "cannot make a loop on %s%s%s: %s%s%s%s", backend->name,
                   method != NULL ? " with method " : "", method != NULL ? method : "", evf_error_text(rc),
                   system_errno != 0 ? " (" : "", system_errno != 0 ? Strerror(system_errno) : "",
                   system_errno != 0 ? ")" : "");
    }
    MAGIC *magic = sv_magicext(loop->object, NULL, PERL_MAGIC_ext, &loop_magic, (const char *)(void *)loop, 0);
#ifdef USE_ITHREADS
    magic->mg_flags |= MGf_DUP;
#else
    PERL_UNUSED_VAR(magic);
#endif
    return loop;
}

bool glue_is_loop(pTHX_ SV *object) {
    return SvROK(object) && SvTYPE(SvRV(object)) >= SVt_PVMG &&
           mg_findext(SvRV(object), PERL_MAGIC_ext, &loop_magic) != NULL;
}

struct glue_loop *glue_loop_of(pTHX_ SV *self, const char *operation) {
    if (SvROK(self) && SvTYPE(SvRV(self)) >= SVt_PVMG) {
        const MAGIC *magic = mg_findext(SvRV(self), PERL_MAGIC_ext, &loop_magic);
        if (magic != NULL && magic->mg_ptr != NULL) return (struct glue_loop *)(void *)magic->mg_ptr;
        if (magic != NULL)
            glue_throw(aTHX_ EVF_EINVAL, operation, self, "the loop belongs to another thread, or was destroyed");
    }
    glue_throw(aTHX_ EVF_EINVAL, operation, self, "called on what is no loop: '%s'", glue_text(aTHX_ self));
}

/* In the child of a raw fork the core has stopped watching its parent's children: their code goes, too. Where perl
 * calls in, because that may destroy anything. */
static void drop_processes_of_parent(pTHX_ struct glue_loop *loop) {
    if (LIKELY(loop->generation == evf_fork_generation) || evf_loop_after_fork(loop->evf, false) < 0) return;
    struct glue_process *dropped = NULL;
    loop->generation = evf_fork_generation;
    for (struct glue_process **at = &loop->processes, *watch; (watch = *at) != NULL;) {
        if (watch->process.w.loop != NULL) { /* started here */
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        watch->next = dropped;
        dropped = watch;
    }
    for (struct glue_process *watch; (watch = dropped) != NULL;) {
        SV *code = watch->code;
        dropped = watch->next;
        Safefree(watch);
        SvREFCNT_dec(code);
    }
}

/* ---- A turn ------------------------------------------------------------------------------------------------- */

int glue_loop_once(pTHX_ struct glue_loop *loop, int64_t timeout_ns) {
    drop_processes_of_parent(aTHX_ loop);
    glue_signals_begin(aTHX_ loop);
    int count = evf_loop_run_once(loop->evf, timeout_ns);
    if (count >= 0) return count;
    if (loop->error != NULL) {
        SV *error = sv_2mortal(loop->error);
        loop->error = NULL;
        croak_sv(error);
    }
    glue_throw(aTHX_ count, "loop_once", NULL, "%s", evf_error_text(count));
}

/* ---- run and stop ------------------------------------------------------------------------------------------- */

static void end_run(pTHX_ void *data) {
    struct glue_run *run = data;
    run->loop->run = run->outer;
    SvREFCNT_dec((SV *)run->result);
}

/* A class made of ours may have a turn of its own. */
static bool has_own_loop_once(pTHX_ const struct glue_loop *loop) {
    GV *found = gv_fetchmethod_autoload(SvSTASH(loop->object), "loop_once", FALSE);
    return found != NULL && GvCV(found) != get_cv("EventLoop::Fork::Loop::loop_once", 0);
}

static void call_loop_once(pTHX_ const struct glue_loop *loop) {
    dSP;
    PUSHMARK(SP);
    XPUSHs(sv_2mortal(newRV_inc(loop->object)));
    PUTBACK;
    (void)call_method("loop_once", G_VOID | G_DISCARD);
}

AV *glue_loop_run(pTHX_ struct glue_loop *loop) {
    struct glue_run run = {.loop = loop, .outer = loop->run, .is_running = true};
    const bool calls_method = has_own_loop_once(aTHX_ loop);
    ENTER;
    SAVEDESTRUCTOR_X(end_run, &run);
    loop->run = &run;
    while (run.is_running) {
        ENTER;
        SAVETMPS;
        if (calls_method) call_loop_once(aTHX_ loop);
        else (void)glue_loop_once(aTHX_ loop, -1);
        FREETMPS;
        LEAVE;
        PERL_ASYNC_CHECK();
    }
    AV *result = run.result;
    run.result = NULL;
    LEAVE;
    return result;
}

void glue_loop_stop(pTHX_ struct glue_loop *loop, SV **result, I32 count) {
    struct glue_run *run = loop->run;
    if (run == NULL) return;
    run->is_running = false;
    AV *old = run->result;
    run->result = count > 0 ? av_make(count, result) : NULL;
    SvREFCNT_dec((SV *)old);
}

/* ---- Descriptors -------------------------------------------------------------------------------------------- */

/* Closed without unwatch_io; the number may be another file's by now. */
static bool has_lost_handle(pTHX_ const struct glue_io *watch) {
    SV *target = SvRV(watch->handle);
    IO *io = isGV_with_GP(target) ? GvIO((GV *)target) : SvTYPE(target) == SVt_PVIO ? (IO *)target : NULL;
    if (io == NULL) return isGV_with_GP(target); /* an object with a method fileno is taken at its word */
    PerlIO *file = IoIFP(io) != NULL ? IoIFP(io) : IoOFP(io);
    if (file == NULL) return !SvTIED_mg((SV *)io, PERL_MAGIC_tiedscalar);
    return PerlIO_fileno(file) != watch->io.fd;
}

static int on_io(struct evf_io *io, unsigned events, void *data) {
    struct glue_io *watch = data;
    PERL_UNUSED_ARG(io);
    dTHXa(watch->loop->perl);
    int rc = 0;
    if (has_lost_handle(aTHX_ watch)) {
        evf_io_stop_closed(&watch->io);
        remove_io(aTHX_ watch);
        return 0;
    }
    if (watch->delivers++ == 0) watch->fresh = 0;
    for (int i = 0; i < GLUE_IO_CALLBACKS && rc == 0 && !watch->is_removed; i++) {
        if ((events & (1u << i)) == 0 || (watch->fresh & (1u << i)) != 0 || watch->code[i] == NULL) continue;
        SV *code = SvREFCNT_inc_simple_NN(watch->code[i]); /* the callback may replace itself */
        rc = glue_call(aTHX_ code, NULL, 0, &watch->loop->error);
        SvREFCNT_dec_NN(code);
    }
    if (--watch->delivers == 0 && watch->is_removed) free_io(aTHX_ watch);
    return rc;
}

static unsigned mask_of(const struct glue_io *watch) {
    unsigned mask = 0;
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) {
        if (watch->code[i] != NULL) mask |= 1u << i;
    }
    return mask;
}

static struct glue_io *find_by_fd(const struct glue_loop *loop, int fd) {
    struct evf_io *io = evf_io_find(loop->evf, fd);
    return io != NULL ? (struct glue_io *)io->w.data : NULL;
}

static struct glue_io *find_by_handle(const struct glue_loop *loop, SV *handle) {
    for (struct glue_io *watch = loop->ios; watch != NULL; watch = watch->next) {
        if (SvRV(watch->handle) == SvRV(handle)) return watch;
    }
    return NULL;
}

static void throw_for_handle(pTHX_ int code, const char *operation, SV *handle) {
    const char *why = code == EVF_EBADF     ? "not an open file handle"
                      : code == EVF_ENOTSUP ? "a descriptor too high for this method"
                                            : evf_error_text(code);
    glue_throw(aTHX_ code, operation, handle, "'handle' is %s: '%s'", why, glue_text(aTHX_ handle));
}

static struct glue_io *new_io(pTHX_ struct glue_loop *loop, SV *handle, int fd, unsigned mask) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0) throw_for_handle(aTHX_ EVF_EBADF, "watch_io", handle);
    /* As IO::Async's own loops: several processes may be told of one connection, and only one of them gets it. */
    if (!(flags & O_NONBLOCK)) (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    struct glue_io *watch;
    Newxz(watch, 1, struct glue_io);
    int rc = evf_io_start(loop->evf, &watch->io, fd, mask, on_io, watch);
    if (rc < 0) {
        Safefree(watch);
        throw_for_handle(aTHX_ rc, "watch_io", handle);
    }
    watch->loop = loop;
    watch->handle = newRV_inc(SvROK(handle) ? SvRV(handle) : handle);
    watch->next = loop->ios;
    if (watch->next != NULL) watch->next->prev = watch;
    loop->ios = watch;
    return watch;
}

/* Of a watch whose file was closed without unwatch_io. What it holds is released when the statement is over, because
 * that may destroy anything. */
static void remove_closed_io(pTHX_ struct glue_io *watch) {
    SV *handle = newRV_inc(SvRV(watch->handle));
    sv_2mortal(handle);
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) {
        if (watch->code[i] != NULL) sv_2mortal(watch->code[i]);
        watch->code[i] = NULL;
    }
    evf_io_stop_closed(&watch->io);
    remove_io(aTHX_ watch);
}

/* The watch of this number, if it is not of another file that had the number before. */
static struct glue_io *find_live_by_fd(pTHX_ const struct glue_loop *loop, int fd, const SV *target) {
    struct glue_io *watch = find_by_fd(loop, fd);
    if (watch == NULL || SvRV(watch->handle) == target) return watch;
    SV *other = sv_2mortal(newRV_inc(SvRV(watch->handle)));
    const bool is_lost = glue_fileno(aTHX_ other) != fd;
    watch = find_by_fd(loop, fd); /* its fileno may be Perl code, which may have changed anything */
    if (watch == NULL || !is_lost || SvRV(watch->handle) != SvRV(other)) return watch;
    remove_closed_io(aTHX_ watch);
    return NULL;
}

void glue_watch_io(pTHX_ struct glue_loop *loop, SV *handle, SV **codes) {
    int fd = glue_fileno(aTHX_ handle);
    if (fd < 0) throw_for_handle(aTHX_ EVF_EBADF, "watch_io", handle);
    if (evf_loop_is_abandoned(loop->evf)) throw_for_handle(aTHX_ EVF_EABANDONED, "watch_io", handle);
    SV *target = SvROK(handle) ? SvRV(handle) : handle;
    unsigned mask = 0;
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) {
        if (codes[i] != NULL) mask |= 1u << i;
    }

    struct glue_io *watch = find_live_by_fd(aTHX_ loop, fd, target);
    if (watch == NULL) {
        watch = new_io(aTHX_ loop, handle, fd, mask);
    } else if (evf_io_is_closed(&watch->io) || mask_of(watch) == (mask_of(watch) | mask)) {
        /* The handle was closed, and has the number again. Or there is nothing new to ask for, and the file may be a
         * new one all the same. Have the kernel told again. */
        evf_io_stop(&watch->io);
        int rc = evf_io_start(loop->evf, &watch->io, fd, mask_of(watch) | mask, on_io, watch);
        if (rc < 0) {
            remove_io(aTHX_ watch);
            throw_for_handle(aTHX_ rc, "watch_io", handle);
        }
    }
    SV *replaced[GLUE_IO_CALLBACKS] = {NULL}, *replaced_handle = NULL;
    if (SvRV(watch->handle) != target) {
        replaced_handle = watch->handle;
        watch->handle = newRV_inc(target);
    }
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) {
        if (codes[i] == NULL) continue;
        replaced[i] = watch->code[i];
        watch->code[i] = glue_keep_code(aTHX_ codes[i]);
        watch->fresh |= 1u << i;
    }
    (void)evf_io_set(&watch->io, mask_of(watch));                          /* active, and the mask is valid */
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) SvREFCNT_dec(replaced[i]); /* last: may destroy anything */
    SvREFCNT_dec(replaced_handle);
}

void glue_unwatch_io(pTHX_ struct glue_loop *loop, SV *handle, unsigned mask) {
    int fd = glue_fileno(aTHX_ handle);
    struct glue_io *watch = fd >= 0 ? find_by_fd(loop, fd) : NULL;
    if (watch == NULL && SvROK(handle)) watch = find_by_handle(loop, handle); /* closed first, unwatched then */
    if (watch == NULL) return;
    SV *removed[GLUE_IO_CALLBACKS];
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) {
        removed[i] = NULL;
        if ((mask & (1u << i)) == 0) continue;
        removed[i] = watch->code[i];
        watch->code[i] = NULL;
    }
    if (mask_of(watch) != 0) (void)evf_io_set(&watch->io, mask_of(watch));
    else remove_io(aTHX_ watch);
    for (int i = 0; i < GLUE_IO_CALLBACKS; i++) SvREFCNT_dec(removed[i]); /* last: may destroy anything */
}

/* ---- Times and idles ---------------------------------------------------------------------------------------- */

#define ID_SHIFT (UVSIZE * 4)

static struct glue_slot *take_slot(pTHX_ struct glue_loop *loop, SV *code) {
    struct glue_slot *slot = loop->free_slots;
    if (slot != NULL) {
        loop->free_slots = slot->next_free;
    } else {
        if (loop->slots_count == loop->slots_size) {
            loop->slots_size = loop->slots_size ? loop->slots_size * 2 : 16;
            Renew(loop->slots, loop->slots_size, struct glue_slot *);
        }
        Newxz(slot, 1, struct glue_slot);
        slot->loop = loop;
        slot->index = loop->slots_count;
        loop->slots[loop->slots_count++] = slot;
    }
    slot->generation++;
    slot->code = glue_keep_code(aTHX_ code);
    return slot;
}

static UV id_of(const struct glue_slot *slot) {
    return ((UV)slot->generation << ID_SHIFT) | ((UV)slot->index + 1);
}

static SV *give_back_slot(struct glue_slot *slot) {
    SV *code = slot->code;
    slot->code = NULL;
    slot->next_free = slot->loop->free_slots;
    slot->loop->free_slots = slot;
    return code;
}

static int fire(struct glue_slot *slot) {
    struct glue_loop *loop = slot->loop;
    dTHXa(loop->perl);
    SV *code = give_back_slot(slot);
    int rc = glue_call(aTHX_ code, NULL, 0, &loop->error);
    SvREFCNT_dec(code);
    return rc;
}

static int on_timer(struct evf_timer *timer, void *data) {
    PERL_UNUSED_ARG(timer);
    return fire(data);
}

static int on_idle(struct evf_idle *idle, void *data) {
    PERL_UNUSED_ARG(idle);
    return fire(data);
}

UV glue_watch_time(pTHX_ struct glue_loop *loop, enum evf_clock clock, int64_t deadline_ns, SV *code) {
    struct glue_slot *slot = take_slot(aTHX_ loop, code);
    slot->is_idle = false;
    int rc = evf_timer_start(loop->evf, &slot->w.timer, clock, deadline_ns, on_timer, slot);
    if (rc < 0) {
        SvREFCNT_dec(give_back_slot(slot));
        glue_throw(aTHX_ rc, "watch_time", NULL, "%s", evf_error_text(rc));
    }
    return id_of(slot);
}

UV glue_watch_idle(pTHX_ struct glue_loop *loop, const char *operation, SV *code) {
    struct glue_slot *slot = take_slot(aTHX_ loop, code);
    slot->is_idle = true;
    memset(&slot->w, 0, sizeof slot->w); /* it may have been a timer */
    int rc = evf_idle_start(loop->evf, &slot->w.idle, on_idle, slot);
    if (rc < 0) {
        SvREFCNT_dec(give_back_slot(slot));
        glue_throw(aTHX_ rc, operation, NULL, "%s", evf_error_text(rc));
    }
    return id_of(slot);
}

void glue_unwatch_slot(pTHX_ struct glue_loop *loop, UV id, bool is_idle) {
    UV index = id & (((UV)1 << ID_SHIFT) - 1);
    if (index == 0 || index > loop->slots_count) return;
    struct glue_slot *slot = loop->slots[index - 1];
    if (slot->code == NULL || slot->is_idle != is_idle || id_of(slot) != id) return; /* has fired, or never was */
    if (is_idle) evf_idle_stop(&slot->w.idle);
    else evf_timer_stop(&slot->w.timer);
    SvREFCNT_dec(give_back_slot(slot));
}

/* ---- Signals ------------------------------------------------------------------------------------------------ */

static int on_signal(struct evf_signal *sig, int signo, void *data) {
    struct glue_signal *watch = data;
    PERL_UNUSED_ARG(sig);
    PERL_UNUSED_ARG(signo);
    struct glue_loop *loop = watch->loop;
    dTHXa(loop->perl);
    SV *code = SvREFCNT_inc_simple_NN(watch->code); /* the callback may unwatch */
    int rc = glue_call(aTHX_ code, NULL, 0, &loop->error);
    SvREFCNT_dec_NN(code);
    return rc;
}

static int signal_number(pTHX_ const char *operation, SV *name) {
    int signo = glue_signal_number(aTHX_ name);
    if (signo > 0) return signo;
    const char *text = glue_text(aTHX_ name);
    if (strnEQ(text, "SIG", 3))
        glue_throw(aTHX_ EVF_ESIGNAL, operation, name, "unknown signal '%s'; names have no SIG: '%s'", text, text + 3);
    glue_throw(aTHX_ EVF_ESIGNAL, operation, name, "unknown signal '%s'; `kill -l` lists the names", text);
}

void glue_watch_signal(pTHX_ struct glue_loop *loop, SV *name, SV *code) {
    int signo = signal_number(aTHX_ "watch_signal", name);
    for (struct glue_signal *watch = loop->signals; watch != NULL; watch = watch->next) {
        if (watch->sig.signo != signo || watch->sig.w.loop == NULL) continue;
        SV *old = watch->code;
        watch->code = glue_keep_code(aTHX_ code);
        SvREFCNT_dec(old);
        return;
    }
    struct glue_signal *watch;
    Newxz(watch, 1, struct glue_signal);
    watch->loop = loop;
    int rc = evf_signal_start(loop->evf, &watch->sig, signo, on_signal, watch);
    if (rc < 0) {
        Safefree(watch);
        glue_throw(aTHX_ rc, "watch_signal", name, "%s: '%s'", evf_error_text(rc), glue_text(aTHX_ name));
    }
    watch->code = glue_keep_code(aTHX_ code);
    watch->next = loop->signals;
    loop->signals = watch;
}

void glue_unwatch_signal(pTHX_ struct glue_loop *loop, SV *name) {
    int signo = signal_number(aTHX_ "unwatch_signal", name);
    for (struct glue_signal **at = &loop->signals; *at != NULL; at = &(*at)->next) {
        struct glue_signal *watch = *at;
        if (watch->sig.signo != signo) continue;
        *at = watch->next;
        evf_signal_stop(&watch->sig);
        SV *code = watch->code;
        Safefree(watch);
        SvREFCNT_dec(code);
        return;
    }
}

/* ---- Processes ---------------------------------------------------------------------------------------------- */

static SV *remove_process(struct glue_process *watch) {
    struct glue_process **at = &watch->loop->processes;
    while (*at != watch) at = &(*at)->next;
    *at = watch->next;
    evf_process_stop(&watch->process);
    SV *code = watch->code;
    Safefree(watch);
    return code;
}

static int on_process(struct evf_process *process, int wait_status, void *data) {
    struct glue_process *watch = data;
    struct glue_loop *loop = watch->loop;
    dTHXa(loop->perl);
    SV *arguments[] = {newSViv((IV)process->pid), newSViv((IV)wait_status)};
    SV *code = remove_process(watch);
    int rc = glue_call(aTHX_ code, arguments, 2, &loop->error);
    SvREFCNT_dec(code);
    return rc;
}

int glue_start_process(pTHX_ struct glue_loop *loop, pid_t pid, SV *code) {
    struct glue_process *watch;
    Newxz(watch, 1, struct glue_process);
    watch->loop = loop;
    int rc = evf_process_start(loop->evf, &watch->process, pid, on_process, watch);
    if (rc < 0) {
        Safefree(watch);
        return rc;
    }
    watch->code = glue_keep_code(aTHX_ code);
    watch->next = loop->processes;
    loop->processes = watch;
    return 0;
}

void glue_watch_process(pTHX_ struct glue_loop *loop, pid_t pid, SV *code) {
    int rc = glue_start_process(aTHX_ loop, pid, code);
    if (rc < 0)
        glue_throw(aTHX_ rc, "watch_process", sv_2mortal(newSViv((IV)pid)), "process %ld: %s", (long)pid,
                   pid == 0 ? "not all children can be watched, because those of others would be taken from them"
                            : evf_error_text(rc));
}

void glue_unwatch_process(pTHX_ struct glue_loop *loop, pid_t pid) {
    drop_processes_of_parent(aTHX_ loop);
    struct evf_process *process = evf_process_find(loop->evf, pid);
    if (process != NULL) SvREFCNT_dec(remove_process((struct glue_process *)process->w.data));
}
