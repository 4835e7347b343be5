/* SPDX-License-Identifier: Apache-2.0 */
/* distil.h -- codebooks, list vectors and a query map that learn to reproduce a teacher's ranking
 * (Xiao et al. 2022, Distill-VQ; Zhan et al. 2021, JPQ): codes are frozen, scores of candidates are
 * sums of table entries, gradients go to the tables and from there by GEMM to the codewords. */
#ifndef VQ_TRAIN_DISTIL_H
#define VQ_TRAIN_DISTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/team.h"
#include "src/train/loss.h"

/* The student: s(q, x) = (W q) . centroid[list(x)] + sum over j of (W q) . codeword[j][code_j(x)],
 * which is (W q) . y of the decoded vector y; for metric l2 (lessons with `coded`) less the
 * vector's factor |y|^2 / 2 + .3 |x - y|^2 (factor.h), so that s ranks like distances. */
typedef struct vq_student {
    size_t d, m, kk, nlist;
    bool additive;    /* books are m x kk x d (additive.h); else m x dsub x kk (pq.h), d = m*dsub */
    float *books;     /* learnt */
    float *centroids; /* nlist x d: learnt if learn_lists; NULL = none (nlist 0) */
    float *map;       /* W, d x d: learnt if learn_map; identity at the start; NULL = identity */
} vq_student;

typedef struct vq_lessons {
    size_t nq, n;
    const float *queries;  /* nq x d, in the coded space, before W */
    const size_t *first;   /* nq + 1: candidates first[i] .. first[i+1]-1 of query i */
    const uint32_t *docs;  /* candidates: rows 0..n-1, no row twice in a list */
    const float *teacher;  /* their full-precision scores (any constant per query may be added) */
    const float *coded;    /* metric l2: n x d, the rows in the coded space; NULL = products */
    const uint32_t *lists; /* n; not read without centroids */
    const uint8_t *codes;  /* n x m (pq with kk = 16: one code a byte here) */
    /* In-batch candidates: each query brings one row, which all queries of its batch score.  A row
     * counts once, as the query's own candidate if it is one. */
    const uint32_t *shared;   /* nq rows; NULL = no such candidates */
    const float *shared_rows; /* nq x d: these rows uncompressed in the coded space, for the
                                 teacher: queries . shared_rows, for l2 less half of their squared
                                 length; on the scale of `teacher` up to a constant that
                                 own_offset[i] adds for query i */
    const float *own_offset;  /* nq: teacher score = this + own_offset; NULL = 0 */
    const float *own_most;    /* nq: but no more than this; NULL = any */
} vq_lessons;

typedef struct vq_distil_opts {
    const vq_loss *loss; /* NULL = listnet */
    double temperature;  /* > 0 */
    double step; /* of Adam, relative to the RMS of the codewords' coordinates (.003 .. .005),
                  * of the list vectors', and of an orthonormal matrix (1 / sqrt(d)) */
    unsigned epochs;
    size_t batch;     /* 0 = 128; batches differ by one query at most */
    bool learn_lists; /* not for l2 */
    bool learn_map;
    double anchor; /* >= 0: a parameter that is an RMS away from its start is pulled back by this
                    * times the RMS of the first loss gradient; 1 is a tenth of it at a tenth */
    uint64_t seed;
    int threads; /* the result does not depend on it */
    vq_ticker *ticker;
    /* After each epoch (from 0), on the calling thread: judge the student (it may be copied); a
     * *stop set to true ends training.  loss: mean over the epoch's queries, as they were met.  May
     * be NULL. */
    vq_status (*after_epoch)(void *ctx, unsigned epoch, double loss, const vq_student *s,
                             bool *stop, vq_error *err);
    void *ctx;
} vq_distil_opts;

/* Trains s in place, in shuffled batches: Adam (0.9, 0.999), 10 % warm-up, then linear to 0 over
 * epochs; after each step the mean drift of each codebook, weighted by how often the corpus uses a
 * codeword, is taken off, and that of the list vectors, weighted by the lists' sizes (it would move
 * all scores alike).  Keeps nothing but the last state: who wants the best copies it in
 * after_epoch. After a failure s is at some step on the way. */
vq_status vq_distil(vq_student *s, const vq_lessons *l, const vq_distil_opts *opts, vq_error *err);

/* Mean loss of one batch of queries (indices) and its gradients, for the gradient check: d_books,
 * d_centroids, d_map may be NULL. */
vq_status vq_distil_gradient(const vq_student *s, const vq_lessons *l, const vq_distil_opts *opts,
                             const uint32_t *batch, size_t nbatch, double *loss, float *d_books,
                             float *d_centroids, float *d_map, vq_error *err);

#endif
