/* SPDX-License-Identifier: Apache-2.0 */
/* rng.c -- seeded random numbers. */
#include "src/base/rng.h"

#include <math.h>

static uint64_t splitmix64(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

void vq_rng_init(vq_rng *r, uint64_t seed, uint64_t stream)
{
    uint64_t x = seed, y = stream;
    x ^= splitmix64(&y);
    for (int i = 0; i < 4; i++) r->s[i] = splitmix64(&x);
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t vq_rng_u64(vq_rng *r)
{
    uint64_t *s = r->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t vq_rng_below(vq_rng *r, uint64_t bound)
{
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound, x;
    do x = vq_rng_u64(r);
    while (x >= limit);
    return x % bound;
}

double vq_rng_f64(vq_rng *r)
{
    return (double)(vq_rng_u64(r) >> 11) * 0x1p-53;
}

double vq_rng_normal(vq_rng *r)
{
    /* Box-Muller; 1 - u is never 0. */
    double u = 1.0 - vq_rng_f64(r), v = vq_rng_f64(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}
