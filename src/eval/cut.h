/* SPDX-License-Identifier: Apache-2.0 */
/* cut.h -- how good a cut through answers is: those with a value that is large enough are kept. */
#ifndef VQ_EVAL_CUT_H
#define VQ_EVAL_CUT_H

#include <stddef.h>
#include <stdint.h>

typedef struct vq_cut_quality {
    double precision; /* the share of what is kept that is relevant; NaN: nothing is kept */
    double recall;    /* the share of what is relevant that is kept */
    double f1;        /* their harmonic mean, 2 right / (kept + relevant) */
} vq_cut_quality;
/* Over the answers to all queries: `kept` of them, of which `right` are relevant; relevant: what
 * there is, answered or not, at least 1. */
vq_cut_quality vq_cut_of(size_t kept, size_t right, size_t relevant);

typedef struct vq_cut_answer {
    double value; /* larger is better */
    uint8_t relevant;
} vq_cut_answer;
/* The value from which on answers (n, sorted here) are kept for the best F1, and that F1; of equal
 * ones the cut that keeps the fewest.  n >= 1, one of them relevant at least. */
double vq_cut_best(vq_cut_answer *answers, size_t n, size_t relevant, double *f1);
/* Keeps those whose value is not below the cut. */
vq_cut_quality vq_cut_at(const vq_cut_answer *answers, size_t n, size_t relevant, double cut);

#endif
