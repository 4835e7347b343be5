/* SPDX-License-Identifier: Apache-2.0 */
/* model.c -- see model.h. */
#include "index/model.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index/grouping.h"
#include "index/relation.h"
#include "index/relevance.h"
#include "src/base/bytes.h"
#include "src/io/source.h"
#include "src/math/blas.h"

#define GAIN_MOST 16.0f /* far beyond what a build tries */

static const char *const rotation_names[] = {"auto", "none", "random", "pca", "opq"};
static const char *const transform_names[] = {"identity", "dense", "hadamard"};
static const char *const train_names[] = {"", "kmeans", "query-aware", "distill"};
static const char *const query_map_names[] = {"none", "dense"};
static const char *const id_names[] = {"u64", "string"};
static const char *const metric_names[] = {"", "l2", "ip", "cosine"};
static const char *const elem_names[] = {"", "f32", "f16", "i8", "u8", "none"};

/* How a field of vq_model is spelled in `meta`. */
typedef enum field_kind {
    FIELD_U64,
    FIELD_COUNT, /* u64; not in the file where it is 0 */
    FIELD_U32,
    FIELD_F32,
    FIELD_MEAN, /* f32; not in the file where it is 0 */
    FIELD_NAME,
    FIELD_CODEC,
    FIELD_TEXT
} field_kind;

typedef struct field {
    const char *key;
    field_kind kind;
    size_t offset, size;
    const char *const *names; /* FIELD_NAME: the value is an index into these */
    size_t count;
} field;

#define OFFSET(f)   offsetof(vq_model, f), sizeof(((vq_model *)0)->f)
#define NAMES(list) list, VQ_COUNT(list)

static const field fields[] = {
    {"added", FIELD_COUNT, OFFSET(added), NULL, 0},
    {"added_spread", FIELD_MEAN, OFFSET(added_spread), NULL, 0},
    {"bars", FIELD_COUNT, OFFSET(nbars), NULL, 0},
    {"codec", FIELD_CODEC, OFFSET(codec), NULL, 0},
    {"copies", FIELD_COUNT, OFFSET(copies), NULL, 0},
    {"d", FIELD_U32, OFFSET(d), NULL, 0},
    {"d_code", FIELD_U32, OFFSET(d_code), NULL, 0},
    {"format", FIELD_U32, OFFSET(format), NULL, 0},
    {"gain", FIELD_MEAN, OFFSET(gain), NULL, 0},
    {"groups", FIELD_COUNT, OFFSET(ngroups), NULL, 0},
    {"ids", FIELD_NAME, OFFSET(string_ids), NAMES(id_names)},
    {"input", FIELD_NAME, OFFSET(input), NAMES(elem_names)},
    {"labels", FIELD_COUNT, OFFSET(labels), NULL, 0},
    {"m", FIELD_U32, OFFSET(m), NULL, 0},
    {"metric", FIELD_NAME, OFFSET(metric), NAMES(metric_names)},
    {"n", FIELD_U64, OFFSET(n), NULL, 0},
    {"nlist", FIELD_U32, OFFSET(nlist), NULL, 0},
    {"nprobe", FIELD_U32, OFFSET(nprobe), NULL, 0},
    {"options", FIELD_TEXT, OFFSET(options), NULL, 0},
    {"query_map", FIELD_NAME, OFFSET(query_map), NAMES(query_map_names)},
    {"rerank", FIELD_U32, OFFSET(rerank), NULL, 0},
    {"rotation", FIELD_NAME, OFFSET(rotation), NAMES(rotation_names)},
    {"routes", FIELD_COUNT, OFFSET(nroutes), NULL, 0},
    {"row_chunk", FIELD_COUNT, OFFSET(row_chunk), NULL, 0},
    {"seed", FIELD_U64, OFFSET(seed), NULL, 0},
    {"spread", FIELD_MEAN, OFFSET(spread), NULL, 0},
    {"store", FIELD_NAME, OFFSET(store), NAMES(elem_names)},
    {"store_scale", FIELD_F32, OFFSET(store_scale), NULL, 0},
    {"train", FIELD_NAME, OFFSET(train), NAMES(train_names)},
    {"transform", FIELD_NAME, OFFSET(transform_kind), NAMES(transform_names)},
    {VQ_TUNED_AT_KEY, FIELD_COUNT, OFFSET(tuned_at), NULL, 0},
    {"why", FIELD_TEXT, OFFSET(why), NULL, 0},
};

static bool is_absent(const vq_model *m, const field *f)
{
    const void *at = (const char *)m + f->offset;
    return (f->kind == FIELD_COUNT && *(const uint64_t *)at == 0) ||
           (f->kind == FIELD_MEAN && *(const uint32_t *)at == 0);
}

size_t vq_meta_fields(const vq_model *m)
{
    size_t n = 0;
    for (size_t i = 0; i < VQ_COUNT(fields); i++) n += !is_absent(m, &fields[i]);
    return n;
}

static bool is_pq(const vq_model *m)
{
    return m->codec->codewords != 0;
}

size_t vq_model_arrays(vq_model *m, vq_model_array out[VQ_MODEL_ARRAYS])
{
    size_t n = 0;
    if (m->nbars != 0) out[n++] = (vq_model_array){"bars", 2, (uint32_t)m->nbars, &m->bars};
    out[n++] = (vq_model_array){"biases", 1, m->nlist, &m->biases};
    out[n++] = (vq_model_array){"centroids", m->nlist, m->d_code, &m->centroids};
    size_t params = m->codec->nparams(m->d_code, m->m);
    if (params != 0) out[n++] = (vq_model_array){"codec", 1, params, &m->params};
    if (m->ngroups != 0)
        out[n++] = (vq_model_array){"groups", 1, VQ_GROUPS_HEAD + m->ngroups, &m->groups};
    if (m->transform_kind == VQ_TRANSFORM_DENSE)
        out[n++] = (vq_model_array){"matrix", m->d_code, m->d, &m->matrix};
    out[n++] = (vq_model_array){"mean", 1, m->d, &m->mean};
    if (m->query_map)
        out[n++] = (vq_model_array){"query_matrix", m->d_code, m->d, &m->query_matrix};
    if (m->nroutes != 0) out[n++] = (vq_model_array){"routes", m->nroutes, m->d_code, &m->routes};
    return n;
}

void vq_model_derive(vq_model *m, size_t value_min)
{
    m->transform = (vq_transform){.kind = m->transform_kind,
                                  .d = m->d,
                                  .d_out = m->d_code,
                                  .seed = m->seed,
                                  .mean = m->mean,
                                  .matrix = m->matrix};
    m->code = (vq_code_model){.codec = m->codec,
                              .d = m->d_code,
                              .m = m->m,
                              .code_bytes = m->codec->code_bytes(m->d_code, m->m),
                              .params = m->params,
                              .bars = m->bars};
    m->shape = (vq_shape){.code_bytes = m->code.code_bytes,
                          .row_bytes = m->d * (uint32_t)vq_elem_size(m->store),
                          .factors = m->metric == VQ_METRIC_L2,
                          .value_min = value_min,
                          .row_chunk = (uint32_t)VQ_MIN(m->row_chunk, (uint64_t)UINT32_MAX)};
}

uint32_t vq_model_code_bytes(const vq_model *m)
{
    return m->shape.code_bytes + (m->shape.factors ? (uint32_t)sizeof(float) : 0u);
}

/* With Q what queries are multiplied by, a centroid c stands for the vector Q^T c. */
static vq_status see_rounded(const vq_model *m, const vq_kernels *k, const float *centroids,
                             size_t n, float *seen, float *biases, vq_error *err)
{
    enum { BLOCK = 256 };
    vq_status rc = VQ_OK;
    size_t d = m->d;
    float *x = vq_alloc_f32(VQ_MIN(n, (size_t)BLOCK), d);
    VQ_REQUIRE(x != NULL, VQ_ENOMEM, "lists: %zu x %zu floats", n, d);
    for (size_t first = 0, some; first < n; first += some) {
        some = VQ_MIN(n - first, (size_t)BLOCK);
        vq_gemm_nn(some, d, d, 1.0f, centroids + first * d, d, m->query_matrix, d, 0.0f, x, d);
        for (size_t i = 0; biases != NULL && i < some; i++)
            biases[first + i] = (float)(0.5 * k->sq_row_f32(x + i * d, d));
        if (seen != NULL)
            vq_gemm_nt(some, d, d, 1.0f, x, d, m->query_matrix, d, 0.0f, seen + first * d, d);
    }
out:
    vq_mem_free(x);
    return rc;
}

vq_status vq_model_see(const vq_model *m, const vq_kernels *k, const float *centroids, size_t n,
                       float *seen, float *biases, vq_error *err)
{
    size_t d = m->d_code;
    bool l2 = m->metric == VQ_METRIC_L2;
    if (vq_model_rounded(m)) return see_rounded(m, k, centroids, n, seen, biases, err);
    if (seen != NULL) memcpy(seen, centroids, n * d * sizeof *seen);
    for (size_t i = 0; biases != NULL && i < n; i++)
        biases[i] = l2 ? 0.5f * k->dot_f32(centroids + i * d, centroids + i * d, d) : 0.0f;
    return VQ_OK;
}

const void *vq_model_tables(const vq_model *m, const vq_code_model *code, const vq_kernels *k,
                            const float *y, vq_arena *arena)
{
    const float *of = y;
    if (m->gain != 0.0f) {
        float *louder = vq_arena_take(arena, m->d_code, sizeof *louder);
        if (louder == NULL) return NULL;
        for (size_t j = 0; j < m->d_code; j++) louder[j] = y[j] * m->gain;
        of = louder;
    }
    return m->codec->prepare(code, k, of, arena);
}

/* The text of a field; small values need `number`. */
static const char *field_text(const vq_model *m, const field *f, char number[24])
{
    const char *at = (const char *)m + f->offset;
    uint32_t u = f->size == sizeof u ? *(const uint32_t *)(const void *)at : 0;
    switch (f->kind) {
    case FIELD_U64:
    case FIELD_COUNT:
        (void)snprintf(number, 24, "%" PRIu64, *(const uint64_t *)(const void *)at);
        return number;
    case FIELD_U32: (void)snprintf(number, 24, "%" PRIu32, u); return number;
    case FIELD_MEAN:
    case FIELD_F32: (void)snprintf(number, 24, "%08" PRIx32, u); return number;
    case FIELD_NAME: return f->names[u];
    case FIELD_CODEC: return m->codec->name;
    case FIELD_TEXT: return at;
    }
    return "";
}

vq_status vq_meta_write(const vq_model *m, vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < VQ_COUNT(fields); i++) {
        char number[24];
        if (is_absent(m, &fields[i])) continue;
        const char *text = field_text(m, &fields[i], number);
        size_t len = strlen(text);
        uint8_t *room;
        VQ_TRY(vq_store_put(st, VQ_DB_META, fields[i].key, strlen(fields[i].key), 8 + len, &room,
                            err));
        memcpy(room + 8, text, len);
        vq_record_seal(room, 8 + len);
    }
out:
    return rc;
}

vq_status vq_meta_change(const vq_model *m, vq_change *c, vq_error *err)
{
    static const char *const keys[] = {"added", "added_spread", "copies", "format", "labels",
                                       "n",     "nlist",        "routes"};
    vq_status rc = VQ_OK;
    for (size_t i = 0, k = 0; i < VQ_COUNT(fields) && k < VQ_COUNT(keys); i++) {
        const field *f = &fields[i];
        char number[24];
        uint8_t *room;
        if (strcmp(f->key, keys[k]) != 0) continue;
        k++;
        size_t len = strlen(field_text(m, f, number));
        if (is_absent(m, f)) {
            VQ_TRY(vq_change_drop(c, VQ_DB_META, f->key, strlen(f->key), err));
            continue;
        }
        VQ_TRY(vq_change_put(c, VQ_DB_META, f->key, strlen(f->key), 8 + len, &room, err));
        memcpy(room + 8, field_text(m, f, number), len);
        vq_record_seal(room, 8 + len);
    }
out:
    return rc;
}

static vq_status read_number(const char *text, uint64_t most, uint64_t *out)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || v > most) return VQ_EINVAL;
    *out = v;
    return VQ_OK;
}

/* Bits in hexadecimal: no rounding, and no locale that could spell them otherwise. */
static bool read_float(const char *text, float *out)
{
    char *end;
    unsigned long bits = strtoul(text, &end, 16);
    uint32_t u = (uint32_t)bits;
    memcpy(out, &u, sizeof u);
    return strlen(text) == 8 && *end == '\0' && isfinite(*out) && *out > 0.0f;
}

static vq_status read_field(vq_model *m, const field *f, const char *text, vq_error *err)
{
    vq_status rc = VQ_OK;
    char *at = (char *)m + f->offset;
    uint64_t v = 0;
    switch (f->kind) {
    case FIELD_U64:
    case FIELD_COUNT:
    case FIELD_U32:
        VQ_REQUIRE(read_number(text, f->kind == FIELD_U32 ? UINT32_MAX : UINT64_MAX, &v) == VQ_OK,
                   VQ_ECORRUPT, "meta: %s is \"%.40s\", no number", f->key, text);
        break;
    case FIELD_MEAN:
    case FIELD_F32:
        VQ_REQUIRE(read_float(text, (float *)(void *)at), VQ_ECORRUPT,
                   "meta: %s is \"%.40s\", no number above 0", f->key, text);
        goto out;
    case FIELD_NAME:
        while (v < f->count && (f->names[v][0] == '\0' || strcmp(f->names[v], text) != 0)) v++;
        VQ_REQUIRE(v < f->count, VQ_EUNSUPPORTED,
                   "meta: %s is \"%.40s\", which this version does not know", f->key, text);
        break;
    case FIELD_CODEC:
        m->codec = vq_codec_by_name(text);
        VQ_REQUIRE(m->codec != NULL, VQ_EUNSUPPORTED,
                   "meta: codec is \"%.40s\", which this version does not know", text);
        goto out;
    case FIELD_TEXT: (void)snprintf(at, f->size, "%s", text); goto out;
    }
    if (f->size == sizeof(uint64_t))
        memcpy(at, &v, sizeof v);
    else
        *(uint32_t *)(void *)at = (uint32_t)v;
out:
    return rc;
}

/* A text of `meta` into buf. */
static vq_status get_text(const vq_snapshot *s, const char *key, char *buf, size_t cap,
                          vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t len;
    rc = vq_snapshot_get(s, VQ_DB_META, key, strlen(key), &value, &len, err);
    VQ_REQUIRE(rc != VQ_ENOENT, VQ_ECORRUPT, "meta: no %s; not a vq index, or a damaged one", key);
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_record_verify(value, len, key, err));
    VQ_REQUIRE(len - 8 < cap && memchr(value + 8, 0, len - 8) == NULL, VQ_ECORRUPT,
               "meta: %s has %zu bytes", key, len - 8);
    memcpy(buf, value + 8, len - 8);
    buf[len - 8] = '\0';
out:
    return rc;
}

/* A failure to look counts as a text: reading it will tell. */
static bool has_text(const vq_snapshot *s, const char *key)
{
    const uint8_t *value;
    size_t len;
    vq_error e = {0};
    return vq_snapshot_get(s, VQ_DB_META, key, strlen(key), &value, &len, &e) != VQ_ENOENT;
}

/* What no build of ours writes must not get any further. */
static vq_status check_values(const vq_model *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(m->d >= 1 && m->d <= VQ_DIM_MAX && m->d_code >= 1 && m->d_code <= 2 * VQ_DIM_MAX,
               VQ_ECORRUPT, "meta: %u dimensions, %u coded", m->d, m->d_code);
    bool changed = m->format >= VQ_FORMAT_CHANGED;
    VQ_REQUIRE(m->nlist >= 1 && (m->nlist <= m->n || changed) && m->nlist <= INT32_MAX &&
                   m->n <= UINT32_MAX,
               VQ_ECORRUPT, "meta: %u lists for %" PRIu64 " vectors", m->nlist, m->n);
    VQ_REQUIRE(m->gain <= GAIN_MOST, VQ_ECORRUPT, "meta: a gain of %g; %g is the most",
               (double)m->gain, (double)GAIN_MOST);
    VQ_REQUIRE(m->gain == 0.0f || (m->metric != VQ_METRIC_L2 && m->codec->books != NULL),
               VQ_ECORRUPT, "meta: a gain of %g for %s and metric %s, which have none",
               (double)m->gain, m->codec->name, vq_metric_name(m->metric));
    VQ_REQUIRE(m->nbars == 0 || (m->nbars == VQ_BAR_WIDTHS && m->codec->bar != NULL), VQ_ECORRUPT,
               "meta: error bars of %" PRIu64 " widths for %s; expected %u or none", m->nbars,
               m->codec->name, m->codec->bar != NULL ? (unsigned)VQ_BAR_WIDTHS : 0u);
    VQ_REQUIRE(m->ngroups <= m->nlist, VQ_ECORRUPT, "meta: %" PRIu64 " groups of %u lists",
               m->ngroups, m->nlist);
    bool routed = m->format >= VQ_FORMAT_DOCUMENTS && m->metric != VQ_METRIC_L2 &&
                  m->codec->books != NULL; /* which are what learns */
    VQ_REQUIRE(m->nroutes == 0 || (m->nroutes == m->nlist && routed), VQ_ECORRUPT,
               "meta: %" PRIu64 " routes of %u lists in format %u, metric %s, codec %s", m->nroutes,
               m->nlist, m->format, vq_metric_name(m->metric), m->codec->name);
    VQ_REQUIRE(m->tuned_at <= m->added, VQ_ECORRUPT,
               "meta: tuned after %" PRIu64 " of %" PRIu64 " vectors were added", m->tuned_at,
               m->added);
    VQ_REQUIRE(m->labels <= (uint64_t)VQ_NAMES_PER_BLOCK << 32, VQ_ECORRUPT,
               "meta: %" PRIu64 " labels, more than blocks of names have room for", m->labels);
    VQ_REQUIRE(m->labels == 0 || (changed && m->string_ids && m->labels >= m->n), VQ_ECORRUPT,
               "meta: %" PRIu64 " labels for %" PRIu64 " vectors", m->labels, m->n);
    VQ_REQUIRE(m->copies <= m->n && (m->copies == 0 || m->format > VQ_FORMAT_PLAIN), VQ_ECORRUPT,
               "meta: %" PRIu64 " copies of %" PRIu64 " vectors in format %u", m->copies, m->n,
               m->format);
    VQ_REQUIRE(is_pq(m) ? m->m >= 1 && m->m <= 256 && m->d_code % m->m == 0
                        : m->codec->grain != 0 || m->m == 0,
               VQ_ECORRUPT, "meta: %u sub-quantizers for %u dimensions", m->m, m->d_code);
    VQ_REQUIRE(m->codec->grain == 0 || (m->d_code % m->codec->grain == 0 && m->m >= 6 &&
                                        m->m % 2 == 0 && m->m <= 2 * VQ_MAX(m->d, m->d_code) + 64),
               VQ_ECORRUPT, "meta: codes of %u bytes for %u dimensions", m->m, m->d_code);
    VQ_REQUIRE(m->codec->codewords != 16 || m->m % 2 == 0, VQ_ECORRUPT,
               "meta: %u sub-quantizers of 4 bits, which go by two", m->m);
    VQ_REQUIRE(m->transform_kind == VQ_TRANSFORM_DENSE || m->d_code >= m->d, VQ_ECORRUPT,
               "meta: %u of %u dimensions coded without a matrix", m->d_code, m->d);
    bool mapped =
        m->metric != VQ_METRIC_L2 || (m->format >= VQ_FORMAT_ROUNDED && vq_model_may_round(m));
    VQ_REQUIRE(!m->query_map || (m->transform_kind == VQ_TRANSFORM_DENSE && mapped), VQ_ECORRUPT,
               "meta: a query map where there can be none");
    VQ_REQUIRE(m->input != VQ_ELEM_NONE && m->metric >= 1 && m->store >= 1, VQ_ECORRUPT,
               "meta: an impossible type or metric");
out:
    return rc;
}

static vq_status read_arrays(vq_model *m, const vq_snapshot *s, const vq_model *known,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model_array arrays[VQ_MODEL_ARRAYS], before[VQ_MODEL_ARRAYS];
    vq_model old = known != NULL ? *known : *m;
    size_t count = vq_model_arrays(m, arrays), had = vq_model_arrays(&old, before);
    for (size_t i = 0; i < count; i++) {
        const vq_model_array *a = &arrays[i];
        const uint8_t *value;
        size_t len;
        rc = vq_snapshot_get(s, VQ_DB_MODEL, a->name, strlen(a->name), &value, &len, err);
        VQ_REQUIRE(rc != VQ_ENOENT, VQ_ECORRUPT, "model: no %s", a->name);
        if (rc != VQ_OK) goto out;
        VQ_TRY(vq_array_parse(value, len, a->name, a->rows, a->cols, a->place, err));
        VQ_REQUIRE(len == vq_array_size(a->rows, a->cols, s->pages.size / 2), VQ_ECORRUPT,
                   "model: %s: %zu bytes", a->name, len);
        bool same = known != NULL && i < had && *before[i].place == *a->place;
        if (!same) VQ_TRY(vq_record_verify(value, len, a->name, err));
    }
out:
    return rc;
}

/* What tuning has left: any number of settings, or nothing.  What this version writes counts before
 * what older ones did. */
static vq_status read_tune(vq_model *m, const vq_snapshot *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    const char *key = VQ_TUNE_KEY;
    size_t len, cols = VQ_TUNE_COLS;
    const uint8_t *value;
    rc = vq_snapshot_get(s, VQ_DB_MODEL, key, strlen(key), &value, &len, err);
    if (rc == VQ_ENOENT) {
        key = VQ_TUNE_OLD_KEY, cols = VQ_TUNE_OLD_COLS;
        rc = vq_snapshot_get(s, VQ_DB_MODEL, key, strlen(key), &value, &len, err);
    }
    if (rc == VQ_ENOENT) return VQ_OK;
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_record_verify(value, len, key, err));
    VQ_TRY(vq_relation_parse(value, len, cols, &m->tune, err));
out:
    return rc;
}

/* What judged queries have taught, or nothing. */
static vq_status read_relevance(vq_model *m, const vq_snapshot *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    const uint8_t *value;
    size_t len;
    rc = vq_snapshot_get(s, VQ_DB_MODEL, VQ_RELEVANCE_KEY, strlen(VQ_RELEVANCE_KEY), &value, &len,
                         err);
    if (rc == VQ_ENOENT) return VQ_OK;
    if (rc != VQ_OK) goto out;
    VQ_TRY(vq_record_verify(value, len, VQ_RELEVANCE_KEY, err));
    VQ_TRY(vq_relevance_parse(value, len, &m->relevance, err));
out:
    return rc;
}

static vq_status write_array(vq_store *st, const char *key, const float *x, size_t rows,
                             size_t cols, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t min = vq_store_value_min(st), size = vq_array_size(rows, cols, min);
    uint8_t *room;
    VQ_TRY(vq_store_put(st, VQ_DB_MODEL, key, strlen(key), size, &room, err));
    vq_array_write(room, x, rows, cols, min);
out:
    return rc;
}

vq_status vq_model_write(const vq_model *m, vq_store *st, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_model copy = *m;
    vq_model_array arrays[VQ_MODEL_ARRAYS];
    size_t count = vq_model_arrays(&copy, arrays);
    for (size_t i = 0; i < count; i++) {
        const vq_model_array *a = &arrays[i];
        VQ_TRY(write_array(st, a->name, *a->place, (size_t)a->rows, (size_t)a->cols, err));
    }
out:
    return rc;
}

vq_status vq_relevance_write(const float *row, vq_store *st, vq_error *err)
{
    return write_array(st, VQ_RELEVANCE_KEY, row, 1, VQ_RELEVANCE_COLS, err);
}

vq_status vq_tune_write(const vq_relation *r, vq_store *st, vq_error *err)
{
    const char *key = r->cols == VQ_TUNE_COLS ? VQ_TUNE_KEY : VQ_TUNE_OLD_KEY;
    return write_array(st, key, r->rows, r->n, r->cols, err);
}

/* A wider bar reaches as far, at least. */
static vq_status check_bars(const vq_model *m, vq_error *err)
{
    vq_status rc = VQ_OK;
    for (size_t i = 0; i < 2 * VQ_BAR_WIDTHS; i++) {
        float least = i % VQ_BAR_WIDTHS > 0 ? m->bars[i - 1] : 0.0f;
        VQ_REQUIRE(isfinite(m->bars[i]) && m->bars[i] >= least, VQ_ECORRUPT,
                   "model: number %zu of the error bars is %g; expected %g or more", i,
                   (double)m->bars[i], (double)least);
    }
out:
    return rc;
}

vq_status vq_model_read(vq_model *m, const vq_snapshot *s, const vq_model *known, vq_error *err)
{
    vq_status rc = VQ_OK;
    char text[sizeof m->why];
    uint64_t version = 0;
    memset(m, 0, sizeof *m);
    VQ_TRY(get_text(s, "format", text, sizeof text, err));
    VQ_REQUIRE(read_number(text, UINT32_MAX, &version) == VQ_OK && version >= 1, VQ_ECORRUPT,
               "meta: format is \"%.40s\"", text);
    VQ_REQUIRE(version <= VQ_FORMAT_VERSION, VQ_EVERSION,
               "written in format %" PRIu64 ", this is vq for formats up to %u; use a newer vq",
               version, VQ_FORMAT_VERSION);
    for (size_t i = 0; i < VQ_COUNT(fields); i++) {
        bool absent = fields[i].kind == FIELD_COUNT || fields[i].kind == FIELD_MEAN;
        if (absent && !has_text(s, fields[i].key)) continue;
        VQ_TRY(get_text(s, fields[i].key, text, VQ_MIN(sizeof text, (size_t)1000), err));
        VQ_TRY(read_field(m, &fields[i], text, err));
    }
    VQ_TRY(check_values(m, err));
    VQ_TRY(read_arrays(m, s, known, err));
    if (m->nbars > 0) VQ_TRY(check_bars(m, err));
    if (m->ngroups > 0) VQ_TRY(vq_grouping_check(m, err));
    if (m->codec->check != NULL) VQ_TRY(m->codec->check(m->d_code, m->m, m->params, err));
    VQ_TRY(read_tune(m, s, err));
    VQ_TRY(read_relevance(m, s, err));
    vq_model_derive(m, s->pages.size / 2);
    VQ_REQUIRE(m->row_chunk == 0 || (m->format >= VQ_FORMAT_DOCUMENTS && m->shape.row_bytes != 0 &&
                                     m->row_chunk <= vq_chunk_capacity(&m->shape)),
               VQ_ECORRUPT, "meta: chunks of %" PRIu64 " rows", m->row_chunk);
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", vq_file_path(s->file));
}
