/* Uses everything that eventloop_fork.h offers, and tells Perl what came of it. */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"

#include "XSUB.h"

#include "eventloop_fork.h"

static const struct eventloop_fork_api *evf;

/* ---- Hooks: each call leaves a line in @EVFConsumer::log. */

struct hook {
    struct evf_hook hook;
    int failing_phase; /* -1: none */
    bool cancels_itself;
    char name[32];
};

static void note(const char *text, const char *name) {
    dTHX;
    av_push(get_av("EVFConsumer::log", GV_ADD), newSVpvf("%s %s", text, name));
}

static int on_fork(struct evf_hook *evf_hook, enum evf_phase phase, void *data) {
    static const char *const phases[] = {"prepare", "parent", "child"};
    struct hook *hook = (struct hook *)data;
    note(phases[phase], hook->name);
    if (hook->cancels_itself) evf->hook_cancel(evf_hook);
    return hook->failing_phase == (int)phase ? EVF_ECANCELED : 0;
}

/* ---- A fork: the code is called as Perl's would be, with a C function in between. */

static int run(pTHX_ SV *child, void *data) {
    int exit_code;
    dSP;
    ENTER;
    SAVETMPS;
    PUSHMARK(SP);
    XPUSHs(child);
    PUTBACK;
    (void)call_sv((SV *)data, G_SCALAR);
    SPAGAIN;
    exit_code = (int)POPi;
    PUTBACK;
    FREETMPS;
    LEAVE;
    return exit_code;
}

static void on_exit_of_child(pTHX_ SV *child, int wait_status, void *data) {
    PERL_UNUSED_ARG(data);
    av_push(get_av("EVFConsumer::log", GV_ADD),
            newSVpvf("exit of %s: %d", SvROK(child) ? HvNAME(SvSTASH(SvRV(child))) : "?", wait_status));
}

/* ---- Other versions of the library, for the refusals. */

static struct eventloop_fork_api other;

MODULE = EVFConsumer    PACKAGE = EVFConsumer

PROTOTYPES: DISABLE

BOOT:
    evf = EVENTLOOP_FORK_API("EVFConsumer");

UV
version()
  CODE:
    RETVAL = evf->version;
  OUTPUT:
    RETVAL

const char *
release()
  CODE:
    RETVAL = evf->release;
  OUTPUT:
    RETVAL

bool
has_all()
  CODE:
    RETVAL = evf->size == sizeof(struct eventloop_fork_api) && EVENTLOOP_FORK_HAS(evf, disown_fd);
  OUTPUT:
    RETVAL

# Puts a table of another version, or of fewer bytes, into the place of the real one, and loads it.
void
load_other(int version_more, int bytes_less, bool is_there)
  CODE:
    other = *evf;
    other.version += (unsigned)version_more;
    other.size -= (size_t)bytes_less;
    other.release = "7.5";
    if (is_there)
        (void)hv_stores(PL_modglobal, EVENTLOOP_FORK_API_KEY, newSViv(PTR2IV(&other)));
    else
        (void)hv_deletes(PL_modglobal, EVENTLOOP_FORK_API_KEY, G_DISCARD);
    (void)EVENTLOOP_FORK_API("EVFConsumer");

bool
load_part_of_other()
  CODE:
    RETVAL = eventloop_fork_api_of(aTHX_ "EVFConsumer", offsetof(struct eventloop_fork_api, disown_fd)) == &other
             && !EVENTLOOP_FORK_HAS(&other, disown_fd) && EVENTLOOP_FORK_HAS(&other, process_reap);
  OUTPUT:
    RETVAL

void
restore()
  CODE:
    (void)hv_stores(PL_modglobal, EVENTLOOP_FORK_API_KEY, newSViv(PTR2IV(evf)));

const char *
error_name(int code)
  CODE:
    RETVAL = evf->error_name(code);
  OUTPUT:
    RETVAL

const char *
error_text(int code)
  CODE:
    RETVAL = evf->error_text(code);
  OUTPUT:
    RETVAL

IV
generation()
  CODE:
    RETVAL = (IV)*evf->fork_generation;
  OUTPUT:
    RETVAL

# The address of a new hook, or a negative code.
IV
hook(const char *name, int priority, int failing_phase = -1, bool cancels_itself = false)
  PREINIT:
    struct hook *hook;
    int rc;
  CODE:
    Newxz(hook, 1, struct hook);
    my_strlcpy(hook->name, name, sizeof hook->name);
    hook->failing_phase = failing_phase;
    hook->cancels_itself = cancels_itself;
    hook->hook.name = hook->name;
    hook->hook.priority = (unsigned char)priority;
    hook->hook.data = hook;
    hook->hook.cb[EVF_PREPARE] = hook->hook.cb[EVF_PARENT] = hook->hook.cb[EVF_CHILD] = on_fork;
    rc = evf->hook_register(&hook->hook);
    if (rc < 0) Safefree(hook);
    RETVAL = rc < 0 ? (IV)rc : PTR2IV(hook);
  OUTPUT:
    RETVAL

# A second registration of the same memory.
int
hook_again(IV address)
  CODE:
    RETVAL = evf->hook_register(&(INT2PTR(struct hook *, address))->hook);
  OUTPUT:
    RETVAL

bool
is_registered(IV address)
  CODE:
    RETVAL = evf->hook_is_registered(&(INT2PTR(struct hook *, address))->hook);
  OUTPUT:
    RETVAL

# Twice: the second one does nothing.
void
cancel(IV address)
  PREINIT:
    struct hook *hook;
  CODE:
    hook = INT2PTR(struct hook *, address);
    evf->hook_cancel(&hook->hook);
    evf->hook_cancel(&hook->hook);
    Safefree(hook);

# The pid, or a negative code; pid 0 is none.
IV
fork(SV *loop, SV *code, const char *name = "", unsigned flags = 0, bool with_on_exit = true)
  PREINIT:
    struct eventloop_fork_options options;
    pid_t pid = 0;
    int rc;
  CODE:
    Zero(&options, 1, struct eventloop_fork_options);
    options.size = sizeof options;
    options.loop = SvOK(loop) ? loop : NULL;
    options.name = *name != '\0' ? name : NULL;
    options.flags = flags;
    options.run = SvOK(code) ? run : NULL;
    options.on_exit = with_on_exit ? on_exit_of_child : NULL;
    options.data = SvOK(code) ? SvRV(code) : NULL; /* the caller keeps it */
    rc = evf->fork(aTHX_ &options, &pid, NULL);
    RETVAL = rc < 0 ? (IV)rc : (IV)pid;
  OUTPUT:
    RETVAL

# pid (or a negative code) and descriptor of a child that no loop knows of.
void
fork_alone(SV *code, const char *name = "", bool with_on_exit = false)
  PREINIT:
    struct eventloop_fork_options options;
    pid_t pid = 0;
    int fd = -7, rc;
  PPCODE:
    Zero(&options, 1, struct eventloop_fork_options);
    options.size = sizeof options;
    options.name = *name != '\0' ? name : NULL;
    options.run = run;
    options.on_exit = with_on_exit ? on_exit_of_child : NULL;
    options.data = SvRV(code);
    PUTBACK;
    rc = evf->fork(aTHX_ &options, &pid, &fd);
    SPAGAIN;
    EXTEND(SP, 2);
    mPUSHi(rc < 0 ? rc : pid);
    mPUSHi(fd);

int
fork_with_size(IV more)
  PREINIT:
    struct eventloop_fork_options options;
  CODE:
    Zero(&options, 1, struct eventloop_fork_options);
    options.size = sizeof options + (size_t)more;
    options.run = run;
    RETVAL = evf->fork(aTHX_ &options, NULL, NULL);
  OUTPUT:
    RETVAL

# Throws what a refused fork has left in $@.
void
fork_or_throw(SV *loop, SV *code)
  PREINIT:
    struct eventloop_fork_options options;
  CODE:
    Zero(&options, 1, struct eventloop_fork_options);
    options.size = sizeof options;
    options.loop = loop;
    options.run = run;
    options.data = SvRV(code);
    if (evf->fork(aTHX_ &options, NULL, NULL) < 0) croak(NULL);

int
process_open(IV pid)
  CODE:
    RETVAL = evf->process_open((pid_t)pid);
  OUTPUT:
    RETVAL

# What it answered, and the wait status, which starts as -7.
void
process_reap(IV pid, int fd)
  PREINIT:
    int wait_status = -7;
    int rc;
  PPCODE:
    rc = evf->process_reap((pid_t)pid, fd, &wait_status);
    EXTEND(SP, 2);
    mPUSHi(rc);
    mPUSHi(wait_status);

int
disown_fd(int fd)
  CODE:
    RETVAL = evf->disown_fd(fd);
  OUTPUT:
    RETVAL
