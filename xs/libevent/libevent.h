/* The backend on libevent. */
#ifndef EVF_LIBEVENT_H
#define EVF_LIBEVENT_H

#include "../core/backend.h"

/* Static; looks once which methods the library and the kernel offer. */
const struct evf_backend *evf_backend_libevent(void);

#endif
