/* SPDX-License-Identifier: Apache-2.0 */
/* jsonl.c -- see jsonl.h.  Walks the text once; what is nested deeper than DEPTH is refused. */
#include "src/io/jsonl.h"

#include <stdbool.h>
#include <string.h>

#include "src/io/utf8.h"

enum { DEPTH = 64 };

typedef struct reader {
    const char *text, *at, *end;
    const char *wrong; /* what was expected at `at`; NULL: all is well */
} reader;

static bool expect(reader *r, const char *what)
{
    if (r->wrong == NULL) r->wrong = what;
    return false;
}

static void skip_blanks(reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool take(reader *r, char c)
{
    if (r->at == r->end || *r->at != c) return false;
    r->at++;
    return true;
}

static bool take_digits(reader *r)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') r->at++;
    return r->at > from || expect(r, "a digit");
}

/* *whole: neither a fraction nor an exponent. */
static bool take_number(reader *r, bool *whole)
{
    (void)take(r, '-');
    if (!take(r, '0') && !take_digits(r)) return false;
    *whole = true;
    if (take(r, '.')) {
        *whole = false;
        if (!take_digits(r)) return false;
    }
    if (take(r, 'e') || take(r, 'E')) {
        *whole = false;
        if (!take(r, '+')) (void)take(r, '-');
        if (!take_digits(r)) return false;
    }
    return true;
}

typedef struct room { /* where a string goes; to NULL: nowhere */
    char *to;
    size_t cap, len;
    bool full;
} room;

static void put(room *o, unsigned c)
{
    if (o->to == NULL) return;
    o->full |= o->len + 1 >= o->cap;
    if (!o->full) o->to[o->len++] = (char)c;
}

static void put_utf8(room *o, unsigned code)
{
    if (code < 0x80) {
        put(o, code);
    } else if (code < 0x800) {
        put(o, 0xc0 | code >> 6), put(o, 0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        put(o, 0xe0 | code >> 12), put(o, 0x80 | (code >> 6 & 0x3f)), put(o, 0x80 | (code & 0x3f));
    } else {
        put(o, 0xf0 | code >> 18), put(o, 0x80 | (code >> 12 & 0x3f));
        put(o, 0x80 | (code >> 6 & 0x3f)), put(o, 0x80 | (code & 0x3f));
    }
}

static bool take_hex(reader *r, unsigned *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        static const char digits[] = "0123456789abcdef";
        char c = r->at < r->end ? *r->at : 'x';
        const char *found = memchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c, 16);
        if (found == NULL) return expect(r, "four hexadecimal digits");
        *code = *code << 4 | (unsigned)(found - digits);
    }
    return true;
}

/* What follows a backslash. */
static bool take_escape(reader *r, room *o)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    unsigned code, low;
    char c = r->at < r->end ? *r->at : 'x';
    const char *found = memchr(from, c, sizeof from - 1);
    if (found != NULL) {
        r->at++;
        put(o, (unsigned char)to[found - from]);
        return true;
    }
    if (!take(r, 'u')) return expect(r, "an escape");
    if (!take_hex(r, &code)) return false;
    if (code >= 0xd800 && code < 0xdc00) { /* the first half of a pair */
        if (!take(r, '\\') || !take(r, 'u') || !take_hex(r, &low) || low < 0xdc00 || low > 0xdfff)
            return expect(r, "the second half of a pair of surrogates");
        code = 0x10000 + ((code - 0xd800) << 10 | (low - 0xdc00));
    } else if (code >= 0xdc00 && code <= 0xdfff) {
        return expect(r, "no second half of a pair of surrogates");
    }
    put_utf8(o, code);
    return true;
}

static bool take_string(reader *r, room *o)
{
    if (!take(r, '"')) return expect(r, "a string");
    while (r->at < r->end && *r->at != '"') {
        if ((unsigned char)*r->at < 0x20) return expect(r, "no control character in a string");
        if (*r->at == '\\') {
            r->at++;
            if (!take_escape(r, o)) return false;
        } else {
            uint32_t code;
            size_t step = vq_utf8_next(r->at, (size_t)(r->end - r->at), &code);
            if (step == 0) return expect(r, "valid UTF-8");
            for (; step > 0; step--) put(o, (unsigned char)*r->at++);
        }
    }
    return take(r, '"') || expect(r, "a quote that ends the string");
}

static bool take_word(reader *r, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(r->end - r->at) < len || memcmp(r->at, word, len) != 0) return false;
    r->at += len;
    return true;
}

static bool take_value(reader *r, int depth);

static bool take_array(reader *r, int depth)
{
    skip_blanks(r);
    if (take(r, ']')) return true;
    do {
        if (!take_value(r, depth)) return false;
        skip_blanks(r);
    } while (take(r, ','));
    return take(r, ']') || expect(r, ", or ]");
}

static bool take_members(reader *r, int depth, bool (*member)(reader *, const char *, void *),
                         void *ctx)
{
    char name[16];
    skip_blanks(r);
    if (take(r, '}')) return true;
    do {
        room o = {.to = name, .cap = sizeof name};
        skip_blanks(r);
        if (!take_string(r, &o)) return false;
        name[o.len] = '\0';
        skip_blanks(r);
        if (!take(r, ':')) return expect(r, "a colon");
        skip_blanks(r);
        bool plain = member == NULL || o.full || o.len != strlen(name);
        if (plain ? !take_value(r, depth) : !member(r, name, ctx)) return false;
        skip_blanks(r);
    } while (take(r, ','));
    return take(r, '}') || expect(r, ", or }");
}

static bool take_value(reader *r, int depth)
{
    bool whole;
    room nowhere = {0};
    skip_blanks(r);
    if (depth == 0) return expect(r, "less nesting");
    if (r->at == r->end) return expect(r, "a value");
    if (*r->at == '"') return take_string(r, &nowhere);
    if (*r->at == '-' || (*r->at >= '0' && *r->at <= '9')) return take_number(r, &whole);
    if (take(r, '{')) return take_members(r, depth - 1, NULL, NULL);
    if (take(r, '[')) return take_array(r, depth - 1);
    return take_word(r, "true") || take_word(r, "false") || take_word(r, "null") ||
           expect(r, "a value");
}

typedef struct wanted {
    room id;
    bool found;
} wanted;

static bool take_member(reader *r, const char *name, void *ctx)
{
    wanted *w = ctx;
    bool whole = false;
    const char *from = r->at;
    if (strcmp(name, "id") != 0) return take_value(r, DEPTH - 1);
    if (w->found) return expect(r, "one id alone");
    w->found = true;
    if (r->at < r->end && *r->at == '"') return take_string(r, &w->id);
    if (r->at == r->end || (*r->at != '-' && (*r->at < '0' || *r->at > '9')))
        return expect(r, "an id that is a string or a whole number");
    if (!take_number(r, &whole)) return false;
    if (!whole) {
        r->at = from;
        return expect(r, "an id that is a whole number");
    }
    for (; from < r->at; from++) put(&w->id, (unsigned char)*from);
    return true;
}

vq_status vq_json_id(const char *text, size_t len, char *id, size_t cap, vq_error *err)
{
    vq_status rc = VQ_OK;
    reader r = {.text = text, .at = text, .end = text + len};
    wanted w = {.id = {.to = id, .cap = cap}};
    skip_blanks(&r);
    if (!take(&r, '{')) (void)expect(&r, "an object");
    if (r.wrong == NULL) (void)take_members(&r, DEPTH - 1, take_member, &w);
    skip_blanks(&r);
    if (r.wrong == NULL && r.at < r.end) (void)expect(&r, "the end of the line");
    VQ_REQUIRE(r.wrong == NULL, VQ_ECORRUPT, "byte %zu: no JSON object: expected %s",
               (size_t)(r.at - text) + 1, r.wrong);
    VQ_REQUIRE(w.found, VQ_ECORRUPT, "an object without \"id\"");
    VQ_REQUIRE(!w.id.full, VQ_ECORRUPT, "an id of more than %zu bytes", cap - 1);
    id[w.id.len] = '\0';
    VQ_REQUIRE(strlen(id) == w.id.len && w.id.len > 0, VQ_ECORRUPT,
               "an id that is empty, or has a NUL in it");
out:
    return rc;
}

int vq_json_valid(const char *text, size_t len)
{
    reader r = {.text = text, .at = text, .end = text + len};
    if (!take_value(&r, DEPTH)) return 0;
    skip_blanks(&r);
    return r.at == r.end;
}
