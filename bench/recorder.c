/* What the flight recorder costs, in C alone: a step, and a hook's phase with and without a record. */
#include "../xs/core/recorder.h"

#include <stdio.h>
#include <time.h>

enum { TIMES = 2000000 };

static int do_nothing(struct evf_hook *hook, enum evf_phase phase, void *data) {
    (void)hook;
    (void)phase;
    (void)data;
    return 0;
}

static double seconds(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double a_hook(void) {
    const double before = seconds();
    for (int i = 0; i < TIMES; i++) evf_hooks_finish(EVF_CHILD);
    return (seconds() - before) / TIMES;
}

static double a_step(void) {
    const double before = seconds();
    for (int i = 0; i < TIMES; i++) evf_recorder_enter(i % 2 == 0 ? EVF_STAGE_CODE : EVF_STAGE_READY);
    return (seconds() - before) / TIMES;
}

int main(void) {
    static struct evf_hook hook = {
        .name = "'flags' (/srv/app/lib/My/App/Flags.pm line 123)", .priority = 40, .cb = {[EVF_CHILD] = do_nothing}};
    struct evf_record *record = evf_record_new();
    if (record == NULL || evf_hook_register(&hook) < 0) return 1;
    evf_record_begin(record, 1);
    const double without = a_hook();
    evf_recorder_attach(record);
    const double with = a_hook();
    (void)printf("step %.2f ns\nhook %.2f ns\n", a_step() * 1e9, (with - without) * 1e9);
    return 0;
}
