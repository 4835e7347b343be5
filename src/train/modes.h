/* SPDX-License-Identifier: Apache-2.0 */
/* modes.h -- codes of additive books by iterated conditional modes (Besag 1986; for additive codes
 * Martinez et al. 2016, without their perturbation): book after book, the codeword that is nearest
 * to what the others leave.
 *
 * Which codewords can be nearest is found by integers (bytewords.h) or a GEMM; where there is more
 * than one, dot_f32 decides.  So as a rule codes depend neither on which of the two it was, nor on
 * how many vectors are coded together; bytewords.h tells of exceptions. */
#ifndef VQ_TRAIN_MODES_H
#define VQ_TRAIN_MODES_H

#include <stddef.h>
#include <stdint.h>

#include "src/math/kernels.h"
#include "src/train/bytewords.h"

enum { VQ_MODES_TILE = 256 }; /* vectors at a time, at most */

typedef struct vq_modes {
    const vq_kernels *k;
    size_t m, d;
    const float *books;        /* m x 256 x d */
    const float *norms;        /* m x 256: |c|^2 */
    const vq_bytewords *bytes; /* the books as bytes; NULL: by GEMM */
} vq_modes;

/* Floats of scratch. */
size_t vq_modes_scratch(size_t d);
/* Up to `sweeps` over all books for n vectors: codes (n x m) and r (n x d; what they leave): start
 * in, codes out; r is spoilt if vectors settle between sweeps.  A vector that all books have looked
 * at since it last moved is settled. */
void vq_modes_run(const vq_modes *b, size_t n, unsigned sweeps, uint8_t *codes, float *r,
                  float *scratch);

#endif
