/* Preloaded by `./dev valgrind`: of each process only the first children that it forks look for leaks at their end.
 * That look takes ten times as long as all that most of them do, and hundreds are forked by the same line. Errors of
 * memory are reported of every child. */
#include <pthread.h>
#include <valgrind/valgrind.h>

enum { CHECKED = 3 };

static int forked;

static void in_parent(void) {
    forked++;
}

static void in_child(void) {
    if (forked >= CHECKED) VALGRIND_CLO_CHANGE("--leak-check=no");
    else VALGRIND_CLO_CHANGE("--leak-check=full"); /* whatever this process was told itself */
    forked = 0;
}

__attribute__((constructor)) static void set_up(void) {
    (void)pthread_atfork(NULL, in_parent, in_child);
}
