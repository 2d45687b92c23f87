/* Bugs on purpose, in a forked child that leaves by _exit: `./dev asan` and `./dev valgrind` run it first, because a
 * checker that reports nothing here would report nothing elsewhere. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    volatile int number = INT_MAX;
    pid_t pid = fork();
    if (pid != 0) {
        waitpid(pid, NULL, 0);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "overflow") == 0) {
        volatile char *volatile bytes = malloc(10);
        bytes[argc + 8] = 1;
        free((void *)bytes);
    } else if (argc > 1 && strcmp(argv[1], "leak") == 0) {
        char *volatile lost = malloc(10);
        lost = NULL;
        _exit(lost != NULL);
    } else {
        number = number + argc;
    }
    _exit(0);
}
