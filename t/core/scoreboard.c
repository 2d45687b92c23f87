/* The scoreboard's memory and its file: who owns it, what a reader sees of it, and what becomes of it. */
#include "helpers.h"

#include "../../xs/core/scoreboard.h"
#include "../../xs/core/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], path[80];

static void open_folder(void) {
    (void)snprintf(folder, sizeof folder, "/tmp/evf-board-XXXXXX");
    NEED(mkdtemp(folder) != NULL);
    (void)snprintf(path, sizeof path, "%s/board", folder);
}

/* Fails if a file is left in it. */
static void close_folder(void) {
    CHECK_INT(rmdir(folder), 0);
}

static struct evf_scoreboard *new_board(const char *name, unsigned rows) {
    struct evf_scoreboard *board = NULL;
    NEED(evf_scoreboard_new(name, rows, &board) == 0);
    return board;
}

static struct evf_scoreboard *open_board(bool is_writable) {
    struct evf_scoreboard *board = NULL;
    NEED(evf_scoreboard_open(path, is_writable, &board) == 0);
    return board;
}

static void write_file(const char *text, size_t length) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    NEED(fd >= 0);
    CHECK_INT(write(fd, text, length), length);
    (void)close(fd);
}

static void nameless(void) {
    struct tester tester;
    struct evf_scoreboard *board = new_board(NULL, 3);
    struct evf_scoreboard_row *row = evf_scoreboard_row(board, 2);
    NEED(row != NULL);
    CHECK(evf_scoreboard_row(board, 3) == NULL);
    CHECK_INT(evf_scoreboard_rows(board), 3);
    CHECK_INT(evf_scoreboard_owner(board), getpid());
    CHECK_INT(evf_scoreboard_header(board)->supervisor_pid, getpid());
    CHECK(evf_scoreboard_header(board)->started_ns > 0);
    if (fork_tester(&tester)) {
        EVF_SCOREBOARD_SET(row->requests_done, 42);
        CHECK_INT(evf_scoreboard_owner(board), getppid());
        evf_scoreboard_free(board);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK_INT(EVF_SCOREBOARD_GET(row->requests_done), 42);
    evf_scoreboard_free(board);
    evf_scoreboard_free(NULL);
}

/* As a spawned program has it: by its descriptor alone. */
static void given(void) {
    struct evf_scoreboard *boards[2] = {new_board(NULL, 3), NULL}, *board = NULL;
    open_folder();
    boards[1] = new_board(path, 3);
    for (size_t i = 0; i < 2; i++) {
        struct tester tester;
        struct evf_scoreboard_row *row = evf_scoreboard_row(boards[i], 1);
        NEED(row != NULL);
        if (evf_scoreboard_fd(boards[i]) < 0) continue; /* no such memory here */
        CHECK_INT(fcntl(evf_scoreboard_fd(boards[i]), F_GETFD), FD_CLOEXEC);
        if (fork_tester(&tester)) {
            const int fd = dup(evf_scoreboard_fd(boards[i]));
            evf_scoreboard_free(boards[i]);
            NEED(fd >= 0 && evf_scoreboard_open_fd(fd, &board) == 0);
            CHECK_INT(evf_scoreboard_fd(board), fd);
            CHECK_INT(evf_scoreboard_rows(board), 3);
            CHECK_INT(evf_scoreboard_owner(board), getppid());
            CHECK(evf_scoreboard_is_writable(board));
            EVF_SCOREBOARD_SET(evf_scoreboard_row(board, 1)->requests_done, 43);
            evf_scoreboard_free(board);
            CHECK(fcntl(fd, F_GETFD) < 0);
            leave(&tester);
        }
        check_tester(&tester);
        CHECK_INT(EVF_SCOREBOARD_GET(row->requests_done), 43);
    }
    const int fd = open("/dev/null", O_RDWR);
    CHECK_INT(evf_scoreboard_open_fd(fd, &board), EVF_EINVAL);
    CHECK_INT(close(fd), 0);
    CHECK_INT(evf_scoreboard_open_fd(fd, &board), EVF_ESYSTEM);
    evf_scoreboard_free(boards[0]);
    evf_scoreboard_free(boards[1]);
    close_folder();
}

static void rows_have_limits(void) {
    struct evf_scoreboard *board = NULL;
    CHECK_INT(evf_scoreboard_new(NULL, 0, &board), EVF_EINVAL);
    CHECK_INT(evf_scoreboard_new(NULL, EVF_SCOREBOARD_ROWS + 1, &board), EVF_EINVAL);
    CHECK(board == NULL);
    board = new_board(NULL, EVF_SCOREBOARD_ROWS);
    struct evf_scoreboard_row *last = evf_scoreboard_row(board, EVF_SCOREBOARD_ROWS - 1);
    NEED(last != NULL);
    evf_scoreboard_set_text(last->reason, sizeof last->reason, "end", 3);
    CHECK(evf_scoreboard_row(board, EVF_SCOREBOARD_ROWS) == NULL);
    evf_scoreboard_free(board);
}

static void names_have_limits(void) {
    struct evf_scoreboard *board = NULL;
    char name[5000];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = '\0';
    CHECK_INT(evf_scoreboard_new(name, 1, &board), EVF_EINVAL);
    CHECK_INT(evf_scoreboard_new("", 1, &board), EVF_EINVAL);
    CHECK_INT(evf_scoreboard_new("/no/such/folder/board", 1, &board), EVF_ESYSTEM);
    CHECK_INT(errno, ENOENT);
    CHECK_INT(evf_scoreboard_open("/no/such/folder/board", false, &board), EVF_ESYSTEM);
    CHECK_INT(errno, ENOENT);
    CHECK(board == NULL);
}

static void a_file(void) {
    struct stat st;
    struct tester tester;
    open_folder();
    mode_t mask = umask(0777);
    struct evf_scoreboard *board = new_board(path, 2);
    (void)umask(mask);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0600);
    evf_scoreboard_row(board, 1)->pid = 4711;
    if (fork_tester(&tester)) {
        struct evf_scoreboard *reader = open_board(false);
        CHECK(!evf_scoreboard_is_writable(reader));
        CHECK_INT(evf_scoreboard_rows(reader), 2);
        CHECK_INT(evf_scoreboard_owner(reader), getppid());
        CHECK_INT(evf_scoreboard_row(reader, 1)->pid, 4711);
        evf_scoreboard_free(reader);
        reader = open_board(true);
        EVF_SCOREBOARD_SET(evf_scoreboard_header(reader)->wanted_workers, 7);
        evf_scoreboard_free(reader);
        evf_scoreboard_free(board); /* the parent's: its name stays */
        CHECK_INT(access(path, F_OK), 0);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK_INT(EVF_SCOREBOARD_GET(evf_scoreboard_header(board)->wanted_workers), 7);
    evf_scoreboard_free(board);
    CHECK_INT(access(path, F_OK), -1);
    close_folder();
}

/* By the owner itself, by its child and, as a stranger would, by a child that has not inherited it. */
static void owned(void) {
    struct tester tester, stranger;
    struct evf_scoreboard *board = NULL, *other = NULL;
    open_folder();
    if (fork_tester(&stranger)) {
        wait_for_parent(&stranger);
        CHECK_INT(evf_scoreboard_new(path, 1, &other), EVF_EBUSY);
        other = open_board(false);
        CHECK_INT(evf_scoreboard_owner(other), getppid());
        tell_parent(&stranger);
        wait_for_parent(&stranger); /* it has freed its own */
        CHECK_INT(evf_scoreboard_owner(other), 0);
        evf_scoreboard_free(other);
        leave(&stranger);
    }
    board = new_board(path, 1);
    CHECK_INT(evf_scoreboard_new(path, 1, &other), EVF_EBUSY);
    other = open_board(true);
    CHECK_INT(evf_scoreboard_owner(other), getpid());
    evf_scoreboard_row(other, 0)->pid = 5;
    CHECK_INT(evf_scoreboard_row(board, 0)->pid, 5);
    evf_scoreboard_free(other);
    if (fork_tester(&tester)) {
        CHECK_INT(evf_scoreboard_new(path, 1, &other), EVF_EBUSY);
        CHECK_INT(evf_scoreboard_owner(board), getppid());
        leave(&tester);
    }
    check_tester(&tester);
    tell_child(&stranger); /* the lock has lived through all that */
    wait_for_child(&stranger);
    evf_scoreboard_free(board);
    tell_child(&stranger);
    check_tester(&stranger);
    close_folder();
}

static void stale(void) {
    struct tester tester;
    open_folder();
    if (fork_tester(&tester)) {
        struct evf_scoreboard *board = new_board(path, 9);
        evf_scoreboard_row(board, 8)->pid = 1234;
        CHECK_INT(evf_scoreboard_owner(board), getpid());
        leave(&tester); /* without a word */
    }
    check_tester(&tester);
    struct evf_scoreboard *board = open_board(false);
    CHECK_INT(evf_scoreboard_owner(board), 0);
    CHECK_INT(evf_scoreboard_row(board, 8)->pid, 1234);
    struct evf_scoreboard *mine = new_board(path, 1);
    CHECK_INT(evf_scoreboard_owner(mine), getpid());
    CHECK_INT(evf_scoreboard_owner(board), 0); /* the old file, which has no name any more */
    evf_scoreboard_free(board);
    board = open_board(false);
    CHECK_INT(evf_scoreboard_rows(board), 1);
    evf_scoreboard_free(board);
    evf_scoreboard_free(mine);
    close_folder();
}

/* Many at a time want a stale file, or a name that is free: one gets it. */
static void contended(void) {
    enum { CONTENDERS = 6 };
    const int rounds = tap_is_slow() ? 3 : 20;
    open_folder();
    for (int i = 0; i < rounds; i++) {
        struct tester testers[CONTENDERS];
        int owners[2], total = 0;
        char byte;
        NEED(pipe(owners) == 0);
        (void)fcntl(owners[0], F_SETFL, O_NONBLOCK);
        for (int j = 0; j < CONTENDERS; j++) {
            if (!fork_tester(&testers[j])) continue;
            struct evf_scoreboard *board = NULL;
            wait_for_parent(&testers[j]);
            int rc = evf_scoreboard_new(path, 1, &board);
            CHECK(rc == 0 || rc == EVF_EBUSY);
            if (rc == 0) give(owners[1]);
            tell_parent(&testers[j]);
            wait_for_parent(&testers[j]);
            leave(&testers[j]); /* leaves a stale file for the next round */
        }
        for (int j = 0; j < CONTENDERS; j++) tell_child(&testers[j]);
        for (int j = 0; j < CONTENDERS; j++) wait_for_child(&testers[j]);
        for (int j = 0; j < CONTENDERS; j++) tell_child(&testers[j]);
        for (int j = 0; j < CONTENDERS; j++) check_tester(&testers[j]);
        while (read(owners[0], &byte, 1) == 1) total++;
        CHECK_INT(total, 1);
        (void)close(owners[0]);
        (void)close(owners[1]);
    }
    CHECK_INT(unlink(path), 0);
    close_folder();
}

static void files_of_others(void) {
    struct evf_scoreboard *board = NULL;
    static char text[20000] = "precious";
    char target[100];
    open_folder();
    write_file(text, sizeof text);
    CHECK_INT(evf_scoreboard_new(path, 1, &board), EVF_ESYSTEM);
    CHECK_INT(errno, EEXIST);
    CHECK_INT(evf_scoreboard_open(path, false, &board), EVF_EINVAL);
    write_file("short", 5);
    CHECK_INT(evf_scoreboard_open(path, false, &board), EVF_EINVAL);
    CHECK_INT(unlink(path), 0);

    (void)snprintf(target, sizeof target, "%s/target", folder);
    CHECK_INT(symlink(target, path), 0);
    CHECK_INT(evf_scoreboard_new(path, 1, &board), EVF_ESYSTEM);
    CHECK_INT(access(target, F_OK), -1);
    CHECK_INT(unlink(path), 0);

    CHECK_INT(mkdir(path, 0700), 0);
    CHECK_INT(evf_scoreboard_new(path, 1, &board), EVF_ESYSTEM);
    CHECK_INT(evf_scoreboard_open(path, false, &board), EVF_EINVAL);
    CHECK_INT(rmdir(path), 0);

    CHECK_INT(mkfifo(path, 0600), 0);
    CHECK_INT(evf_scoreboard_new(path, 1, &board), EVF_ESYSTEM);
    CHECK_INT(evf_scoreboard_open(path, false, &board), EVF_EINVAL);
    CHECK_INT(unlink(path), 0);

    write_file("", 0); /* of mktemp, say */
    board = new_board(path, 1);
    evf_scoreboard_free(board);
    close_folder();
}

/* A file whose header was changed, a number at a time. */
static void other_layouts(void) {
    static const struct {
        size_t offset;
        uint32_t value;
    } changes[] = {
        {offsetof(struct evf_scoreboard_header, magic), 0x45565046},
        {offsetof(struct evf_scoreboard_header, version), EVF_SCOREBOARD_VERSION + 1},
        {offsetof(struct evf_scoreboard_header, header_bytes), 512},
        {offsetof(struct evf_scoreboard_header, row_bytes), 64},
        {offsetof(struct evf_scoreboard_header, rows), 0},
        {offsetof(struct evf_scoreboard_header, rows), 3},
        {offsetof(struct evf_scoreboard_header, rows), UINT32_MAX},
    };
    open_folder();
    for (size_t i = 0; i < COUNT_OF(changes); i++) {
        struct tester tester;
        struct evf_scoreboard *board = NULL;
        if (fork_tester(&tester)) {
            board = new_board(path, 2);
            memcpy((char *)evf_scoreboard_header(board) + changes[i].offset, &changes[i].value, sizeof(uint32_t));
            leave(&tester);
        }
        check_tester(&tester);
        CHECK_INT(evf_scoreboard_open(path, false, &board), EVF_EINVAL);
        CHECK_INT(unlink(path), 0);
    }
    close_folder();
}

static void no_room(void) {
    struct tester tester;
    open_folder();
    if (fork_tester(&tester)) {
        struct evf_scoreboard *board = NULL;
        const struct rlimit limit = {100000, 100000};
        (void)signal(SIGXFSZ, SIG_IGN);
        CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
        CHECK_INT(evf_scoreboard_new(path, EVF_SCOREBOARD_ROWS, &board), EVF_ESYSTEM);
        CHECK_INT(errno, EFBIG);
        CHECK(board == NULL);
        leave(&tester);
    }
    check_tester(&tester);
    close_folder();
}

/* A successor takes the name of the one before, which lives and keeps its memory; nobody else's. */
static void renamed(void) {
    struct tester tester;
    char pending[sizeof path + 8], taken[sizeof path + 4];
    open_folder();
    (void)snprintf(pending, sizeof pending, "%s.pending", path);
    (void)snprintf(taken, sizeof taken, "%s.own", path);
    struct evf_scoreboard *before = new_board(path, 1);
    evf_scoreboard_row(before, 0)->pid = 5;
    if (fork_tester(&tester)) {
        struct evf_scoreboard *board = new_board(pending, 3);
        evf_scoreboard_row(board, 2)->pid = 7;
        CHECK_INT(evf_scoreboard_rename(board, path, 0), EVF_EBUSY);
        CHECK_INT(evf_scoreboard_rename(board, path, getpid()), EVF_EBUSY);
        CHECK_INT(evf_scoreboard_rename(board, "", 0), EVF_EINVAL);
        CHECK_INT(evf_scoreboard_rename(board, "/no/such/folder", 0), EVF_ESYSTEM);
        CHECK_INT(access(pending, F_OK), 0);
        CHECK_INT(evf_scoreboard_rename(board, path, getppid()), 0);
        CHECK_INT(access(pending, F_OK), -1);
        struct evf_scoreboard *reader = open_board(false);
        CHECK_INT(evf_scoreboard_owner(reader), getpid());
        CHECK_INT(evf_scoreboard_row(reader, 2)->pid, 7);
        evf_scoreboard_free(reader);
        CHECK_INT(evf_scoreboard_rename(board, pending, 0), EVF_EINVAL); /* longer */
        tell_parent(&tester);
        wait_for_parent(&tester); /* it has freed its own */
        CHECK_INT(access(path, F_OK), 0);
        evf_scoreboard_free(board);
        CHECK_INT(access(path, F_OK), -1);
        leave(&tester);
    }
    wait_for_child(&tester);
    CHECK_INT(evf_scoreboard_row(before, 0)->pid, 5);
    CHECK_INT(evf_scoreboard_owner(before), getpid());
    evf_scoreboard_free(before);
    tell_child(&tester);
    check_tester(&tester);
    /* A stale one may be replaced by anybody, another kind of file by nobody. */
    if (fork_tester(&tester)) {
        (void)new_board(path, 1);
        leave(&tester);
    }
    check_tester(&tester);
    struct evf_scoreboard *board = new_board(pending, 1);
    write_file("not a scoreboard", 16);
    CHECK_INT(evf_scoreboard_rename(board, path, 0), EVF_ESYSTEM);
    CHECK_INT(errno, EEXIST);
    (void)unlink(path);
    CHECK_INT(evf_scoreboard_rename(board, path, 0), 0);
    struct evf_scoreboard *own = new_board(taken, 1);
    CHECK_INT(evf_scoreboard_rename(own, path, getpid()), EVF_EBUSY);
    evf_scoreboard_free(own);
    evf_scoreboard_free(board);
    CHECK_INT(access(path, F_OK), -1);
    close_folder();
}

static void texts(void) {
    char field[8], copy[8];
    memset(field, 0, sizeof field);
    evf_scoreboard_set_text(field, sizeof field, "1234567", 7);
    CHECK_INT(evf_scoreboard_get_text(field, sizeof field, copy), 7);
    CHECK_TEXT(copy, "1234567");
    evf_scoreboard_set_text(field, sizeof field, "12345678", 8);
    CHECK_TEXT(field, "1234567");
    evf_scoreboard_set_text(field, sizeof field, "12345\xE2\x82\xAC", 8); /* the sign of the euro does not fit */
    CHECK_TEXT(field, "12345");
    evf_scoreboard_set_text(field, sizeof field, "", 0);
    CHECK_INT(evf_scoreboard_get_text(field, sizeof field, copy), 0);
    CHECK_TEXT(copy, "");
    memset(field, 'x', sizeof field); /* of a writer that is no friend */
    CHECK_INT(evf_scoreboard_get_text(field, sizeof field, copy), 7);
    CHECK_TEXT(copy, "xxxxxxx");
}

static void cleared(void) {
    struct evf_scoreboard *board = new_board(NULL, 2);
    struct evf_scoreboard_row *row = evf_scoreboard_row(board, 1), expected;
    memset(row, 0x7f, sizeof *row);
    evf_scoreboard_clear_row(board, 1);
    evf_scoreboard_clear_row(board, 2); /* none such */
    memset(&expected, 0, sizeof expected);
    CHECK_INT(row->exited_ns, INT64_C(0x7f7f7f7f7f7f7f7f));
    CHECK_INT(row->reason[0], 0x7f);
    CHECK_INT(memcmp(row, &expected, offsetof(struct evf_scoreboard_row, exited_ns)), 0);
    const size_t start = offsetof(struct evf_scoreboard_row, busy_since_ns);
    CHECK_INT(
        memcmp((char *)row + start, (char *)&expected + start, offsetof(struct evf_scoreboard_row, record) - start), 0);
    CHECK_TEXT(row->record.place, "");
    CHECK_TEXT(row->record.error, "");
    evf_scoreboard_free(board);
}

static void deaths(void) {
    struct evf_scoreboard *board;
    NEED(evf_scoreboard_new(NULL, 2, &board) == 0);
    const struct evf_scoreboard_header *header = evf_scoreboard_header(board);
    char reason[2 * EVF_SCOREBOARD_REASON];
    memset(reason, 'x', sizeof reason);
    CHECK_INT(header->deaths, 0);
    for (unsigned i = 0; i < EVF_SCOREBOARD_DEATHS + 3; i++)
        evf_scoreboard_add_death(board, (int64_t)i * 1000, (pid_t)(100 + i), i, 2, reason, i + 1);
    CHECK_INT(header->deaths, EVF_SCOREBOARD_DEATHS + 3);
    CHECK_INT(header->last_deaths[2].epoch_ns, (EVF_SCOREBOARD_DEATHS + 2) * 1000);
    CHECK_INT(header->last_deaths[2].pid, 100 + EVF_SCOREBOARD_DEATHS + 2);
    CHECK_INT(header->last_deaths[3].slot, 3);
    CHECK_INT(header->last_deaths[3].generation, 2);
    CHECK_TEXT(header->last_deaths[3].reason, "xxxx");
    evf_scoreboard_add_death(board, 0, 1, 0, 0, reason, sizeof reason);
    CHECK_INT(strlen(header->last_deaths[3].reason), EVF_SCOREBOARD_REASON - 1);
    evf_scoreboard_free(board);
}

static void words(void) {
    CHECK_TEXT(evf_worker_state_name(EVF_WORKER_EMPTY), "empty");
    CHECK_TEXT(evf_worker_state_name(EVF_WORKER_BACKOFF), "backoff");
    CHECK_TEXT(evf_worker_state_name(EVF_WORKER_STATE_COUNT), "unknown");
    CHECK_TEXT(evf_pool_state_name(EVF_POOL_RUNNING), "running");
    CHECK_TEXT(evf_pool_state_name(EVF_POOL_HALTED), "halted");
    CHECK_TEXT(evf_pool_state_name(EVF_POOL_STATE_COUNT), "unknown");
}

static void a_bell(void) {
    struct tester tester;
    int fds[2] = {-1, -1};
    NEED(evf_bell_open(fds) == 0);
    CHECK((fcntl(fds[0], F_GETFD) & FD_CLOEXEC) != 0 && (fcntl(fds[1], F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(!evf_bell_answer(fds[0]));
    errno = 4711;
    evf_bell_ring(fds[1]);
    evf_bell_ring(fds[1]);
    evf_bell_ring(-1);
    evf_bell_ring(1 << 20); /* not open */
    CHECK(evf_bell_answer(fds[0]));
    CHECK(!evf_bell_answer(fds[0]));
    CHECK_INT(errno, 4711);
    if (fork_tester(&tester)) {
        evf_bell_ring(fds[1]);
        leave(&tester);
    }
    check_tester(&tester);
    CHECK(evf_bell_answer(fds[0]));
    evf_bell_close(fds);
    CHECK_INT(fds[0], -1);
    evf_bell_close(fds);
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(nameless, "nameless memory is shared with children"),
        TAP_TEST(given, "a process that is given its descriptor alone sees the same"),
        TAP_TEST(rows_have_limits, "the number of rows has limits"),
        TAP_TEST(names_have_limits, "a path has limits, and needs a folder"),
        TAP_TEST(a_file, "a file is readable and writable by others, and goes with its maker only"),
        TAP_TEST(owned, "the file of a living owner is not replaced, whatever is opened and forked meanwhile"),
        TAP_TEST(stale, "that of one that has ended is readable, and replaced"),
        TAP_TEST(contended, "of several that want it one is the owner"),
        TAP_TEST(files_of_others, "files that are something else are left alone"),
        TAP_TEST(other_layouts, "another layout is refused"),
        TAP_TEST(no_room, "a disk without room is found at once, and nothing is left"),
        TAP_TEST(renamed, "a successor takes the name of the one before"),
        TAP_TEST(texts, "texts are cut where a character begins, and always end"),
        TAP_TEST(cleared, "a row is cleared but for how its last worker ended"),
        TAP_TEST(deaths, "the last deaths are kept"),
        TAP_TEST(words, "states have names"),
        TAP_TEST(a_bell, "a bell rings until it is answered"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
