/* The flight recorder: where a child is, written before each step into memory that outlives it, so that its parent can
 * say what ended it. One record for each process; written by that process with plain atomic stores, read by others at
 * any time. */
#ifndef EVF_RECORDER_H
#define EVF_RECORDER_H

#include "evf.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EVF_RECORD_TEXT = 192 }; /* bytes of each text of a record, with its NUL */

/* Where a process is, in the order of a child's life; the words are those of reports. */
#define EVF_EACH_STAGE(X)                                                                                              \
    X(EVF_STAGE_NONE, "none")         /* not recorded */                                                               \
    X(EVF_STAGE_PREPARE, "prepare")   /* a hook of who forks */                                                        \
    X(EVF_STAGE_PARENT, "parent")     /* the same, after the fork */                                                   \
    X(EVF_STAGE_FORK, "fork")         /* the fork itself, until the child's first step */                              \
    X(EVF_STAGE_CLEAN, "clean")       /* the child's signals, kernel objects and loops are reset */                    \
    X(EVF_STAGE_FAMILIES, "families") /* the loops of others are renewed */                                            \
    X(EVF_STAGE_CHILD, "child")       /* a child hook */                                                               \
    X(EVF_STAGE_CODE, "code")         /* its code; of a worker: until it is ready */                                   \
    X(EVF_STAGE_READY, "ready")                                                                                        \
    X(EVF_STAGE_END, "end") /* its code is over: buffers are flushed */

enum evf_stage {
#define EVF__STAGE(name, word) name,
    EVF_EACH_STAGE(EVF__STAGE)
#undef EVF__STAGE
        EVF_STAGE_COUNT
};
/* Static; "unknown" for others. */
const char *evf_stage_name(unsigned stage);

struct evf_record {
    int64_t began_ns; /* CLOCK_MONOTONIC, just before the fork; set by who forks */
    int64_t fault_ns; /* when the signal came */
    uint64_t hook_id; /* the address of the hook's struct evf_hook, before the fork */
    uint32_t stage;   /* enum evf_stage */
    uint32_t hook_priority;
    uint32_t fault;              /* number of the signal of a fault; 0: none. Set last */
    uint32_t is_foreign;         /* a thread that is not the recorded one had the fault */
    char hook[EVF_RECORD_TEXT];  /* name of the hook that runs; stays when it is over */
    char place[EVF_RECORD_TEXT]; /* where the host's code stood at a fault, or when it was asked */
    char error[EVF_RECORD_TEXT]; /* the exception that ended it, the start of it */
};

/* ---- Records ------------------------------------------------------------------------------------------------ */

/* A record in memory that forked children share. NULL: there is no memory. */
struct evf_record *evf_record_new(void);
/* By who made it; in another process it does nothing. NULL is fine. */
void evf_record_free(struct evf_record *record);
/* By who forks, before: empty, in stage FORK from now on. */
void evf_record_begin(struct evf_record *record, int64_t now_ns);

/* ---- This process ------------------------------------------------------------------------------------------- */

/* From now on this process, its steps and those of its hooks, goes into the record, and so do faults of this thread and
 * others. NULL: no more. A forked child forgets it by itself. The record must stay. */
void evf_recorder_attach(struct evf_record *record);
struct evf_record *evf_recorder_record(void); /* NULL: none. Async-signal-safe */
void evf_recorder_enter(enum evf_stage stage);

/* Writes where the host's code stands, "FILE line N", and returns the length, less than size; 0: not known. Runs in
 * handlers of signals, on whatever thread. */
typedef size_t (*evf_place_reader)(char *text, size_t size);
/* Catches SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT on a stack of its own. The handler notes signal, time and place,
 * then passes on: a handler that was there before is called, else the signal does what it did, with the core dump that
 * it would have left. tell_fd: a descriptor that gets a line about it, too; -1: none. EVF_ESIGNAL. Stays for the life
 * of the process; in a child of a fork of the host's own it is gone, as all handlers are. */
int evf_recorder_catch_faults(evf_place_reader reader, int tell_fd);

#ifdef __cplusplus
}
#endif
#endif
