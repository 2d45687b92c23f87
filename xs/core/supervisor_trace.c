/* The supervisor's options and events as lines of text, for a recording of a live one that is replayed later:
 *
 *     options workers=4 heartbeat_timeout_ns=30000000000 seed=7
 *     1000000000 start
 *     1002000000 spawned berth=0 pid=4711
 *
 * A field that is 0 is left out. The parser takes what the printer writes, and nothing that it does not know. */
#include "supervisor_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_INT, KIND_UNSIGNED, KIND_INT64, KIND_UINT64, KIND_BOOL };

struct field {
    const char *name;
    enum kind kind;
    size_t offset;
    unsigned events; /* bits of the types it belongs to */
};

_Static_assert(sizeof(pid_t) == sizeof(int), "a pid is read and written as an int");

#define BIT(name) (1u << EVF_EVENT_##name)
#define OF_WORKER                                                                                                      \
    (BIT(SPAWNED) | BIT(SPAWN_FAILED) | BIT(READY) | BIT(EXITED) | BIT(HEARTBEAT) | BIT(SAMPLE) | BIT(EXAMINED))
#define FIELD(name, kind, events)                                                                                      \
    { #name, kind, offsetof(struct evf_supervisor_event, name), events }
static const struct field event_fields[] = {
    FIELD(berth, KIND_UNSIGNED, OF_WORKER),           FIELD(pid, KIND_INT, OF_WORKER),
    FIELD(wait_status, KIND_INT, BIT(EXITED)),        FIELD(error, KIND_INT, BIT(SPAWN_FAILED)),
    FIELD(busy_since_ns, KIND_INT64, BIT(HEARTBEAT)), FIELD(extension_ns, KIND_INT64, BIT(HEARTBEAT)),
    FIELD(requests, KIND_UINT64, BIT(SAMPLE)),        FIELD(rss_bytes, KIND_UINT64, BIT(SAMPLE)),
    FIELD(workers, KIND_UNSIGNED, BIT(RESIZE)),       FIELD(is_fast, KIND_BOOL, BIT(STOP)),
    FIELD(culprit, KIND_UINT64, BIT(EXITED)),
};
#undef FIELD

#define FIELD(name, kind)                                                                                              \
    { #name, kind, offsetof(struct evf_supervisor_options, name), 1 }
static const struct field option_fields[] = {
    FIELD(workers, KIND_UNSIGNED),
    FIELD(startup_timeout_ns, KIND_INT64),
    FIELD(heartbeat_timeout_ns, KIND_INT64),
    FIELD(graceful_timeout_ns, KIND_INT64),
    FIELD(max_requests, KIND_UINT64),
    FIELD(max_requests_jitter, KIND_UINT64),
    FIELD(max_rss_bytes, KIND_UINT64),
    FIELD(max_lifetime_ns, KIND_INT64),
    FIELD(min_lifetime_ns, KIND_INT64),
    FIELD(max_unavailable, KIND_UNSIGNED),
    FIELD(respawn_delay_ns, KIND_INT64),
    FIELD(respawn_delay_max_ns, KIND_INT64),
    FIELD(crash_limit, KIND_UNSIGNED),
    FIELD(crash_window_ns, KIND_INT64),
    FIELD(only_spawn, KIND_BOOL),
    FIELD(can_spawn, KIND_BOOL),
    FIELD(seed, KIND_UINT64),
};
#undef FIELD

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

static const char *const type_names[EVF_EVENT_COUNT] = {
    [EVF_EVENT_START] = "start",         [EVF_EVENT_TICK] = "tick",
    [EVF_EVENT_SPAWNED] = "spawned",     [EVF_EVENT_SPAWN_FAILED] = "spawn_failed",
    [EVF_EVENT_READY] = "ready",         [EVF_EVENT_EXITED] = "exited",
    [EVF_EVENT_HEARTBEAT] = "heartbeat", [EVF_EVENT_SAMPLE] = "sample",
    [EVF_EVENT_EXAMINED] = "examined",   [EVF_EVENT_STOP] = "stop",
    [EVF_EVENT_RELOAD] = "reload",       [EVF_EVENT_RESIZE] = "resize",
};

/* ---- Printing ----------------------------------------------------------------------------------------------- */

static void print_value(char *text, size_t size, const struct field *field, const char *object) {
    const void *at = object + field->offset;
    switch (field->kind) {
    case KIND_INT:
        (void)snprintf(text, size, "%d", *(const int *)at);
        break;
    case KIND_UNSIGNED:
        (void)snprintf(text, size, "%u", *(const unsigned *)at);
        break;
    case KIND_INT64:
        (void)snprintf(text, size, "%" PRId64, *(const int64_t *)at);
        break;
    case KIND_UINT64:
        (void)snprintf(text, size, "%" PRIu64, *(const uint64_t *)at);
        break;
    case KIND_BOOL:
        (void)snprintf(text, size, "%d", *(const bool *)at);
        break;
    }
}

/* Appends " name=value" for each field; returns the length of the whole, or EVF_EINVAL. */
static int print_fields(char *text, size_t size, int length, const struct field *fields, size_t count, unsigned mask,
                        const void *object) {
    for (size_t i = 0; i < count; i++) {
        char value[24];
        if ((fields[i].events & mask) == 0) continue;
        print_value(value, sizeof value, &fields[i], object);
        if (strcmp(value, "0") == 0) continue;
        if (length < 0 || (size_t)length >= size) return EVF_EINVAL;
        length += snprintf(text + length, size - (size_t)length, " %s=%s", fields[i].name, value);
    }
    return length < 0 || (size_t)length >= size ? EVF_EINVAL : length;
}

int evf_supervisor_trace_format(const struct evf_supervisor_event *event, int64_t now_ns, char *text, size_t size) {
    if ((unsigned)event->type >= EVF_EVENT_COUNT) return EVF_EINVAL;
    int length = snprintf(text, size, "%" PRId64 " %s", now_ns, type_names[event->type]);
    return print_fields(text, size, length, event_fields, COUNT_OF(event_fields), 1u << event->type, event);
}

int evf_supervisor_trace_format_options(const struct evf_supervisor_options *options, char *text, size_t size) {
    int length = snprintf(text, size, "options");
    return print_fields(text, size, length, option_fields, COUNT_OF(option_fields), 1, options);
}

/* ---- Parsing ------------------------------------------------------------------------------------------------ */

/* The number in [*at, end of the word), which must end there. */
static bool take_signed(const char **at, int64_t least, int64_t most, int64_t *ret_value) {
    char *end;
    if (**at != '-' && (**at < '0' || **at > '9')) return false;
    errno = 0;
    long long value = strtoll(*at, &end, 10);
    if (errno != 0 || end == *at || value < least || value > most) return false;
    *at = end;
    *ret_value = value;
    return true;
}

static bool take_unsigned(const char **at, uint64_t most, uint64_t *ret_value) {
    char *end;
    if (**at < '0' || **at > '9') return false;
    errno = 0;
    unsigned long long value = strtoull(*at, &end, 10);
    if (errno != 0 || value > most) return false;
    *at = end;
    *ret_value = value;
    return true;
}

static bool take_value(const char **at, const struct field *field, char *object) {
    void *to = object + field->offset;
    int64_t number = 0;
    uint64_t natural = 0;
    bool is_taken = false;
    switch (field->kind) {
    case KIND_INT:
        is_taken = take_signed(at, INT32_MIN, INT32_MAX, &number);
        *(int *)to = (int)number;
        break;
    case KIND_UNSIGNED:
        is_taken = take_unsigned(at, UINT32_MAX, &natural);
        *(unsigned *)to = (unsigned)natural;
        break;
    case KIND_INT64:
        is_taken = take_signed(at, INT64_MIN, INT64_MAX, &number);
        *(int64_t *)to = number;
        break;
    case KIND_UINT64:
        is_taken = take_unsigned(at, UINT64_MAX, &natural);
        *(uint64_t *)to = natural;
        break;
    case KIND_BOOL:
        is_taken = take_unsigned(at, 1, &natural);
        *(bool *)to = natural != 0;
        break;
    }
    return is_taken;
}

static bool take_word(const char **at, const char *word) {
    const size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0) return false;
    *at += length;
    return true;
}

static bool is_at_end(const char *at) {
    return *at == '\0' || (at[0] == '\n' && at[1] == '\0');
}

static bool take_field(const char **at, const struct field *fields, size_t count, unsigned mask, void *object) {
    for (size_t i = 0; i < count; i++) {
        const char *after = *at;
        if ((fields[i].events & mask) == 0 || !take_word(&after, fields[i].name) || !take_word(&after, "=")) continue;
        if (!take_value(&after, &fields[i], object)) return false;
        *at = after;
        return true;
    }
    return false;
}

static bool take_fields(const char *at, const struct field *fields, size_t count, unsigned mask, void *object) {
    while (!is_at_end(at)) {
        if (!take_word(&at, " ") || !take_field(&at, fields, count, mask, object)) return false;
    }
    return true;
}

/* Of two names that begin alike (spawned, spawn_failed do not) the whole word counts. */
static bool take_type(const char **at, enum evf_event_type *ret_type) {
    for (int type = 0; type < EVF_EVENT_COUNT; type++) {
        const char *after = *at;
        if (!take_word(&after, type_names[type]) || (*after != ' ' && !is_at_end(after))) continue;
        *at = after;
        *ret_type = (enum evf_event_type)type;
        return true;
    }
    return false;
}

int evf_supervisor_trace_parse(const char *line, struct evf_supervisor_event *ret_event, int64_t *ret_now_ns) {
    struct evf_supervisor_event event = {.type = EVF_EVENT_TICK};
    int64_t now_ns;
    if (!take_signed(&line, INT64_MIN, INT64_MAX, &now_ns) || !take_word(&line, " ")) return EVF_EINVAL;
    if (!take_type(&line, &event.type)) return EVF_EINVAL;
    if (!take_fields(line, event_fields, COUNT_OF(event_fields), 1u << event.type, &event)) return EVF_EINVAL;
    *ret_event = event;
    *ret_now_ns = now_ns;
    return 0;
}

int evf_supervisor_trace_parse_options(const char *line, struct evf_supervisor_options *ret_options) {
    struct evf_supervisor_options options = {.workers = 0};
    if (!take_word(&line, "options")) return EVF_EINVAL;
    if (!take_fields(line, option_fields, COUNT_OF(option_fields), 1, &options)) return EVF_EINVAL;
    *ret_options = options;
    return 0;
}
