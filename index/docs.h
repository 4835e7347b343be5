/* SPDX-License-Identifier: Apache-2.0 */
/* docs.h -- what vectors carry beside their coordinates: tags, a time, a payload.  Records by
 * label, which a vector keeps wherever it moves; and by slot, for filters.        (FORMAT.md 10)
 *
 * Document: value in `documents` under key be64 label.
 *   offset  size      field
 *        0  8         xxh3
 *        8  8         time     i64, or VQ_NO_TIME
 *       16  4         count    tags
 *       20  4         bytes    of the payload, unpacked
 *       24  4*count   tags     u32 numbers, rising
 *        .  .         payload  as it is if it is so long, else a zstd frame; with the dictionary
 *                              under key 00, if there is one (xxh3, then its bytes)
 *
 * Tag: value in `tags` under its text:  xxh3 | u32 number | u32 zero | u64 vectors that have it;
 * and under 00 be32 number:  xxh3 | text.
 *
 * Bitmap: value in `tagged` under be32 tag | be32 list:  xxh3 | Roaring bitmap of slots.
 *
 * Times: value in `times` under be32 list | be32 chunk, as in `lists`; not there if no vector of
 * the chunk has a time.
 *   offset  size      field
 *        0  8         xxh3
 *        8  4         n         slots, up to the last that has a time
 *       12  4         list
 *       16  4         chunk
 *       20  4         zero
 *       24  8         least     of the times
 *       32  8         greatest
 *       40  8         zero
 *       48  8*n       times     i64, VQ_NO_TIME where there is none
 */
#ifndef VQ_INDEX_DOCS_H
#define VQ_INDEX_DOCS_H

#include "index/file.h"
#include "src/base/pack.h"

#define VQ_DOC_HEADER   24u
#define VQ_TIMES_HEADER 48u
#define VQ_TAG_VALUE    24u
#define VQ_DICTIONARY   "" /* its key: the terminating zero */

typedef struct vq_doc { /* views into a record */
    int64_t time;
    uint32_t ntags;
    const uint8_t *tags;    /* ntags x le32 */
    const uint8_t *payload; /* packed bytes, or as many as it has */
    size_t packed, bytes;
} vq_doc;
#define VQ_DOC_NONE ((vq_doc){.time = VQ_NO_TIME})

static inline bool vq_doc_empty(const vq_doc *d)
{
    return d->time == VQ_NO_TIME && d->ntags == 0 && d->bytes == 0;
}

typedef struct vq_times { /* of a chunk */
    uint32_t n;
    int64_t least, greatest;
    const uint8_t *at; /* n x le64 */
} vq_times;

/* Pure.  The checksums are the caller's to verify. */
vq_status vq_doc_parse(const uint8_t *value, size_t len, vq_doc *out, vq_error *err);
vq_status vq_times_parse(const uint8_t *value, size_t len, uint32_t capacity, uint32_t list,
                         uint32_t chunk, vq_times *out, vq_error *err);
vq_status vq_tag_parse(const uint8_t *value, size_t len, uint32_t *number, uint64_t *vectors,
                       vq_error *err);
size_t vq_tag_key(uint8_t key[5], uint32_t number); /* of its text; returns 5 */

/* ---- in a snapshot ---- */

bool vq_docs_any(const vq_snapshot *s); /* are there records? else no vector has attributes */
/* How many have. */
vq_status vq_docs_count(const vq_snapshot *s, uint64_t *n, vq_error *err);
/* After all ids have been asked: VQ_ECORRUPT unless n of them had a document.  No checksum covers
 * the keys of documents, and what no id finds would be lost. */
vq_status vq_docs_all_found(const vq_snapshot *s, uint64_t n, vq_error *err);
vq_status vq_docs_walk_tags(const vq_snapshot *s, vq_tag_fn fn, void *ctx, vq_error *err);
/* How many tags have been given numbers, from 0. */
uint32_t vq_docs_tags(const vq_snapshot *s);
/* The document of a label, VQ_DOC_NONE if it has none. */
vq_status vq_doc_find(const vq_snapshot *s, uint64_t label, vq_doc *out, vq_error *err);
/* VQ_ENOENT without a text: no vector has ever had that tag. */
vq_status vq_tag_find(const vq_snapshot *s, const char *text, size_t len, uint32_t *number,
                      uint64_t *vectors, vq_error *err);
/* Not ended with a zero. */
vq_status vq_tag_text(const vq_snapshot *s, uint32_t number, const char **text, size_t *len,
                      vq_error *err);
/* With the dictionary of the snapshot, if it has one; *has says so, unless has is NULL. */
vq_status vq_docs_packer(const vq_snapshot *s, vq_packer **out, bool *has, vq_error *err);
/* The payload of a document into out (d->bytes). */
vq_status vq_doc_unpack(vq_packer *p, const vq_doc *d, void *out, vq_error *err);

/* A document as users see it; lives until the next one is read into the same room. */
typedef struct vq_doc_room vq_doc_room;
struct vq_doc_room {
    vq_packer *packer;
    const char **tags;
    char *text; /* of the tags, each with its zero */
    uint8_t *payload;
};
vq_status vq_doc_read(vq_doc_room *room, const vq_snapshot *s, uint64_t label, vq_document *out,
                      vq_error *err);
void vq_doc_room_fini(vq_doc_room *room); /* before its snapshot ends; leaves it empty */

#endif
