/* SPDX-License-Identifier: Apache-2.0 */
/* slots.h -- the kernel slots that vq_micro times, each at representative shapes. */
#ifndef VQ_BENCH_SLOTS_H
#define VQ_BENCH_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "src/math/kernels.h"

enum { SLOT_SHAPES = 8, SLOT_BYTES = 64 << 20, SLOT_STREAM = 256 << 20 };

/* One slot at one shape.  `units` vectors or rows are done a call and `bytes` read. */
typedef struct shape {
    size_t n, m, d;      /* rows (or blocks), sub-quantizers (or K), dimensions */
    size_t units, bytes; /* set by the slot */
} shape;

typedef struct memory {
    uint8_t *in;    /* SLOT_STREAM bytes: what is streamed, beyond any cache if all of it is */
    uint8_t *table; /* SLOT_BYTES: what stays */
    float *out;     /* SLOT_BYTES */
} memory;

typedef void (*slot_fn)(const vq_kernels *k, const memory *mem, shape *s);

typedef struct slot {
    const char *name;
    slot_fn fn;
    bool floats;               /* streams finite floats (else random bytes) */
    shape shapes[SLOT_SHAPES]; /* up to the first without n */
} slot;

/* Each ends with a slot without a name. */
extern const slot slots_of_vectors[], slots_of_codes[];

extern volatile double slot_sink; /* keeps results alive */
void slot_units(shape *s, size_t n, size_t bytes_each);

#endif
