/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>

#include "src/base/bytes.h"
#include "tests/harness/harness.h"

Test(bytes, order)
{
    uint8_t b[8];
    vq_put_le32(b, 0x01020304u);
    cr_assert(b[0] == 4 && b[1] == 3 && b[2] == 2 && b[3] == 1);
    vq_put_be32(b, 0x01020304u);
    cr_assert(b[0] == 1 && b[1] == 2 && b[2] == 3 && b[3] == 4);
    vq_put_le64(b, 0x0102030405060708u);
    cr_assert(b[0] == 8 && b[7] == 1 && vq_le16(b) == 0x0708);
    vq_put_be64(b, 0x0102030405060708u);
    cr_assert(b[0] == 1 && b[7] == 8);
}

Test(bytes, round_trip)
{
    vq_rng r;
    vq_rng_init(&r, test_seed(), 1);
    for (int i = 0; i < 10000; i++) {
        uint8_t b[9];
        uint64_t x = vq_rng_u64(&r), y = vq_rng_u64(&r);
        float f = (float)vq_rng_normal(&r);
        vq_put_le64(b + 1, x); /* any alignment */
        cr_assert(vq_le64(b + 1) == x);
        vq_put_be64(b + 1, x);
        cr_assert(vq_be64(b + 1) == x);
        vq_put_le32(b + 1, (uint32_t)x);
        cr_assert(vq_le32(b + 1) == (uint32_t)x);
        vq_put_be32(b + 1, (uint32_t)x);
        cr_assert(vq_be32(b + 1) == (uint32_t)x);
        vq_put_lef32(b + 1, f);
        cr_assert(vq_lef32(b + 1) == f);
        uint8_t kx[8], ky[8];
        vq_put_be64(kx, x);
        vq_put_be64(ky, y);
        cr_assert((memcmp(kx, ky, 8) < 0) == (x < y));
    }
}

Test(bytes, reader_stays_in_bounds)
{
    for (size_t len = 0; len < 40; len++) {
        uint8_t *p = guard_end(len);
        memset(p, 1, len);
        vq_rd rd = vq_rd_init(p, len);
        size_t taken = 0;
        while (vq_rd_take(&rd, 3) != NULL) taken += 3;
        cr_assert(taken == len / 3 * 3 && !rd.ok);
        rd = vq_rd_init(p, len);
        uint32_t a = vq_rd_u32(&rd);
        uint64_t b = vq_rd_u64(&rd);
        float c = vq_rd_f32(&rd);
        cr_assert(rd.ok == (len >= 16));
        cr_assert(a == (len >= 4 ? 0x01010101u : 0));
        cr_assert(b == (len >= 12 ? 0x0101010101010101u : 0));
        cr_assert((c != 0) == (len >= 16));
        guard_free(p);
    }
}

Test(bytes, reader_failure_is_sticky)
{
    uint8_t p[8] = {0};
    vq_rd rd = vq_rd_init(p, sizeof p);
    cr_assert(vq_rd_take(&rd, SIZE_MAX) == NULL);
    cr_assert(vq_rd_take(&rd, 1) == NULL && !rd.ok);
    cr_assert(vq_rd_take(&rd, 0) == NULL);
}
