/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.c -- see utf8.h. */
#include "src/io/utf8.h"

size_t vq_utf8_next(const char *p, size_t left, uint32_t *code)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t *b = (const uint8_t *)p;
    size_t len = b[0] < 0x80       ? 1
                 : b[0] >> 5 == 6  ? 2
                 : b[0] >> 4 == 14 ? 3
                 : b[0] >> 3 == 30 ? 4
                                   : 0;
    uint32_t x = b[0];
    *code = x;
    if (len < 2 || len > left) return len < 2 ? len : 0;
    x &= 0x7fu >> len;
    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80) return 0;
        x = x << 6 | (b[i] & 0x3fu);
    }
    if (x < least[len] || x > 0x10ffff || (x >= 0xd800 && x <= 0xdfff)) return 0;
    *code = x;
    return len;
}

size_t vq_utf8_clean(const char *text, size_t len)
{
    size_t at = 0, step;
    for (uint32_t code; at < len; at += step) {
        step = vq_utf8_next(text + at, len - at, &code);
        if (step == 0 || code < 0x20 || (code >= 0x7f && code <= 0x9f)) break;
    }
    return at;
}
