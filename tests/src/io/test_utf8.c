/* SPDX-License-Identifier: Apache-2.0 */
#include "src/io/utf8.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

#include "tests/harness/harness.h"

/* As RFC 3629 writes it. */
static size_t encode(uint32_t code, char out[4])
{
    static const uint32_t from[] = {0, 0x80, 0x800, 0x10000};
    size_t len = 4;
    while (code < from[len - 1]) len--;
    for (size_t i = len; i-- > 1; code >>= 6) out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(len == 1 ? code : (0xff00u >> len & 0xff) | code);
    return len;
}

Test(utf8, every_code_point)
{
    for (uint32_t code = 1; code < 0x110000; code += code < 0x3000 ? 1 : 61) {
        char text[4];
        uint32_t got = 0;
        size_t len = encode(code, text);
        bool surrogate = code >= 0xd800 && code < 0xe000;
        bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        cr_assert_eq(vq_utf8_next(text, len, &got), surrogate ? 0 : len, "U+%04x", code);
        cr_assert(surrogate || got == code);
        cr_assert_eq(vq_utf8_clean(text, len), surrogate || control ? 0 : len, "U+%04x", code);
        if (len > 1) cr_assert_eq(vq_utf8_next(text, len - 1, &got), 0); /* cut short */
    }
}

Test(utf8, where_it_ends)
{
    static const struct {
        const char *text;
        size_t clean;
    } cases[] = {{"", 0},
                 {"plain", 5},
                 {"\xc3\xa9t\xc3\xa9", 5},
                 {"ab\xff", 2},
                 {"ab\xc3", 2},            /* cut short */
                 {"a\xc0\xaf", 1},         /* overlong */
                 {"a\xf4\x90\x80\x80", 1}, /* past U+10FFFF */
                 {"a\tb", 1},
                 {"abc\xc2\x85", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t len = strlen(cases[i].text);
        char *text = guard_end(len); /* nothing lies behind it */
        memcpy(text, cases[i].text, len);
        cr_assert_eq(vq_utf8_clean(text, len), cases[i].clean, "%zu", i);
        guard_free(text);
    }
}
