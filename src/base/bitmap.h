/* SPDX-License-Identifier: Apache-2.0 */
/* bitmap.h -- sets of 32-bit numbers as Roaring bitmaps in their portable format (Lemire et al.,
 * github.com/RoaringBitmap/RoaringFormatSpec), to and from plain words.  Bytes are not trusted. */
#ifndef VQ_BASE_BITMAP_H
#define VQ_BASE_BITMAP_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"

static inline size_t vq_bitmap_words(uint64_t bits)
{
    return (size_t)((bits + 63) / 64);
}

/* Sets in words (of that many bits, number i in bit i mod 64 of word i div 64) what the bitmap of
 * len bytes holds.  VQ_ECORRUPT: it is none, or holds a number that is no less than bits; words may
 * have changed then. */
vq_status vq_bitmap_read(const uint8_t *bytes, size_t len, uint64_t *words, uint64_t bits,
                         vq_error *err);
/* The bytes of what words hold; 0: nothing.  The least of the three kinds of containers each. */
size_t vq_bitmap_size(const uint64_t *words, uint64_t bits);
void vq_bitmap_write(const uint64_t *words, uint64_t bits, uint8_t *out); /* so many bytes */

#endif
