/* What the doctor cannot see from Perl: which hooks there are and how long each one takes, the handles behind
 * descriptors, bytes in buffers, and whether two processes share an open file. Changes nothing but the callbacks of
 * hooks, while it watches them. lib/EventLoop/Fork/Doctor.pm is who asks. */
#include "glue_doctor.h"
#include "glue.h"

#include "perliol.h"

#ifdef __linux__
#include <sys/syscall.h>
#endif
#ifdef __GLIBC__
#include <stdio_ext.h>
#undef stdout /* perl's name for its own */
#endif

/* ---- Hooks -------------------------------------------------------------------------------------------------- */

/* A hook that is watched. Its callbacks and their data are kept here. */
struct watched {
    struct evf_hook *hook; /* borrowed, and only looked at while it is registered */
    evf_hook_cb cb[EVF_PHASE_COUNT];
    void *data;
    unsigned number;
    bool is_skipped; /* in the child */
    int64_t spent_ns[EVF_PHASE_COUNT];
};

static struct {
    struct watched **list;
    size_t count, size;
    int fd[EVF_PHASE_COUNT]; /* who is told of begin and end; -1: nobody */
} watch;

/* One line, at once: a pipe takes it whole, and what a process wrote before its death is there. */
static void tell(const struct watched *watched, enum evf_phase phase, char what, int64_t ns) {
    static const char *const names[EVF_PHASE_COUNT] = {"prepare", "parent", "child"};
    char line[96];
    if (watch.fd[phase] < 0) return;
    const int length =
        my_snprintf(line, sizeof line, "hook %c %s %u %ld\n", what, names[phase], watched->number, (long)(ns / 1000));
    if (write(watch.fd[phase], line, (size_t)length) < 0) {
        /* Nobody reads any more. */
    }
}

static int watched_cb(struct evf_hook *hook, enum evf_phase phase, void *data) {
    struct watched *watched = data;
    if (phase == EVF_CHILD && watched->is_skipped) return 0;
    tell(watched, phase, 'B', 0);
    const int64_t begin_ns = evf_clock_now(NULL, EVF_CLOCK_MONOTONIC);
    const int rc = watched->cb[phase](hook, phase, watched->data); /* may cancel and free the hook */
    watched->spent_ns[phase] = evf_clock_now(NULL, EVF_CLOCK_MONOTONIC) - begin_ns;
    tell(watched, phase, 'E', watched->spent_ns[phase]);
    return rc;
}

static bool is_watched(const struct evf_hook *hook) {
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        if (hook->cb[phase] == watched_cb) return true;
    }
    return false;
}

static void add(struct evf_hook *hook) {
    struct watched *watched;
    Newxz(watched, 1, struct watched);
    if (watch.count == watch.size) {
        watch.size = watch.size > 0 ? watch.size * 2 : 16;
        Renew(watch.list, watch.size, struct watched *);
    }
    watched->hook = hook;
    watched->data = hook->data;
    watched->number = (unsigned)watch.count;
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        watched->cb[phase] = hook->cb[phase];
        watched->spent_ns[phase] = -1;
        if (hook->cb[phase] != NULL) hook->cb[phase] = watched_cb;
    }
    hook->data = watched;
    watch.list[watch.count++] = watched;
}

static void put_back(struct evf_hook *hook) {
    struct watched *watched = hook->data;
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) hook->cb[phase] = watched->cb[phase];
    hook->data = watched->data;
    watched->hook = NULL;
}

AV *glue_doctor_watch_hooks(pTHX_ int canary_fd, int parent_fd) {
    AV *labels = (AV *)sv_2mortal((SV *)newAV());
    glue_doctor_unwatch_hooks(aTHX);
    watch.fd[EVF_PREPARE] = watch.fd[EVF_PARENT] = parent_fd;
    watch.fd[EVF_CHILD] = canary_fd;
    /* The order of the calls in a child; those without a callback there come last. */
    static const enum evf_phase order[] = {EVF_CHILD, EVF_PREPARE, EVF_PARENT};
    for (size_t i = 0; i < C_ARRAY_LENGTH(order); i++) {
        for (struct evf_hook *hook = NULL; (hook = evf_hook_next(hook, order[i])) != NULL;) {
            if (is_watched(hook)) continue;
            add(hook);
            av_push(labels, newSVpv(hook->name != NULL ? hook->name : "without a name", 0));
        }
    }
    return labels;
}

bool glue_doctor_skip_hook(UV number) {
    if (number >= watch.count) return false;
    watch.list[number]->is_skipped = true;
    return true;
}

AV *glue_doctor_spent(pTHX_ UV number) {
    AV *seconds = (AV *)sv_2mortal((SV *)newAV());
    if (number >= watch.count) return seconds;
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        const int64_t ns = watch.list[number]->spent_ns[phase];
        av_push(seconds, ns >= 0 ? newSVnv((NV)ns / 1e9) : newSV(0));
    }
    return seconds;
}

/* One that was cancelled meanwhile may be registered again by its owner: what it points to is then not freed. */
void glue_doctor_unwatch_hooks(pTHX) {
    PERL_UNUSED_CONTEXT;
    for (int phase = 0; phase < EVF_PHASE_COUNT; phase++) {
        watch.fd[phase] = -1;
        for (struct evf_hook *hook = NULL; (hook = evf_hook_next(hook, (enum evf_phase)phase)) != NULL;) {
            if (is_watched(hook)) put_back(hook);
        }
    }
    for (size_t i = 0; i < watch.count; i++) {
        if (watch.list[i]->hook == NULL) Safefree(watch.list[i]);
    }
    Safefree(watch.list);
    watch.list = NULL;
    watch.count = watch.size = 0;
}

/* ---- Handles and buffers ------------------------------------------------------------------------------------ */

static void count_bytes(pTHX_ PerlIO *stream, IV *to_write, IV *read_ahead) {
    for (PerlIO *layer = stream; PerlIOValid(layer); layer = PerlIONext(layer)) {
        const PerlIOl *base = PerlIOBase(layer);
        if (base->tab == NULL || (base->tab->kind & PERLIO_K_BUFFERED) == 0) continue;
        if ((base->flags & PERLIO_F_WRBUF) != 0)
            *to_write += (IV)(PerlIO_get_ptr(layer) - (STDCHAR *)PerlIO_get_base(layer));
        else if ((base->flags & PERLIO_F_RDBUF) != 0) *read_ahead += (IV)PerlIO_get_cnt(layer);
    }
}

static void store(pTHX_ HV *hash, const char *key, SV *value) {
    (void)hv_store(hash, key, (I32)strlen(key), value, 0);
}

static HV *describe(pTHX_ const GV *gv, const IO *io, int fd) {
    HV *hash = newHV();
    IV to_write = 0, read_ahead = 0;
    if (IoOFP(io) != NULL) count_bytes(aTHX_ IoOFP(io), &to_write, &read_ahead);
    if (IoIFP(io) != NULL && IoIFP(io) != IoOFP(io)) count_bytes(aTHX_ IoIFP(io), &to_write, &read_ahead);
    store(aTHX_ hash, "fd", newSViv(fd));
    store(aTHX_ hash, "to_write", newSViv(to_write));
    store(aTHX_ hash, "read_ahead", newSViv(read_ahead));
    store(aTHX_ hash, "name", newSVpvn(GvNAME(gv), GvNAMELEN(gv)));
    if (GvSTASH(gv) != NULL && HvNAME(GvSTASH(gv)) != NULL)
        store(aTHX_ hash, "package", newSVpv(HvNAME(GvSTASH(gv)), 0));
    if (SvOBJECT((const SV *)gv)) store(aTHX_ hash, "class", newSVpv(HvNAME(SvSTASH((const SV *)gv)), 0));
    if (GvFILE_HEK(gv) != NULL) store(aTHX_ hash, "file", newSVpv(GvFILE(gv), 0));
    store(aTHX_ hash, "line", newSVuv(GvLINE(gv)));
    store(aTHX_ hash, "thing", newRV_inc((SV *)gv));
    return hash;
}

AV *glue_doctor_handles(pTHX) {
    AV *found = (AV *)sv_2mortal((SV *)newAV());
    for (SV *arena = PL_sv_arenaroot; arena != NULL; arena = (SV *)SvANY(arena)) {
        const SV *end = &arena[SvREFCNT(arena)];
        for (SV *sv = arena + 1; sv < end; sv++) {
            if (SvTYPE(sv) != SVt_PVGV || SvREFCNT(sv) == 0 || !isGV_with_GP(sv) || GvGP((GV *)sv) == NULL) continue;
            const IO *io = GvIO((GV *)sv);
            if (io == NULL) continue;
            PerlIO *stream = IoIFP(io) != NULL ? IoIFP(io) : IoOFP(io);
            const int fd = stream != NULL ? PerlIO_fileno(stream) : -1;
            if (fd >= 0) av_push(found, newRV_noinc((SV *)describe(aTHX_(GV *) sv, io, fd)));
        }
    }
    return found;
}

UV glue_doctor_stdio_bytes(void) {
#ifdef __GLIBC__
    extern FILE *stdout;
    return (UV)__fpending(stdout);
#else
    return 0;
#endif
}

/* ---- Open files --------------------------------------------------------------------------------------------- */

int glue_doctor_shares_file(pid_t pid, int fd) {
#if defined(__linux__) && defined(SYS_kcmp)
    enum { KCMP_FILE_ = 0 };
    const long answer = syscall(SYS_kcmp, (long)getpid(), (long)pid, (long)KCMP_FILE_, (long)fd, (long)fd);
    if (answer >= 0) return answer == 0;
    if (errno == EBADF) return 0;
#else
    PERL_UNUSED_VAR(pid);
    PERL_UNUSED_VAR(fd);
#endif
    return -1;
}
