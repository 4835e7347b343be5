/* SPDX-License-Identifier: Apache-2.0 */
/* trace.h -- tuning queries followed through all lists of an index: what each list brought, and
 * where the true answers stood.  Any stopping rule can be judged on a trace without a search. */
#ifndef VQ_INDEX_TRACE_H
#define VQ_INDEX_TRACE_H

#include "index/searcher.h"

typedef struct vq_probes { /* the queries that are followed */
    float *x;              /* n x d, as they are asked; owned */
    uint64_t *self;        /* n labels, each the vector that the query is; VQ_NO_ID: none; owned */
    uint64_t *place;       /* n: list << 32 | slot of that vector, or VQ_NO_ID; owned */
    uint64_t *truth; /* n x truth_k labels, best first, self left out; VQ_NO_ID: fewer.  Owned;
                        NULL: the best of the codes are taken for right */
    size_t n;
    uint32_t truth_k;
} vq_probes;
void vq_probes_fini(vq_probes *p);

typedef struct vq_traced { /* one of the best candidates of a query over all lists */
    float est;             /* in units of vq_query_unit */
    uint32_t at;           /* its list's rank among those of the query */
    uint32_t place;        /* among the true answers, from 0; VQ_WRONG: it is none of them */
} vq_traced;

#define VQ_WRONG UINT32_MAX
enum { VQ_TRACE_KS = 8 };

typedef struct vq_trace {
    uint32_t k[VQ_TRACE_KS]; /* numbers of answers, rising; nk of them */
    size_t nk, n;
    uint32_t nlist, depth;   /* depth: candidates kept of a query, at most */
    float *gap[VQ_TRACE_KS]; /* n x nlist each: k-th best estimate before the list less the list's
                                score, in those units; -INFINITY while fewer than k were found */
    float *drop;             /* n x nlist: the first list's score less the list's, likewise */
    uint32_t *seen;          /* n x nlist: vectors scanned when the list is done */
    vq_traced *best;         /* n x depth, best first */
    uint32_t *nbest;         /* n */
} vq_trace;
void vq_trace_fini(vq_trace *t);

/* Follows, as a search would (by the brief of s, if it has one), the queries for nk numbers of
 * answers at once (the last is at most truth_k).  All lists of s are loaded first. */
vq_status vq_trace_run(vq_trace *t, vq_shard *s, const vq_probes *p, const uint32_t *k, size_t nk,
                       uint32_t depth, int threads, vq_error *err);

#endif
