/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and arrays: written, read back, and refused where a value cannot be. */
#include "index/model.h"

#include "src/base/bytes.h"
#include "tests/index/fixture.h"

enum { D = 6, NLIST = 3 };

/* A model that is sound, over the caller's arrays (large enough for all). */
static const float nothing[64] VQ_ALIGNED(64); /* params of codes without a bit */

static vq_model sample_model(const vq_codec *codec, uint32_t kind, const float *floats)
{
    vq_model m = {.n = 100,
                  .seed = 12345678901234567890u,
                  .format = VQ_FORMAT_COPIES,
                  .metric = VQ_METRIC_COSINE,
                  .d = D,
                  .d_code = codec->codewords != 0 ? 8 : vq_coded_dims(codec, D, 0),
                  .nlist = NLIST,
                  .m = codec->codewords != 0 ? 4
                       : codec->grain != 0   ? 10
                                             : 0,
                  .store = VQ_F16,
                  .input = VQ_F32,
                  .train = VQ_TRAIN_KMEANS,
                  .rotation = VQ_ROTATION_PCA,
                  .transform_kind = kind,
                  .string_ids = 1,
                  .nprobe = 2,
                  .rerank = 77,
                  .store_scale = 1.0f / 3.0f,
                  .codec = codec,
                  .why = "one\ntwo \xc3\xa9",
                  .options = ""};
    m.mean = floats;
    m.matrix = kind == VQ_TRANSFORM_DENSE ? floats + 100 : NULL;
    m.centroids = floats + 200;
    m.biases = floats + 300;
    m.params = codec->grain != 0 ? nothing : floats + 400;
    vq_model_derive(&m, 2048);
    return m;
}

static float *floats_new(void)
{
    enum { ROOM = 16384 };
    float *x = vq_alloc_f32(1, ROOM);
    for (size_t i = 0; i < ROOM; i++) x[i] = (float)i * 0.5f;
    return x;
}

/* Text of `meta` under a key, in a store. */
static void put_text(vq_store *st, const char *key, const char *text, bool sealed)
{
    uint8_t *room;
    size_t len = 8 + strlen(text);
    OK(vq_store_put(st, VQ_DB_META, key, strlen(key), len, &room, &err));
    memcpy(room + 8, text, len - 8);
    vq_record_seal(room, len);
    if (!sealed) room[0] ^= 1;
}

/* Writes m, then overwrites one text (key may be NULL). */
static void write_model(const char *path, const vq_model *m, const char *key, const char *text,
                        bool sealed)
{
    vq_store *st;
    OK(vq_store_create(&st, path, true, &err));
    OK(vq_model_write(m, st, &err));
    OK(vq_meta_write(m, st, &err));
    if (key != NULL) put_text(st, key, text, sealed);
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
}

/* What reading ends with; *m points into pages that are gone unless check looked at it. */
static vq_status read_model(const char *path, void (*check)(const vq_model *got, const vq_model *m),
                            const vq_model *want)
{
    vq_file *f;
    vq_snapshot s;
    vq_model got;
    OK(vq_file_open(&f, path, &err));
    OK(vq_snapshot_begin(&s, f, &err));
    err.text[0] = '\0';
    vq_status rc = vq_model_read(&got, &s, NULL, &err);
    if (rc == VQ_OK && check != NULL) check(&got, want);
    if (rc != VQ_OK) cr_assert(strstr(err.text, path) != NULL, "no path: %s", err.text);
    vq_snapshot_end(&s);
    vq_file_close(f);
    return rc;
}

static void same_model(const vq_model *got, const vq_model *m)
{
    cr_assert(got->n == m->n && got->seed == m->seed && got->format == m->format);
    cr_assert(got->metric == m->metric && got->d == m->d && got->d_code == m->d_code);
    cr_assert(got->nlist == m->nlist && got->m == m->m && got->store == m->store);
    cr_assert(got->input == m->input && got->rotation == m->rotation);
    cr_assert(got->transform_kind == m->transform_kind && got->string_ids == m->string_ids);
    cr_assert(got->nprobe == m->nprobe && got->rerank == m->rerank && got->codec == m->codec);
    cr_assert(got->store_scale == m->store_scale, "%.9g", (double)got->store_scale);
    cr_assert_str_eq(got->why, m->why);
    cr_assert_str_eq(got->options, m->options);
    vq_model a = *got, b = *m;
    vq_model_array as[VQ_MODEL_ARRAYS], bs[VQ_MODEL_ARRAYS];
    size_t count = vq_model_arrays(&a, as);
    cr_assert_eq(count, vq_model_arrays(&b, bs));
    for (size_t i = 0; i < count; i++) {
        cr_assert(as[i].rows == bs[i].rows && as[i].cols == bs[i].cols);
        cr_assert((uintptr_t)*as[i].place % 64 == 0, "%s is not aligned", as[i].name);
        cr_assert(memcmp(*as[i].place, *bs[i].place, as[i].rows * as[i].cols * 4) == 0, "%s",
                  as[i].name);
    }
    cr_assert(got->shape.code_bytes == m->shape.code_bytes);
    cr_assert(got->shape.row_bytes == 2 * D && !got->shape.factors);
    cr_assert(got->code.params == got->params && got->transform.d_out == m->d_code);
}

Test(model, written_and_read)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    float *x = floats_new();
    for (size_t i = 0; i < vq_codec_count; i++)
        for (uint32_t kind = VQ_TRANSFORM_IDENTITY; kind <= VQ_TRANSFORM_HADAMARD; kind++) {
            vq_model m = sample_model(vq_codecs[i], kind, x);
            write_model(path, &m, NULL, NULL, true);
            OK(read_model(path, same_model, &m));
        }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(model, values_that_cannot_be)
{
    static const struct {
        vq_status rc;
        const char *key, *text, *says;
    } cases[] = {
        {VQ_EVERSION, "format", "6", "newer"},
        {VQ_EVERSION, "format", "4294967295", "newer"},
        {VQ_ECORRUPT, "format", "0", "format"},
        {VQ_ECORRUPT, "format", "1x", "format"},
        {VQ_ECORRUPT, "format", "", "format"},
        {VQ_EUNSUPPORTED, "codec", "pq9", "pq9"},
        {VQ_ECORRUPT, "bars", "7", "error bars"},        /* a codec that has none */
        {VQ_ECORRUPT, "copies", "4000000000", "copies"}, /* more than vectors */
        {VQ_ECORRUPT, "copies", "-1", "copies"},
        {VQ_ECORRUPT, "d", "0", ""},
        {VQ_ECORRUPT, "d", "65537", ""},
        {VQ_ECORRUPT, "d", "-6", ""},
        {VQ_ECORRUPT, "d", "99999999999999999999", ""},
        {VQ_ECORRUPT, "d", "7", ""}, /* not the shape of the mean */
        {VQ_ECORRUPT, "d_code", "0", ""},
        {VQ_ECORRUPT, "d_code", "9", ""},
        {VQ_ECORRUPT, "d_code", "4294967296", ""},
        {VQ_ECORRUPT, "gain", "bf800000", "gain"}, /* -1 */
        {VQ_ECORRUPT, "gain", "7fc00000", "gain"}, /* not a number */
        {VQ_ECORRUPT, "gain", "1.5", "gain"},
        {VQ_ECORRUPT, "labels", "100", "labels"}, /* of a later format */
        {VQ_ECORRUPT, "m", "0", ""},
        {VQ_ECORRUPT, "m", "3", ""},
        {VQ_ECORRUPT, "m", "512", ""},
        {VQ_ECORRUPT, "n", "0", ""},
        {VQ_ECORRUPT, "n", "2", ""}, /* fewer than lists */
        {VQ_ECORRUPT, "nlist", "0", ""},
        {VQ_ECORRUPT, "nlist", "4", ""},
        {VQ_ECORRUPT, "nlist", "4000000000", ""},
        {VQ_ECORRUPT, "store_scale", "0", ""},
        {VQ_ECORRUPT, "store_scale", "-1", ""},
        {VQ_ECORRUPT, "store_scale", "inf", ""},
        {VQ_ECORRUPT, "store_scale", "1 ", ""},
        {VQ_ECORRUPT, "store_scale", "", ""},
        {VQ_ECORRUPT, "transform", "dense", "matrix"},
    };
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    float *x = floats_new();
    vq_model m = sample_model(&vq_codec_pq8, VQ_TRANSFORM_IDENTITY, x);
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        write_model(path, &m, cases[i].key, cases[i].text, true);
        FAILS(cases[i].rc, read_model(path, NULL, &m));
        cr_assert(strstr(err.text, cases[i].says) != NULL, "%s", err.text);
    }
    write_model(path, &m, "gain", "3fc00000", true);
    OK(read_model(path, NULL, &m));
    write_model(path, &m, "metric", "l2", true);
    OK(read_model(path, NULL, &m));
    m.gain = 1.5f;
    write_model(path, &m, "metric", "l2", true);
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    cr_assert(strstr(err.text, "which have none") != NULL, "%s", err.text);
    m.gain = 0.0f;
    m.format = VQ_FORMAT_CHANGED;
    write_model(path, &m, "n", "2", true);
    OK(read_model(path, NULL, &m));
    write_model(path, &m, "labels", "100", true);
    OK(read_model(path, NULL, &m));
    write_model(path, &m, "labels", "99", true);
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    m.format = VQ_FORMAT_COPIES;
    static const char *const names[] = {"metric", "store", "input", "ids", "rotation", "transform"};
    for (size_t i = 0; i < VQ_COUNT(names); i++) { /* words from the future, and none */
        write_model(path, &m, names[i], "marble", true);
        cr_assert_neq(read_model(path, NULL, &m), VQ_OK, "%s", names[i]);
        write_model(path, &m, names[i], "", true);
        cr_assert_neq(read_model(path, NULL, &m), VQ_OK, "%s", names[i]);
    }
    write_model(path, &m, "n", "100", false);
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    cr_assert(strstr(err.text, "checksum") != NULL);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Error bars rise with their widths, are numbers, and come with their array. */
Test(model, error_bars)
{
    enum { BARS = 2 * VQ_BAR_WIDTHS };
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    float *x = floats_new(), bars[BARS];
    vq_model m = sample_model(&vq_codec_saq, VQ_TRANSFORM_DENSE, x);
    const struct {
        size_t at;
        float value;
    } wrong[] = {{0, -1.0f}, {3, NAN}, {BARS - 1, INFINITY}, {2, 0.0f}};
    for (size_t i = 0; i < BARS; i++) bars[i] = 1.0f + (float)(i % VQ_BAR_WIDTHS);
    m.bars = bars, m.nbars = VQ_BAR_WIDTHS;
    write_model(path, &m, NULL, NULL, true);
    OK(read_model(path, NULL, &m));
    write_model(path, &m, "bars", "6", true);
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    write_model(path, &m, "routes", "3", true); /* of codes that learn */
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    for (size_t i = 0; i < VQ_COUNT(wrong); i++) {
        float right = bars[wrong[i].at];
        bars[wrong[i].at] = wrong[i].value;
        write_model(path, &m, NULL, NULL, true);
        FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
        cr_assert(strstr(err.text, "error bars") != NULL, "%s", err.text);
        bars[wrong[i].at] = right;
    }
    m.nbars = 0;
    write_model(path, &m, "bars", "7", true); /* and no array */
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

/* Queries of l2 have a matrix only where products say all, and readers are told. */
Test(model, a_matrix_for_queries_of_l2)
{
    enum { WIDE = 16 };
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    float *x = floats_new();
    for (int wrong = 0; wrong < 5; wrong++) {
        vq_model m =
            sample_model(wrong == 1 ? &vq_codec_sq8 : &vq_codec_saq, VQ_TRANSFORM_DENSE, x);
        m.metric = VQ_METRIC_L2, m.query_map = 1, m.query_matrix = x + 4000;
        m.format = wrong == 2 ? VQ_FORMAT_DOCUMENTS : VQ_FORMAT_ROUNDED;
        m.d = wrong == 3 ? D : WIDE, m.d_code = WIDE;
        m.centroids = x + 2000, m.biases = x + 3000;
        if (wrong == 4) m.ngroups = 2, m.groups = x + 5000;
        vq_model_derive(&m, 2048);
        write_model(path, &m, NULL, NULL, true);
        if (wrong == 0) {
            OK(read_model(path, NULL, &m));
            continue;
        }
        FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
        cr_assert(strstr(err.text, "query map") != NULL, "%d: %s", wrong, err.text);
    }
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(model, four_bit_codes_go_by_two)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    float *x = floats_new();
    vq_model m = sample_model(&vq_codec_pq4, VQ_TRANSFORM_IDENTITY, x);
    m.m = 1; /* half a byte a code */
    vq_model_derive(&m, 2048);
    write_model(path, &m, NULL, NULL, true);
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    cr_assert(strstr(err.text, "go by two") != NULL);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(model, something_is_missing)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x");
    float *x = floats_new();
    vq_model m = sample_model(&vq_codec_sq8, VQ_TRANSFORM_IDENTITY, x);
    vq_store *st;
    OK(vq_store_create(&st, path, true, &err)); /* as a build that was cut short leaves it */
    OK(vq_model_write(&m, st, &err));
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    cr_assert(strstr(err.text, "not a vq index") != NULL);
    OK(vq_store_create(&st, path, true, &err));
    OK(vq_meta_write(&m, st, &err));
    OK(vq_store_finish(st, &err));
    vq_store_free(st);
    FAILS(VQ_ECORRUPT, read_model(path, NULL, &m));
    cr_assert(strstr(err.text, "model: no") != NULL);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}
