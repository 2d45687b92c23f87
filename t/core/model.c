/* Random programs in the simulated world, next to a naive model of what must be delivered (naive_model.h). Whatever the
 * loop calls has to be at the head of the model's queue, and a turn that ends well has to leave it empty. EVF_SEED
 * repeats a run, EVF_STEPS makes it longer. */
#include "naive_model.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct evf_loop *loop;
static struct evf_io ios[IOS];
static struct evf_timer timers[TIMERS];
static struct evf_idle idles[IDLES];
static struct evf_signal sigs[SIGNALS];

static uint64_t random_state;
static long steps_end;
static long calls_total, errors_total, nested_total;

static unsigned draw(unsigned below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)((random_state >> 11) % below);
}

/* ---- Operations --------------------------------------------------------------------------------------------- */

static int on_io(struct evf_io *io, unsigned events, void *data);
static int on_timer(struct evf_timer *timer, void *data);
static int on_idle(struct evf_idle *idle, void *data);
static int on_signal(struct evf_signal *sig, int signo, void *data);

static void change_io(void) {
    int i = (int)draw(IOS);
    unsigned mask = draw(4);
    switch (draw(5)) {
    case 0:
    case 1: {
        int rc = m_ios[i].active ? EVF_EEXIST : use();
        expect("evf_io_start", evf_io_start(loop, &ios[i], fds[i], mask, on_io, NULL), rc);
        if (rc == 0) {
            m_ios[i].active = true;
            m_ios[i].mask = mask;
            m_ios[i].events = 0;
            m_ios[i].always_ready = m_ios[i].closed = false;
        }
        break;
    }
    case 2:
        expect("evf_io_set", evf_io_set(&ios[i], mask), m_ios[i].active ? 0 : EVF_EINVAL);
        if (!m_ios[i].active) break;
        m_ios[i].mask = mask;
        m_ios[i].events &= mask;
        if (m_ios[i].events == 0) queue_remove(IO, i);
        break;
    case 3:
    case 4:
        if (m_ios[i].active && draw(20) == 0) {
            m_wants_rearm = true;
            evf_io_stop_closed(&ios[i]);
        } else {
            evf_io_stop(&ios[i]);
        }
        m_ios[i].active = m_ios[i].always_ready = m_ios[i].closed = false;
        m_ios[i].events = 0;
        queue_remove(IO, i);
        break;
    default:
        break;
    }
}

static int64_t random_deadline(int clock) {
    switch (draw(12)) {
    case 0:
        return INT64_MAX;
    case 1:
        return INT64_MIN;
    case 2:
        return sim->now_ns[clock] - draw(50);
    case 3:
        return sim->now_ns[clock] + draw(40) * SECOND;
    default:
        return sim->now_ns[clock] + draw(30); /* often equal */
    }
}

static void change_timer(void) {
    int i = (int)draw(TIMERS);
    if (draw(3) != 0) {
        int clock = (int)draw(2);
        int64_t deadline_ns = random_deadline(clock);
        int rc = m_timers[i].active ? EVF_EEXIST : use();
        expect("evf_timer_start", evf_timer_start(loop, &timers[i], (enum evf_clock)clock, deadline_ns, on_timer, NULL),
               rc);
        if (rc < 0) return;
        m_timers[i].active = true;
        m_timers[i].due = false;
        m_timers[i].clock = clock;
        m_timers[i].deadline_ns = deadline_ns < 0 ? 0 : deadline_ns;
        m_timers[i].order = m_order++;
    } else {
        evf_timer_stop(&timers[i]);
        m_timers[i].active = m_timers[i].due = false;
        queue_remove(TIMER, i);
    }
}

static void change_idle(void) {
    int i = (int)draw(IDLES);
    if (draw(2) != 0) {
        int rc = m_idles[i].active ? EVF_EEXIST : use();
        expect("evf_idle_start", evf_idle_start(loop, &idles[i], on_idle, NULL), rc);
        if (rc < 0) return;
        m_idles[i].active = true;
        m_idles[i].due = false;
        m_idles[i].order = m_order++;
    } else {
        evf_idle_stop(&idles[i]);
        m_idles[i].active = m_idles[i].due = false;
        queue_remove(IDLE, i);
    }
}

static void change_signal(void) {
    static const int numbers[] = {SIGUSR1, SIGUSR2, SIGHUP};
    int i = (int)draw(SIGNALS), signo = numbers[draw(3)];
    switch (draw(3)) {
    case 0: {
        int rc = m_sigs[i].active ? EVF_EEXIST : use();
        expect("evf_signal_start", evf_signal_start(loop, &sigs[i], signo, on_signal, NULL), rc);
        if (rc < 0) break;
        m_sigs[i].active = true;
        m_sigs[i].raised = false;
        m_sigs[i].signo = signo;
        m_sigs[i].order = m_order++;
        break;
    }
    case 1:
        evf_signal_stop(&sigs[i]);
        m_sigs[i].active = m_sigs[i].raised = false;
        queue_remove(SIGNAL, i);
        break;
    default:
        evf_signal_raise(signo);
        m_anything_raised = true;
        for (int j = 0; j < SIGNALS; j++) m_sigs[j].raised = m_sigs[j].raised || m_sigs[j].signo == signo;
        break;
    }
}

static void change_world(void) {
    static const int codes[] = {EVF_ENOMEM, EVF_EBACKEND, EVF_ENOTSUP, EVF_ENOTSUP, EVF_EBADF};
    int i = (int)draw(IOS);
    switch (draw(12)) {
    case 0:
        sim_advance(sim, draw(20));
        break;
    case 1:
        sim->now_ns[EVF_CLOCK_REALTIME] += (int64_t)draw(60) - 30;
        break;
    case 2:
        sim->early += (int)draw(3);
        break;
    case 3:
        if (sim->fail_set_io_count[fds[i]] == 0) sim_fail_set_io(sim, fds[i], codes[draw(COUNT_OF(codes))], 1);
        fault_counts[i] = sim->fail_set_io_count[fds[i]];
        break;
    case 4: /* what was reported late; late means that it was asked for once */
        if (fds[i] < sim->fds_end) sim->stale[fds[i]] = (unsigned char)(1 + draw(3));
        break;
    case 5:
        if (sim->interest[fds[i]] != 0 && m_ios[i].active && draw(4) == 0)
            sim->closed[fds[i]] = close_pending[i] = true;
        break;
    case 6:
        if (draw(10) == 0) sim->fail_after_fork = EVF_EBACKEND;
        break;
    case 7:
        if (sim->plans_count < 8) sim_plan(sim, draw(50), fds[i], draw(4));
        break;
    default:
        sim->ready[fds[i]] = (unsigned char)(draw(3) == 0 ? 1 + draw(3) : 0);
        break;
    }
}

static void run_a_turn(void);

static void one_step(void) {
    steps++;
    unsigned choice = draw(100);
    if (choice < 24) change_io();
    else if (choice < 48) change_timer();
    else if (choice < 58) change_idle();
    else if (choice < 68) change_signal();
    else if (choice < 85) change_world();
    else if (depth < DEEPEST) run_a_turn();
}

/* ---- Callbacks ---------------------------------------------------------------------------------------------- */

/* The head of the queue has been called: what it does is random, too. */
static int called(enum kind kind, int index) {
    calls_total++;
    turn_stack[depth].calls++;
    if (m_queue_count == 0) differs("a call with nothing due, of kind", kind, -1);
    else if (m_queue[0].kind != kind || m_queue[0].index != index)
        differs("the callee", (int)kind * 100 + index, (int)m_queue[0].kind * 100 + m_queue[0].index);
    queue_remove(kind, index);
    if (kind == TIMER) m_timers[index].active = m_timers[index].due = false;
    if (kind == IDLE) m_idles[index].active = m_idles[index].due = false;
    for (unsigned i = draw(4); i > 0 && !has_failed; i--) one_step();
    if (has_failed) return -1000;
    if (draw(25) == 0) {
        errors_total++;
        forget_readiness();
        return turn_stack[depth].expected_rc = -50 - (int)draw(10);
    }
    turn_stack[depth].expected_rc = use();
    return 0;
}

static int on_io(struct evf_io *io, unsigned events, void *data) {
    int index = (int)(io - ios);
    (void)data;
    expect("events", events, m_ios[index].events);
    m_ios[index].events = 0;
    return called(IO, index);
}

static int on_timer(struct evf_timer *timer, void *data) {
    int index = (int)(timer - timers);
    (void)data;
    if (sim->now_ns[m_timers[index].clock] < m_timers[index].deadline_ns &&
        m_timers[index].clock == EVF_CLOCK_MONOTONIC)
        differs("an early timer", index, -1);
    return called(TIMER, index);
}

static int on_idle(struct evf_idle *idle, void *data) {
    (void)data;
    return called(IDLE, (int)(idle - idles));
}

static int on_signal(struct evf_signal *sig, int signo, void *data) {
    int index = (int)(sig - sigs);
    (void)data;
    expect("signo", signo, m_sigs[index].signo);
    return called(SIGNAL, index);
}

/* ---- Turns -------------------------------------------------------------------------------------------------- */

/* Something will be called for certain, and in less than the end of time. */
static bool may_wait_for_ever(void) {
    for (int i = 0; i < TIMERS; i++) {
        if (m_timers[i].active && m_timers[i].deadline_ns < INT64_MAX) return true;
    }
    for (int i = 0; i < IDLES; i++) {
        if (m_idles[i].active) return true;
    }
    return m_queue_count > 0;
}

static int64_t random_timeout(void) {
    switch (draw(4)) {
    case 0:
    case 1:
        return 0;
    case 2:
        return 1 + draw(60);
    default:
        return may_wait_for_ever() && sim->fail_after_fork == 0 ? -1 : 5;
    }
}

static void run_a_turn(void) {
    struct turn *turn = &turn_stack[++depth];
    int rc = use();
    *turn = (struct turn){.timeout_ns = random_timeout(), .expected_rc = rc};
    turn->deadline_ns = sim->now_ns[EVF_CLOCK_MONOTONIC] + turn->timeout_ns;
    if (depth > 1) nested_total++;
    int got = evf_loop_run_once(loop, turn->timeout_ns);
    if (has_failed) {
        depth--;
        return;
    }
    if (turn->expected_rc < 0) {
        expect("the error", got, turn->expected_rc);
    } else {
        expect("what is left in the queue", m_queue_count, 0);
        expect("the number of calls", got, turn->calls);
        if (got == 0 && turn->timeout_ns > 0 && sim->now_ns[EVF_CLOCK_MONOTONIC] < turn->deadline_ns)
            differs("an early end", sim->now_ns[EVF_CLOCK_MONOTONIC], turn->deadline_ns);
        if (got == 0 && turn->timeout_ns < 0) differs("the end of a wait for ever", got, 1);
    }
    depth--;
}

static void check_activity(void) {
    for (int i = 0; i < IOS; i++) expect("an active io", ios[i].w.loop != NULL, m_ios[i].active);
    for (int i = 0; i < TIMERS; i++) expect("an active timer", timers[i].w.loop != NULL, m_timers[i].active);
    for (int i = 0; i < IDLES; i++) expect("an active idle", idles[i].w.loop != NULL, m_idles[i].active);
    for (int i = 0; i < SIGNALS; i++) expect("an active signal", sigs[i].w.loop != NULL, m_sigs[i].active);
    expect("evf_loop_watchers", (intmax_t)evf_loop_watchers(loop), (intmax_t)count_active());
}

static int catch_nothing(int signo) {
    (void)signo;
    return 0;
}

static void release_nothing(int signo) {
    (void)signo;
}

static void open_loop(void) {
    loop = NULL;
    sim = open_world(&loop);
    sim->before_wait = before_wait;
    sim->after_wait = after_wait;
    sim->reports = reports;
    forget_everything();
    depth = 1; /* the hooks look at the turn */
    turn_stack[depth] = (struct turn){0};
    m_anything_raised = true; /* signals of loops before this one */
    (void)evf_loop_run_once(loop, 0);
    depth = 0;
}

static void close_loop(void) {
    sim->before_wait = sim->after_wait = NULL;
    sim->reports = NULL;
    sim->fail_after_fork = 0;
    close_world(sim, loop);
    forget_everything();
    for (int i = 0; i < TIMERS; i++) expect("a timer of a freed loop", timers[i].w.loop != NULL, 0);
    for (int i = 0; i < IOS; i++) expect("an io of a freed loop", ios[i].w.loop != NULL, 0);
}

static void run_model(uint64_t with_seed, long step_count) {
    static const struct evf_signal_host host = {catch_nothing, release_nothing};
    int pair[2];
    seed = with_seed;
    random_state = seed * 2654435761u + 88172645463325252u;
    steps = 0;
    steps_end = step_count;
    has_failed = false;
    make_pair(pair);
    for (int i = 0; i < IOS; i++) NEED((fds[i] = dup(pair[0])) >= 0);
    evf_signal_set_host(&host);
    open_loop();
    while (steps < steps_end && !has_failed && !tap_has_failed()) {
        one_step();
        if (draw(50) == 0) check_activity();
        if (draw(2000) == 0) {
            close_loop();
            open_loop();
        }
    }
    check_activity();
    CHECK(!has_failed);
    close_loop();
    evf_signal_set_host(NULL);
    for (int i = 0; i < IOS; i++) (void)close(fds[i]);
    close_pair(pair);
}

static long number_from(const char *variable, long otherwise) {
    const char *value = getenv(variable);
    return value != NULL && *value != '\0' ? strtol(value, NULL, 10) : otherwise;
}

static void random_programs(void) {
    uint64_t random_seed = (uint64_t)number_from("EVF_SEED", (long)(time(NULL) * 1000 + getpid() % 1000));
    long step_count = number_from("EVF_STEPS", tap_is_slow() ? 40000 : 400000);
    calls_total = waits_total = errors_total = nested_total = 0;
    tap_diag("EVF_SEED=%" PRIu64 " repeats this", random_seed);
    run_model(random_seed, step_count);
    tap_diag("%ld steps, %ld waits, %ld calls, %ld errors, %ld nested turns", steps, waits_total, calls_total,
             errors_total, nested_total);
    CHECK(calls_total > step_count / 20 && errors_total > 0 && nested_total > 0); /* it was a real test */
}

/* Also those that have found something once. */
static void known_seeds(void) {
    static const uint64_t seeds[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    for (size_t i = 0; i < COUNT_OF(seeds) && !tap_has_failed(); i++) run_model(seeds[i], tap_is_slow() ? 1000 : 10000);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(known_seeds, "random programs with known seeds"),
        TAP_TEST(random_programs, "a random program does what a naive model does"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
