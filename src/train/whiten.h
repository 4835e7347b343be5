/* SPDX-License-Identifier: Apache-2.0 */
/* whiten.h -- the space in which squared error counts as queries feel it: with H = E[q q^T] = L
 * L^T, rows go to L^T x and queries to L^-1 q, so products stay and |L^T e|^2 = E[(q . e)^2]. */
#ifndef VQ_TRAIN_WHITEN_H
#define VQ_TRAIN_WHITEN_H

#include <stddef.h>

#include "src/base/status.h"

/* q is nq x d, nq >= 1.  H is shrunk towards the identity, (1 - rho) H + rho tr(H)/d I with 0 < rho
 * <= 1, and scaled to a mean diagonal of 1.  rows (d x d) receives L^T, queries (d x d) L^-1; both
 * are applied from the left.  All-zero queries count as H = I.  Bits do not depend on threads. */
vq_status vq_whiten(const float *q, size_t nq, size_t d, double rho, int threads, float *rows,
                    float *queries, vq_error *err);

#endif
