/* SPDX-License-Identifier: Apache-2.0 */
/* learn.h -- distillation: from a fitted model and its encoded corpus to codebooks, list vectors
 * and a query map that reproduce a teacher's ranking for training queries. */
#ifndef VQ_INDEX_LEARN_H
#define VQ_INDEX_LEARN_H

#include "index/codeview.h"
#include "index/teacher.h"

typedef struct vq_learn_opts {
    const char *loss;   /* NULL: listnet */
    double temperature; /* 0: by the perplexity rule */
    unsigned epochs;    /* of a round; 0: chosen */
    bool coded_only;    /* no rounds: codes as queries feel them, and nothing learnt */
    bool fixed_queries; /* no map of them is learnt */
    bool copies;        /* the corpus gets some, in the end */
    vq_epoch_fn log;    /* may be NULL */
    void *log_ctx;
} vq_learn_opts;

/* How many of nq queries judge. */
size_t vq_judges(size_t nq);

/* Trains on nine tenths of the queries and judges by the others: the overlap of the ten best by
 * codes with the teacher's ten.  The best state judged is kept, the start included: fitted and the
 * model of p (whose arrays point into fitted) are changed in place, and the codes of the corpus
 * where coding anew was no loss.  Two rounds, the second with fresh false positives and only if the
 * first brought anything. */
vq_status vq_learn(vq_plan *p, vq_fitted *fitted, const vq_queries *queries,
                   const vq_teacher *truth, vq_corpus *corpus, const vq_learn_opts *opts,
                   vq_ticker *ticker, vq_error *err);

#endif
