/* A message to a service manager for Perl. */
#include "glue.h"

#include "core/evf_notify.h"

void glue_notify(pTHX_ SV *address, const char *text, AV *fds) {
    int numbers[EVF_NOTIFY_FDS_MAX];
    const SSize_t count = av_len(fds) + 1;
    for (SSize_t i = 0; i < count && i < EVF_NOTIFY_FDS_MAX; i++) {
        SV **number = av_fetch(fds, i, 0);
        numbers[i] = number != NULL && SvOK(*number) ? (int)SvIV(*number) : -1;
    }
    const int rc = evf_notify(SvPV_nolen(address), text, numbers, (size_t)count);
    if (rc < 0)
        glue_throw(aTHX_ rc, "notify", address, "%s: %s", SvPV_nolen(address),
                   rc == EVF_ESYSTEM ? Strerror(errno) : evf_error_text(rc));
}
