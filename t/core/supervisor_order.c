/* What comes late, early, twice, or of nobody; what is no option or event at all; and the words for what there is. */
#include "supervisor_scene.h"

static void late_answer_to_spawn(void) {
    defaults(1);
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    stop(false);
    EXPECT("spawn:0"); /* there is nobody to talk to yet */
    answer(0, 77);
    EXPECT("drain:0");
    stop(false);
    EXPECT("kill:0");
    exited(0, BY_KILL);
    EXPECT("finish:0");
    close_it();
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    stop(true);
    forget();
    answer(0, 77);
    EXPECT("kill:0");
    close_it();
}

static void before_the_answer(void) {
    defaults(1);
    open_it();
    answers = false;
    event(EVF_EVENT_START, 0);
    forget();
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_READY, .pid = 77});
    CHECK_INT(worker(0).state, EVF_WORKER_STARTING);
    answer(0, 77);
    REPORTED("worker_started worker_ready");
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = 77});
    EXPECT("spawn:0");
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_READY, .pid = 77});  /* of the one before */
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = 77}); /* told twice */
    answer(0, 78);
    CHECK_INT(worker(0).state, EVF_WORKER_STARTING);
    exited(0, EXIT_1);
    forget();
    pass(100 * MS);
    EXPECT("spawn:0");
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = 79, .wait_status = EXIT_1});
    answer(0, 79);
    CHECK_INT(worker(0).state, EVF_WORKER_BACKOFF);
    CHECK_INT(last_report[EVF_REPORT_EXITED].pid, 79);
    close_it();
}

static void too_late(void) {
    defaults(2);
    open_ready();
    const pid_t pid = pids[0];
    exited(0, 0);
    forget();
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_READY, .pid = pid});
    send_event((struct evf_supervisor_event){.type = EVF_EVENT_EXITED, .pid = pid});
    event(EVF_EVENT_EXAMINED, 0);
    event(EVF_EVENT_SPAWNED, 0);
    event(EVF_EVENT_SPAWN_FAILED, 0);
    event(EVF_EVENT_READY, 1);
    event(EVF_EVENT_EXITED, 2047);
    heartbeat(0, 1, 0);
    sample(4, 1, 1);
    EXPECT("");
    REPORTED("");
    CHECK_INT(worker(0).state, EVF_WORKER_STARTING);
    close_it();
}

static void mistakes(void) {
    struct evf_supervisor *none = NULL;
    const struct evf_supervisor_action *actions = NULL;
    struct evf_worker_view view;
    defaults(0);
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    defaults(EVF_SLOTS_MAX / 2 + 1);
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    defaults(1);
    options.max_unavailable = 0;
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    defaults(1);
    options.crash_window_ns = -1;
    CHECK_INT(evf_supervisor_new(&options, &none), EVF_EINVAL);
    CHECK(none == NULL);
    evf_supervisor_free(NULL);
    defaults(EVF_SLOTS_MAX / 2);
    open_it();
    const struct evf_supervisor_event wrong[] = {{.type = EVF_EVENT_COUNT},
                                                 {.type = EVF_EVENT_READY, .berth = 2 * EVF_SLOTS_MAX},
                                                 {.type = EVF_EVENT_RESIZE, .workers = 0},
                                                 {.type = EVF_EVENT_RESIZE, .workers = EVF_SLOTS_MAX / 2 + 1}};
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        CHECK_INT(evf_supervisor_step(supervisor, &wrong[i], 0, &actions), EVF_EINVAL);
    CHECK(actions == NULL);
    CHECK_INT(evf_supervisor_worker(supervisor, 2 * EVF_SLOTS_MAX, &view), EVF_EINVAL);
    event(EVF_EVENT_START, 0);
    CHECK_INT(pool().alive, EVF_SLOTS_MAX / 2);
    close_it();
}

static void words(void) {
    CHECK_TEXT(evf_cause_word(EVF_CAUSE_RSS), "max rss");
    CHECK_TEXT(evf_cause_word(EVF_CAUSE_COUNT), "");
    CHECK_TEXT(evf_report_word(EVF_REPORT_HALTED), "halted");
    CHECK_TEXT(evf_report_word(EVF_REPORT_COUNT), "");
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(late_answer_to_spawn, "who is told to go before its pid is known hears it then"),
        TAP_TEST(before_the_answer, "ready and the end may come before the answer to spawn"),
        TAP_TEST(too_late, "what comes too late changes nothing"),
        TAP_TEST(mistakes, "options and events out of range are refused"),
        TAP_TEST(words, "causes and reports have words"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
