/* SPDX-License-Identifier: Apache-2.0 */
/* recode.h -- a corpus in memory while its codebooks learn: coded anew as its queries feel it, and
 * moved to where a learnt map of the queries puts it. */
#ifndef VQ_INDEX_RECODE_H
#define VQ_INDEX_RECODE_H

#include "index/codeview.h"
#include "index/fit.h"
#include "index/teacher.h"

/* Codes a byte each (n x m) from those of the file, which may pack two, and back (n x code_bytes).
 */
void vq_codes_spread(const vq_model *m, const uint8_t *codes, size_t n, uint8_t *one);
void vq_codes_gather(const vq_model *m, const uint8_t *one, size_t n, uint8_t *codes);

enum { VQ_FELT = 32 }; /* queries that are asked what they feel of a vector's error */
/* Of the first nq queries of a teacher those that rank a vector highest: n x VQ_FELT, UINT32_MAX
 * where there are fewer; vq_mem_free it.  NULL: no memory. */
uint32_t *vq_felt_queries(const vq_teacher *t, size_t nq, size_t n);

/* Codes (n x m, one a byte) of the corpus's vectors: start in, result out, with the codebooks and
 * centroids of m as they are.  An error counts by its length and as the vector's queries feel it
 * (felt: n x VQ_FELT of queries, nq x d_code in the coded space), for l2 along the way from the
 * vector to the query. */
vq_status vq_recode(const vq_model *m, const vq_corpus *c, const uint32_t *felt,
                    const float *queries, size_t nq, unsigned sweeps, int threads,
                    vq_ticker *ticker, uint8_t *one, vq_error *err);

/* The factors of the corpus anew (if it has any), from its codes as m decodes them. */
vq_status vq_refactor(const vq_model *m, vq_corpus *c, int threads, vq_error *err);

/* A map W (d_code x d_code) that queries have learnt goes into the queries' matrix, and its inverse
 * transpose into that of the rows: products stay, a search pays nothing, and rows are coded where
 * the mapped queries meet them.  queries (nq x d_code) and the corpus move along.  VQ_EINVAL: W has
 * no inverse; nothing has changed. */
vq_status vq_fold_map(const vq_model *m, vq_fitted *fitted, const float *map, int threads,
                      float *queries, size_t nq, vq_corpus *c, vq_error *err);

#endif
