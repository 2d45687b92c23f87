/* Copies of this process that nobody tells of: made by a system call, past the C library and so past every
 * pthread_atfork handler. A byte in a page that the kernel wipes in each copy tells, at the price of one read. Where
 * the system has no such page, getpid tells; that is a system call, so it is asked only where there is one anyway. What
 * is then done is in fork.c. A child that shares its parent's memory (vfork, posix_spawn) finds the byte as it was: it
 * must not use a loop. */
#include "internal.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__linux__) && !defined(MADV_WIPEONFORK)
#define MADV_WIPEONFORK 18 /* Linux 4.14; the same on every architecture but parisc, where it is refused */
#endif
#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

static unsigned char never_wiped = 1;
volatile unsigned char *evf__tripwire = &never_wiped;
pid_t evf__tripwire_owner;
static unsigned char *page;

/* 0: the kernel will do it. */
static int wipe_in_copies(void *memory, size_t size) {
#if defined(__linux__)
    /* Emulators of a system may accept any advice and follow none. */
    if (madvise(memory, size, -1) == 0) return EVF_ENOTSUP;
    return madvise(memory, size, MADV_WIPEONFORK) == 0 ? 0 : EVF_ENOTSUP;
#elif defined(INHERIT_ZERO)
    return minherit(memory, size, INHERIT_ZERO) == 0 ? 0 : EVF_ENOTSUP;
#elif defined(MAP_INHERIT_ZERO)
    return minherit(memory, size, MAP_INHERIT_ZERO) == 0 ? 0 : EVF_ENOTSUP;
#else
    (void)memory, (void)size;
    return EVF_ENOTSUP;
#endif
}

/* NULL: this system has none. For as long as the process. */
static unsigned char *make_page(void) {
    const long page_size = sysconf(_SC_PAGESIZE);
    const size_t size = page_size > 0 ? (size_t)page_size : 4096;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    if (wipe_in_copies(memory, size) == 0) return memory;
    (void)munmap(memory, size); /* failing, it is a page that nobody uses */
    return NULL;
}

void evf__tripwire_init(void) {
    page = make_page();
    evf_fork_use_page(true);
}

void evf_fork_use_page(bool use) {
    evf__tripwire = use && page != NULL ? page : &never_wiped;
    evf__tripwire_owner = 0;
    evf__tripwire_arm();
}

void evf__tripwire_arm(void) {
    if (evf__tripwire == page && page != NULL) *page = 1;
    else evf__tripwire_owner = getpid();
}

bool evf__tripwire_take(void) {
    if (evf__tripwire_owner == 0) return __atomic_exchange_n(evf__tripwire, 1, __ATOMIC_ACQ_REL) == 0;
    const pid_t me = getpid();
    return __atomic_exchange_n(&evf__tripwire_owner, me, __ATOMIC_ACQ_REL) != me;
}
