/* TAP for the C tests: a table of tests, checks that are silent unless they fail, and what every test has to leave
 * behind: no descriptor, no child, no signal blocked or caught. One line of TAP is one test. In a forked child checks
 * go to the parent; see helpers.h. */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tap_test {
    const char *name, *promise;
    void (*run)(void);
};
#define TAP_TEST(function, promise)                                                                                    \
    { #function, promise, function }

#define CHECK(condition) tap_check((condition), __FILE__, __LINE__, #condition)
#define CHECK_INT(got, expected) tap_check_int((intmax_t)(got), (intmax_t)(expected), __FILE__, __LINE__, #got)
#define CHECK_TEXT(got, expected) tap_check_text((got), (expected), __FILE__, __LINE__, #got)
/* Without this there is nothing left to test: ends the process. */
#define NEED(condition)                                                                                                \
    do {                                                                                                               \
        if (!CHECK(condition)) tap_give_up();                                                                          \
    } while (0)

bool tap_check(bool is_ok, const char *file, int line, const char *text);
bool tap_check_int(intmax_t got, intmax_t expected, const char *file, int line, const char *text);
bool tap_check_text(const char *got, const char *expected, const char *file, int line, const char *text);
void tap_give_up(void) __attribute__((noreturn));

void tap_diag(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The test under way does not apply here; its checks so far still count. */
void tap_skip(const char *reason);
bool tap_has_failed(void); /* the test under way */

/* Runs the tests whose "label name" contains filter (NULL: all). May be called several times before tap_end. */
void tap_run(const char *label, const struct tap_test *tests, size_t count, const char *filter);
int tap_end(void); /* the plan; returns the exit code */

/* In a forked child: failures are written to the descriptor, and nothing else is printed. */
void tap_become_child(int report_fd);
int tap_failures(void);

/* True under sanitizers and valgrind: more time, less of the same. */
bool tap_is_slow(void);

int tap_count_fds(void);

#endif
