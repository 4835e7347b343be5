/* SPDX-License-Identifier: Apache-2.0 */
/* ids.h -- external ids from a text file, one a line: all unsigned 64-bit numbers, or strings. */
#ifndef VQ_IO_IDS_H
#define VQ_IO_IDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

#define VQ_ID_MAX 500u /* bytes of a string id */

typedef struct vq_ids {
    size_t n;
    bool strings;      /* some line is no canonical decimal number */
    uint64_t *numbers; /* n, if !strings; owned */
    char **names;      /* n, each ends with NUL, if strings; owned, pointing into text */
    char *text;        /* owned */
    size_t *order;     /* n lines, their ids rising, after vq_ids_sort; owned */
} vq_ids;

/* Plain or .zst.  Strings must be 1-500 bytes of valid UTF-8 without control characters (tab and
 * carriage return at the end are cut); errors name file and line.  Duplicates are not looked for
 * here.  force_strings: keep numbers as strings (query ids). */
vq_status vq_ids_read(vq_ids *ids, const char *path, bool force_strings, vq_error *err);
void vq_ids_fini(vq_ids *ids);

/* Is text an id as it may stand in a file: names file and line if it is none. */
vq_status vq_id_check(const char *file, size_t line, const char *text, vq_error *err);
/* Is it a number as numbers are written here: "0", or digits without a zero in front, below 2^64 -
 * 1? */
bool vq_id_number(const char *text, uint64_t *out);

/* Makes the two below possible; does nothing the second time. */
vq_status vq_ids_sort(vq_ids *ids, vq_error *err);
/* The line, from 0, of an id as it is written there (the first of equals); SIZE_MAX: none. */
size_t vq_ids_find(const vq_ids *ids, const char *id);
bool vq_ids_repeat(const vq_ids *ids); /* stands an id there twice? */

#endif
