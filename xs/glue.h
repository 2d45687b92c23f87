/* What lies between Perl and the core: errors, the one trampoline, handles, and the state of a loop's Perl side. Only
 * files that include this one know both. */
#ifndef GLUE_H
#define GLUE_H

#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"

#include "XSUB.h"

#include "core/backend.h"
#include "core/evf.h"

#ifdef __GNUC__
#pragma GCC visibility push(hidden) /* nobody outside of this object */
#endif

#define GLUE_IO_CALLBACKS 3 /* read, write, hang-up: bit i of the core's events */

/* A watch_io. Owned by its loop's list. */
struct glue_io {
    struct evf_io io;
    struct glue_loop *loop;
    struct glue_io *next, *prev;
    SV *handle; /* a reference of our own: it keeps the descriptor open */
    SV *code[GLUE_IO_CALLBACKS];
    unsigned fresh;    /* callbacks set while the watcher's events are delivered: not for these events */
    unsigned delivers; /* deliveries under way, nested ones counted */
    bool is_removed;   /* freed by the last of them */
};

/* A watch_time or watch_idle. Its id is its index and a generation, so that an old id never means a new watch. */
struct glue_slot {
    union {
        struct evf_timer timer;
        struct evf_idle idle;
    } w;
    struct glue_loop *loop;
    SV *code; /* NULL: free */
    U32 index, generation;
    bool is_idle;
    struct glue_slot *next_free;
};

/* A watch_signal or watch_process. Owned by its loop's list. */
struct glue_signal {
    struct evf_signal sig;
    struct glue_loop *loop;
    struct glue_signal *next;
    SV *code;
};

struct glue_process {
    struct evf_process process;
    struct glue_loop *loop;
    struct glue_process *next;
    SV *code;
};

/* A call of run, on the C stack: inside of a callback there may be another one. */
struct glue_run {
    struct glue_loop *loop;
    struct glue_run *outer;
    AV *result; /* what stop was given, or NULL */
    bool is_running;
};

/* Hangs by magic on the Perl object, whatever that is, and dies with it. */
struct glue_loop {
    struct evf_loop *evf;
    SV *object;           /* borrowed: the object owns us */
    bool is_io_async;     /* keeps IO::Async's contract where it differs from ours */
    bool calls_wait;      /* pre_wait and post_wait of the object */
    int arrivals_seen;    /* signals by then; glue_signals.c */
    SV *error;            /* what ended the turn, between the trampoline and the croak */
    struct glue_run *run; /* the innermost one; NULL: none */
    struct glue_io *ios;
    struct glue_signal *signals;
    struct glue_process *processes;
    struct glue_slot **slots, *free_slots;
    U32 slots_count, slots_size;
    sig_atomic_t generation; /* of the process that the watches of processes are for */
    PerlInterpreter *perl;
};

/* ---- glue.c ------------------------------------------------------------------------------------------------- */

/* Throws an EventLoop::Fork::Error that names the first caller outside of this distribution. value may be NULL. */
void glue_throw(pTHX_ int code, const char *operation, SV *value, const char *format, ...)
    __attribute__((noreturn, format(printf, pTHX_4, pTHX_5)));

/* Where the first caller outside of this distribution is. */
const COP *glue_caller(pTHX);

/* Warns, with our name before it; an exception of the program's own handler goes nowhere. Takes the text over. */
void glue_warn(pTHX_ SV *text);

/* $@ holds an exception. An exception object may be false. */
bool glue_has_exception(pTHX);

/* The trampoline: calls Perl so that nothing leaves but by return. 0, or EVF_ECALLBACK with the exception in
 * *ret_error (the caller's to free). Arguments are taken over. */
int glue_call(pTHX_ SV *code, SV **arguments, int count, SV **ret_error);

/* The number of the open descriptor behind a handle, or -1. May call the handle's fileno. */
int glue_fileno(pTHX_ SV *handle);

/* A value in a message: "undef" where there is none. */
const char *glue_text(pTHX_ SV *value);
bool glue_is_code(pTHX_ SV *code);
/* What to keep of a callback: the code itself, or a reference to what is overloaded as code. */
SV *glue_keep_code(pTHX_ SV *code);
/* Seconds to nanoseconds, limited to what a deadline can hold. Throws on what is not a number. */
int64_t glue_nanoseconds(pTHX_ const char *operation, const char *name, SV *seconds);

/* ---- glue_loop.c, glue_signals.c, glue_fork.c -------------------------------------------------------------------- */

struct glue_loop *glue_loop_attach(pTHX_ SV *self, const struct evf_backend *backend, const char *method,
                                   bool is_io_async, bool calls_wait);
bool glue_is_loop(pTHX_ SV *object);
/* Throws when self is no loop. */
struct glue_loop *glue_loop_of(pTHX_ SV *self, const char *operation);
int glue_loop_once(pTHX_ struct glue_loop *loop, int64_t timeout_ns);
/* Turns until glue_loop_stop. What that was given, the caller's to free, or NULL. The object must outlive the call. */
AV *glue_loop_run(pTHX_ struct glue_loop *loop);
void glue_loop_stop(pTHX_ struct glue_loop *loop, SV **result, I32 count);

void glue_watch_io(pTHX_ struct glue_loop *loop, SV *handle, SV **codes);
void glue_unwatch_io(pTHX_ struct glue_loop *loop, SV *handle, unsigned mask);
UV glue_watch_time(pTHX_ struct glue_loop *loop, enum evf_clock clock, int64_t deadline_ns, SV *code);
UV glue_watch_idle(pTHX_ struct glue_loop *loop, const char *operation, SV *code);
void glue_unwatch_slot(pTHX_ struct glue_loop *loop, UV id, bool is_idle);
void glue_watch_signal(pTHX_ struct glue_loop *loop, SV *name, SV *code);
void glue_unwatch_signal(pTHX_ struct glue_loop *loop, SV *name);
void glue_watch_process(pTHX_ struct glue_loop *loop, pid_t pid, SV *code);
int glue_start_process(pTHX_ struct glue_loop *loop, pid_t pid, SV *code); /* the same without an exception */
void glue_unwatch_process(pTHX_ struct glue_loop *loop, pid_t pid);

void glue_signals_boot(pTHX);
void glue_signals_unblock_dispatched(sigset_t *mask); /* in a child: handlers under way do not go on here */
int glue_signal_number(pTHX_ SV *name);               /* -1: unknown */
void glue_signals_reset(pTHX);                        /* in a child: every handler in %SIG to DEFAULT */
void glue_signals_drop_pending(pTHX);
void glue_signals_begin(pTHX_ struct glue_loop *loop);
bool glue_signals_has_pending(void *data);
int glue_signals_run_pending(void *data, bool *ran);

/* ---- glue_fork.c -------------------------------------------------------------------------------------------- */

struct glue_fork_options {
    SV *code, *on_exit, *name;
    bool keep_signals, keep_srand, keep_loops;
    SV *kept_family;                /* the name of a foreign one, with keep_loops */
    struct evf_record *record;      /* of the child; NULL: none */
    struct evf_scoreboard_row *row; /* of the worker that it is, with its record; NULL: none */
    int bell;                       /* which that one rings */
    bool wants_fd;                  /* a process descriptor in fd */
    int fd;                         /* -1: the system has none to give */
};
/* In a child: what the parent's loop was on. NULL in the first process. A spawned one is told; the texts are copied. */
const char *glue_fork_parent_backend(void);
const char *glue_fork_parent_method(void);
void glue_fork_set_parent_loop(const char *backend, const char *method);
/* The end of every child of ours: runs the code, whose result (or exception, or exit) is the exit code, flushes, and
 * leaves without END blocks and destructors. */
void glue_run_to_end(pTHX_ SV *code, SV *name, void (*before)(void)) __attribute__((noreturn));
/* In the parent the child's pid. Does not return in the child. loop: NULL for none of ours. */
pid_t glue_fork(pTHX_ struct glue_loop *loop, struct glue_fork_options *options);

void glue_fork_warn_of_threads(pTHX); /* once */

/* The place of a fork: remembered in the parent, kept in the child where anybody may ask. */
void glue_fork_remember_place(pTHX);
void glue_fork_forget_place(void); /* when the fork is over, in both */
void glue_fork_keep_place(pTHX);
const char *glue_fork_place(void); /* "FILE line N"; NULL in the first process */

/* ---- glue_notify.c ------------------------------------------------------------------------------------------ */

void glue_notify(pTHX_ SV *address, const char *text, AV *fds);

/* ---- glue_spawn.c ------------------------------------------------------------------------------------------- */

struct glue_spawn_options {
    const char *program;
    AV *arguments, *environment; /* of texts */
    AV *fds, *blocked_signals;   /* of numbers */
    SV *on_exit;                 /* with a loop */
    int fd;                      /* without one: a process descriptor; negative: the system has none to give */
};
/* The pid. Throws EVF_EFORK where nothing was started. loop: NULL for none of ours. */
pid_t glue_spawn(pTHX_ struct glue_loop *loop, struct glue_spawn_options *options);

/* ---- glue_rawfork.c, glue_families.c: forks of others, loops of others ------------------------------------------- */

void glue_rawfork_boot(pTHX);
/* Whether this is a copy that nobody told of; and what a fork by C code left to do in this child. Runs Perl code. */
void glue_fork_check(pTHX);
bool glue_rawfork_has_own_seed(void);

/* What the adapters of loaded families want to know in the child, or NULL; the caller's to free. */
SV *glue_families_before(pTHX);
void glue_families_unblock(pTHX_ SV *state, SV *kept_family, sigset_t *mask);
void glue_families_in_child(pTHX_ SV *state, const char *mode, SV *kept_family);

/* ---- glue_sections.c ---------------------------------------------------------------------------------------- */

UV glue_section_enter(pTHX_ SV *code);          /* a number, for its end; its place is that of the code */
void glue_section_leave(pTHX_ UV number);       /* one of another process or thread is not there */
const char *glue_section_place(pTHX);           /* "FILE line N" of the innermost one; NULL: forks are not prevented */
const char *glue_section_place_of_parent(pTHX); /* the same at the fork, in a child */
SV *glue_section_refusal(pTHX);                 /* why no fork goes on now; mortal; NULL: it may */

/* ---- glue_glib.c -------------------------------------------------------------------------------------------- */

/* Mortal; empty where GLib is not loaded. Not for a child: another thread may have held GLib's lock at the fork. */
AV *glue_glib_fds(pTHX);

/* ---- glue_api.c --------------------------------------------------------------------------------------------- */

void glue_api_boot(pTHX); /* the table for other XS modules */

/* ---- glue_hooks.c, glue_watchdog.c -------------------------------------------------------------------------- */

struct glue_hook_options {
    SV *name, *object, *code[EVF_PHASE_COUNT]; /* NULL: none */
    SV *fork_safe; /* false: no fork as long as the hook is there; code: to be asked before each */
    NV timeout;
    unsigned char priority;
    bool refuses, may_skip;
};
SV *glue_hook_new(pTHX_ const char *class_name, const struct glue_hook_options *options);
void glue_hook_cancel(pTHX_ SV *handle);
SV *glue_hook_name(pTHX_ SV *handle);
/* By the number that a record has. The label of a hook that may be left out, or undef: there is none. */
SV *glue_hook_skippable(pTHX_ UV id);
void glue_hook_skip(pTHX_ UV id); /* its child callback, in every fork from now on */
void glue_hooks_restore(pTHX);    /* those that were left out take part again */
/* Before all hooks: asks those with fork_safe. False: one of them refuses. */
bool glue_hooks_ask(pTHX);
SV *glue_hooks_forbidding(pTHX);   /* those that forbid every fork, as text; mortal; NULL: none */
bool glue_hooks_are_running(void); /* or are asked: nobody forks then */
SV *glue_hooks_refusal(pTHX);      /* why the last fork was refused; mortal */
void glue_hooks_warn(pTHX);        /* the same as a warning, for perl's own fork */

/* Prints the text after so many seconds, unless it is stopped before. One at a time. */
void glue_watchdog_start(NV seconds, const char *format, ...) __attribute__((format(printf, 2, 3)));
void glue_watchdog_stop(void);

/* ---- glue_board.c ------------------------------------------------------------------------------------------- */

struct evf_scoreboard;

/* What a Perl object of the scoreboard points to, and owns. */
struct glue_board {
    struct evf_scoreboard *board;
    int bell[2];    /* -1, -1: none */
    bool owns_bell; /* else its number was given */
};
/* New objects; throw. path: NULL for nameless memory. */
SV *glue_board_new(pTHX_ const char *class_name, SV *path, SV *rows);
SV *glue_board_open(pTHX_ const char *class_name, SV *path, bool is_writable);
void glue_board_rename(pTHX_ struct glue_board *board, SV *path, pid_t replaced);
SV *glue_board_open_fd(pTHX_ const char *class_name, int fd); /* takes it over */
void glue_board_free(pTHX_ SV *self);
struct glue_board *glue_board_of(pTHX_ SV *self, const char *operation); /* throws when self is none */

/* References to new hashes. */
SV *glue_board_header(pTHX_ struct glue_board *board);
SV *glue_board_row(pTHX_ struct glue_board *board, SV *number);
/* Pairs of name and value. Throws, before anything is set, on an unknown name. */
void glue_board_set_header(pTHX_ struct glue_board *board, SV **pairs, I32 count);
void glue_board_set_row(pTHX_ struct glue_board *board, SV *number, SV **pairs, I32 count);
void glue_board_clear_row(pTHX_ struct glue_board *board, SV *number);

/* In a worker. */
void glue_board_attach(pTHX_ struct glue_board *board, SV *number);
/* For a child that is the worker of that row. */
void glue_board_take_row(pTHX_ struct glue_board *board, SV *number, struct glue_fork_options *options);
SV *glue_board_record(pTHX_ struct glue_board *board, SV *number); /* as glue_record_read; undef: of the supervisor */
AV *glue_board_deaths(pTHX_ struct glue_board *board);             /* a new list of references to new hashes */
void glue_board_add_death(pTHX_ struct glue_board *board, UV slot, UV generation, IV pid, SV *reason);
/* This process's steps and faults go there; without a number it is the supervisor, who has nobody to tell of it. */
void glue_board_attach_record(pTHX_ struct glue_board *board, SV *number);
void glue_board_extend(pTHX_ SV *seconds);
void glue_board_add_counter(pTHX_ SV *number, IV count);
void glue_board_ready(void);

/* ---- glue_place.c ------------------------------------------------------------------------------------------- */

void glue_place_show(pTHX); /* the one of this interpreter, from now on */
/* An evf_place_reader. */
size_t glue_place_read(char *text, size_t size);

/* ---- glue_recorder.c ---------------------------------------------------------------------------------------- */

struct evf_record;
/* An object for a new record, or undef where there is no memory. */
SV *glue_record_new(pTHX);
void glue_record_free(pTHX_ SV *self);
struct evf_record *glue_record_of(pTHX_ SV *self);           /* NULL: self is none */
SV *glue_record_read(pTHX_ const struct evf_record *record); /* a reference to a new hash */
/* This process's steps and faults go there. */
void glue_record_attach(pTHX_ struct evf_record *record, int tell_fd);
void glue_record_error(pTHX_ SV *text); /* of the exception that ends this process */

/* ---- glue_examine.c ------------------------------------------------------------------------------------------ */

int glue_examine_signal(void); /* the number that supervisor and worker agree on */
/* From now on the signal has this process write down where its Perl code stands. EVF_ESIGNAL: cannot be caught. */
int glue_examine_install(pTHX_ int signo);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#endif
