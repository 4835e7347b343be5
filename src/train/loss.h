/* SPDX-License-Identifier: Apache-2.0 */
/* loss.h -- the table of distillation losses: teacher scores and student scores of one query's
 * candidates to a value and its gradient by the student's scores (Xiao et al. 2022, Distill-VQ;
 * Zhan et al. 2021, JPQ). */
#ifndef VQ_TRAIN_LOSS_H
#define VQ_TRAIN_LOSS_H

#include <stddef.h>

/* t, s: n >= 1 teacher and student scores, larger is better; T > 0: temperature, the unit of both.
 * grad (n) = dL/ds; scratch: 2 n doubles.  Returns L >= 0.  A constant added to all of s or of t
 * changes nothing.  listnet, kl and margin-mse are 0 with a gradient of 0 where s equals t up to a
 * constant; the pairwise ones know the order alone and never cease to widen it.  One candidate
 * gives 0 and a gradient of 0.  ranknet costs n^2 exponentials, the others n. */
typedef double (*vq_loss_fn)(const float *t, const float *s, size_t n, double T, double *scratch,
                             double *grad);

typedef struct vq_loss {
    const char *name; /* "listnet", "kl", "margin-mse", "ranknet", "lambda" */
    vq_loss_fn fn;
} vq_loss;

extern const vq_loss vq_losses[]; /* the first is the default */
extern const size_t vq_loss_count;
const vq_loss *vq_loss_by_name(const char *name); /* NULL if there is none */

/* The temperature at which the mean perplexity of softmax(t / T) over the lists (at most 1,000 of
 * them, evenly spaced) is `target`: t holds the lists one after another, list i is first[i] ..
 * first[i+1] - 1.  Out of reach (lists shorter than the target): a temperature far above or below
 * the scores; 1 if no list holds two different scores. */
double vq_temperature(const float *t, const size_t *first, size_t nlists, double target);

#endif
