/* SPDX-License-Identifier: Apache-2.0 */
/* check.c -- verifying a file: its pages, then every record by checksum, then what refers to what.
 * Later steps run only on what earlier ones found sound. */
#include "index/check.h"

#include <inttypes.h>
#include <string.h>

#include "index/pagecheck.h"
#include "index/relevance.h"
#include "src/base/bytes.h"
#include "src/io/ids.h"

typedef struct check {
    vq_shard *shard;
    vq_problems problems;
    uint64_t values, vectors;
    uint64_t copies, copied; /* in chunks; ids that have one */
} check;

/* Checksums, keys and counts of all chunks of `lists`, `copies` or `vectors`. */
static vq_status check_chunks(check *c, vq_db db, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *s = &c->shard->snapshot;
    const vq_model *m = &c->shard->model;
    vq_cursor at;
    uint32_t list = 0, chunk = 0, last_n = 0;
    bool any = false;
    uint32_t full = db == VQ_DB_VECTORS ? c->shard->row_capacity : c->shard->capacity;
    VQ_TRY(vq_cursor_first(&at, &s->pages, &s->db[db], err));
    for (; at.depth > 0; c->values++) {
        vq_error e = {0};
        vq_list_chunk codes = {0};
        vq_row_chunk rows = {0};
        VQ_REQUIRE(at.node.key_len == 8, VQ_ECORRUPT, "%s: a key of %zu bytes", vq_db_names[db],
                   at.node.key_len);
        uint32_t l = vq_be32(at.node.key), ch = vq_be32(at.node.key + 4);
        bool follows = any && l == list && ch == chunk + 1 && last_n == full;
        if (l >= m->nlist || !(follows || (ch == 0 && (!any || l > list))))
            vq_problem(&c->problems, "%s: chunk %u/%u is out of place", vq_db_names[db], l, ch);
        rc = vq_record_verify(at.node.value, at.node.len, vq_db_names[db], &e);
        if (rc == VQ_OK)
            rc = db != VQ_DB_VECTORS
                     ? vq_list_chunk_parse(&m->shape, at.node.value, at.node.len, l, ch, &codes, &e)
                     : vq_row_chunk_parse(&m->shape, at.node.value, at.node.len, l, ch, &rows, &e);
        if (rc != VQ_OK)
            vq_problem(&c->problems, "%s: chunk %u/%u: %s", vq_db_names[db], l, ch, e.text);
        last_n = codes.n + rows.n;
        list = l, chunk = ch, any = true;
        if (db == VQ_DB_LISTS) c->vectors += codes.n;
        if (db == VQ_DB_COPIES) c->copies += codes.n;
        VQ_TRY(vq_cursor_next(&at, err));
    }
out:
    return rc;
}

/* The copy that an id names must be of that vector.  As many such ids as copies, each with another
 * place: every copy has its vector. */
static vq_status check_copy(check *c, const vq_node *node, uint64_t place, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_shard *s = c->shard;
    uint32_t list = vq_le32(node->value + 8), slot = vq_le32(node->value + 12);
    VQ_REQUIRE(list < s->model.nlist && slot < s->lists[list].copies && list != place >> 32,
               VQ_ECORRUPT, "ids: list %u, slot %u is said to have a copy at slot %u of list %u",
               (unsigned)(place >> 32), (unsigned)place, slot, list);
    const vq_list_view *l = &s->lists[list];
    uint64_t of = vq_copy_of(&l->chunks[l->nchunks + slot / s->capacity], slot % s->capacity);
    VQ_REQUIRE(of == place, VQ_ECORRUPT,
               "copies: slot %u of list %u is of list %u, slot %u; ids say of list %u, slot %u",
               slot, list, (unsigned)(of >> 32), (unsigned)of, (unsigned)(place >> 32),
               (unsigned)place);
    c->copied++;
out:
    return rc;
}

/* The id at a cursor: its place must hold its label.  Of a string that is looked at from the other
 * side, by check_name. */
static vq_status check_id(check *c, const vq_node *node, uint64_t rank, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = c->shard;
    VQ_REQUIRE(node->len == 8 || node->len == 16, VQ_ECORRUPT, "ids: a value of %zu bytes",
               node->len);
    uint32_t list = vq_le32(node->value), slot = vq_le32(node->value + 4), at;
    VQ_REQUIRE(list < s->model.nlist && slot < s->lists[list].n, VQ_ECORRUPT,
               "ids: id %" PRIu64 " of the file points to list %u, slot %u", rank, list, slot);
    const vq_chunk_view *v = vq_shard_at(s, (uint64_t)list << 32 | slot, &at);
    uint64_t label = vq_le64(v->labels + 8 * (size_t)at);
    if (!s->model.string_ids) {
        VQ_REQUIRE(node->key_len == 8, VQ_ECORRUPT, "ids: a key of %zu bytes", node->key_len);
        VQ_REQUIRE(label == vq_be64(node->key), VQ_ECORRUPT,
                   "ids: list %u, slot %u has label %" PRIu64 ", expected %" PRIu64, list, slot,
                   label, vq_be64(node->key));
    }
    if (node->len == 16) VQ_TRY(check_copy(c, node, (uint64_t)list << 32 | slot, err));
out:
    return rc;
}

static vq_status check_ids(check *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_snapshot *snap = &c->shard->snapshot;
    vq_cursor at;
    VQ_TRY(vq_cursor_first(&at, &snap->pages, &snap->db[VQ_DB_IDS], err));
    for (uint64_t rank = 0; at.depth > 0; rank++, c->values++) {
        VQ_TRY(check_id(c, &at.node, rank, err));
        VQ_TRY(vq_cursor_next(&at, err));
    }
    VQ_REQUIRE(c->copied == c->copies, VQ_ECORRUPT,
               "ids: %" PRIu64 " have a copy, of which there are %" PRIu64, c->copied, c->copies);
    if (c->shard->model.string_ids) VQ_TRY(vq_shard_check_names(c->shard, &c->values, err));
out:
    return rc;
}

/* One that an index may have or not, whether a reader of this version uses it or not. */
static bool has_array(check *c, const char *key)
{
    vq_error err = {0};
    const uint8_t *value;
    size_t len;
    const vq_snapshot *s = &c->shard->snapshot;
    if (vq_snapshot_get(s, VQ_DB_MODEL, key, strlen(key), &value, &len, NULL) != VQ_OK)
        return false;
    if (vq_record_verify(value, len, key, &err) != VQ_OK) vq_problem(&c->problems, "%s", err.text);
    return true;
}

static void check_counts(check *c)
{
    const vq_snapshot *s = &c->shard->snapshot;
    vq_model *m = &c->shard->model;
    vq_model_array arrays[VQ_MODEL_ARRAYS];
    uint64_t want[VQ_DB_COUNT] = {0};
    want[VQ_DB_META] = vq_meta_fields(m);
    want[VQ_DB_MODEL] = vq_model_arrays(m, arrays) + has_array(c, VQ_TUNE_KEY) +
                        has_array(c, VQ_TUNE_OLD_KEY) + has_array(c, VQ_RELEVANCE_KEY);
    want[VQ_DB_LISTS] = s->db[VQ_DB_LISTS].entries;
    /* As many as codes; where their chunks are others check_rows counts them. */
    want[VQ_DB_VECTORS] = m->store != VQ_ELEM_NONE ? want[VQ_DB_LISTS] : 0;
    if (m->store != VQ_ELEM_NONE && c->shard->row_capacity != c->shard->capacity)
        want[VQ_DB_VECTORS] = s->db[VQ_DB_VECTORS].entries;
    want[VQ_DB_IDS] = m->n;
    want[VQ_DB_COPIES] = m->copies > 0 ? s->db[VQ_DB_COPIES].entries : 0;
    if (m->string_ids) want[VQ_DB_NAMES] = (m->n + VQ_NAMES_PER_BLOCK - 1) / VQ_NAMES_PER_BLOCK;
    if (m->labels != 0) want[VQ_DB_NAMES] = s->db[VQ_DB_NAMES].entries; /* counted name by name */
    c->values += want[VQ_DB_META] + want[VQ_DB_MODEL];
    for (vq_db db = 0; db < VQ_DB_DOCUMENTS; db++) {
        uint64_t entries = s->db[db].root != VQ_NO_PAGE ? s->db[db].entries : 0;
        if (entries != want[db])
            vq_problem(&c->problems, "%s: %" PRIu64 " entries, expected %" PRIu64, vq_db_names[db],
                       entries, want[db]);
    }
    int databases = VQ_DB_COPIES + (m->copies > 0);
    vq_tree none; /* the last copy may have been deleted, or what was there of attributes */
    if (m->copies == 0 && m->format >= VQ_FORMAT_CHANGED)
        databases += vq_tree_open(&s->pages, vq_db_names[VQ_DB_COPIES], &none, NULL) == VQ_OK;
    for (vq_db db = VQ_DB_DOCUMENTS; m->format >= VQ_FORMAT_DOCUMENTS && db < VQ_DB_COUNT; db++)
        databases += vq_tree_open(&s->pages, vq_db_names[db], &none, NULL) == VQ_OK;
    if (s->pages.main.entries != (uint64_t)databases)
        vq_problem(&c->problems, "%" PRIu64 " databases, expected %d", s->pages.main.entries,
                   databases);
    if (c->copies != m->copies)
        vq_problem(&c->problems, "%" PRIu64 " copies in the lists, expected %" PRIu64, c->copies,
                   m->copies);
    if (c->vectors != m->n)
        vq_problem(&c->problems, "%" PRIu64 " vectors in the lists, expected %" PRIu64, c->vectors,
                   m->n);
}

/* As many rows as codes, list by list; loads the lists. */
static vq_status check_rows(vq_shard *s, vq_error *err)
{
    vq_status rc = VQ_OK;
    uint64_t chunks = 0;
    bool rows = s->model.shape.row_bytes != 0;
    for (uint32_t l = 0; l < s->model.nlist; l++) {
        VQ_TRY(vq_shard_load(s, l, err));
        for (uint64_t slot = 0; rows && slot < s->lists[l].n; slot += s->row_capacity, chunks++) {
            const uint8_t *row;
            VQ_TRY(vq_shard_row(s, (uint64_t)l << 32 | slot, &row, err));
        }
    }
    VQ_REQUIRE(!rows || chunks == s->snapshot.db[VQ_DB_VECTORS].entries ||
                   s->snapshot.db[VQ_DB_VECTORS].root == VQ_NO_PAGE,
               VQ_ECORRUPT, "vectors: %" PRIu64 " entries, expected %" PRIu64,
               s->snapshot.db[VQ_DB_VECTORS].entries, chunks);
out:
    return rc;
}

static vq_status check_content(check *c, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_shard *s = c->shard;
    VQ_TRY(check_chunks(c, VQ_DB_LISTS, err));
    VQ_TRY(check_chunks(c, VQ_DB_VECTORS, err));
    VQ_TRY(check_chunks(c, VQ_DB_COPIES, err));
    check_counts(c);
    if (c->problems.count > 0) goto out;
    VQ_TRY(check_rows(s, err));
    VQ_TRY(check_ids(c, err));
    VQ_TRY(vq_check_docs(s, &c->values, err));
out:
    return rc;
}

/* Damage is what we look for; anything else ends the check.  Problems do not name the file. */
static vq_status count_damage(check *c, const char *path, vq_status rc, const vq_error *e,
                              vq_error *err)
{
    size_t len = strlen(path);
    const char *text = e->text;
    if (rc == VQ_OK) return rc;
    if (rc != VQ_ECORRUPT && rc != VQ_ENOENT && rc != VQ_EUNSUPPORTED)
        return vq_fail(err, rc, "%s", e->text);
    if (strncmp(text, path, len) == 0 && strncmp(text + len, ": ", 2) == 0) text += len + 2;
    vq_problem(&c->problems, "%s", text[0] != '\0' ? text : "something is missing");
    return VQ_OK;
}

vq_status vq_check_file(const char *path, vq_problem_fn fn, void *ctx, vq_check_report *report,
                        vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_error e = {0};
    vq_file *file = NULL;
    vq_snapshot pages = {0};
    vq_shard shard = {0};
    check c = {.shard = &shard, .problems = {.fn = fn, .ctx = ctx}};
    rc = vq_file_open(&file, path, &e);
    if (rc == VQ_ENOENT) {
        rc = vq_fail(err, rc, "%s", e.text);
        goto out;
    }
    if (rc == VQ_OK) rc = vq_snapshot_begin(&pages, file, &e);
    if (rc == VQ_OK) rc = vq_pages_verify(&pages.pages, &c.problems, &report->pages, &e);
    if (rc == VQ_OK && c.problems.count == 0) rc = vq_shard_open(&shard, file, &e);
    if (rc == VQ_OK && shard.snapshot.pages.txn != pages.pages.txn) /* a writer was faster */
        rc = vq_pages_verify(&shard.snapshot.pages, &c.problems, &report->pages, &e);
    if (rc == VQ_OK && c.problems.count == 0) rc = check_content(&c, &e);
    rc = count_damage(&c, path, rc, &e, err);
    report->values = c.values;
    report->vectors = c.vectors;
    report->problems = c.problems.count;
out:
    vq_shard_close(&shard);
    vq_snapshot_end(&pages);
    vq_file_close(file);
    return rc;
}
