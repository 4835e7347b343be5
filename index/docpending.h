/* SPDX-License-Identifier: Apache-2.0 */
/* docpending.h -- attributes that wait for their commit: what a batch sets, as it was given. */
#ifndef VQ_INDEX_DOCPENDING_H
#define VQ_INDEX_DOCPENDING_H

#include "src/base/table.h"

#define VQ_NO_CHANGE UINT32_MAX
enum { VQ_DOC_TAGS = 1, VQ_DOC_TIME = 2, VQ_DOC_PAYLOAD = 4 };

typedef struct vq_doc_change { /* of one id; what kinds do not name stays */
    uint32_t kinds;
    uint32_t ntags;
    size_t tags; /* in tag_of */
    int64_t time;
    size_t payload, bytes; /* in payloads */
} vq_doc_change;

typedef struct vq_pending_docs { /* all zero: nothing */
    vq_doc_change *changes;      /* those that no id names any more are left out of the commit */
    size_t n, room;
    uint32_t *tag_of; /* of the changes: numbers of texts[] */
    size_t ntag_of, tag_of_room;
    size_t *texts; /* each tag once: where it is in text, with its zero */
    size_t ntexts, texts_room;
    char *text;
    size_t text_len, text_room;
    vq_table table; /* hashes of texts */
    uint8_t *payloads;
    size_t payload_len, payload_room;
} vq_pending_docs;

/* Are the arrays there, the tags tags? */
vq_status vq_attributes_check(const vq_attributes *a, vq_error *err);
/* Row i of a (that has been checked), over an earlier change of the id or VQ_NO_CHANGE. */
vq_status vq_pending_docs_add(vq_pending_docs *d, const vq_attributes *a, uint64_t i,
                              uint32_t before, uint32_t *change, vq_error *err);
static inline const char *vq_pending_tag(const vq_pending_docs *d, uint32_t tag)
{
    return d->text + d->texts[tag];
}
void vq_pending_docs_fini(vq_pending_docs *d); /* leaves it empty */

#endif
