/* SPDX-License-Identifier: Apache-2.0 */
/* attrs.c -- see attrs.h. */
#include "src/io/attrs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/io/ids.h"
#include "src/io/jsonl.h"

typedef struct reader {
    vq_attrs *to;
    vq_attrs_kind kind;
    bool strings;
    size_t n, room; /* ids */
    size_t ntags, tags_room;
    size_t len, ids_room; /* of to->ids, in which names are offsets until the end */
    vq_error *err;
} reader;

static bool make_room(reader *r)
{
    vq_attrs *t = r->to;
    if (r->n + 1 < r->room) return true;
    size_t cap = 2 * r->room + 64, n = r->n;
    void *lines = vq_mem_grow(t->lines, n, cap, sizeof *t->lines);
    if (lines != NULL) t->lines = lines;
    void *names = vq_mem_grow(t->names, n, cap, sizeof *t->names);
    if (names != NULL) t->names = names;
    void *numbers = vq_mem_grow(t->numbers, n, cap, sizeof *t->numbers);
    if (numbers != NULL) t->numbers = numbers;
    void *times = vq_mem_grow(t->times, n, cap, sizeof *t->times);
    if (times != NULL) t->times = times;
    void *begins = vq_mem_grow(t->begins, n, cap, sizeof *t->begins);
    if (begins != NULL) t->begins = begins;
    void *payloads = vq_mem_grow(t->payloads, n, cap, sizeof *t->payloads);
    if (payloads != NULL) t->payloads = payloads;
    void *bytes = vq_mem_grow(t->bytes, n, cap, sizeof *t->bytes);
    if (bytes != NULL) t->bytes = bytes;
    bool ok = lines != NULL && names != NULL && numbers != NULL && times != NULL &&
              begins != NULL && payloads != NULL && bytes != NULL;
    if (ok) r->room = cap;
    return ok;
}

/* id becomes the one of row r->n. */
static vq_status take_id(reader *r, char *id)
{
    vq_status rc = VQ_OK;
    vq_error *err = r->err;
    const vq_text *t = &r->to->text;
    VQ_REQUIRE(make_room(r), VQ_ENOMEM, "%s: no memory for %zu ids", t->name, r->n);
    VQ_TRY(vq_id_check(t->name, t->line, id, err));
    r->to->lines[r->n] = t->line;
    r->to->names[r->n] = id;
    VQ_REQUIRE(r->strings || vq_id_number(id, &r->to->numbers[r->n]), VQ_ECORRUPT,
               "%s:%zu: the id \"%.100s\" is no number, as those of the index are", t->name,
               t->line, id);
out:
    return rc;
}

static vq_status take_tags(reader *r, char *line)
{
    vq_status rc = VQ_OK;
    vq_error *err = r->err;
    vq_attrs *to = r->to;
    char *rest = line, *id = strsep(&rest, "\t");
    bool again = r->n > 0 && strcmp(to->names[r->n - 1], id) == 0;
    if (!again) {
        VQ_TRY(take_id(r, id));
        to->begins[r->n++] = r->ntags;
    }
    for (char *tag; (tag = strsep(&rest, "\t")) != NULL;) {
        VQ_REQUIRE(tag[0] != '\0', VQ_ECORRUPT, "%s:%zu: an empty tag", to->text.name,
                   to->text.line);
        VQ_REQUIRE(strlen(tag) <= VQ_TAG_MAX, VQ_ECORRUPT,
                   "%s:%zu: a tag of %zu bytes, at most %u are possible", to->text.name,
                   to->text.line, strlen(tag), VQ_TAG_MAX);
        VQ_TRY(vq_id_check(to->text.name, to->text.line, tag, err));
        char **grown =
            vq_mem_reserve(to->tags, r->ntags, r->ntags + 1, &r->tags_room, sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "%s: no memory for %zu tags", to->text.name, r->ntags);
        to->tags = grown;
        to->tags[r->ntags++] = tag;
    }
out:
    return rc;
}

static vq_status take_time(reader *r, char *line)
{
    vq_status rc = VQ_OK;
    vq_error *err = r->err;
    vq_attrs *to = r->to;
    char *rest = line, *id = strsep(&rest, "\t"), *end;
    VQ_REQUIRE(rest != NULL, VQ_ECORRUPT, "%s:%zu: expected an id, a tab and a time", to->text.name,
               to->text.line);
    VQ_TRY(take_id(r, id));
    errno = 0;
    long long time = strtoll(rest, &end, 10);
    bool digits = (rest[0] >= '0' && rest[0] <= '9') || rest[0] == '-';
    VQ_REQUIRE(digits && end > rest && *end == '\0' && errno == 0 && time != VQ_NO_TIME,
               VQ_ECORRUPT, "%s:%zu: the time \"%.40s\" is no whole number of 64 bits",
               to->text.name, to->text.line, rest);
    to->times[r->n++] = time;
out:
    return rc;
}

static vq_status take_payload(reader *r, char *line)
{
    vq_status rc = VQ_OK;
    vq_error *err = r->err;
    vq_attrs *to = r->to;
    char id[VQ_ID_MAX + 1];
    line += strspn(line, " \t");
    size_t bytes = strlen(line), len;
    if (bytes == 0) return VQ_OK;
    rc = vq_json_id(line, bytes, id, sizeof id, err);
    if (rc != VQ_OK) return vq_fail_context(err, rc, "%s:%zu", to->text.name, to->text.line);
    VQ_REQUIRE(bytes <= VQ_PAYLOAD_MAX, VQ_ECORRUPT,
               "%s:%zu: a payload of %zu bytes; at most %u are possible", to->text.name,
               to->text.line, bytes, VQ_PAYLOAD_MAX);
    VQ_TRY(take_id(r, id));
    len = strlen(id) + 1;
    char *grown = vq_mem_reserve(to->ids, r->len, r->len + len, &r->ids_room, 1);
    VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "%s: no memory for %zu ids", to->text.name, r->n);
    to->ids = grown;
    memcpy(to->ids + r->len, id, len);
    r->len += len;
    to->payloads[r->n] = line;
    to->bytes[r->n++] = bytes;
out:
    return rc;
}

/* Everything is where it stays. */
static void point(reader *r)
{
    vq_attrs *t = r->to;
    vq_attributes *a = &t->a;
    *a = (vq_attributes)VQ_ATTRIBUTES_INIT;
    a->n = r->n;
    if (r->kind == VQ_ATTRS_PAYLOAD)
        for (size_t i = 0, at = 0; i < r->n; at += strlen(t->ids + at) + 1)
            t->names[i++] = t->ids + at;
    if (r->strings)
        a->names = (const char *const *)t->names;
    else
        a->ids = t->numbers;
    switch (r->kind) {
    case VQ_ATTRS_TAGS:
        t->begins[r->n] = r->ntags;
        a->tags = (const char *const *)t->tags, a->tag_begins = t->begins;
        break;
    case VQ_ATTRS_TIMES: a->times = t->times; break;
    case VQ_ATTRS_PAYLOAD: a->payloads = t->payloads, a->payload_bytes = t->bytes; break;
    }
}

vq_status vq_attrs_read(vq_attrs *out, const char *path, vq_attrs_kind kind, bool strings,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    reader r = {.to = out, .kind = kind, .strings = strings, .err = err};
    memset(out, 0, sizeof *out);
    VQ_TRY(vq_text_read(&out->text, path, err));
    VQ_REQUIRE(make_room(&r), VQ_ENOMEM, "%s: out of memory", path);
    if (kind == VQ_ATTRS_TAGS) {
        out->tags = vq_mem_reserve(NULL, 0, 1, &r.tags_room, sizeof *out->tags);
        VQ_REQUIRE(out->tags != NULL, VQ_ENOMEM, "%s: out of memory", path);
    }
    for (char *line; (line = vq_text_line(&out->text)) != NULL;) {
        if (kind == VQ_ATTRS_TAGS) VQ_TRY(take_tags(&r, line));
        if (kind == VQ_ATTRS_TIMES) VQ_TRY(take_time(&r, line));
        if (kind == VQ_ATTRS_PAYLOAD) VQ_TRY(take_payload(&r, line));
    }
    point(&r);
out:
    if (rc != VQ_OK) vq_attrs_fini(out);
    return rc;
}

void vq_attrs_fini(vq_attrs *a)
{
    vq_text_fini(&a->text);
    vq_mem_free(a->lines), vq_mem_free(a->names), vq_mem_free(a->numbers), vq_mem_free(a->times),
        vq_mem_free(a->tags);
    vq_mem_free(a->begins), vq_mem_free(a->payloads), vq_mem_free(a->bytes), vq_mem_free(a->ids);
    memset(a, 0, sizeof *a);
}
