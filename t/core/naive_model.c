/* See naive_model.h. */
#include "naive_model.h"

#include <inttypes.h>
#include <string.h>

struct model_io m_ios[IOS];
struct model_timer m_timers[TIMERS];
struct model_idle m_idles[IDLES];
struct model_signal m_sigs[SIGNALS];
struct model_call m_queue[QUEUE];
int m_queue_count;
uint64_t m_order;
bool m_anything_raised, m_wants_rearm;

struct sim *sim;
int fds[IOS], fault_counts[IOS];
bool close_pending[IOS];

struct turn turn_stack[DEEPEST + 1];
int depth;

uint64_t seed;
long steps, waits_total;
bool has_failed;

void differs(const char *what, intmax_t got, intmax_t expected) {
    if (!has_failed) tap_diag("seed %" PRIu64 ", step %ld: %s is %jd, not %jd", seed, steps, what, got, expected);
    has_failed = true;
}

void expect(const char *what, intmax_t got, intmax_t expected) {
    if (got != expected) differs(what, got, expected);
}

void forget_everything(void) {
    memset(m_ios, 0, sizeof m_ios);
    memset(m_timers, 0, sizeof m_timers);
    memset(m_idles, 0, sizeof m_idles);
    memset(m_sigs, 0, sizeof m_sigs);
    memset(fault_counts, 0, sizeof fault_counts);
    memset(close_pending, 0, sizeof close_pending);
    m_queue_count = 0;
    m_anything_raised = m_wants_rearm = false;
}

size_t count_active(void) {
    size_t count = 0;
    for (int i = 0; i < IOS; i++) count += m_ios[i].active;
    for (int i = 0; i < TIMERS; i++) count += m_timers[i].active;
    for (int i = 0; i < IDLES; i++) count += m_idles[i].active;
    for (int i = 0; i < SIGNALS; i++) count += m_sigs[i].active;
    return count;
}

/* ---- The model's queue -------------------------------------------------------------------------------------- */

static int queue_find(enum kind kind, int index) {
    for (int i = 0; i < m_queue_count; i++) {
        if (m_queue[i].kind == kind && m_queue[i].index == index) return i;
    }
    return -1;
}

static void queue_add(enum kind kind, int index) {
    if (queue_find(kind, index) >= 0) return;
    m_queue[m_queue_count].kind = kind;
    m_queue[m_queue_count++].index = index;
}

void queue_remove(enum kind kind, int index) {
    int at = queue_find(kind, index);
    if (at < 0) return;
    m_queue_count--;
    for (int i = at; i < m_queue_count; i++) m_queue[i] = m_queue[i + 1];
}

void forget_readiness(void) {
    for (int i = 0; i < IOS; i++) {
        m_ios[i].events = 0;
        queue_remove(IO, i);
    }
}

/* ---- What a turn has to see --------------------------------------------------------------------------------- */

static bool is_always_wanted(int i) {
    return m_ios[i].active && m_ios[i].always_ready && m_ios[i].mask != 0;
}

static bool must_not_block(void) {
    if (m_queue_count > 0 || m_anything_raised) return true;
    for (int i = 0; i < IDLES; i++) {
        if (m_idles[i].active) return true;
    }
    for (int i = 0; i < IOS; i++) {
        if (is_always_wanted(i)) return true;
    }
    return false;
}

static int64_t expected_wait_ns(int64_t timeout_ns) {
    if (must_not_block()) return 0;
    for (int i = 0; i < TIMERS; i++) {
        if (!m_timers[i].active || m_timers[i].due) continue;
        int64_t left_ns = m_timers[i].deadline_ns - sim->now_ns[m_timers[i].clock];
        if (left_ns < 0) left_ns = 0;
        if (m_timers[i].clock == EVF_CLOCK_REALTIME && left_ns > 10 * SECOND) left_ns = 10 * SECOND;
        if (timeout_ns < 0 || left_ns < timeout_ns) timeout_ns = left_ns;
    }
    return timeout_ns;
}

static void collect_signals(void) {
    m_anything_raised = false;
    for (;;) {
        int next = -1;
        for (int i = 0; i < SIGNALS; i++) {
            if (m_sigs[i].active && m_sigs[i].raised && (next < 0 || m_sigs[i].order < m_sigs[next].order)) next = i;
        }
        if (next < 0) return;
        m_sigs[next].raised = false;
        queue_add(SIGNAL, next);
    }
}

static bool is_due_before(int a, int b) {
    int64_t age_a = sim->now_ns[m_timers[a].clock] - m_timers[a].deadline_ns;
    int64_t age_b = sim->now_ns[m_timers[b].clock] - m_timers[b].deadline_ns;
    if (age_a != age_b) return age_a > age_b;
    if (m_timers[a].clock != m_timers[b].clock) return m_timers[a].clock == EVF_CLOCK_MONOTONIC;
    return m_timers[a].order < m_timers[b].order;
}

static void collect_timers(void) {
    for (;;) {
        int next = -1;
        for (int i = 0; i < TIMERS; i++) {
            if (!m_timers[i].active || m_timers[i].due) continue;
            if (m_timers[i].deadline_ns > sim->now_ns[m_timers[i].clock]) continue;
            if (next < 0 || is_due_before(i, next)) next = i;
        }
        if (next < 0) return;
        m_timers[next].due = true;
        queue_add(TIMER, next);
    }
}

static void collect_idles(void) {
    for (;;) {
        int next = -1;
        for (int i = 0; i < IDLES; i++) {
            if (m_idles[i].active && !m_idles[i].due && (next < 0 || m_idles[i].order < m_idles[next].order)) next = i;
        }
        if (next < 0) return;
        m_idles[next].due = true;
        queue_add(IDLE, next);
    }
}

/* Faults that the last round of set_io has used up. Returns the code of the first that ends the turn, or 0. */
static bool is_refused[IOS];

static int look_at_faults(void) {
    int rc = sim->refusal;
    sim->refusal = 0;
    for (int i = 0; i < IOS; i++) {
        int used = fault_counts[i] - sim->fail_set_io_count[fds[i]], code = sim->fail_set_io[fds[i]];
        fault_counts[i] = sim->fail_set_io_count[fds[i]];
        is_refused[i] = false;
        if (used == 0) continue;
        if (code == EVF_ENOTSUP) m_ios[i].always_ready = true;
        else if (code == EVF_EBADF) m_ios[i].closed = true;
        else is_refused[i] = true;
    }
    return rc;
}

/* ---- Hooks -------------------------------------------------------------------------------------------------- */

static int waits_before;

int before_wait(void *data) {
    struct turn *turn = &turn_stack[depth];
    (void)data;
    int64_t left_ns = turn->timeout_ns;
    if (left_ns > 0) left_ns = turn->deadline_ns - sim->now_ns[EVF_CLOCK_MONOTONIC];
    turn->expected_wait_ns = expected_wait_ns(left_ns);
    waits_before = sim->waits;
    return 0;
}

void reports(void *data, int fd, unsigned mask) {
    (void)data;
    for (int i = 0; i < IOS; i++) {
        if (fds[i] != fd || !m_ios[i].active) continue;
        m_ios[i].events |= mask & m_ios[i].mask;
        if (m_ios[i].events != 0) queue_add(IO, i);
    }
}

static void check_interest(void) {
    for (int i = 0; i < IOS; i++) {
        bool is_asked = m_ios[i].active && !m_ios[i].always_ready && !m_ios[i].closed && !is_refused[i];
        if (sim->interest[fds[i]] != (is_asked ? m_ios[i].mask : 0))
            differs("interest", sim->interest[fds[i]], is_asked ? (int)m_ios[i].mask : 0);
    }
}

int after_wait(void *data) {
    struct turn *turn = &turn_stack[depth];
    (void)data;
    turn->expected_rc = look_at_faults();
    if (sim->waits == waits_before) { /* a refusal has ended the turn before the wait; the others are asked for */
        check_interest();
        return 0;
    }
    waits_total++;
    if (sim->last_timeout_ns != turn->expected_wait_ns) {
        bool is_always = false; /* found out on the way to the wait */
        for (int i = 0; i < IOS; i++) is_always = is_always || is_always_wanted(i);
        if (!is_always || sim->last_timeout_ns != 0) differs("the wait", sim->last_timeout_ns, turn->expected_wait_ns);
    }
    for (int i = 0; i < IOS; i++) {
        if (!close_pending[i] || sim->closed[fds[i]]) continue; /* an early end has put it off */
        close_pending[i] = false;
        m_ios[i].closed = true;
        m_ios[i].always_ready = false;
    }
    check_interest();
    for (int fd = 0; fd < sim->fds_end; fd++) { /* in the core's order: of numbers */
        for (int i = 0; i < IOS; i++) {
            if (fds[i] != fd || !is_always_wanted(i)) continue;
            m_ios[i].events |= m_ios[i].mask;
            queue_add(IO, i);
        }
    }
    collect_signals();
    collect_timers();
    collect_idles();
    return 0;
}

int use(void) {
    if (!m_wants_rearm) return 0;
    if (sim->fail_after_fork < 0) return sim->fail_after_fork;
    m_wants_rearm = false;
    forget_readiness();
    return 0;
}
