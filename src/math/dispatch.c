/* SPDX-License-Identifier: Apache-2.0 */
/* dispatch.c -- which kernels this machine runs.  Each level's table is the scalar one overlaid by
 * the levels up to it; all are made once, and constant from then on.  No environment is read: tests
 * and benches ask for a level by name. */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "src/base/compiler.h"
#include "src/math/kernels.h"
#include "vq/vq.h"

/* A level may be spread over several files, each of which exports one table of its slots. */
typedef struct level {
    const char *isa;
    uint32_t needs;
    const vq_kernels *parts[5]; /* NULL at the end */
} level;

extern const vq_kernels vq_kernels_scalar;

#if defined(__x86_64__)
#include <cpuid.h>

extern const vq_kernels vq_kernels_avx2, vq_kernels_avx2_pq, vq_kernels_avx2_int,
    vq_kernels_avx2_grid;
extern const vq_kernels vq_kernels_avx512, vq_kernels_avx512_pq, vq_kernels_avx512_int,
    vq_kernels_avx512_grid;
extern const vq_kernels vq_kernels_avx512vbmi, vq_kernels_avx512vnni, vq_kernels_avx512gfni;

static const level levels[] = {
    {"scalar", 0, {&vq_kernels_scalar}},
    {"avx2",
     VQ_CPU_AVX2,
     {&vq_kernels_avx2, &vq_kernels_avx2_pq, &vq_kernels_avx2_int, &vq_kernels_avx2_grid}},
    {"avx512",
     VQ_CPU_AVX2 | VQ_CPU_AVX512,
     {&vq_kernels_avx512, &vq_kernels_avx512_pq, &vq_kernels_avx512_int, &vq_kernels_avx512_grid}},
    {"avx512vbmi", /* as Ice Lake and Zen 4 have them; hardly a processor has but some of these */
     VQ_CPU_AVX2 | VQ_CPU_AVX512 | VQ_CPU_VBMI | VQ_CPU_VNNI | VQ_CPU_GFNI,
     {&vq_kernels_avx512vbmi, &vq_kernels_avx512vnni, &vq_kernels_avx512gfni}},
};
static const char *const level_names[] = {"scalar", "avx2", "avx512", "avx512vbmi", NULL};

/* Bits of cpuid leaf 1 (ecx) and leaf 7 (ebx, ecx), and of XCR0: the register files that the system
 * saves. */
enum {
    LEAF1_FMA = 1u << 12,
    LEAF1_OSXSAVE = 1u << 27,
    LEAF1_AVX = 1u << 28,
    LEAF1_F16C = 1u << 29,
    LEAF7_AVX2 = 1u << 5,
    LEAF7_AVX512F = 1u << 16,
    LEAF7_AVX512DQ = 1u << 17,
    LEAF7_AVX512BW = 1u << 30,
    LEAF7C_VBMI = 1u << 1,
    LEAF7C_GFNI = 1u << 8,
    LEAF7C_VNNI = 1u << 11,
    XCR0_YMM = 0x06,
    XCR0_ZMM = 0xe6
};
#define LEAF7_AVX512VL (1u << 31)

static bool all_of(uint32_t word, uint32_t bits)
{
    return (word & bits) == bits;
}

static uint32_t cpu_bits(void)
{
    uint32_t eax, ebx, ecx, edx, xcr0, xcr0_high, bits = 0;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return 0;
    if (!all_of(ecx, LEAF1_OSXSAVE | LEAF1_AVX | LEAF1_FMA | LEAF1_F16C)) return 0;
    __asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(xcr0_high) : "c"(0));
    if (!all_of(xcr0, XCR0_YMM)) return 0;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !all_of(ebx, LEAF7_AVX2)) return 0;
    bits |= VQ_CPU_AVX2;
    if (!all_of(xcr0, XCR0_ZMM)) return bits;
    if (!all_of(ebx, LEAF7_AVX512F | LEAF7_AVX512DQ | LEAF7_AVX512BW | LEAF7_AVX512VL)) return bits;
    bits |= VQ_CPU_AVX512;
    if (all_of(ecx, LEAF7C_VBMI)) bits |= VQ_CPU_VBMI;
    if (all_of(ecx, LEAF7C_VNNI)) bits |= VQ_CPU_VNNI;
    if (all_of(ecx, LEAF7C_GFNI)) bits |= VQ_CPU_GFNI;
    return bits;
}
#elif defined(__aarch64__)
extern const vq_kernels vq_kernels_neon, vq_kernels_neon_int, vq_kernels_neon_pq;

static const level levels[] = {
    {"scalar", 0, {&vq_kernels_scalar}},
    {"neon", VQ_CPU_NEON, {&vq_kernels_neon, &vq_kernels_neon_int, &vq_kernels_neon_pq}},
};
static const char *const level_names[] = {"scalar", "neon", NULL};

static uint32_t cpu_bits(void)
{
    return VQ_CPU_NEON; /* the architecture has it */
}
#else
static const level levels[] = {{"scalar", 0, {&vq_kernels_scalar}}};
static const char *const level_names[] = {"scalar", NULL};

static uint32_t cpu_bits(void)
{
    return 0;
}
#endif

static vq_kernels tables[VQ_COUNT(levels)];
static size_t usable; /* levels that this machine runs: the first so many */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void overlay(vq_kernels *table, const vq_kernels *part)
{
#define K(ret, name, args)                                                                         \
    if (part->name != NULL) table->name = part->name;
    VQ_KERNELS(K)
#undef K
}

static void make_tables(void)
{
    uint32_t bits = cpu_bits();
    for (size_t i = 0; i < VQ_COUNT(levels); i++) {
        if ((levels[i].needs & ~bits) != 0) break;
        if (i > 0) tables[i] = tables[i - 1];
        for (size_t p = 0; p < VQ_COUNT(levels[i].parts) && levels[i].parts[p] != NULL; p++)
            overlay(&tables[i], levels[i].parts[p]);
        tables[i].isa = levels[i].isa;
        tables[i].needs = levels[i].needs;
        usable = i + 1;
    }
}

const vq_kernels *vq_kernels_get(void)
{
    (void)pthread_once(&once, make_tables);
    return &tables[usable - 1];
}

const vq_kernels *vq_kernels_named(const char *isa)
{
    (void)pthread_once(&once, make_tables);
    for (size_t i = 0; i < usable; i++)
        if (strcmp(levels[i].isa, isa) == 0) return &tables[i];
    return NULL;
}

const char *const *vq_kernels_levels(void)
{
    return level_names;
}

vq_row_ip_fn vq_row_ip(const vq_kernels *k, uint32_t elem)
{
    switch (elem) {
    case VQ_F32: return k->ip_row_f32;
    case VQ_F16: return k->ip_row_f16;
    case VQ_I8: return k->ip_row_i8;
    case VQ_U8: return k->ip_row_u8;
    default: return NULL;
    }
}

vq_row_ip_fn vq_row_l2sq(const vq_kernels *k, uint32_t elem)
{
    switch (elem) {
    case VQ_F32: return k->l2sq_row_f32;
    case VQ_F16: return k->l2sq_row_f16;
    case VQ_I8: return k->l2sq_row_i8;
    case VQ_U8: return k->l2sq_row_u8;
    default: return NULL;
    }
}

vq_row_sq_fn vq_row_sq(const vq_kernels *k, uint32_t elem)
{
    switch (elem) {
    case VQ_F32: return k->sq_row_f32;
    case VQ_F16: return k->sq_row_f16;
    case VQ_I8: return k->sq_row_i8;
    case VQ_U8: return k->sq_row_u8;
    default: return NULL;
    }
}

vq_near_row_fn vq_near_row(const vq_kernels *k, uint32_t elem)
{
    return elem == VQ_I8 ? k->near_row_i8 : elem == VQ_U8 ? k->near_row_u8 : NULL;
}

void vq_to_f32(const vq_kernels *k, uint32_t elem, const void *in, size_t n, float *out)
{
    switch (elem) {
    case VQ_F32:
        if (n > 0) memcpy(out, in, n * sizeof *out);
        break;
    case VQ_F16: k->f32_from_f16(in, n, out); break;
    case VQ_I8: k->f32_from_i8(in, n, out); break;
    case VQ_U8: k->f32_from_u8(in, n, out); break;
    default: break;
    }
}
