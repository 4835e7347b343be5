/* SPDX-License-Identifier: Apache-2.0 */
/* Codes brought into memory before the first query: all of them, and nothing else changes. */
#include "tests/index/fixture.h"

enum { N = 3000, D = 16, NQ = 20, K = 5 };

static void check(const char *codec, uint32_t copies)
{
    static uint64_t cold[NQ * K], warm[NQ * K];
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    float *x = clusters(1, N + NQ, D);
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    vq_info info = VQ_INFO_INIT;
    uint64_t bytes = 0, locked = UINT64_MAX;
    o.codec = codec, o.nlist = 20, o.copies = copies;
    build(path, x, N, D, VQ_F32, &o);
    vq_index *ix = open_index(path);
    OK(vq_index_info(ix, &info, &err));
    vq_searcher *s = open_searcher(ix, 4, VQ_NONE), *t = open_searcher(ix, 4, VQ_NONE);
    OK(vq_search(s, x + N * D, NQ, K, cold, NULL, &err));
    OK(vq_searcher_warm(t, 1, &bytes, &locked, &err));
    OK(vq_search(t, x + N * D, NQ, K, warm, NULL, &err));
    cr_assert(memcmp(cold, warm, sizeof cold) == 0);
    uint64_t vectors = info.n + info.copies; /* codes, factors and ids of all; blocks are padded */
    cr_assert_geq(bytes, vectors * (info.code_bytes + 8));
    cr_assert_lt(bytes, (vectors + 2 * 20 * 32) * (info.code_bytes + 8 + 4));
    cr_assert_leq(locked, bytes);
    OK(vq_searcher_warm(t, 0, NULL, &locked, &err));
    cr_assert_eq(locked, 0);
    vq_searcher_close(s), vq_searcher_close(t);
    vq_close(ix);
    vq_mem_free(x);
    free(path);
    test_rmdir(dir);
}

Test(warm, all_codes_and_the_same_answers)
{
    check("pq8", VQ_COPIES_NO);
    check("pq4", VQ_COPIES_YES);
    check("flat", VQ_COPIES_NO);
}

Test(warm, needs_a_searcher)
{
    cr_assert_eq(vq_searcher_warm(NULL, 0, NULL, NULL, &err), VQ_EINVAL);
}
