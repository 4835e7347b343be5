/* SPDX-License-Identifier: Apache-2.0 */
/* rng.h -- xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64.  One stream a task: the
 * same seed and stream give the same numbers on every machine and for any number of threads. */
#ifndef VQ_BASE_RNG_H
#define VQ_BASE_RNG_H

#include <stdint.h>

typedef struct vq_rng {
    uint64_t s[4];
} vq_rng;

void vq_rng_init(vq_rng *r, uint64_t seed, uint64_t stream);
uint64_t vq_rng_u64(vq_rng *r);
uint64_t vq_rng_below(vq_rng *r, uint64_t bound); /* uniform in 0..bound-1, unbiased; bound > 0 */
double vq_rng_f64(vq_rng *r);                     /* uniform in [0, 1) */
double vq_rng_normal(vq_rng *r);                  /* N(0, 1) */

#endif
