/* The scoreboard's memory: nameless, or a file that outlives its writers. The owner of a file holds a POSIX record lock
 * on it: the kernel drops that with the process however it ends, fork does not copy it, and F_GETLK tells a reader
 * whose it is. Such a lock is also lost when the process closes any descriptor of the file, so the owner opens it once,
 * keeps that descriptor, and never opens the file a second time. */
#include "scoreboard.h"
#include "internal.h"
#include "supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

/* Whole pages, so that the rows begin on one of their own; whole cache lines, so that workers do not share one. */
enum { PAGE = 4096, CACHE_LINE = 64 };
#define ROUNDED_UP(bytes, unit) (((bytes) + (unit)-1) / (unit) * (unit))
#define HEADER_BYTES ROUNDED_UP(sizeof(struct evf_scoreboard_header), (size_t)PAGE)
#define ROW_BYTES ROUNDED_UP(sizeof(struct evf_scoreboard_row), (size_t)CACHE_LINE)

_Static_assert(EVF_CAUSE_COUNT <= 16, "header.starts has room for every cause");
_Static_assert(EVF_SCOREBOARD_ROWS >= 2 * EVF_SLOTS_MAX, "a row for each berth");
_Static_assert(offsetof(struct evf_scoreboard_header, starts) == 88, "part of the layout: change the version with it");
_Static_assert(offsetof(struct evf_scoreboard_row, busy_since_ns) == CACHE_LINE, "the worker writes lines of its own");
_Static_assert(offsetof(struct evf_scoreboard_row, record) == 240, "part of the layout: change the version with it");

struct evf_scoreboard {
    struct evf_scoreboard_header *header; /* the mapping */
    size_t bytes;
    unsigned rows; /* a copy: who may write to the file may write nonsense */
    int fd;        /* of the file or memory; -1: none, or the maker's view of its own */
    pid_t maker;   /* 0: was opened */
    bool is_writable, is_nameless;
    dev_t device;
    ino_t inode;
    struct evf_link own; /* in the list of files that this process has made */
    char path[];         /* to be unlinked; empty: none */
};

static struct evf_link own_boards = {&own_boards, &own_boards};

/* ---- Files of this process ---------------------------------------------------------------------------------- */

/* The board of this process that is this file. One that was made before a fork is the parent's. */
static struct evf_scoreboard *find_own(const struct stat *st) {
    struct evf_scoreboard *found = NULL;
    evf__loops_lock();
    for (struct evf_link *link = own_boards.next; link != &own_boards && found == NULL; link = link->next) {
        struct evf_scoreboard *board = EVF__CONTAINER(link, struct evf_scoreboard, own);
        if (board->maker == getpid() && board->device == st->st_dev && board->inode == st->st_ino) found = board;
    }
    evf__loops_unlock();
    return found;
}

static bool is_own(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0 && find_own(&st) != NULL;
}

static bool is_file_at(const char *path, const struct stat *file) {
    struct stat st;
    return lstat(path, &st) == 0 && st.st_dev == file->st_dev && st.st_ino == file->st_ino;
}

/* ---- Locks -------------------------------------------------------------------------------------------------- */

static int lock(int fd) {
    struct flock wish = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_SETLK, &wish) == 0) return 0;
    return errno == EAGAIN || errno == EACCES ? EVF_EBUSY : EVF_ESYSTEM;
}

static pid_t living(pid_t pid) {
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
}

pid_t evf_scoreboard_owner(const struct evf_scoreboard *board) {
    const pid_t me = getpid();
    if (board->maker == me) return me;
    if (board->is_nameless) return living((pid_t)EVF_SCOREBOARD_GET(board->header->supervisor_pid));
    if (board->fd < 0) {
        const struct stat st = {.st_dev = board->device, .st_ino = board->inode};
        return find_own(&st) != NULL ? me : 0;
    }
    struct flock question = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(board->fd, F_GETLK, &question) < 0 || question.l_type == F_UNLCK) return 0;
    /* Of a process that has no pid here, in another container. */
    return question.l_pid > 0 ? question.l_pid : (pid_t)EVF_SCOREBOARD_GET(board->header->supervisor_pid);
}

/* ---- Making one --------------------------------------------------------------------------------------------- */

static int write_zeros(int fd, size_t bytes) {
    static const char zeros[PAGE];
    for (size_t done = 0; done < bytes;) {
        const size_t length = bytes - done < sizeof zeros ? bytes - done : sizeof zeros;
        const ssize_t written = pwrite(fd, zeros, length, (off_t)done);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return EVF_ESYSTEM;
        done += (size_t)written;
    }
    return 0;
}

/* All of its blocks: a store into a hole of a file on a full disk is a SIGBUS. */
static int allocate(int fd, size_t bytes) {
    if (ftruncate(fd, (off_t)bytes) < 0) return EVF_ESYSTEM;
#ifndef __APPLE__
    int error;
    do error = posix_fallocate(fd, 0, (off_t)bytes);
    while (error == EINTR);
    if (error == 0) return 0;
    if (error != EOPNOTSUPP && error != EINVAL && error != ENOSYS && error != ENODEV) {
        errno = error;
        return EVF_ESYSTEM;
    }
#endif
    return write_zeros(fd, bytes);
}

static void init_header(struct evf_scoreboard *board) {
    struct evf_scoreboard_header *header = board->header;
    header->magic = EVF_SCOREBOARD_MAGIC;
    header->version = EVF_SCOREBOARD_VERSION;
    header->header_bytes = (uint32_t)HEADER_BYTES;
    header->row_bytes = (uint32_t)ROW_BYTES;
    header->rows = board->rows;
    header->supervisor_pid = getpid();
    header->started_ns = evf_clock_now(NULL, EVF_CLOCK_MONOTONIC);
    header->started_epoch_ns = evf_clock_now(NULL, EVF_CLOCK_REALTIME);
}

static int map(struct evf_scoreboard *board, int fd) {
    const int flags = MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0);
    void *memory = mmap(NULL, board->bytes, PROT_READ | (board->is_writable ? PROT_WRITE : 0), flags, fd, 0);
    if (memory == MAP_FAILED) return EVF_ESYSTEM;
    board->header = memory;
    return 0;
}

/* Beside the file to be, under a name that nobody else makes. */
static int create_temporary(const char *path, char *ret_name, size_t size) {
    for (unsigned i = 0; i < 100; i++) {
        (void)snprintf(ret_name, size, "%s.new-%ld-%u", path, (long)getpid(), i); /* has room */
        int fd = open(ret_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

static bool is_scoreboard(int fd) {
    uint64_t magic = 0;
    return pread(fd, &magic, sizeof magic, 0) == (ssize_t)sizeof magic && magic == EVF_SCOREBOARD_MAGIC;
}

enum { AGAIN = 1 };

/* Who has the lock of the old file may replace it, and is the only one. */
static int replace(const char *temporary, const char *path, int old) {
    struct stat st;
    int rc = lock(old);
    if (rc < 0) return rc;
    if (fstat(old, &st) < 0) return EVF_ESYSTEM;
    if (!is_file_at(path, &st)) return AGAIN; /* somebody else has had the lock meanwhile */
    if (!S_ISREG(st.st_mode) || (st.st_size > 0 && !is_scoreboard(old))) {
        errno = EEXIST;
        return EVF_ESYSTEM;
    }
    return rename(temporary, path) < 0 ? EVF_ESYSTEM : 0;
}

static int name_new(const char *temporary, const char *path) {
    if (link(temporary, path) == 0) {
        (void)unlink(temporary); /* has another name now */
        return 0;
    }
    if (errno == EEXIST) return AGAIN;
    /* Some file systems have no second names. */
    const bool has_no_links = errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS || errno == EMLINK;
    return has_no_links && rename(temporary, path) == 0 ? 0 : EVF_ESYSTEM;
}

static int give_name_once(const char *temporary, const char *path) {
    if (is_own(path)) return EVF_EBUSY; /* not to be opened */
    const int old = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (old < 0) return errno == ENOENT ? name_new(temporary, path) : EVF_ESYSTEM;
    const int rc = replace(temporary, path, old);
    const int saved_errno = errno;
    (void)close(old);
    errno = saved_errno;
    return rc;
}

static int give_name(const char *temporary, const char *path) {
    for (int tries = 0; tries < 100; tries++) {
        const int rc = give_name_once(temporary, path);
        if (rc != AGAIN) return rc;
    }
    return EVF_EBUSY;
}

static int make_file(struct evf_scoreboard *board) {
    char temporary[PATH_MAX];
    struct stat st;
    int saved_errno;
    const int fd = create_temporary(board->path, temporary, sizeof temporary);
    if (fd < 0) return EVF_ESYSTEM;
    int rc = allocate(fd, board->bytes);
    if (rc < 0) goto cannot_finish;
    rc = EVF_ESYSTEM;
    if (fchmod(fd, 0600) < 0 || fstat(fd, &st) < 0) goto cannot_finish; /* the umask may have taken more away */
    rc = map(board, fd);
    if (rc < 0) goto cannot_finish;
    init_header(board);
    rc = lock(fd); /* before the name: a reader always finds the owner */
    if (rc == 0) rc = give_name(temporary, board->path);
    if (rc < 0) goto cannot_name;
    board->fd = fd;
    board->device = st.st_dev;
    board->inode = st.st_ino;
    evf__loops_lock();
    evf__list_append(&own_boards, &board->own);
    evf__loops_unlock();
    return 0;

cannot_name:
    saved_errno = errno;
    (void)munmap(board->header, board->bytes);
    errno = saved_errno;
cannot_finish:
    saved_errno = errno;
    (void)unlink(temporary);
    (void)close(fd);
    errno = saved_errno;
    return rc;
}

/* Memory that a spawned program can be given, where the system has it, or else only forked children. */
static int open_memory(size_t bytes) {
#if defined(__linux__) && defined(SYS_memfd_create) && defined(MFD_CLOEXEC)
    const int fd = (int)syscall(SYS_memfd_create, "evf-scoreboard", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) == 0) return fd;
    (void)close(fd);
#else
    (void)bytes;
#endif
    return -1;
}

static int make_memory(struct evf_scoreboard *board) {
    board->is_nameless = true;
    board->fd = open_memory(board->bytes);
    const int rc = map(board, board->fd);
    if (rc == 0) init_header(board);
    else if (board->fd >= 0) {
        const int saved_errno = errno;
        (void)close(board->fd);
        errno = saved_errno;
    }
    return rc;
}

static struct evf_scoreboard *new_view(const char *path) {
    const size_t length = path != NULL ? strlen(path) : 0;
    struct evf_scoreboard *board = calloc(1, sizeof *board + length + 1);
    if (board == NULL) return NULL;
    board->fd = -1;
    if (length > 0) memcpy(board->path, path, length);
    return board;
}

int evf_scoreboard_new(const char *path, unsigned rows, struct evf_scoreboard **ret_board) {
    enum { SUFFIX = 48 }; /* of the temporary name */
    if (rows < 1 || rows > EVF_SCOREBOARD_ROWS) return EVF_EINVAL;
    if (path != NULL && (*path == '\0' || strlen(path) + SUFFIX > PATH_MAX)) return EVF_EINVAL;
    struct evf_scoreboard *board = new_view(path);
    if (board == NULL) return EVF_ENOMEM;
    board->rows = rows;
    board->bytes = HEADER_BYTES + rows * ROW_BYTES;
    board->maker = getpid();
    board->is_writable = true;
    int rc = path != NULL ? make_file(board) : make_memory(board);
    if (rc < 0) {
        free(board);
        return rc;
    }
    *ret_board = board;
    return 0;
}

static int check_replaceable(const char *path, pid_t replaced) {
    struct flock question = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat st;
    if (is_own(path)) return EVF_EBUSY; /* not to be opened */
    const int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : EVF_ESYSTEM;
    int rc = 0;
    if (fstat(fd, &st) < 0 || fcntl(fd, F_GETLK, &question) < 0) rc = EVF_ESYSTEM;
    else if (!S_ISREG(st.st_mode) || (st.st_size > 0 && !is_scoreboard(fd))) {
        errno = EEXIST;
        rc = EVF_ESYSTEM;
    } else if (question.l_type != F_UNLCK && (replaced == 0 || question.l_pid != replaced)) rc = EVF_EBUSY;
    const int saved_errno = errno;
    (void)close(fd);
    errno = saved_errno;
    return rc;
}

int evf_scoreboard_rename(struct evf_scoreboard *board, const char *path, pid_t replaced) {
    const size_t length = strlen(path);
    if (board->maker != getpid() || length == 0 || length > strlen(board->path)) return EVF_EINVAL;
    int rc = check_replaceable(path, replaced);
    if (rc < 0) return rc;
    if (rename(board->path, path) < 0) return EVF_ESYSTEM;
    memcpy(board->path, path, length + 1);
    return 0;
}

/* ---- Reading one -------------------------------------------------------------------------------------------- */

static int check_layout(struct evf_scoreboard *board) {
    const struct evf_scoreboard_header *header = board->header;
    if (header->magic != EVF_SCOREBOARD_MAGIC || header->version != EVF_SCOREBOARD_VERSION) return EVF_EINVAL;
    if (header->header_bytes != HEADER_BYTES || header->row_bytes != ROW_BYTES) return EVF_EINVAL;
    board->rows = header->rows;
    if (board->rows < 1 || board->rows > EVF_SCOREBOARD_ROWS) return EVF_EINVAL;
    return board->bytes >= HEADER_BYTES + board->rows * ROW_BYTES ? 0 : EVF_EINVAL;
}

static int view(struct evf_scoreboard *board, int fd, const struct stat *st) {
    if (!S_ISREG(st->st_mode) || st->st_size < (off_t)(HEADER_BYTES + ROW_BYTES)) return EVF_EINVAL;
    if (st->st_size > (off_t)(HEADER_BYTES + EVF_SCOREBOARD_ROWS * ROW_BYTES)) return EVF_EINVAL;
    board->bytes = (size_t)st->st_size;
    board->device = st->st_dev;
    board->inode = st->st_ino;
    int rc = map(board, fd);
    if (rc < 0) return rc;
    rc = check_layout(board);
    if (rc < 0) (void)munmap(board->header, board->bytes);
    return rc;
}

static int view_file(struct evf_scoreboard *board, const char *path) {
    struct stat st;
    const int flags = (board->is_writable ? O_RDWR : O_RDONLY) | O_NONBLOCK | O_CLOEXEC;
    const int fd = open(path, flags);
    if (fd < 0) return EVF_ESYSTEM;
    int rc = fstat(fd, &st) < 0 ? EVF_ESYSTEM : view(board, fd, &st);
    if (rc == 0) board->fd = fd;
    else {
        const int saved_errno = errno;
        (void)close(fd);
        errno = saved_errno;
    }
    return rc;
}

int evf_scoreboard_open(const char *path, bool is_writable, struct evf_scoreboard **ret_board) {
    struct stat st;
    if (path == NULL || *path == '\0') return EVF_EINVAL;
    struct evf_scoreboard *board = new_view(NULL);
    if (board == NULL) return EVF_ENOMEM;
    board->is_writable = is_writable;
    const struct evf_scoreboard *own = stat(path, &st) == 0 ? find_own(&st) : NULL;
    /* The maker's own file is mapped once more by the descriptor that it has. */
    const int rc = own != NULL ? view(board, own->fd, &st) : view_file(board, path);
    if (rc < 0) {
        free(board);
        return rc;
    }
    *ret_board = board;
    return 0;
}

int evf_scoreboard_open_fd(int fd, struct evf_scoreboard **ret_board) {
    struct stat st;
    if (fstat(fd, &st) < 0) return EVF_ESYSTEM;
    struct evf_scoreboard *board = new_view(NULL);
    if (board == NULL) return EVF_ENOMEM;
    board->is_writable = true;
    board->is_nameless = st.st_nlink == 0;
    const int rc = view(board, fd, &st);
    if (rc < 0) {
        const int saved_errno = errno;
        free(board);
        errno = saved_errno;
        return rc;
    }
    board->fd = fd;
    *ret_board = board;
    return 0;
}

int evf_scoreboard_fd(const struct evf_scoreboard *board) {
    return board->fd;
}

void evf_scoreboard_free(struct evf_scoreboard *board) {
    if (board == NULL) return;
    const struct evf_scoreboard_row *row = evf_heartbeat_row();
    for (unsigned i = 0; row != NULL && i < board->rows; i++) {
        if (row == evf_scoreboard_row(board, i)) evf_heartbeat_attach(NULL);
    }
    const uintptr_t record = (uintptr_t)evf_recorder_record(), start = (uintptr_t)board->header;
    if (record >= start && record < start + board->bytes) evf_recorder_attach(NULL);
    const struct stat st = {.st_dev = board->device, .st_ino = board->inode};
    if (board->path[0] != '\0' && board->maker == getpid() && is_file_at(board->path, &st)) (void)unlink(board->path);
    evf__loops_lock();
    evf__list_remove(&board->own);
    evf__loops_unlock();
    (void)munmap(board->header, board->bytes); /* was mapped so */
    if (board->fd >= 0) (void)close(board->fd);
    free(board);
}

/* ---- What is in it ------------------------------------------------------------------------------------------ */

bool evf_scoreboard_is_writable(const struct evf_scoreboard *board) {
    return board->is_writable;
}

struct evf_scoreboard_header *evf_scoreboard_header(struct evf_scoreboard *board) {
    return board->header;
}

unsigned evf_scoreboard_rows(const struct evf_scoreboard *board) {
    return board->rows;
}

struct evf_scoreboard_row *evf_scoreboard_row(struct evf_scoreboard *board, unsigned row) {
    if (row >= board->rows) return NULL;
    return (struct evf_scoreboard_row *)(void *)((char *)board->header + HEADER_BYTES + row * ROW_BYTES);
}

static void keep_numbers(struct evf_scoreboard_header *header, const struct evf_scoreboard_row *row) {
    (void)__atomic_fetch_add(&header->past_requests, EVF_SCOREBOARD_GET(row->requests_done), __ATOMIC_RELAXED);
    for (size_t i = 0; i < EVF_SCOREBOARD_COUNTERS; i++)
        (void)__atomic_fetch_add(&header->past_counters[i], EVF_SCOREBOARD_GET(row->counters[i]), __ATOMIC_RELAXED);
}

void evf_scoreboard_clear_row(struct evf_scoreboard *board, unsigned number) {
    struct evf_scoreboard_row *row = evf_scoreboard_row(board, number);
    if (row == NULL) return;
    keep_numbers(board->header, row);
    EVF_SCOREBOARD_SET(row->pid, 0);
    EVF_SCOREBOARD_SET(row->slot, 0);
    EVF_SCOREBOARD_SET(row->generation, 0);
    EVF_SCOREBOARD_SET(row->state, 0);
    EVF_SCOREBOARD_SET(row->is_stopping, 0);
    EVF_SCOREBOARD_SET(row->spawned_ns, 0);
    EVF_SCOREBOARD_SET(row->ready_ns, 0);
    EVF_SCOREBOARD_SET(row->requests_max, 0);
    EVF_SCOREBOARD_SET(row->rss_bytes, 0);
    EVF_SCOREBOARD_SET(row->busy_since_ns, 0);
    EVF_SCOREBOARD_SET(row->turns, 0);
    EVF_SCOREBOARD_SET(row->extension_ns, 0);
    EVF_SCOREBOARD_SET(row->requests_started, 0);
    EVF_SCOREBOARD_SET(row->requests_done, 0);
    EVF_SCOREBOARD_SET_FLAG(row->is_ready, 0);
    EVF_SCOREBOARD_SET_FLAG(row->has_place, 0);
    for (size_t i = 0; i < EVF_SCOREBOARD_COUNTERS; i++) EVF_SCOREBOARD_SET(row->counters[i], 0);
    evf_record_begin(&row->record, 0);
    EVF_SCOREBOARD_SET(row->record.stage, EVF_STAGE_NONE);
}

void evf_scoreboard_add_death(struct evf_scoreboard *board, int64_t epoch_ns, pid_t pid, unsigned slot,
                              unsigned generation, const char *reason, size_t length) {
    struct evf_scoreboard_header *header = board->header;
    const uint64_t number = EVF_SCOREBOARD_GET(header->deaths);
    struct evf_death *death = &header->last_deaths[number % EVF_SCOREBOARD_DEATHS];
    EVF_SCOREBOARD_SET(death->epoch_ns, epoch_ns);
    EVF_SCOREBOARD_SET(death->pid, (int64_t)pid);
    EVF_SCOREBOARD_SET(death->slot, (uint32_t)slot);
    EVF_SCOREBOARD_SET(death->generation, (uint32_t)generation);
    evf_scoreboard_set_text(death->reason, sizeof death->reason, reason, length);
    EVF_SCOREBOARD_SET_FLAG(header->deaths, number + 1);
}

enum { NAME_FREE, NAME_CLAIMED, NAME_WRITTEN };

/* True if the counter has that name, or has got it now. A process that dies between claim and name costs one counter.
 */
static bool take_counter(struct evf_scoreboard_header *header, size_t i, const char *name) {
    char known[EVF_SCOREBOARD_NAME];
    uint32_t state = NAME_FREE;
    if (__atomic_compare_exchange_n(&header->counter_states[i], &state, NAME_CLAIMED, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE)) {
        evf_scoreboard_set_text(header->counter_names[i], sizeof header->counter_names[i], name, strlen(name));
        EVF_SCOREBOARD_SET_FLAG(header->counter_states[i], NAME_WRITTEN);
        return true;
    }
    for (unsigned tries = 0; state == NAME_CLAIMED && tries < 100000; tries++)
        state = EVF_SCOREBOARD_GET_FLAG(header->counter_states[i]);
    if (state != NAME_WRITTEN) return false;
    (void)evf_scoreboard_get_text(header->counter_names[i], sizeof known, known);
    return strcmp(known, name) == 0;
}

int evf_scoreboard_counter(struct evf_scoreboard *board, const char *name) {
    if (name[0] == '\0' || strlen(name) >= EVF_SCOREBOARD_NAME) return EVF_EINVAL;
    for (int i = 0; i < EVF_SCOREBOARD_COUNTERS; i++) {
        if (take_counter(board->header, (size_t)i, name)) return i;
    }
    return EVF_ENOMEM;
}

void evf_scoreboard_set_text(char *field, size_t size, const char *text, size_t length) {
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) length--;
    }
    for (size_t i = 0; i < length; i++) EVF_SCOREBOARD_SET(field[i], text[i]);
    EVF_SCOREBOARD_SET_FLAG(field[length], '\0');
}

size_t evf_scoreboard_get_text(const char *field, size_t size, char *copy) {
    size_t length = 0;
    while (length < size - 1) {
        const char byte = EVF_SCOREBOARD_GET(field[length]);
        if (byte == '\0') break;
        copy[length++] = byte;
    }
    copy[length] = '\0';
    return length;
}

static const char *const worker_state_names[] = {
    [EVF_WORKER_EMPTY] = "empty",       [EVF_WORKER_STARTING] = "starting", [EVF_WORKER_READY] = "ready",
    [EVF_WORKER_DRAINING] = "draining", [EVF_WORKER_KILLING] = "killing",   [EVF_WORKER_BACKOFF] = "backoff"};
_Static_assert(sizeof worker_state_names / sizeof *worker_state_names == EVF_WORKER_STATE_COUNT, "a name for each");

static const char *const pool_state_names[] = {[EVF_POOL_RUNNING] = "running",
                                               [EVF_POOL_RELOADING] = "reloading",
                                               [EVF_POOL_STOPPING] = "stopping",
                                               [EVF_POOL_STOPPED] = "stopped",
                                               [EVF_POOL_HALTED] = "halted"};
_Static_assert(sizeof pool_state_names / sizeof *pool_state_names == EVF_POOL_STATE_COUNT, "a name for each");

const char *evf_worker_state_name(unsigned state) {
    return state < EVF_WORKER_STATE_COUNT ? worker_state_names[state] : "unknown";
}

const char *evf_pool_state_name(unsigned state) {
    return state < EVF_POOL_STATE_COUNT ? pool_state_names[state] : "unknown";
}
