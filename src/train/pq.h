/* SPDX-License-Identifier: Apache-2.0 */
/* pq.h -- codebooks of product quantization: k-means in every sub-space (Jegou et al. 2011). */
#ifndef VQ_TRAIN_PQ_H
#define VQ_TRAIN_PQ_H

#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"
#include "src/math/kernels.h"

/* x is n x (m*dsub).  cb (m x dsub x kk: for sub-space j, coordinate t the kk codewords' values
 * adjacent) and norm (m x kk: |codeword|^2) are filled.  If warm != 0, cb holds a start.  n may be
 * smaller than kk: then codewords repeat.  mse (may be NULL): mean squared error per vector. */
vq_status vq_pq_train(const float *x, size_t n, size_t m, size_t dsub, size_t kk, unsigned iters,
                      int warm, uint64_t seed, int threads, vq_ticker *ticker, float *cb,
                      float *norm, double *mse, vq_error *err);
void vq_pq_norms(const float *cb, size_t m, size_t dsub, size_t kk, float *norm);
/* The nearest codewords of n rows: codes is n x m. */
void vq_pq_encode(const vq_kernels *k, const float *x, size_t n, size_t m, size_t dsub, size_t kk,
                  const float *cb, const float *norm, uint8_t *codes);

#endif
