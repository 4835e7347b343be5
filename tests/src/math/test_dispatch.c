/* SPDX-License-Identifier: Apache-2.0 */
/* test_dispatch.c -- the tables: complete, in rising order, chosen once, and rows by type. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "src/math/kernels.h"
#include "vq/vq.h"

static size_t count_slots(const vq_kernels *k, const char **missing)
{
    size_t n = 0;
#define K(ret, name, args)                                                                         \
    n += k->name != NULL;                                                                          \
    if (k->name == NULL) *missing = #name;
    VQ_KERNELS(K)
#undef K
    return n;
}

Test(dispatch, every_table_is_complete)
{
    const char *missing = "none";
    size_t slots = 0;
#define K(ret, name, args) slots++;
    VQ_KERNELS(K)
#undef K
    for (const char *const *name = vq_kernels_levels(); *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) continue;
        cr_assert(count_slots(k, &missing) == slots, "%s lacks %s", *name, missing);
        cr_assert(strcmp(k->isa, *name) == 0);
    }
}

Test(dispatch, levels_rise)
{
    const char *const *names = vq_kernels_levels();
    cr_assert(strcmp(names[0], "scalar") == 0);
    const vq_kernels *best = NULL;
    uint32_t needs = 0;
    bool ended = false;
    for (size_t i = 0; names[i] != NULL; i++) {
        const vq_kernels *k = vq_kernels_named(names[i]);
        cr_assert(!(ended && k != NULL), "a level above one that this machine lacks");
        ended = ended || k == NULL;
        if (k == NULL) continue;
        cr_assert((needs & ~k->needs) == 0, "%s needs less than the level below", names[i]);
        needs = k->needs;
        best = k;
    }
    cr_assert(vq_kernels_get() == best);
    cr_assert(vq_kernels_named("scalar") != NULL && vq_kernels_named("scalar")->needs == 0);
    cr_assert(vq_kernels_named("no such level") == NULL);
}

/* Each level above scalar replaces something, or it would not be worth its name. */
Test(dispatch, levels_differ)
{
    const vq_kernels *below = vq_kernels_named("scalar");
    for (const char *const *name = vq_kernels_levels() + 1; *name != NULL; name++) {
        const vq_kernels *k = vq_kernels_named(*name);
        if (k == NULL) break;
        bool same = true;
#define K(ret, slot, args) same = same && k->slot == below->slot;
        VQ_KERNELS(K)
#undef K
        cr_assert(!same, "%s", *name);
        below = k;
    }
}

/* What gcc's own detection says of the machine. */
Test(dispatch, agrees_with_the_compiler)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    bool vbmi = avx512 && __builtin_cpu_supports("avx512vbmi") &&
                __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("gfni");
    cr_assert((vq_kernels_named("avx2") != NULL) == avx2);
    cr_assert((vq_kernels_named("avx512") != NULL) == avx512);
    cr_assert((vq_kernels_named("avx512vbmi") != NULL) == vbmi);
#elif defined(__aarch64__)
    cr_assert(strcmp(vq_kernels_get()->isa, "neon") == 0);
#else
    cr_assert(strcmp(vq_kernels_get()->isa, "scalar") == 0);
#endif
}

static void *ask(void *out)
{
    *(const vq_kernels **)out = vq_kernels_get();
    return NULL;
}

Test(dispatch, threads_get_one_table)
{
    enum { THREADS = 8 };
    pthread_t thread[THREADS];
    const vq_kernels *got[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&thread[i], NULL, ask, &got[i]) == 0);
    for (int i = 0; i < THREADS; i++) cr_assert(pthread_join(thread[i], NULL) == 0);
    for (int i = 0; i < THREADS; i++) cr_assert(got[i] == vq_kernels_get() && got[i] != NULL);
}

Test(dispatch, rows_by_type)
{
    const vq_kernels *k = vq_kernels_get();
    cr_assert(vq_row_ip(k, VQ_F32) == k->ip_row_f32 && vq_row_ip(k, VQ_F16) == k->ip_row_f16);
    cr_assert(vq_row_ip(k, VQ_I8) == k->ip_row_i8 && vq_row_ip(k, VQ_U8) == k->ip_row_u8);
    cr_assert(vq_row_l2sq(k, VQ_F32) == k->l2sq_row_f32 &&
              vq_row_l2sq(k, VQ_F16) == k->l2sq_row_f16);
    cr_assert(vq_row_l2sq(k, VQ_I8) == k->l2sq_row_i8 && vq_row_l2sq(k, VQ_U8) == k->l2sq_row_u8);
    cr_assert(vq_row_sq(k, VQ_F32) == k->sq_row_f32 && vq_row_sq(k, VQ_F16) == k->sq_row_f16);
    cr_assert(vq_row_sq(k, VQ_I8) == k->sq_row_i8 && vq_row_sq(k, VQ_U8) == k->sq_row_u8);
    cr_assert(vq_row_ip(k, VQ_ELEM_NONE) == NULL && vq_row_l2sq(k, 99) == NULL);
    cr_assert(vq_row_sq(k, 0) == NULL);
}

Test(dispatch, to_f32)
{
    const vq_kernels *k = vq_kernels_get();
    const float f[3] = {1.5f, -2.0f, 0.25f};
    const uint16_t h[3] = {0x3e00, 0xc000, 0x3400};
    const int8_t i[3] = {1, -128, 127};
    const uint8_t u[3] = {0, 128, 255};
    float out[4] = {0, 0, 0, 77.0f};
    vq_to_f32(k, VQ_F32, f, 3, out);
    cr_assert(memcmp(out, f, sizeof f) == 0);
    vq_to_f32(k, VQ_I8, i, 3, out);
    cr_assert(out[0] == 1.0f && out[1] == -128.0f && out[2] == 127.0f);
    vq_to_f32(k, VQ_U8, u, 3, out);
    cr_assert(out[0] == 0.0f && out[1] == 128.0f && out[2] == 255.0f);
    vq_to_f32(k, VQ_F16, h, 3, out);
    cr_assert(memcmp(out, f, sizeof f) == 0);
    vq_to_f32(k, VQ_F32, f, 0, out);
    cr_assert(out[3] == 77.0f);
}
