/* Hands the libev backend over to EventLoop::Fork. An object of its own, because libev exports names of libevent. */
#define PERL_NO_GET_CONTEXT
#include "EXTERN.h"
#include "perl.h"

#include "XSUB.h"

#include "libev.h"

MODULE = EventLoop::Fork::Backend::Libev    PACKAGE = EventLoop::Fork::Backend::Libev

PROTOTYPES: DISABLE

IV
address()
  CODE:
    RETVAL = PTR2IV(evf_backend_libev());
  OUTPUT:
    RETVAL
