/* SPDX-License-Identifier: Apache-2.0 */
/* additive.h -- additive codebooks: a vector is the sum of m codewords of full length d, 256 to a
 * codebook (Babenko and Lempitsky 2014).  Started from product codebooks whose codewords are
 * widened by zeros; codeword means and iterated conditional modes then lower the error, never raise
 * it (Martinez et al. 2016).  Codebooks are m x 256 x d: codeword k of book j at (j * 256 + k) * d.
 */
#ifndef VQ_TRAIN_ADDITIVE_H
#define VQ_TRAIN_ADDITIVE_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"
#include "src/math/kernels.h"
#include "src/train/modes.h"

#define VQ_AQ_WORDS ((size_t)VQ_BYTEWORDS)

/* Product codebooks as vq_pq_train leaves them (m x dsub x 256, d = m * dsub) to additive ones. */
void vq_aq_widen(const float *pq, size_t m, size_t dsub, float *books);

/* Rounds of: 2 sweeps over the books of codeword means of what the other books leave, 1 sweep of
 * conditional modes over all vectors.  x: n x d; books: start in, result out; codes (n x m): start
 * in, result out.  Codewords that nobody uses stay.  mse[r] (may be NULL; rounds + 1 of them): mean
 * squared error before round r and at the end, never rising but for rounding.  Bits do not depend
 * on threads. */
vq_status vq_aq_train(const float *x, size_t n, size_t d, size_t m, unsigned rounds, int threads,
                      vq_ticker *ticker, float *books, uint8_t *codes, double *mse, vq_error *err);

/* What encoding needs of the books, made once: products of codewords of different books would be
 * m^2 x 256^2 floats, too many; so only |c|^2 (m x 256). */
void vq_aq_norms(const float *books, size_t m, size_t d, float *norms);

/* Encodes n vectors: start from product codes of the start books (pq, pq_norms as in pq.h; m x dsub
 * x 256 with d = m * dsub) and up to `sweeps` of conditional modes (modes.h): argmin over k of |r +
 * c_old - c_k|^2 for book after book, r kept up to date.  A vector's codes do not depend on the
 * others.  scratch: vq_aq_scratch(n, d) floats.  One thread (the caller has tiles). */
size_t vq_aq_scratch(size_t n, size_t d);
void vq_aq_encode(const vq_modes *b, const float *x, size_t n, const float *pq,
                  const float *pq_norms, unsigned sweeps, float *scratch, uint8_t *codes);
/* xh = sum of codewords. */
void vq_aq_decode(const float *books, size_t d, size_t m, const uint8_t *codes, size_t n,
                  float *xh);

#endif
