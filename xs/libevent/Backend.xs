/* Hands the libevent backend over to EventLoop::Fork. An object of its own, because libev exports names of libevent too. */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"

#include "XSUB.h"

#include "libevent.h"

MODULE = EventLoop::Fork::Backend::Libevent    PACKAGE = EventLoop::Fork::Backend::Libevent

PROTOTYPES: DISABLE

IV
address()
  CODE:
    RETVAL = PTR2IV(evf_backend_libevent());
  OUTPUT:
    RETVAL
