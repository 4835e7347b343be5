/* SPDX-License-Identifier: Apache-2.0 */
/* bitmap.c -- see bitmap.h.  A bitmap is a row of containers of up to 2^16 numbers: an array of
 * their low halves, 1,024 words, or runs. */
#include "src/base/bitmap.h"

#include <stdbool.h>
#include <string.h>

#include "src/base/bytes.h"

enum {
    COOKIE = 12346,      /* then the number of containers */
    COOKIE_RUNS = 12347, /* in the low half; the high half is that number less 1 */
    ARRAY_MOST = 4096,
    NO_OFFSETS = 4, /* fewer containers, where some are runs, are listed without offsets */
    SPAN = 1 << 16, /* numbers of a container */
    WORDS = SPAN / 64,
    WORDS_BYTES = SPAN / 8
};

/* ---- reading ---- */

static void set_run(uint64_t *words, uint64_t first, uint64_t count)
{
    for (uint64_t at = first, end = first + count; at < end;) {
        unsigned bit = at % 64;
        uint64_t n = VQ_MIN(end - at, (uint64_t)(64 - bit));
        words[at / 64] |= (n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1) << bit;
        at += n;
    }
}

typedef struct container {
    uint64_t base;
    uint32_t count; /* numbers */
    bool runs;
} container;

static vq_status read_array(vq_rd *r, const container *c, uint64_t *words, uint64_t bits,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *at = vq_rd_take(r, 2 * (size_t)c->count);
    VQ_REQUIRE(at != NULL, VQ_ECORRUPT, "bitmap: cut short");
    for (uint32_t i = 0, last = 0; i < c->count; i++) {
        uint32_t x = vq_le16(at + 2 * (size_t)i);
        VQ_REQUIRE((i == 0 || x > last) && c->base + x < bits, VQ_ECORRUPT,
                   "bitmap: a number out of place");
        words[(c->base + x) / 64] |= UINT64_C(1) << x % 64;
        last = x;
    }
out:
    return rc;
}

static vq_status read_words(vq_rd *r, const container *c, uint64_t *words, uint64_t bits,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *at = vq_rd_take(r, WORDS_BYTES);
    uint32_t count = 0;
    VQ_REQUIRE(at != NULL, VQ_ECORRUPT, "bitmap: cut short");
    for (size_t i = 0; i < WORDS; i++) {
        uint64_t w = vq_le64(at + 8 * i), first = c->base + 64 * i;
        if (w == 0) continue;
        VQ_REQUIRE(first + 63 - (uint64_t)__builtin_clzll(w) < bits, VQ_ECORRUPT,
                   "bitmap: a number out of place");
        count += (uint32_t)__builtin_popcountll(w);
        words[first / 64] |= w;
    }
    VQ_REQUIRE(count == c->count, VQ_ECORRUPT, "bitmap: %u numbers, said to be %u", count,
               c->count);
out:
    return rc;
}

static vq_status read_runs(vq_rd *r, const container *c, uint64_t *words, uint64_t bits,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *head = vq_rd_take(r, 2);
    uint32_t runs = head != NULL ? vq_le16(head) : 0, count = 0, end = 0;
    const uint8_t *at = vq_rd_take(r, 4 * (size_t)runs);
    VQ_REQUIRE(head != NULL && at != NULL, VQ_ECORRUPT, "bitmap: cut short");
    for (uint32_t i = 0; i < runs; i++) {
        uint32_t first = vq_le16(at + 4 * (size_t)i);
        uint32_t n = vq_le16(at + 4 * (size_t)i + 2) + UINT32_C(1);
        VQ_REQUIRE((i == 0 || first > end) && first + n <= SPAN && c->base + first + n <= bits,
                   VQ_ECORRUPT, "bitmap: a number out of place");
        set_run(words, c->base + first, n);
        count += n;
        end = first + n; /* runs that touch are one */
    }
    VQ_REQUIRE(count == c->count, VQ_ECORRUPT, "bitmap: %u numbers, said to be %u", count,
               c->count);
out:
    return rc;
}

vq_status vq_bitmap_read(const uint8_t *bytes, size_t len, uint64_t *words, uint64_t bits,
                         vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_rd r = vq_rd_init(bytes, len);
    uint32_t cookie = vq_rd_u32(&r), n;
    bool some = (cookie & 0xffff) == COOKIE_RUNS;
    n = some ? (cookie >> 16) + 1 : vq_rd_u32(&r);
    VQ_REQUIRE(r.ok && (some || cookie == COOKIE) && n >= 1 && n <= SPAN, VQ_ECORRUPT,
               "bitmap: no Roaring bitmap");
    const uint8_t *runs = some ? vq_rd_take(&r, (n + 7) / 8) : NULL;
    const uint8_t *heads = vq_rd_take(&r, 4 * (size_t)n);
    const uint8_t *offsets = !some || n >= NO_OFFSETS ? vq_rd_take(&r, 4 * (size_t)n) : NULL;
    VQ_REQUIRE(r.ok, VQ_ECORRUPT, "bitmap: cut short");
    VQ_REQUIRE(!some || n % 8 == 0 || runs[n / 8] >> n % 8 == 0, VQ_ECORRUPT,
               "bitmap: runs in no container");
    for (uint32_t i = 0, last = 0; i < n; i++) {
        uint32_t key = vq_le16(heads + 4 * (size_t)i);
        container c = {.base = (uint64_t)key * SPAN,
                       .count = vq_le16(heads + 4 * (size_t)i + 2) + UINT32_C(1),
                       .runs = some && (runs[i / 8] >> i % 8 & 1) != 0};
        VQ_REQUIRE(i == 0 || key > last, VQ_ECORRUPT, "bitmap: a container out of place");
        VQ_REQUIRE(offsets == NULL || vq_le32(offsets + 4 * (size_t)i) == (size_t)(r.p - bytes),
                   VQ_ECORRUPT, "bitmap: a container is not where it is said to be");
        last = key;
        VQ_TRY((c.runs                  ? read_runs
                : c.count <= ARRAY_MOST ? read_array
                                        : read_words)(&r, &c, words, bits, err));
    }
    VQ_REQUIRE(r.p == r.end, VQ_ECORRUPT, "bitmap: bytes behind its end");
out:
    return rc;
}

/* ---- writing ---- */

typedef struct shape { /* of a container */
    uint32_t count, runs;
    size_t bytes;
    bool as_runs;
} shape;

/* The words of container `key`, and how many of them there are. */
static const uint64_t *part(const uint64_t *words, uint64_t bits, size_t key, size_t *n)
{
    size_t all = vq_bitmap_words(bits), first = key * WORDS;
    *n = VQ_MIN(all - first, (size_t)WORDS);
    return words + first;
}

static shape measure(const uint64_t *w, size_t n)
{
    shape s = {0};
    uint64_t carry = 0; /* the bit before */
    for (size_t i = 0; i < n; i++) {
        s.count += (uint32_t)__builtin_popcountll(w[i]);
        s.runs += (uint32_t)__builtin_popcountll(w[i] & ~(w[i] << 1 | carry));
        carry = w[i] >> 63;
    }
    size_t plain = s.count <= ARRAY_MOST ? 2 * (size_t)s.count : (size_t)WORDS_BYTES;
    size_t runs = 2 + 4 * (size_t)s.runs;
    s.as_runs = runs < plain;
    s.bytes = s.as_runs ? runs : plain;
    return s;
}

typedef struct whole {
    size_t n;    /* containers */
    size_t body; /* their bytes */
    bool runs;   /* some are */
} whole;

static whole measure_all(const uint64_t *words, uint64_t bits)
{
    whole all = {0};
    for (size_t key = 0; key * WORDS < vq_bitmap_words(bits); key++) {
        size_t n;
        const uint64_t *w = part(words, bits, key, &n);
        shape s = measure(w, n);
        if (s.count == 0) continue;
        all.n++;
        all.body += s.bytes;
        all.runs |= s.as_runs;
    }
    return all;
}

static size_t head_bytes(const whole *all)
{
    size_t offsets = !all->runs || all->n >= NO_OFFSETS ? 4 * all->n : 0;
    return (all->runs ? 4 + (all->n + 7) / 8 : 8) + 4 * all->n + offsets;
}

size_t vq_bitmap_size(const uint64_t *words, uint64_t bits)
{
    whole all = measure_all(words, bits);
    return all.n > 0 ? head_bytes(&all) + all.body : 0;
}

static void put_le16(uint8_t *p, uint32_t x)
{
    p[0] = (uint8_t)x, p[1] = (uint8_t)(x >> 8);
}

/* The end of the run of ones that starts at bit `at`. */
static uint32_t run_end(const uint64_t *w, size_t n, uint32_t at)
{
    while (at < 64 * n) {
        uint64_t rest = ~(w[at / 64] >> at % 64);
        unsigned left = 64 - at % 64;
        unsigned ones = rest != 0 ? (unsigned)__builtin_ctzll(rest) : 64;
        at += VQ_MIN(ones, left);
        if (ones < left) break;
    }
    return at;
}

static void write_body(uint8_t *out, const uint64_t *w, size_t n, const shape *s)
{
    bool plain = !s->as_runs && s->count > ARRAY_MOST;
    if (s->as_runs) {
        put_le16(out, s->runs);
        out += 2;
    }
    if (plain) memset(out, 0, WORDS_BYTES);
    for (size_t i = 0; i < n; i++) {
        uint64_t rest = w[i];
        if (plain) vq_put_le64(out + 8 * i, rest);
        if (s->as_runs) rest &= ~(rest << 1 | (i > 0 ? w[i - 1] >> 63 : 0));
        for (; rest != 0 && !plain; rest &= rest - 1) {
            uint32_t at = (uint32_t)(64 * i) + (uint32_t)__builtin_ctzll(rest);
            put_le16(out, at);
            if (s->as_runs) put_le16(out + 2, run_end(w, n, at) - at - 1);
            out += s->as_runs ? 4 : 2;
        }
    }
}

void vq_bitmap_write(const uint64_t *words, uint64_t bits, uint8_t *out)
{
    whole all = measure_all(words, bits);
    size_t head = head_bytes(&all), at = head, i = 0;
    if (all.n == 0) return;
    uint8_t *runs = out + 4, *heads = out + (all.runs ? 4 + (all.n + 7) / 8 : 8);
    uint8_t *offsets = heads + 4 * all.n;
    memset(out, 0, head);
    vq_put_le32(out, all.runs ? COOKIE_RUNS | (uint32_t)(all.n - 1) << 16 : COOKIE);
    if (!all.runs) vq_put_le32(out + 4, (uint32_t)all.n);
    for (size_t key = 0; key * WORDS < vq_bitmap_words(bits); key++) {
        size_t n;
        const uint64_t *w = part(words, bits, key, &n);
        shape s = measure(w, n);
        if (s.count == 0) continue;
        put_le16(heads + 4 * i, (uint32_t)key);
        put_le16(heads + 4 * i + 2, s.count - 1);
        if (s.as_runs) runs[i / 8] = (uint8_t)(runs[i / 8] | 1u << i % 8);
        if (!all.runs || all.n >= NO_OFFSETS) vq_put_le32(offsets + 4 * i, (uint32_t)at);
        write_body(out + at, w, n, &s);
        at += s.bytes;
        i++;
    }
}
