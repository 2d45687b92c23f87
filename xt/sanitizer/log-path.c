/* Preloaded by `./dev asan`: sends UBSan's reports to files. Next to ASan, the UBSan of gcc looks up the function that
 * does this by name, finds ASan's copy, and goes on writing to STDERR, which a test may have closed or redirected. */
#include <dlfcn.h>
#include <stdlib.h>

__attribute__((constructor)) static void set_log_path(void) {
    const char *path = getenv("EVF_UBSAN_LOG");
    void *ubsan = dlopen("libubsan.so.1", RTLD_LAZY | RTLD_NOLOAD);
    void (*set_report_path)(const char *) = NULL;

    if (path == NULL || ubsan == NULL) return;
    *(void **)&set_report_path = dlsym(ubsan, "__sanitizer_set_report_path");
    if (set_report_path != NULL) set_report_path(path);
}
