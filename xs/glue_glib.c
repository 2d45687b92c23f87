/* GLib's default main context. The library is found in the process if some module of Perl's has loaded it; nothing
 * links against it. */
#include "glue.h"

#include <dlfcn.h>
#include <limits.h>

#ifdef __APPLE__
#define LIBRARY "libglib-2.0.0.dylib"
#else
#define LIBRARY "libglib-2.0.so.0"
#endif

/* GPollFD, glib/gpoll.h; on systems other than Windows. */
struct poll_fd {
    int fd;
    unsigned short events, revents;
};

typedef void *(*default_fn)(void);                                                        /* g_main_context_default */
typedef int (*query_fn)(void *context, int max_priority, int *timeout, void *fds, int n); /* g_main_context_query */

/* Of what dlsym gives: ISO C has no cast from an object to a function (POSIX, dlsym, Rationale). */
static bool find(void *library, const char *name, void *function) {
    void *address = dlsym(library, name);
    memcpy(function, &address, sizeof address);
    return address != NULL;
}

AV *glue_glib_fds(pTHX) {
    AV *result = (AV *)sv_2mortal((SV *)newAV());
    default_fn get_default;
    query_fn query;
    void *library = dlopen(LIBRARY, RTLD_LAZY | RTLD_NOLOAD);
    if (library == NULL) return result;
    if (find(library, "g_main_context_default", &get_default) && find(library, "g_main_context_query", &query)) {
        void *context = get_default();
        int timeout, count = query(context, INT_MAX, &timeout, NULL, 0); /* how many there are */
        struct poll_fd *fds = (void *)SvPVX(sv_2mortal(newSV((size_t)count * sizeof *fds + 1)));
        const int stored = query(context, INT_MAX, &timeout, fds, count);
        for (int i = 0; i < stored && i < count; i++) av_push(result, newSViv(fds[i].fd));
    }
    (void)dlclose(library); /* as often as it was opened */
    return result;
}
