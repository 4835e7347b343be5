/* SPDX-License-Identifier: Apache-2.0 */
/* attrs.h -- files that say what vectors carry: tags, times, payloads, by their ids. */
#ifndef VQ_IO_ATTRS_H
#define VQ_IO_ATTRS_H

#include "src/io/text.h"

typedef enum vq_attrs_kind {
    VQ_ATTRS_TAGS,   /* id TAB tag TAB tag..; lines of one id that follow each other are one */
    VQ_ATTRS_TIMES,  /* id TAB whole number */
    VQ_ATTRS_PAYLOAD /* JSON objects, one a line, with a member "id" */
} vq_attrs_kind;

typedef struct vq_attrs {
    vq_attributes a; /* of one kind; points into what follows */
    /* owned: */
    vq_text text;
    size_t *lines; /* from 1, where each of a.n begins; room for a.n of this and the next */
    char **names;
    uint64_t *numbers;
    int64_t *times;
    char **tags;
    uint64_t *begins;
    const void **payloads;
    uint64_t *bytes;
    char *ids; /* those of payloads, each with its zero */
} vq_attrs;

/* Plain or .zst.  strings: ids are names, else they must be numbers.  Errors name file and line.
 * Whether an id is named twice is not looked at. */
vq_status vq_attrs_read(vq_attrs *out, const char *path, vq_attrs_kind kind, bool strings,
                        vq_error *err);
void vq_attrs_fini(vq_attrs *a); /* leaves it empty */

#endif
