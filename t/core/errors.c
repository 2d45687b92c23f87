/* Names and texts of the error codes: part of the binary interface. */
#include "helpers.h"

#include <string.h>

static const struct {
    int code;
    const char *name;
} known[] = {
    {-1, "EVF_ENOMEM"},     {-2, "EVF_EINVAL"},  {-3, "EVF_EBADF"},      {-4, "EVF_EEXIST"},
    {-5, "EVF_ECHILD"},     {-6, "EVF_ENOTSUP"}, {-7, "EVF_EBACKEND"},   {-8, "EVF_ECALLBACK"},
    {-9, "EVF_EABANDONED"}, {-10, "EVF_EFORK"},  {-11, "EVF_ESIGNAL"},   {-12, "EVF_ESYSTEM"},
    {-13, "EVF_ECANCELED"}, {-14, "EVF_EBUSY"},  {-15, "EVF_EDISOWNED"}, {-16, "EVF_EPREVENTED"},
};

static void numbers_are_fixed(void) {
    for (size_t i = 0; i < COUNT_OF(known); i++) CHECK_TEXT(evf_error_name(known[i].code), known[i].name);
}

static void each_has_a_text(void) {
    size_t count = 0;
#define X(name, number, text)                                                                                          \
    CHECK_INT(name, number);                                                                                           \
    CHECK(number < 0);                                                                                                 \
    CHECK_TEXT(evf_error_name(name), #name);                                                                           \
    CHECK_TEXT(evf_error_text(name), text);                                                                            \
    CHECK(strlen(text) > 0);                                                                                           \
    count++;
    EVF_ERRORS(X)
#undef X
    CHECK(count >= COUNT_OF(known)); /* new ones are appended */
    CHECK_TEXT(evf_error_name(-(int)count - 1), "EVF_EUNKNOWN");
}

static void texts_differ(void) {
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        for (size_t j = 0; j < i; j++) CHECK(strcmp(evf_error_text(known[i].code), evf_error_text(known[j].code)) != 0);
    }
}

static void unknown_codes(void) {
    static const int codes[] = {0, 1, -1000, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < COUNT_OF(codes); i++) {
        CHECK_TEXT(evf_error_name(codes[i]), "EVF_EUNKNOWN");
        CHECK_TEXT(evf_error_text(codes[i]), "unknown error");
    }
}

int main(int argc, char **argv) {
    static const struct tap_test tests[] = {
        TAP_TEST(numbers_are_fixed, "each code keeps its number"),
        TAP_TEST(each_has_a_text, "each code has a name and a text"),
        TAP_TEST(texts_differ, "no two texts are alike"),
        TAP_TEST(unknown_codes, "other numbers are unknown"),
    };
    return run_once_only(tests, COUNT_OF(tests), argc, argv);
}
