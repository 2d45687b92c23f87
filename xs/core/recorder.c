/* See recorder.h. */
#include "recorder.h"
#include "internal.h"
#include "scoreboard.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

static struct evf_record *attached; /* read by handlers */

const char *evf_stage_name(unsigned stage) {
    static const char *const names[] = {
#define NAME(name, word) [name] = word,
        EVF_EACH_STAGE(NAME)
#undef NAME
    };
    return stage < EVF_STAGE_COUNT ? names[stage] : "unknown";
}

/* ---- Records ------------------------------------------------------------------------------------------------ */

enum { RECORDS = 64 }; /* mapped at a time */

/* Those that are not in use: pointers in private memory, because children may write into what they share. A process
 * begins anew after a fork; what it inherits is its parent's. */
static struct {
    struct evf_record **free;
    struct evf_record **mappings;
    size_t free_count, mapping_count;
    pid_t owner;
} pool;

/* The mappings stay: this process's own record lies in one of them. */
static void own_pool(void) {
    const pid_t me = getpid();
    if (pool.owner == me) return;
    free(pool.free);
    free(pool.mappings);
    memset(&pool, 0, sizeof pool);
    pool.owner = me;
}

static bool is_own(const struct evf_record *record) {
    if (pool.owner != getpid()) return false;
    for (size_t i = 0; i < pool.mapping_count; i++) {
        if (record >= pool.mappings[i] && record < pool.mappings[i] + RECORDS) return true;
    }
    return false;
}

/* Room for all of them in the list of free ones first: to give one back never fails. */
static int grow(void) {
    const size_t count = pool.mapping_count + 1;
    struct evf_record **larger = realloc(pool.free, count * RECORDS * sizeof *larger);
    if (larger == NULL) return EVF_ENOMEM;
    pool.free = larger;
    struct evf_record **more = realloc(pool.mappings, count * sizeof *more);
    if (more == NULL) return EVF_ENOMEM;
    pool.mappings = more;
    const int flags = MAP_SHARED | MAP_ANONYMOUS;
    struct evf_record *records = mmap(NULL, RECORDS * sizeof *records, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (records == MAP_FAILED) return EVF_ENOMEM;
    pool.mappings[pool.mapping_count++] = records;
    for (size_t i = RECORDS; i > 0; i--) pool.free[pool.free_count++] = &records[i - 1];
    return 0;
}

struct evf_record *evf_record_new(void) {
    struct evf_record *record = NULL;
    evf__loops_lock();
    own_pool();
    if (pool.free_count > 0 || grow() == 0) record = pool.free[--pool.free_count];
    evf__loops_unlock();
    return record;
}

void evf_record_free(struct evf_record *record) {
    if (record == NULL) return;
    evf__loops_lock();
    if (is_own(record)) pool.free[pool.free_count++] = record;
    evf__loops_unlock();
}

void evf_record_begin(struct evf_record *record, int64_t now_ns) {
    EVF_SCOREBOARD_SET(record->fault, 0);
    EVF_SCOREBOARD_SET(record->began_ns, now_ns);
    EVF_SCOREBOARD_SET(record->fault_ns, 0);
    EVF_SCOREBOARD_SET(record->hook_id, 0);
    EVF_SCOREBOARD_SET(record->hook_priority, 0);
    EVF_SCOREBOARD_SET(record->is_foreign, 0);
    record->hook[0] = record->place[0] = record->error[0] = '\0';
    EVF_SCOREBOARD_SET(record->stage, EVF_STAGE_FORK);
}

/* ---- This process ------------------------------------------------------------------------------------------- */

void evf_recorder_attach(struct evf_record *record) {
    if (record != NULL) (void)evf__fork_init(); /* failing, there is no memory, and the next loop fails by that */
    __atomic_store_n(&attached, record, __ATOMIC_RELEASE);
}

struct evf_record *evf_recorder_record(void) {
    if (evf__fork_is_unnoticed()) return NULL; /* it is the parent's */
    return __atomic_load_n(&attached, __ATOMIC_ACQUIRE);
}

void evf__recorder_forget(void) {
    if (attached != NULL) attached = NULL; /* a page that is written is copied */
}

void evf_recorder_enter(enum evf_stage stage) {
    struct evf_record *record = evf_recorder_record();
    if (record != NULL) EVF_SCOREBOARD_SET(record->stage, (uint32_t)stage);
}

unsigned evf__recorder_stage(void) {
    const struct evf_record *record = evf_recorder_record();
    return record != NULL ? EVF_SCOREBOARD_GET(record->stage) : EVF_STAGE_NONE;
}

/* The name first: whoever sees the stage finds the hook's. */
void evf__recorder_enter_hook(const struct evf_hook *hook, enum evf_phase phase) {
    static const enum evf_stage stages[EVF_PHASE_COUNT] = {
        [EVF_PREPARE] = EVF_STAGE_PREPARE, [EVF_PARENT] = EVF_STAGE_PARENT, [EVF_CHILD] = EVF_STAGE_CHILD};
    struct evf_record *record = evf_recorder_record();
    if (record == NULL) return;
    const char *name = hook->name != NULL ? hook->name : "";
    EVF_SCOREBOARD_SET(record->hook_id, (uint64_t)(uintptr_t)hook);
    EVF_SCOREBOARD_SET(record->hook_priority, (uint32_t)hook->priority);
    evf_scoreboard_set_text(record->hook, sizeof record->hook, name, strlen(name));
    __atomic_store_n(&record->stage, (uint32_t)stages[phase], __ATOMIC_RELEASE);
}
