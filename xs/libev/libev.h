/* The backend on libev. */
#ifndef EVF_LIBEV_H
#define EVF_LIBEV_H

#include "../core/backend.h"

/* Static; looks once which methods the library and the kernel offer. */
const struct evf_backend *evf_backend_libev(void);

#endif
