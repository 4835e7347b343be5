/* SPDX-License-Identifier: Apache-2.0 */
/* fours.h -- what kernels over panels of rows have in common: the fours of columns of a query of
 * which any is not zero. */
#ifndef VQ_MATH_X86_FOURS_H
#define VQ_MATH_X86_FOURS_H

#include <stddef.h>
#include <stdint.h>

enum { VQ_FOURS = 1024 }; /* at a time */

typedef struct vq_fours {
    size_t n;
    int64_t x[VQ_FOURS];   /* four numbers */
    uint32_t at[VQ_FOURS]; /* where they stand: the how many-th four */
} vq_fours;

/* Those of up to VQ_FOURS fours from column `first` on; returns the column behind them. */
static inline size_t vq_fours_find(vq_fours *f, const int16_t *x, size_t d, size_t first)
{
    size_t end = d - first > 4 * VQ_FOURS ? first + 4 * VQ_FOURS : d;
    f->n = 0;
    for (; first + 4 <= end; first += 4) { /* no branch */
        __builtin_memcpy(&f->x[f->n], x + first, 4 * sizeof *x);
        f->at[f->n] = (uint32_t)(first / 4);
        f->n += f->x[f->n] != 0;
    }
    if (first == end) return end;
    f->x[f->n] = 0;
    __builtin_memcpy(&f->x[f->n], x + first, (end - first) * sizeof *x);
    f->at[f->n++] = (uint32_t)(first / 4);
    return end;
}

#endif
