/* Names and texts of the error codes. */
#include "evf.h"

const char *evf_error_name(int code) {
    switch (code) {
#define EVF_X(name, number, text)                                                                                      \
    case name:                                                                                                         \
        return #name;
        EVF_ERRORS(EVF_X)
#undef EVF_X
    default:
        return "EVF_EUNKNOWN";
    }
}

const char *evf_error_text(int code) {
    switch (code) {
#define EVF_X(name, number, text)                                                                                      \
    case name:                                                                                                         \
        return text;
        EVF_ERRORS(EVF_X)
#undef EVF_X
    default:
        return "unknown error";
    }
}
