/* SPDX-License-Identifier: Apache-2.0 */
/* cut.c -- see cut.h. */
#include "src/eval/cut.h"

#include <math.h>
#include <stdlib.h>

vq_cut_quality vq_cut_of(size_t kept, size_t right, size_t relevant)
{
    return (vq_cut_quality){.precision = kept > 0 ? (double)right / (double)kept : NAN,
                            .recall = (double)right / (double)relevant,
                            .f1 = 2.0 * (double)right / (double)(kept + relevant)};
}

static int best_first(const void *a, const void *b)
{
    const vq_cut_answer *x = a, *y = b;
    return (x->value < y->value) - (x->value > y->value);
}

double vq_cut_best(vq_cut_answer *answers, size_t n, size_t relevant, double *f1)
{
    size_t right = 0;
    double cut = INFINITY;
    *f1 = 0.0;
    qsort(answers, n, sizeof *answers, best_first);
    for (size_t i = 0; i < n; i++) {
        right += answers[i].relevant;
        if (i + 1 < n && answers[i + 1].value >= answers[i].value) continue; /* no cut between */
        double here = vq_cut_of(i + 1, right, relevant).f1;
        if (here <= *f1) continue;
        *f1 = here;
        cut = answers[i].value;
    }
    return cut;
}

vq_cut_quality vq_cut_at(const vq_cut_answer *answers, size_t n, size_t relevant, double cut)
{
    size_t kept = 0, right = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(answers[i].value >= cut)) continue;
        kept++;
        right += answers[i].relevant;
    }
    return vq_cut_of(kept, right, relevant);
}
