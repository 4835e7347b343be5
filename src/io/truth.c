/* SPDX-License-Identifier: Apache-2.0 */
/* truth.c -- exact neighbours in files.
 *   ibin   nq u32, k u32, nq x k ids i32, then nq x k scores f32 or nothing
 *   ivecs  for each query k u32 and k ids i32
 * -1 stands for "none", which is VQ_NO_ID in memory. */
#include "src/io/truth.h"

#include <inttypes.h>
#include <string.h>

#include "src/base/bytes.h"
#include "src/base/mem.h"
#include "src/io/format.h"
#include "src/io/out.h"

#define K_MAX 65536u

typedef struct reader {
    vq_stream *stream; /* owned */
    const char *name;
    vq_truth *t;
    size_t ids_room, scores_room; /* numbers; grown as they arrive, whatever the header announces */
} reader;

static vq_status read_words(reader *r, uint8_t *bytes, size_t words, const char *what,
                            vq_error *err)
{
    size_t got;
    vq_status rc = vq_stream_read(r->stream, bytes, 4 * words, &got, err);
    if (rc != VQ_OK || got == 4 * words) return rc;
    return vq_fail(err, VQ_ECORRUPT, "%s: the file is cut short among its %s", r->name, what);
}

/* count ids from the stream, after `have` that are there. */
static vq_status read_ids(reader *r, size_t have, size_t count, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t bytes[4 * 1024];
    for (size_t done = 0; done < count;) {
        size_t n = VQ_MIN(count - done, sizeof bytes / 4);
        VQ_TRY(read_words(r, bytes, n, "ids", err));
        uint64_t *grown =
            vq_mem_reserve(r->t->ids, have + done, have + done + n, &r->ids_room, sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "%s: no memory for %zu ids", r->name, have + done + n);
        r->t->ids = grown;
        for (size_t i = 0; i < n; i++, done++) {
            int32_t id = (int32_t)vq_le32(bytes + 4 * i);
            VQ_REQUIRE(id >= -1, VQ_ECORRUPT, "%s: query %zu (from 0) has the id %" PRId32, r->name,
                       (have + done) / r->t->k, id);
            r->t->ids[have + done] = id == -1 ? VQ_NO_ID : (uint64_t)id;
        }
    }
out:
    return rc;
}

static vq_status read_scores(reader *r, size_t count, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t bytes[4 * 1024];
    for (size_t done = 0; done < count;) {
        size_t n = VQ_MIN(count - done, sizeof bytes / 4);
        VQ_TRY(read_words(r, bytes, n, "scores", err));
        float *grown = vq_mem_reserve(r->t->scores, done, done + n, &r->scores_room, sizeof *grown);
        VQ_REQUIRE(grown != NULL, VQ_ENOMEM, "%s: no memory for %zu scores", r->name, done + n);
        r->t->scores = grown;
        for (size_t i = 0; i < n; i++, done++) r->t->scores[done] = vq_lef32(bytes + 4 * i);
    }
out:
    return rc;
}

static vq_status at_end(const reader *r, bool *end, vq_error *err)
{
    const uint8_t *bytes;
    size_t got = 0;
    vq_status rc = vq_stream_peek(r->stream, &bytes, 1, &got, err);
    *end = got == 0;
    return rc;
}

static vq_status check_k(const reader *r, uint32_t k, vq_error *err)
{
    if (k >= 1 && k <= K_MAX) return VQ_OK;
    return vq_fail(err, VQ_ECORRUPT, "%s: %" PRIu32 " neighbours a query, expected 1 to %u",
                   r->name, k, K_MAX);
}

static vq_status read_ibin(reader *r, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t head[8];
    uint64_t size = vq_stream_size(r->stream);
    bool end;
    VQ_TRY(read_words(r, head, 2, "first 8 bytes", err));
    uint64_t nq = vq_le32(head), k = vq_le32(head + 4);
    VQ_TRY(check_k(r, (uint32_t)k, err));
    VQ_REQUIRE(size == UINT64_MAX || size == 8 + 4 * nq * k || size == 8 + 8 * nq * k, VQ_ECORRUPT,
               "%s: %" PRIu64 " x %" PRIu64 " ids need %" PRIu64 " bytes, or %" PRIu64
               " with scores; %" PRIu64 " found",
               r->name, nq, k, 8 + 4 * nq * k, 8 + 8 * nq * k, size);
    r->t->nq = (size_t)nq;
    r->t->k = (size_t)k;
    VQ_TRY(read_ids(r, 0, (size_t)(nq * k), err));
    VQ_TRY(at_end(r, &end, err));
    if (end) goto out;
    VQ_TRY(read_scores(r, (size_t)(nq * k), err));
    VQ_TRY(at_end(r, &end, err));
    VQ_REQUIRE(end, VQ_ECORRUPT, "%s: the file goes on after its ids and scores", r->name);
out:
    return rc;
}

static vq_status read_ivecs(reader *r, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_truth *t = r->t;
    bool end;
    for (;; t->nq++) {
        uint8_t head[4];
        VQ_TRY(at_end(r, &end, err));
        if (end) break;
        VQ_TRY(read_words(r, head, 1, "rows", err));
        uint32_t k = vq_le32(head);
        VQ_TRY(check_k(r, k, err));
        if (t->nq == 0) t->k = k;
        VQ_REQUIRE(k == t->k, VQ_ECORRUPT,
                   "%s: row %zu (from 0) has %" PRIu32 " ids, the first has %zu", r->name, t->nq, k,
                   t->k);
        VQ_TRY(read_ids(r, t->nq * t->k, k, err));
    }
out:
    return rc;
}

/* By size and content where they tell, else by the ending. */
static vq_status choose_kind(const reader *r, const char *ending, bool *ivecs, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *b;
    size_t len;
    uint64_t size = vq_stream_size(r->stream);
    VQ_TRY(vq_stream_peek(r->stream, &b, 4096, &len, err));
    uint64_t first = len >= 4 ? vq_le32(b) : 0, second = len >= 8 ? vq_le32(b + 4) : 0;
    uint64_t row = 4 + 4 * first;
    bool known = size != UINT64_MAX;
    bool fits_ivecs = first >= 1 && first <= K_MAX && (!known || size % row == 0) &&
                      (row + 4 > len || vq_le32(b + row) == first);
    bool fits_ibin = second >= 1 && second <= K_MAX &&
                     (!known || size == 8 + 4 * first * second || size == 8 + 8 * first * second);
    bool named_ivecs = strcmp(ending, "ivecs") == 0, named_ibin = strcmp(ending, "ibin") == 0;
    bool sure_ivecs = fits_ivecs && row + 4 <= len, sure_ibin = fits_ibin && known;
    *ivecs = sure_ivecs;
    if (sure_ivecs != sure_ibin) goto out;
    const char *foreign = vq_foreign_name(b, len);
    VQ_REQUIRE(foreign == NULL, VQ_ECORRUPT, "%s: is %s, not a file of neighbours (ibin, ivecs)",
               r->name, foreign);
    *ivecs = named_ivecs || (!named_ibin && fits_ivecs);
    VQ_REQUIRE(named_ivecs || named_ibin || fits_ivecs || fits_ibin, VQ_ECORRUPT,
               "%s: is not a file of neighbours (ibin, ivecs)", r->name);
out:
    return rc;
}

vq_status vq_truth_read(vq_truth *t, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    char ending[VQ_ENDING_MAX];
    bool ivecs = false;
    memset(t, 0, sizeof *t);
    reader r = {.name = strcmp(path, "-") == 0 ? "standard input" : path, .t = t};
    vq_path_ending(path, ending, NULL);
    VQ_TRY(vq_stream_open(&r.stream, path, err));
    VQ_TRY(choose_kind(&r, ending, &ivecs, err));
    VQ_TRY(ivecs ? read_ivecs(&r, err) : read_ibin(&r, err));
out:
    vq_stream_close(r.stream);
    if (rc != VQ_OK) vq_truth_fini(t);
    return rc;
}

/* ---- writing ------------------------------------------------------------------------------ */

static vq_status write_ids(const vq_truth *t, size_t query, vq_out *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < t->k; i++) {
        uint8_t b[4];
        uint64_t id = t->ids[query * t->k + i];
        VQ_REQUIRE(id <= INT32_MAX || id == VQ_NO_ID, VQ_EINVAL,
                   "query %zu: the id %" PRIu64
                   " does not fit the file, which holds ids below 2^31",
                   query, id);
        vq_put_le32(b, id == VQ_NO_ID ? UINT32_MAX : (uint32_t)id);
        VQ_TRY(vq_out_write(o, b, 4, err));
    }
out:
    return rc;
}

static vq_status write_all(const vq_truth *t, bool ivecs, vq_out *o, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint8_t b[8];
    vq_put_le32(b, (uint32_t)t->nq);
    vq_put_le32(b + 4, (uint32_t)t->k);
    if (!ivecs) VQ_TRY(vq_out_write(o, b, 8, err));
    for (size_t q = 0; q < t->nq; q++) {
        if (ivecs) VQ_TRY(vq_out_write(o, b + 4, 4, err));
        VQ_TRY(write_ids(t, q, o, err));
    }
    for (size_t i = 0; !ivecs && t->scores != NULL && i < t->nq * t->k; i++) {
        vq_put_lef32(b, t->scores[i]);
        VQ_TRY(vq_out_write(o, b, 4, err));
    }
out:
    return rc;
}

vq_status vq_truth_write(const vq_truth *t, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    char ending[VQ_ENDING_MAX];
    vq_out *o = NULL;
    vq_path_ending(path, ending, NULL);
    bool ivecs = strcmp(ending, "ivecs") == 0;
    VQ_REQUIRE(ivecs || strcmp(ending, "ibin") == 0, VQ_EINVAL,
               "%s: end it in .ibin (ids and scores) or .ivecs (ids)", path);
    VQ_REQUIRE(t->nq <= UINT32_MAX && t->k >= 1 && t->k <= K_MAX, VQ_EINVAL,
               "%s: cannot hold %zu x %zu neighbours", path, t->nq, t->k);
    VQ_TRY(vq_out_open(&o, path, err));
    rc = write_all(t, ivecs, o, err);
    if (rc == VQ_EINVAL) (void)vq_fail_context(err, rc, "%s", path);
    if (rc == VQ_OK) rc = vq_out_commit(o, err);
out:
    vq_out_close(o);
    return rc;
}

void vq_truth_fini(vq_truth *t)
{
    vq_mem_free(t->ids);
    vq_mem_free(t->scores);
    memset(t, 0, sizeof *t);
}
