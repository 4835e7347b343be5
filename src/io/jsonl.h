/* SPDX-License-Identifier: Apache-2.0 */
/* jsonl.h -- is a line one JSON object (RFC 8259), and which id does it name? */
#ifndef VQ_IO_JSONL_H
#define VQ_IO_JSONL_H

#include <stddef.h>

#include "src/base/status.h"

/* text: len bytes.  The value of the member "id" of the object, a string without its quotes and
 * escapes or an integer as it is written, goes into id (cap bytes, ended with NUL).  VQ_ECORRUPT:
 * no object, no id, or one too long; the text of err says at which byte, from 1. */
vq_status vq_json_id(const char *text, size_t len, char *id, size_t cap, vq_error *err);
/* Is it a JSON value as a whole, in valid UTF-8? */
int vq_json_valid(const char *text, size_t len);

#endif
