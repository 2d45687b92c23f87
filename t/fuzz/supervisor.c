/* A libFuzzer target: the bytes are the choices of t/core/supervisor_world.c, which makes options, events and times of
 * them, and its checker looks on. The bytes are then taken for a recorded line as well.
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined -D_GNU_SOURCE -o fuzz t/fuzz/supervisor.c \
 *         t/core/supervisor_world.c t/core/supervisor_check*.c xs/core/supervisor*.c
 */
#include "../core/supervisor_world.h"

#include <stdlib.h>
#include <string.h>

struct bytes {
    const uint8_t *at, *end;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As many bytes as the range needs, one for most; 0 when there are no more. */
static uint64_t draw(void *data, uint64_t below) {
    struct bytes *bytes = data;
    uint64_t value = 0;
    for (uint64_t range = below - 1; range > 0 && bytes->at < bytes->end; range >>= 8)
        value = value << 8 | *bytes->at++;
    return value % below;
}

static void tell(const char *line) {
    (void)fprintf(stderr, "%s\n", line);
}

static void run_world(struct bytes *bytes) {
    struct world *world = world_new(draw, bytes);
    if (world == NULL) return;
    const struct checker *checker = world_checker(world);
    while (bytes->at < bytes->end && world_step(world)) {}
    if (checker->complaint != NULL) {
        check_tell(checker, tell);
        (void)fprintf(stderr, "berth %u: %s\n", checker->complaint_berth, checker->complaint);
        abort();
    }
    world_free(world);
}

/* What can be read can be written, and reads the same. */
static void run_line(const uint8_t *data, size_t size) {
    char text[EVF_TRACE_LINE_MAX], line[EVF_TRACE_LINE_MAX], again[EVF_TRACE_LINE_MAX];
    struct evf_supervisor_event event;
    struct evf_supervisor_options options;
    int64_t now_ns;
    if (size >= sizeof text) return;
    memcpy(text, data, size);
    text[size] = '\0';
    (void)evf_supervisor_trace_parse_options(text, &options);
    if (evf_supervisor_trace_parse(text, &event, &now_ns) < 0) return;
    if (evf_supervisor_trace_format(&event, now_ns, line, sizeof line) < 0) abort();
    if (evf_supervisor_trace_parse(line, &event, &now_ns) < 0) abort();
    if (evf_supervisor_trace_format(&event, now_ns, again, sizeof again) < 0 || strcmp(line, again) != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes bytes = {data, data + size};
    run_world(&bytes);
    run_line(data, size);
    return 0;
}
