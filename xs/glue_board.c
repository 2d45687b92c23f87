/* The scoreboard for Perl: an object over the core's board, its header and rows as hashes. Times cross as seconds,
 * texts as characters. What a worker says while it serves goes straight to its row. */
#include "glue.h"

#include "core/scoreboard.h"
#include "core/supervisor.h"

#define OPERATION "scoreboard"

/* ---- Objects ------------------------------------------------------------------------------------------------ */

static SV *new_object(pTHX_ const char *class_name, struct evf_scoreboard *evf) {
    struct glue_board *board;
    Newxz(board, 1, struct glue_board);
    board->board = evf;
    board->bell[0] = board->bell[1] = -1;
    return sv_setref_pv(newSV(0), class_name, board);
}

static const char *take_path(pTHX_ SV *path) {
    STRLEN length;
    const char *text = SvPV(path, length);
    if (strlen(text) != length || length == 0) glue_throw(aTHX_ EVF_EINVAL, OPERATION, path, "not a path: '%s'", text);
    return text;
}

static void refuse(pTHX_ int rc, SV *path, const char *what) {
    const int saved_errno = errno;
    const char *text = path != NULL ? SvPV_nolen(path) : "nameless memory";
    if (rc == EVF_EBUSY) glue_throw(aTHX_ rc, OPERATION, path, "'%s' belongs to a process that runs", text);
    if (rc == EVF_ESYSTEM && saved_errno == EEXIST)
        glue_throw(aTHX_ rc, OPERATION, path, "'%s' is not a scoreboard, and is left alone", text);
    if (rc == EVF_ESYSTEM)
        glue_throw(aTHX_ rc, OPERATION, path, "cannot %s '%s': %s", what, text, Strerror(saved_errno));
    if (rc == EVF_EINVAL) glue_throw(aTHX_ rc, OPERATION, path, "'%s' is not a scoreboard of this version", text);
    glue_throw(aTHX_ rc, OPERATION, path, "cannot %s '%s': %s", what, text, evf_error_text(rc));
}

SV *glue_board_new(pTHX_ const char *class_name, SV *path, SV *rows) {
    struct evf_scoreboard *evf = NULL;
    if (rows == NULL || !SvOK(rows) || !looks_like_number(rows) || SvNV(rows) < 1 || SvNV(rows) > EVF_SCOREBOARD_ROWS)
        glue_throw(aTHX_ EVF_EINVAL, OPERATION, rows, "'rows' is not a number from 1 to %d: '%s'", EVF_SCOREBOARD_ROWS,
                   glue_text(aTHX_ rows));
    if (path != NULL && !SvOK(path)) path = NULL;
    const char *name = path != NULL ? take_path(aTHX_ path) : NULL;
    const int rc = evf_scoreboard_new(name, (unsigned)SvUV(rows), &evf);
    if (rc == EVF_EINVAL) glue_throw(aTHX_ rc, OPERATION, path, "the path is too long");
    if (rc < 0) refuse(aTHX_ rc, path, "make");
    SV *self = sv_2mortal(new_object(aTHX_ class_name, evf));
    struct glue_board *board = glue_board_of(aTHX_ self, OPERATION);
    if (evf_bell_open(board->bell) < 0)
        glue_throw(aTHX_ EVF_ESYSTEM, OPERATION, NULL, "cannot open a bell: %s", Strerror(errno));
    board->owns_bell = true;
    return SvREFCNT_inc_simple_NN(self);
}

SV *glue_board_open(pTHX_ const char *class_name, SV *path, bool is_writable) {
    struct evf_scoreboard *evf = NULL;
    if (!SvOK(path)) glue_throw(aTHX_ EVF_EINVAL, OPERATION, path, "open needs a path");
    const int rc = evf_scoreboard_open(take_path(aTHX_ path), is_writable, &evf);
    if (rc < 0) refuse(aTHX_ rc, path, "open");
    return new_object(aTHX_ class_name, evf);
}

void glue_board_rename(pTHX_ struct glue_board *board, SV *path, pid_t replaced) {
    if (!SvOK(path)) glue_throw(aTHX_ EVF_EINVAL, OPERATION, path, "rename needs a path");
    const char *name = take_path(aTHX_ path);
    const int rc = evf_scoreboard_rename(board->board, name, replaced);
    if (rc == EVF_EINVAL)
        glue_throw(aTHX_ rc, OPERATION, path, "not the file of this process, or its name is shorter than '%s'", name);
    if (rc < 0) refuse(aTHX_ rc, path, "rename to");
}

SV *glue_board_open_fd(pTHX_ const char *class_name, int fd) {
    struct evf_scoreboard *evf = NULL;
    const int rc = evf_scoreboard_open_fd(fd, &evf);
    if (rc < 0)
        glue_throw(aTHX_ rc, OPERATION, NULL, "descriptor %d is no scoreboard: %s", fd,
                   rc == EVF_ESYSTEM ? Strerror(errno) : evf_error_text(rc));
    return new_object(aTHX_ class_name, evf);
}

struct glue_board *glue_board_of(pTHX_ SV *self, const char *operation) {
    SvGETMAGIC(self);
    if (!sv_isobject(self) || !SvIOK(SvRV(self)) || !sv_derived_from(self, "EventLoop::Fork::Scoreboard"))
        glue_throw(aTHX_ EVF_EINVAL, operation, self, "not an EventLoop::Fork::Scoreboard: '%s'",
                   glue_text(aTHX_ self));
    return INT2PTR(struct glue_board *, SvIV(SvRV(self)));
}

void glue_board_free(pTHX_ SV *self) {
    if (!sv_isobject(self) || !SvIOK(SvRV(self))) return;
    struct glue_board *board = INT2PTR(struct glue_board *, SvIV(SvRV(self)));
    if (board == NULL) return;
    evf_scoreboard_free(board->board); /* first: it forgets the bell of a row that is stamped */
    if (board->owns_bell) evf_bell_close(board->bell);
    Safefree(board);
    sv_setiv(SvRV(self), 0);
}

/* ---- Fields ------------------------------------------------------------------------------------------------- */

enum kind { FIELD_I32, FIELD_U32, FIELD_I64, FIELD_U64, FIELD_TIME, FIELD_FLAG, FIELD_TEXT };

struct field {
    const char *name;
    size_t offset, size; /* of one element */
    enum kind kind;
    unsigned short count; /* elements of an array; 0: none */
    unsigned short shown; /* of them; texts: without the empty ones at the end */
    bool is_fixed;        /* not to be set from outside */
};

#define ONE(type, member, name, kind, is_fixed)                                                                        \
    { name, offsetof(struct type, member), sizeof(((struct type *)NULL)->member), kind, 0, 0, is_fixed }
#define MANY(type, member, kind, count, shown, is_fixed)                                                               \
    { #member, offsetof(struct type, member), sizeof(((struct type *)NULL)->member[0]), kind, count, shown, is_fixed }
#define HEADER(member, kind) ONE(evf_scoreboard_header, member, #member, kind, false)
#define FIXED(member, kind) ONE(evf_scoreboard_header, member, #member, kind, true)
#define HEADER_TIME(name) ONE(evf_scoreboard_header, name##_ns, #name, FIELD_TIME, false)
#define ROW(member, kind) ONE(evf_scoreboard_row, member, #member, kind, false)
#define ROW_TIME(name) ONE(evf_scoreboard_row, name##_ns, #name, FIELD_TIME, false)

static const struct field header_fields[] = {
    FIXED(version, FIELD_U32),
    FIXED(header_bytes, FIELD_U32),
    FIXED(row_bytes, FIELD_U32),
    FIXED(rows, FIELD_U32),
    HEADER(supervisor_pid, FIELD_I64),
    HEADER_TIME(started),
    HEADER_TIME(started_epoch),
    HEADER_TIME(beat),
    HEADER_TIME(due),
    HEADER(pool_state, FIELD_U32),
    HEADER(workers, FIELD_U32),
    HEADER(generation, FIELD_U32),
    HEADER(wanted_workers, FIELD_U32),
    HEADER(breaker_is_open, FIELD_FLAG),
    HEADER(exit_code, FIELD_I32),
    MANY(evf_scoreboard_header, starts, FIELD_U64, 16, EVF_CAUSE_COUNT, false),
    FIXED(past_requests, FIELD_U64),
    MANY(evf_scoreboard_header, past_counters, FIELD_I64, EVF_SCOREBOARD_COUNTERS, EVF_SCOREBOARD_COUNTERS, true),
    MANY(evf_scoreboard_header, counter_names, FIELD_TEXT, EVF_SCOREBOARD_COUNTERS, 0, true),
    FIXED(deaths, FIELD_U64),
    HEADER(info, FIELD_TEXT),
};

#define DEATH(member, kind) ONE(evf_death, member, #member, kind, true)

static const struct field death_fields[] = {
    ONE(evf_death, epoch_ns, "time", FIELD_TIME, true),
    DEATH(pid, FIELD_I64),
    DEATH(slot, FIELD_U32),
    DEATH(generation, FIELD_U32),
    DEATH(reason, FIELD_TEXT),
};

static const struct field row_fields[] = {
    ROW(pid, FIELD_I64),
    ROW(slot, FIELD_U32),
    ROW(generation, FIELD_U32),
    ROW(state, FIELD_U32),
    ROW(is_stopping, FIELD_FLAG),
    ROW_TIME(spawned),
    ROW_TIME(ready),
    ROW(requests_max, FIELD_U64),
    ROW(rss_bytes, FIELD_U64),
    ROW_TIME(exited),
    ROW_TIME(busy_since),
    ROW(turns, FIELD_U64),
    ROW_TIME(extension),
    ROW(requests_started, FIELD_U64),
    ROW(requests_done, FIELD_U64),
    ROW(is_ready, FIELD_FLAG),
    ROW(has_place, FIELD_FLAG),
    MANY(evf_scoreboard_row, counters, FIELD_I64, EVF_SCOREBOARD_COUNTERS, EVF_SCOREBOARD_COUNTERS, false),
    ONE(evf_scoreboard_row, record.place, "place", FIELD_TEXT, false),
    ONE(evf_scoreboard_row, record.error, "error", FIELD_TEXT, false),
    ROW(reason, FIELD_TEXT),
};

/* ---- Reading ------------------------------------------------------------------------------------------------ */

static SV *signed_value(pTHX_ int64_t value) {
    return value >= IV_MIN && value <= IV_MAX ? newSViv((IV)value) : newSVnv((NV)value);
}

static SV *unsigned_value(pTHX_ uint64_t value) {
    return value <= UV_MAX ? newSVuv((UV)value) : newSVnv((NV)value);
}

static SV *text_value(pTHX_ const char *field, size_t size) {
    SV *value = newSV(size);
    SvPOK_on(value);
    SvCUR_set(value, evf_scoreboard_get_text(field, size, SvPVX(value)));
    (void)sv_utf8_decode(value); /* what is none stays bytes */
    return value;
}

static SV *value_at(pTHX_ const struct field *field, const void *memory) {
    switch (field->kind) {
    case FIELD_I32:
        return newSViv((IV)EVF_SCOREBOARD_GET(*(const int32_t *)memory));
    case FIELD_U32:
        return newSVuv((UV)EVF_SCOREBOARD_GET(*(const uint32_t *)memory));
    case FIELD_FLAG:
        return newSVuv((UV)EVF_SCOREBOARD_GET_FLAG(*(const uint32_t *)memory));
    case FIELD_I64:
        return signed_value(aTHX_ EVF_SCOREBOARD_GET(*(const int64_t *)memory));
    case FIELD_U64:
        return unsigned_value(aTHX_ EVF_SCOREBOARD_GET(*(const uint64_t *)memory));
    case FIELD_TIME:
        return newSVnv((NV)EVF_SCOREBOARD_GET(*(const int64_t *)memory) / 1e9);
    case FIELD_TEXT:
        return text_value(aTHX_ memory, field->size);
    }
    return newSV(0);
}

static SV *array_at(pTHX_ const struct field *field, const char *memory) {
    AV *values = newAV();
    unsigned shown = field->shown;
    for (unsigned i = 0; field->kind == FIELD_TEXT && i < field->count; i++) {
        if (memory[i * field->size] != '\0') shown = i + 1;
    }
    for (unsigned i = 0; i < shown; i++) av_push(values, value_at(aTHX_ field, memory + i * field->size));
    return newRV_noinc((SV *)values);
}

/* Flags come first: what was written before a flag is then in the hash. */
static SV *hash_of(pTHX_ const struct field *fields, size_t count, const void *memory) {
    HV *hash = newHV();
    for (int flags = 1; flags >= 0; flags--) {
        for (size_t i = 0; i < count; i++) {
            const struct field *field = &fields[i];
            const char *at = (const char *)memory + field->offset;
            if ((field->kind == FIELD_FLAG) != flags) continue;
            SV *value = field->count > 0 ? array_at(aTHX_ field, at) : value_at(aTHX_ field, at);
            (void)hv_store(hash, field->name, (I32)strlen(field->name), value, 0);
        }
    }
    return newRV_noinc((SV *)hash);
}

static struct evf_scoreboard_row *row_of(pTHX_ struct glue_board *board, SV *number) {
    SvGETMAGIC(number);
    const unsigned rows = evf_scoreboard_rows(board->board);
    if (!SvOK(number) || !looks_like_number(number) || SvNV_nomg(number) < 0 || SvNV_nomg(number) >= rows)
        glue_throw(aTHX_ EVF_EINVAL, OPERATION, number, "not a row from 0 to %u: '%s'", rows - 1,
                   glue_text(aTHX_ number));
    return evf_scoreboard_row(board->board, (unsigned)SvUV_nomg(number));
}

SV *glue_board_header(pTHX_ struct glue_board *board) {
    return hash_of(aTHX_ header_fields, C_ARRAY_LENGTH(header_fields), evf_scoreboard_header(board->board));
}

SV *glue_board_row(pTHX_ struct glue_board *board, SV *number) {
    return hash_of(aTHX_ row_fields, C_ARRAY_LENGTH(row_fields), row_of(aTHX_ board, number));
}

SV *glue_board_record(pTHX_ struct glue_board *board, SV *number) {
    const struct evf_record *record =
        SvOK(number) ? &row_of(aTHX_ board, number)->record : &evf_scoreboard_header(board->board)->record;
    return glue_record_read(aTHX_ record);
}

/* The oldest first. */
AV *glue_board_deaths(pTHX_ struct glue_board *board) {
    const struct evf_scoreboard_header *header = evf_scoreboard_header(board->board);
    const uint64_t end = EVF_SCOREBOARD_GET_FLAG(header->deaths);
    uint64_t number = end > EVF_SCOREBOARD_DEATHS ? end - EVF_SCOREBOARD_DEATHS : 0;
    AV *deaths = newAV();
    for (; number < end; number++) {
        const struct evf_death *death = &header->last_deaths[number % EVF_SCOREBOARD_DEATHS];
        av_push(deaths, hash_of(aTHX_ death_fields, C_ARRAY_LENGTH(death_fields), death));
    }
    return deaths;
}

/* ---- Writing ------------------------------------------------------------------------------------------------ */

static const struct field *find_field(pTHX_ const struct field *fields, size_t count, SV *key) {
    const char *name = SvPV_nolen(key);
    for (size_t i = 0; i < count; i++) {
        if (strNE(fields[i].name, name)) continue;
        if (fields[i].is_fixed) glue_throw(aTHX_ EVF_EINVAL, OPERATION, key, "'%s' cannot be set", name);
        return &fields[i];
    }
    glue_throw(aTHX_ EVF_EINVAL, OPERATION, key, "unknown field '%s'", name);
}

static void set_text(pTHX_ char *at, size_t size, SV *value) {
    STRLEN length = 0;
    const char *text = "";
    if (SvOK(value)) {
        value = sv_mortalcopy(value); /* the caller's is not turned into UTF-8 */
        text = SvPVutf8(value, length);
    }
    evf_scoreboard_set_text(at, size, text, strnlen(text, length));
}

static void set_value(pTHX_ const struct field *field, void *memory, SV *value) {
    switch (field->kind) {
    case FIELD_I32:
        EVF_SCOREBOARD_SET(*(int32_t *)memory, (int32_t)SvIV(value));
        break;
    case FIELD_U32:
        EVF_SCOREBOARD_SET(*(uint32_t *)memory, (uint32_t)SvUV(value));
        break;
    case FIELD_FLAG:
        EVF_SCOREBOARD_SET_FLAG(*(uint32_t *)memory, SvTRUE(value) ? 1u : 0u);
        break;
    case FIELD_I64:
        EVF_SCOREBOARD_SET(*(int64_t *)memory, (int64_t)SvIV(value));
        break;
    case FIELD_U64:
        EVF_SCOREBOARD_SET(*(uint64_t *)memory, (uint64_t)SvUV(value));
        break;
    case FIELD_TIME:
        EVF_SCOREBOARD_SET(*(int64_t *)memory, glue_nanoseconds(aTHX_ OPERATION, field->name, value));
        break;
    case FIELD_TEXT:
        set_text(aTHX_ memory, field->size, value);
        break;
    }
}

/* Whole arrays: what is not given is zero or empty. */
static void set_array(pTHX_ const struct field *field, char *memory, SV *value) {
    SV *nothing = field->kind == FIELD_TEXT ? sv_2mortal(newSVpvs("")) : sv_2mortal(newSViv(0));
    AV *values = (AV *)SvRV(value);
    for (unsigned i = 0; i < field->count; i++) {
        SV **element = av_fetch(values, (SSize_t)i, 0);
        set_value(aTHX_ field, memory + i * field->size, element != NULL && SvOK(*element) ? *element : nothing);
    }
}

static void check_value(pTHX_ const struct field *field, SV *value) {
    SvGETMAGIC(value);
    if (field->count > 0) {
        if (!SvROK(value) || SvTYPE(SvRV(value)) != SVt_PVAV || av_len((AV *)SvRV(value)) >= (SSize_t)field->count)
            glue_throw(aTHX_ EVF_EINVAL, OPERATION, value, "'%s' is not an array of at most %d: '%s'", field->name,
                       field->count, glue_text(aTHX_ value));
    } else if (field->kind != FIELD_TEXT && field->kind != FIELD_FLAG && !(SvOK(value) && looks_like_number(value))) {
        glue_throw(aTHX_ EVF_EINVAL, OPERATION, value, "'%s' is not a number: '%s'", field->name,
                   glue_text(aTHX_ value));
    }
}

static void need_writable(pTHX_ const struct glue_board *board) {
    if (!evf_scoreboard_is_writable(board->board))
        glue_throw(aTHX_ EVF_EINVAL, OPERATION, NULL, "the scoreboard was opened for reading only");
}

/* First all that can throw. Flags last: who sees one sees what was written before. */
static void set_fields(pTHX_ const struct field *fields, size_t known, void *memory, SV **pairs, I32 count) {
    if (count % 2 != 0) glue_throw(aTHX_ EVF_EINVAL, OPERATION, NULL, "arguments are not pairs of name => value");
    for (I32 i = 0; i < count; i += 2) check_value(aTHX_ find_field(aTHX_ fields, known, pairs[i]), pairs[i + 1]);
    for (int flags = 0; flags <= 1; flags++) {
        for (I32 i = 0; i < count; i += 2) {
            const struct field *field = find_field(aTHX_ fields, known, pairs[i]);
            char *at = (char *)memory + field->offset;
            if ((field->kind == FIELD_FLAG) != flags) continue;
            if (field->count > 0) set_array(aTHX_ field, at, pairs[i + 1]);
            else set_value(aTHX_ field, at, pairs[i + 1]);
        }
    }
}

void glue_board_set_header(pTHX_ struct glue_board *board, SV **pairs, I32 count) {
    need_writable(aTHX_ board);
    set_fields(aTHX_ header_fields, C_ARRAY_LENGTH(header_fields), evf_scoreboard_header(board->board), pairs, count);
}

void glue_board_set_row(pTHX_ struct glue_board *board, SV *number, SV **pairs, I32 count) {
    need_writable(aTHX_ board);
    set_fields(aTHX_ row_fields, C_ARRAY_LENGTH(row_fields), row_of(aTHX_ board, number), pairs, count);
}

void glue_board_clear_row(pTHX_ struct glue_board *board, SV *number) {
    need_writable(aTHX_ board);
    (void)row_of(aTHX_ board, number);
    evf_scoreboard_clear_row(board->board, (unsigned)SvUV(number));
}

void glue_board_add_death(pTHX_ struct glue_board *board, UV slot, UV generation, IV pid, SV *reason) {
    STRLEN length;
    need_writable(aTHX_ board);
    reason = sv_mortalcopy(reason); /* the caller's is not turned into UTF-8 */
    const char *text = SvPVutf8(reason, length);
    evf_scoreboard_add_death(board->board, evf_clock_now(NULL, EVF_CLOCK_REALTIME), (pid_t)pid, (unsigned)slot,
                             (unsigned)generation, text, strnlen(text, length));
}

/* ---- In a worker -------------------------------------------------------------------------------------------- */

void glue_board_attach(pTHX_ struct glue_board *board, SV *number) {
    need_writable(aTHX_ board);
    evf_heartbeat_attach(row_of(aTHX_ board, number));
    evf_heartbeat_set_bell(board->bell[1]);
}

void glue_board_take_row(pTHX_ struct glue_board *board, SV *number, struct glue_fork_options *options) {
    need_writable(aTHX_ board);
    options->row = row_of(aTHX_ board, number);
    options->record = &options->row->record;
    options->bell = board->bell[1];
}

void glue_board_attach_record(pTHX_ struct glue_board *board, SV *number) {
    need_writable(aTHX_ board);
    if (SvOK(number)) {
        glue_record_attach(aTHX_ & row_of(aTHX_ board, number)->record, -1);
        evf_recorder_enter(EVF_STAGE_CODE);
    } else {
        glue_record_attach(aTHX_ & evf_scoreboard_header(board->board)->record, 2);
        evf_recorder_enter(EVF_STAGE_READY);
    }
}

void glue_board_extend(pTHX_ SV *seconds) {
    const int64_t extension_ns = glue_nanoseconds(aTHX_ OPERATION, "the extension", seconds);
    struct evf_scoreboard_row *row = evf_heartbeat_row();
    if (extension_ns < 0) glue_throw(aTHX_ EVF_EINVAL, OPERATION, seconds, "the extension is negative");
    if (row != NULL) EVF_SCOREBOARD_SET(row->extension_ns, extension_ns);
}

void glue_board_add_counter(pTHX_ SV *number, IV count) {
    struct evf_scoreboard_row *row = evf_heartbeat_row();
    const IV index = SvIV(number);
    if (index < 0 || index >= EVF_SCOREBOARD_COUNTERS)
        glue_throw(aTHX_ EVF_EINVAL, OPERATION, number, "not a counter from 0 to %d: '%s'", EVF_SCOREBOARD_COUNTERS - 1,
                   glue_text(aTHX_ number));
    if (row != NULL) (void)__atomic_fetch_add(&row->counters[index], (int64_t)count, __ATOMIC_RELAXED);
}

void glue_board_ready(void) {
    struct evf_scoreboard_row *row = evf_heartbeat_row();
    if (row == NULL) return;
    evf_recorder_enter(EVF_STAGE_READY);
    EVF_SCOREBOARD_SET_FLAG(row->is_ready, 1);
    evf_heartbeat_ring();
}
