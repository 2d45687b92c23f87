/* Hooks at a fork: who is called, in which order, and what a hook may do while hooks run. */
#include "helpers.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A hook that writes its name and the phase's letter, and does what the test tells. */
struct tracer {
    struct evf_hook hook;
    const char *text;
    int answer;               /* of its prepare callback */
    struct evf_hook *cancels; /* when it runs */
    struct evf_hook *registers;
    bool frees_itself;
    int nested; /* what evf_hooks_prepare answers inside */
};

static int on_phase(struct evf_hook *hook, enum evf_phase phase, void *data) {
    struct tracer *tracer = data;
    struct evf_hook *refused;
    char text[40];
    CHECK(hook == &tracer->hook);
    CHECK(evf_hooks_are_running());
    (void)snprintf(text, sizeof text, "%s%s%c", *trace != '\0' ? " " : "", tracer->text, "<=>"[phase]);
    trace_add(text);
    tracer->nested = evf_hooks_prepare(&refused);
    evf_hooks_finish(EVF_CHILD); /* ignored */
    if (tracer->cancels != NULL) evf_hook_cancel(tracer->cancels);
    if (tracer->registers != NULL) CHECK_INT(evf_hook_register(tracer->registers), 0);
    tracer->registers = NULL;
    int answer = phase == EVF_PREPARE ? tracer->answer : -1; /* means nothing later */
    if (tracer->frees_itself) {
        evf_hook_cancel(hook);
        memset(tracer, 0xee, sizeof *tracer);
        free(tracer);
    }
    return answer;
}

static struct tracer make(const char *text, unsigned char priority) {
    struct tracer tracer = {.text = text, .hook = {.priority = priority, .cb = {on_phase, on_phase, on_phase}}};
    return tracer;
}

static void add(struct tracer *tracer) {
    tracer->hook.data = tracer;
    CHECK_INT(evf_hook_register(&tracer->hook), 0);
}

static const char *run(enum evf_phase end) {
    struct evf_hook *refused = NULL;
    trace_clear();
    CHECK_INT(evf_hooks_prepare(&refused), 0);
    CHECK(refused == NULL);
    CHECK(!evf_hooks_are_running());
    evf_hooks_finish(end);
    return trace;
}

static void order(void) {
    struct tracer low = make("low", 0), mid = make("mid", 50), high = make("high", 100),
                  nearest = make("n", EVF_PRIORITY_NEAREST);
    struct tracer second = make("mid2", 50);
    add(&mid), add(&high), add(&nearest), add(&low), add(&second);
    CHECK_TEXT(run(EVF_PARENT), "high< mid2< mid< low< n< n= low= mid= mid2= high=");
    CHECK_TEXT(run(EVF_CHILD), "high< mid2< mid< low< n< n> low> mid> mid2> high>");
    const struct evf_hook *hook = evf_hook_next(NULL, EVF_PREPARE);
    CHECK(hook == &high.hook);
    CHECK(evf_hook_next(hook, EVF_PREPARE) == &second.hook);
    CHECK(evf_hook_next(&nearest.hook, EVF_PREPARE) == NULL);
    CHECK(evf_hook_next(NULL, EVF_CHILD) == &nearest.hook);
    evf_hook_cancel(&low.hook), evf_hook_cancel(&mid.hook), evf_hook_cancel(&high.hook);
    evf_hook_cancel(&nearest.hook), evf_hook_cancel(&second.hook);
    evf_hook_cancel(&second.hook);
    CHECK_TEXT(run(EVF_CHILD), "");
    CHECK(evf_hook_next(NULL, EVF_CHILD) == NULL);
}

static void only_the_phases_it_has(void) {
    struct tracer child = make("c", 50), prepare = make("p", 50);
    child.hook.cb[EVF_PREPARE] = child.hook.cb[EVF_PARENT] = NULL;
    prepare.hook.cb[EVF_CHILD] = prepare.hook.cb[EVF_PARENT] = NULL;
    add(&child), add(&prepare);
    CHECK_TEXT(run(EVF_PARENT), "p<");
    CHECK_TEXT(run(EVF_CHILD), "p< c>");
    evf_hook_cancel(&child.hook), evf_hook_cancel(&prepare.hook);
}

static void bad_input(void) {
    struct tracer tracer = make("t", 101);
    tracer.hook.data = &tracer;
    CHECK_INT(evf_hook_register(&tracer.hook), EVF_EINVAL);
    tracer = make("t", 1);
    tracer.hook.cb[0] = tracer.hook.cb[1] = tracer.hook.cb[2] = NULL;
    CHECK_INT(evf_hook_register(&tracer.hook), EVF_EINVAL);
    CHECK(!evf_hook_is_registered(&tracer.hook));
    tracer = make("t", 1);
    add(&tracer);
    CHECK(evf_hook_is_registered(&tracer.hook));
    CHECK_INT(evf_hook_register(&tracer.hook), EVF_EEXIST);
    CHECK_TEXT(run(EVF_PARENT), "t< t=");
    evf_hook_cancel(&tracer.hook);
    CHECK(!evf_hook_is_registered(&tracer.hook));
    add(&tracer); /* again */
    CHECK_TEXT(run(EVF_PARENT), "t< t=");
    evf_hook_cancel(&tracer.hook);
}

static void no_fork_inside(void) {
    struct tracer tracer = make("t", 1);
    add(&tracer);
    (void)run(EVF_PARENT);
    CHECK_INT(tracer.nested, EVF_EBUSY);
    evf_hook_cancel(&tracer.hook);
}

/* Those that had prepared are told; the refusing one, and who was not asked, are not. */
static void refusal(void) {
    struct tracer first = make("first", 90), refuses = make("no", 50), last = make("last", 10),
                  after = make("after", 50);
    struct evf_hook *refused = NULL;
    refuses.answer = EVF_ECANCELED;
    after.hook.cb[EVF_PREPARE] = NULL;
    add(&first), add(&refuses), add(&last), add(&after);
    trace_clear();
    CHECK_INT(evf_hooks_prepare(&refused), EVF_ECANCELED);
    CHECK(refused == &refuses.hook);
    CHECK_TEXT(trace, "first< no< first=");
    refuses.answer = 0;
    CHECK_TEXT(run(EVF_CHILD), "first< no< last< last> no> after> first>");
    evf_hook_cancel(&first.hook), evf_hook_cancel(&refuses.hook), evf_hook_cancel(&last.hook),
        evf_hook_cancel(&after.hook);
}

static void cancelled_while_running(void) {
    for (int victim = 0; victim < 3; victim++) { /* the one before, itself, the next */
        struct tracer hooks[3] = {make("a", 70), make("b", 60), make("c", 50)};
        hooks[1].cancels = &hooks[victim].hook;
        for (int i = 0; i < 3; i++) add(&hooks[i]);
        static const char *const expected[] = {"a< b< c< c> b>", "a< b< c< c> a>", "a< b< b> a>"};
        CHECK_TEXT(run(EVF_CHILD), expected[victim]);
        for (int i = 0; i < 3; i++) evf_hook_cancel(&hooks[i].hook);
    }
}

static void frees_itself(void) {
    struct tracer *tracer = malloc(sizeof *tracer), rest = make("rest", 10);
    NEED(tracer != NULL);
    *tracer = make("gone", 50);
    tracer->frees_itself = true;
    add(tracer), add(&rest);
    CHECK_TEXT(run(EVF_PARENT), "gone< rest< rest=");
    evf_hook_cancel(&rest.hook);
}

static void registered_while_running(void) {
    struct tracer first = make("first", 50), late = make("late", 10), in_child = make("in_child", 90);
    late.hook.data = &late;
    in_child.hook.data = &in_child;
    first.registers = &late.hook;
    add(&first);
    CHECK_TEXT(run(EVF_PARENT), "first< first=");
    CHECK_TEXT(run(EVF_PARENT), "first< late< late= first=");
    struct evf_hook *refused;
    CHECK_INT(evf_hooks_prepare(&refused), 0);
    late.registers = &in_child.hook;
    trace_clear();
    evf_hooks_finish(EVF_CHILD);
    CHECK_TEXT(trace, "late> first>");
    CHECK_TEXT(run(EVF_CHILD), "in_child< first< late< late> first> in_child>");
    evf_hook_cancel(&first.hook), evf_hook_cancel(&late.hook), evf_hook_cancel(&in_child.hook);
}

/* The child of a fork that nobody prepared, before and after forks that were. */
static void unprepared(void) {
    struct tracer both = make("both", 50), child = make("child", 40);
    child.hook.cb[EVF_PREPARE] = NULL;
    add(&both), add(&child);
    for (int i = 0; i < 3; i++) {
        trace_clear();
        evf_hooks_finish(EVF_CHILD);
        CHECK_TEXT(trace, "child>");
        CHECK_TEXT(run(EVF_CHILD), "both< child> both>");
    }
    evf_hook_cancel(&both.hook), evf_hook_cancel(&child.hook);
}

/* A hook that never comes back, as one that calls exit in Perl: what runs next may fork. */
static jmp_buf way_out;

static int jump(struct evf_hook *hook, enum evf_phase phase, void *data) {
    (void)hook, (void)phase, (void)data;
    longjmp(way_out, 1);
}

static void left_by_a_jump(void) {
    static struct evf_hook jumper = {.priority = 50};
    struct evf_hook *refused;
    struct tracer both = make("both", 60);
    add(&both);
    evf_hooks_break(); /* outside of a hook: nothing */
    for (int phase = EVF_PREPARE; phase < EVF_PHASE_COUNT; phase++) {
        jumper.cb[phase] = jump;
        CHECK_INT(evf_hook_register(&jumper), 0);
        if (setjmp(way_out) == 0) {
            CHECK_INT(evf_hooks_prepare(&refused), 0);
            evf_hooks_finish((enum evf_phase)phase);
            CHECK(false);
        }
        CHECK(evf_hooks_are_running());
        evf_hooks_break();
        CHECK(!evf_hooks_are_running());
        evf_hook_cancel(&jumper);
        jumper.cb[phase] = NULL;
        CHECK_TEXT(run(EVF_CHILD), "both< both>");
    }
    evf_hook_cancel(&both.hook);
}

/* What is registered costs nothing in the phases it does not want: many of them, in one list, still in order. */
static void many(void) {
    enum { MANY = 3000 };
    struct tracer *tracers = calloc(MANY, sizeof *tracers);
    struct tracer lone = make("lone", 50);
    NEED(tracers != NULL);
    for (int i = 0; i < MANY; i++) {
        tracers[i] = make("x", (unsigned char)(i % 101));
        tracers[i].hook.cb[EVF_PREPARE] = tracers[i].hook.cb[EVF_PARENT] = NULL;
        add(&tracers[i]);
    }
    add(&lone);
    CHECK_TEXT(run(EVF_PARENT), "lone< lone=");
    int seen = 0, last = 0;
    for (const struct evf_hook *hook = NULL; (hook = evf_hook_next(hook, EVF_CHILD)) != NULL; seen++) {
        CHECK(hook->priority >= last);
        last = hook->priority;
    }
    CHECK_INT(seen, MANY + 1);
    for (int i = MANY - 1; i >= 0; i--) evf_hook_cancel(&tracers[i].hook);
    evf_hook_cancel(&lone.hook);
    CHECK(evf_hook_next(NULL, EVF_CHILD) == NULL);
    free(tracers);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(order, "hooks run in the order of their priority"),
        TAP_TEST(only_the_phases_it_has, "a hook is called in the phases it has"),
        TAP_TEST(bad_input, "bad input"),
        TAP_TEST(no_fork_inside, "no fork inside a hook"),
        TAP_TEST(refusal, "a hook refuses the fork"),
        TAP_TEST(cancelled_while_running, "a hook cancels another, or itself"),
        TAP_TEST(frees_itself, "a hook frees itself"),
        TAP_TEST(registered_while_running, "what a hook registers takes part in the next fork"),
        TAP_TEST(unprepared, "a fork that nobody prepared"),
        TAP_TEST(left_by_a_jump, "a hook that is left by a jump is no hook any more"),
        TAP_TEST(many, "many hooks"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
