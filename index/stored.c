/* SPDX-License-Identifier: Apache-2.0 */
/* stored.c -- see stored.h.  A walk over `ids`, whose keys rise, gives the place of each row; ids
 * are copied when the source is opened, since a build wants all of them before the first row. */
#include "index/stored.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "index/searcher.h"
#include "src/base/bytes.h"
#include "src/io/ids.h"

typedef struct stored {
    vq_shard shard;
    char *path; /* the index's name, absolute; NULL: of a file alone */
    const vq_kernels *k;
    vq_cursor next;     /* in `ids`: the row to read */
    uint64_t *numbers;  /* n; NULL: strings, or 0, 1, 2.. */
    char *text;         /* the strings, each with its zero */
    const char **names; /* n, into text; or NULL */
} stored;

static bool is_key(const vq_model *m, const vq_node *node)
{
    if (!m->string_ids) return node->key_len == sizeof(uint64_t);
    return node->key_len >= 1 && node->key_len <= VQ_ID_MAX &&
           memchr(node->key, 0, node->key_len) == NULL;
}

/* Counts the ids, which must be as many as the vectors, and the bytes of their strings. */
static vq_status count_ids(const stored *s, size_t *bytes, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *sn = &s->shard.snapshot;
    const vq_model *m = &s->shard.model;
    uint64_t n = 0;
    vq_cursor c;
    *bytes = 0;
    VQ_TRY(vq_cursor_first(&c, &sn->pages, &sn->db[VQ_DB_IDS], err));
    for (; c.depth > 0; n++) {
        VQ_REQUIRE(n < m->n && is_key(m, &c.node), VQ_ECORRUPT, "ids: key %" PRIu64 " of %zu bytes",
                   n, c.node.key_len);
        *bytes += c.node.key_len + 1;
        VQ_TRY(vq_cursor_next(&c, err));
    }
    VQ_REQUIRE(n == m->n, VQ_ECORRUPT, "ids: %" PRIu64 " for %" PRIu64 " vectors", n, m->n);
out:
    return rc;
}

static vq_status load_ids(stored *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *sn = &s->shard.snapshot;
    size_t n = (size_t)s->shard.model.n, bytes, at = 0;
    bool strings = s->shard.model.string_ids != 0, counted = !strings;
    vq_cursor c;
    VQ_TRY(count_ids(s, &bytes, err));
    if (strings) {
        s->text = vq_mem_alloc(bytes, 1);
        s->names = vq_mem_alloc(n, sizeof *s->names);
    } else {
        s->numbers = vq_mem_alloc(n, sizeof *s->numbers);
    }
    VQ_REQUIRE(strings ? s->text != NULL && s->names != NULL : s->numbers != NULL, VQ_ENOMEM,
               "ids: %zu of them", n);
    VQ_TRY(vq_cursor_first(&c, &sn->pages, &sn->db[VQ_DB_IDS], err));
    for (size_t i = 0; i < n; i++) {
        if (strings) {
            memcpy(s->text + at, c.node.key, c.node.key_len);
            s->names[i] = s->text + at;
            at += c.node.key_len;
            s->text[at++] = '\0';
        } else {
            s->numbers[i] = vq_be64(c.node.key);
            counted = counted && s->numbers[i] == i;
        }
        VQ_TRY(vq_cursor_next(&c, err));
    }
    if (counted) { /* as if none had been given */
        vq_mem_free(s->numbers);
        s->numbers = NULL;
    }
out:
    return rc;
}

/* The row of the entry that the walk has reached, number `label` if ids are strings. */
static vq_status next_row(stored *s, uint64_t label, const uint8_t **row, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_node *node = &s->next.node;
    uint64_t place = 0;
    uint32_t slot;
    VQ_TRY(vq_shard_place(&s->shard, node->value, node->len, &place, err));
    const vq_chunk_view *v = vq_shard_at(&s->shard, place, &slot);
    if (!vq_shard_row_seen(&s->shard, place)) VQ_TRY(vq_shard_row_verify(&s->shard, place, err));
    VQ_TRY(vq_shard_row(&s->shard, place, row, err));
    if (s->names == NULL) label = vq_be64(node->key);
    bool ranks = s->names == NULL || s->shard.model.labels == 0; /* else only vq check can tell */
    VQ_REQUIRE(!ranks || vq_le64(v->labels + 8 * (size_t)slot) == label, VQ_ECORRUPT,
               "ids: slot %u of list %u is another's", slot, (uint32_t)(place >> 32));
out:
    return rc;
}

static vq_status stored_read(vq_source *src, void *rows, size_t max, size_t *got, vq_error *err)
{
    vq_status rc = VQ_OK;
    stored *s = src->impl;
    const vq_model *m = &s->shard.model;
    size_t row_bytes = src->d * vq_elem_size(src->elem), n = 0;
    for (; n < max && s->next.depth > 0; n++) {
        const uint8_t *row;
        void *to = (uint8_t *)rows + n * row_bytes;
        VQ_TRY(next_row(s, src->row + n, &row, err));
        if (m->store == src->elem)
            memcpy(to, row, row_bytes);
        else
            vq_model_widen(m, s->k, row, to);
        VQ_TRY(vq_cursor_next(&s->next, err));
    }
    *got = n;
out:
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", src->name);
}

static vq_status stored_rewind(vq_source *src, vq_error *err)
{
    stored *s = src->impl;
    const vq_snapshot *sn = &s->shard.snapshot;
    return vq_cursor_first(&s->next, &sn->pages, &sn->db[VQ_DB_IDS], err);
}

static void stored_close(vq_source *src)
{
    stored *s = src->impl;
    vq_mem_free(s->numbers);
    vq_mem_free(s->names);
    vq_mem_free(s->text);
    vq_mem_free(s->path);
    vq_shard_close(&s->shard);
    vq_mem_free(s);
}

static const vq_source_ops stored_ops = {stored_read, stored_rewind, stored_close};

vq_status vq_stored_open(vq_source **out, vq_file *f, const char *name, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_source *src = NULL;
    vq_shard shard;
    memset(&shard, 0, sizeof shard);
    VQ_TRY(vq_shard_open(&shard, f, err));
    const vq_model *m = &shard.model;
    VQ_REQUIRE(m->store != VQ_ELEM_NONE, VQ_EUNSUPPORTED,
               "%s: it was built without stored rows (store none); build it anew from its vectors",
               vq_file_path(f));
    VQ_TRY(vq_source_new(&src, vq_file_path(f), "vq", m->d,
                         m->store_scale != 1.0f ? (uint32_t)VQ_F32 : m->store, err));
    src->n = m->n;
    stored *s = vq_mem_calloc(1, sizeof *s);
    VQ_REQUIRE(s != NULL, VQ_ENOMEM, "%s: out of memory", src->name);
    s->shard = shard;
    memset(&shard, 0, sizeof shard); /* the source's now */
    s->k = vq_kernels_get();
    src->impl = s;
    src->ops = &stored_ops;
    if (name != NULL) s->path = vq_mem_strdup(name);
    VQ_REQUIRE(name == NULL || s->path != NULL, VQ_ENOMEM, "%s: out of memory", src->name);
    VQ_TRY(load_ids(s, err));
    VQ_TRY(stored_rewind(src, err));
    *out = src;
    src = NULL;
out:
    vq_source_close(src);
    vq_shard_close(&shard);
    return rc;
}

void vq_stored_defaults(const vq_source *src, vq_build_opts *o)
{
    if (src->ops != &stored_ops) return;
    const stored *s = src->impl;
    const vq_model *m = &s->shard.model;
    if (o->metric == VQ_METRIC_DEFAULT) o->metric = m->metric;
    if (o->store == VQ_ELEM_DEFAULT) o->store = m->store;
    if (o->copies == VQ_COPIES_AUTO && m->copies > 0) o->copies = VQ_COPIES_YES;
    if (o->ids != NULL || o->names != NULL) return;
    o->ids = s->numbers;
    o->names = s->names;
    o->nids = s->numbers != NULL || s->names != NULL ? m->n : 0;
}

float vq_stored_scale(const vq_source *src)
{
    if (src->ops != &stored_ops) return 0.0f;
    const stored *s = src->impl;
    return s->shard.model.store_scale != 1.0f ? s->shard.model.store_scale : 0.0f;
}

bool vq_stored_described(const vq_source *src)
{
    return src->ops == &stored_ops && vq_docs_any(vq_stored_snapshot(src));
}

const vq_snapshot *vq_stored_snapshot(const vq_source *src)
{
    const stored *s = src->impl;
    return &s->shard.snapshot;
}

static vq_status label_of(stored *s, uint64_t row, uint64_t *label, vq_error *err)
{
    *label = s->numbers != NULL ? s->numbers[row] : row;
    if (s->names == NULL) return VQ_OK;
    return vq_shard_find_name(&s->shard, s->names[row], label, err);
}

vq_status vq_stored_document(const vq_source *src, uint64_t row, vq_doc *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    stored *s = src->impl;
    uint64_t label;
    VQ_TRY(label_of(s, row, &label, err));
    VQ_TRY(vq_doc_find(&s->shard.snapshot, label, out, err));
out:
    return rc;
}

vq_status vq_stored_documents_found(const vq_source *src, uint64_t n, vq_error *err)
{
    vq_status rc = vq_docs_all_found(vq_stored_snapshot(src), n, err);
    return rc == VQ_OK ? rc : vq_fail_context(err, rc, "%s", src->name);
}

vq_status vq_stored_attributes(vq_source *src, uint64_t row, vq_document *out, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t label;
    VQ_REQUIRE(src->ops == &stored_ops, VQ_EINVAL,
               "%s: the source is of no index, and has no attributes", src->name);
    stored *s = src->impl;
    VQ_REQUIRE(row < s->shard.model.n, VQ_ENOENT, "%s: there is no row %" PRIu64 " of %" PRIu64,
               src->name, row, s->shard.model.n);
    if (s->shard.docs == NULL) s->shard.docs = vq_mem_calloc(1, sizeof *s->shard.docs);
    VQ_REQUIRE(s->shard.docs != NULL, VQ_ENOMEM, "%s: out of memory", src->name);
    VQ_TRY(label_of(s, row, &label, err));
    VQ_TRY(vq_doc_read(s->shard.docs, &s->shard.snapshot, label, out, err));
out:
    return rc;
}

/* Two names of one file? */
static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

vq_status vq_stored_newest(const vq_source *src, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    if (src->ops != &stored_ops) return VQ_OK;
    const stored *s = src->impl;
    const vq_snapshot *sn = &s->shard.snapshot;
    if (vq_file_named(sn->file, path)) {
        VQ_REQUIRE(vq_file_newest(sn->file) == sn->pages.txn, VQ_EBUSY,
                   "%s: it has been changed since its rows were opened; open them anew", path);
    } else if (s->path != NULL) {
        VQ_REQUIRE(!same_file(s->path, path), VQ_EBUSY,
                   "%s: another file has taken its place since its rows were opened, by a "
                   "compaction or a build; open them anew",
                   path);
    }
out:
    return rc;
}

vq_status vq_stored_ids(const vq_source *src, const uint64_t **ids, const char *const **names,
                        uint64_t *n, vq_error *err)
{
    if (src->ops != &stored_ops)
        return vq_fail(err, VQ_EINVAL, "%s: the source is of no index, and has no ids", src->name);
    const stored *s = src->impl;
    *ids = s->numbers;
    *names = s->names;
    *n = s->shard.model.n;
    return VQ_OK;
}
