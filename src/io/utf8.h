/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h -- which bytes are text (RFC 3629), and which text is clean: ids and tags are. */
#ifndef VQ_IO_UTF8_H
#define VQ_IO_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The code point at p, of which `left` bytes follow (at least 1), and its length in bytes; 0 if
 * there is no valid one: *code is then the first byte. */
size_t vq_utf8_next(const char *p, size_t left, uint32_t *code);
/* The offset of the first byte that is no valid UTF-8 or begins a control character (C0, DEL, C1);
 * len: there is none. */
size_t vq_utf8_clean(const char *text, size_t len);

#endif
