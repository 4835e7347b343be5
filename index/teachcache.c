/* SPDX-License-Identifier: Apache-2.0 */
/* teachcache.c -- see teachcache.h. */
#include "index/teachcache.h"

#include <string.h>

#include "src/base/bytes.h"
#include "src/base/hash.h"
#include "src/base/pack.h"
#include "src/io/out.h"

enum { HEAD = 72, DIGEST = 16, VERSION = 1, WORDS = 4096 };

static const char magic[8] = "VQTEACH\n";

static void make_head(const vq_teachcache_key *key, uint8_t head[HEAD])
{
    memcpy(head, magic, sizeof magic);
    vq_put_le32(head + 8, VERSION);
    vq_put_le32(head + 12, key->metric);
    vq_put_le32(head + 16, key->k);
    vq_put_le32(head + 20, 0);
    vq_put_le64(head + 24, key->nq);
    vq_put_le64(head + 32, key->n);
    memcpy(head + 40, key->base, DIGEST);
    memcpy(head + 56, key->queries, DIGEST);
}

/* ---- reading ---- */

/* *s is NULL where there is no file. */
static vq_status open_cache(vq_stream **s, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *bytes;
    size_t got = 0;
    vq_error no;
    *s = NULL;
    rc = vq_stream_open(s, path, &no);
    if (rc == VQ_ENOENT) return VQ_OK;
    if (rc == VQ_OK) rc = vq_stream_peek(*s, &bytes, sizeof magic, &got, &no);
    VQ_REQUIRE(rc == VQ_OK || rc == VQ_ECORRUPT, rc, "%s", no.text);
    VQ_REQUIRE(
        rc == VQ_OK && got == sizeof magic && memcmp(bytes, magic, sizeof magic) == 0, VQ_ECORRUPT,
        "%s: this is no teacher cache, so it is left as it is; give the name of a new file", path);
out:
    if (rc != VQ_OK) {
        vq_stream_close(*s);
        *s = NULL;
    }
    return rc;
}

/* count words of 4 bytes (u32 or f32) to out, and into the hash. */
static vq_status read_words(vq_stream *s, vq_hasher *h, void *out, uint64_t count, bool *whole,
                            vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t block[4 * WORDS];
    for (uint64_t done = 0; done < count && *whole;) {
        size_t n = (size_t)VQ_MIN(count - done, (uint64_t)WORDS), got;
        VQ_TRY(vq_stream_read(s, block, 4 * n, &got, err));
        *whole = got == 4 * n;
        vq_hasher_add(h, block, got);
        for (size_t i = 0; i < got / 4; i++) {
            uint32_t word = vq_le32(block + 4 * i);
            memcpy((uint8_t *)out + 4 * (done + i), &word, 4);
        }
        done += n;
    }
out:
    return rc;
}

static vq_status read_answers(vq_stream *s, const vq_teachcache_key *key, vq_hasher *h,
                              uint32_t *rows, float *scores, bool *found, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t head[HEAD], have[HEAD], sum[DIGEST], tail[DIGEST + 1];
    uint64_t cells = key->nq * key->k;
    size_t got;
    make_head(key, head);
    VQ_TRY(vq_stream_read(s, have, HEAD, &got, err));
    *found = got == HEAD && memcmp(have, head, HEAD) == 0;
    if (!*found) goto out;
    vq_hasher_add(h, head, HEAD);
    VQ_TRY(read_words(s, h, rows, cells, found, err));
    VQ_TRY(read_words(s, h, scores, cells, found, err));
    if (!*found) goto out;
    vq_hasher_get(h, sum);
    VQ_TRY(vq_stream_read(s, tail, sizeof tail, &got, err));
    *found = got == DIGEST && memcmp(tail, sum, DIGEST) == 0;
    for (uint64_t i = 0; i < cells && *found; i++)
        *found = rows[i] < key->n || rows[i] == UINT32_MAX;
out:
    if (rc == VQ_ECORRUPT) { /* a damaged frame: our file, to be made anew */
        *found = false;
        rc = VQ_OK;
    }
    return rc;
}

vq_status vq_teachcache_check(const char *path, vq_error *err)
{
    vq_stream *s;
    vq_status rc = open_cache(&s, path, err);
    vq_stream_close(s);
    return rc;
}

vq_status vq_teachcache_read(const char *path, const vq_teachcache_key *key, uint32_t *rows,
                             float *scores, bool *found, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_stream *s = NULL;
    vq_hasher *h = vq_hasher_new();
    *found = false;
    VQ_REQUIRE(h != NULL, VQ_ENOMEM, "%s: out of memory", path);
    VQ_TRY(open_cache(&s, path, err));
    if (s != NULL) VQ_TRY(read_answers(s, key, h, rows, scores, found, err));
out:
    vq_stream_close(s);
    vq_hasher_free(h);
    return rc;
}

/* ---- writing ---- */

static vq_status write_words(vq_out *o, vq_hasher *h, const void *words, uint64_t count,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t block[4 * WORDS];
    for (uint64_t done = 0; done < count;) {
        size_t n = (size_t)VQ_MIN(count - done, (uint64_t)WORDS);
        for (size_t i = 0; i < n; i++) {
            uint32_t word;
            memcpy(&word, (const uint8_t *)words + 4 * (done + i), 4);
            vq_put_le32(block + 4 * i, word);
        }
        vq_hasher_add(h, block, 4 * n);
        VQ_TRY(vq_out_write(o, block, 4 * n, err));
        done += n;
    }
out:
    return rc;
}

vq_status vq_teachcache_write(const char *path, const vq_teachcache_key *key, const uint32_t *rows,
                              const float *scores, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t head[HEAD], sum[DIGEST];
    vq_out *o = NULL;
    vq_hasher *h = vq_hasher_new();
    VQ_REQUIRE(h != NULL, VQ_ENOMEM, "%s: out of memory", path);
    VQ_TRY(vq_out_open(&o, path, err));
    make_head(key, head);
    vq_hasher_add(h, head, HEAD);
    VQ_TRY(vq_out_write(o, head, HEAD, err));
    VQ_TRY(write_words(o, h, rows, key->nq * key->k, err));
    VQ_TRY(write_words(o, h, scores, key->nq * key->k, err));
    vq_hasher_get(h, sum);
    VQ_TRY(vq_out_write(o, sum, DIGEST, err));
    VQ_TRY(vq_out_commit(o, err));
out:
    vq_out_close(o);
    vq_hasher_free(h);
    return rc;
}
