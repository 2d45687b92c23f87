/* For the scenarios of the supervisor's rules, supervisor_{boot,order,breaker,rotation,stuck,stop,reload,resize}.c: one
 * supervisor, a clock that only the scenario moves, and the checker of the simulation, which looks on. Berth 2n is
 * where slot n begins, 2n + 1 where its first replacement gets ready. A scenario says what the supervisor did: EXPECT
 * its actions since the last look, REPORTED what it told. */
#ifndef SUPERVISOR_SCENE_H
#define SUPERVISOR_SCENE_H

#include "helpers.h"
#include "supervisor_check.h"

#define MS INT64_C(1000000)
#define EXPECT(text) expect(did, (text), __FILE__, __LINE__)
#define REPORTED(text) expect(told, (text), __FILE__, __LINE__)

enum { BY_SEGV = 11, BY_KILL = 9, EXIT_1 = 1 << 8, EXIT_2 = 2 << 8, TOLD_MAX = 4000 };

extern struct evf_supervisor_options options;
extern struct evf_supervisor *supervisor;
extern int64_t now_ns;
extern bool answers; /* SPAWN is answered at once */
extern pid_t pids[CHECK_BERTHS];

/* What it did and told, in words, since the last look; what of it has to be looked at more closely. */
extern char did[TOLD_MAX], told[TOLD_MAX];
extern unsigned looks, ticks;
extern int exit_code;
extern struct evf_supervisor_action last_report[EVF_REPORT_COUNT], last_spawn;
void expect(char *got, const char *expected, const char *file, int line);
void forget(void);

void defaults(unsigned workers); /* into options */
void open_it(void);
void open_ready(void); /* so many workers, all of them ready */
void close_it(void);

struct evf_pool_view pool(void);
struct evf_worker_view worker(unsigned berth);

/* Events, of the worker that is in the berth now. */
void send_event(struct evf_supervisor_event event);
void event(enum evf_event_type type, unsigned berth);
void answer(unsigned berth, pid_t pid);
void ready(unsigned berth);
void exited(unsigned berth, int wait_status);
void sample(unsigned berth, uint64_t requests, uint64_t rss_bytes);
void heartbeat(unsigned berth, int64_t busy_since_ns, int64_t extension_ns);
void resize(unsigned workers);
void stop(bool is_fast);
void pass(int64_t timeout_ns); /* time, with a tick at each deadline, as a loop would do it */
/* So many starts in a row that fail as soon as the back-off lets them begin. */
void fail_starts(unsigned berth, int count, int wait_status);

#endif
