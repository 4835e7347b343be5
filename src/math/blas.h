/* SPDX-License-Identifier: Apache-2.0 */
/* blas.h -- dense linear algebra by OpenBLAS.  blas.c is the only file that includes cblas.h.
 * Row-major.  Threads: as the process has it set; builds hold it at one (team.h). */
#ifndef VQ_MATH_BLAS_H
#define VQ_MATH_BLAS_H

#include <stddef.h>

#include "src/base/status.h"

/* C (m x n, row stride ldc) = alpha * A (m x k) * B^T (n x k) + beta * C. */
void vq_gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* C (m x n) = alpha * A (m x k) * B (k x n) + beta * C. */
void vq_gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* C (m x n) = alpha * A^T (k x m) * B (k x n) + beta * C. */
void vq_gemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc);
/* Eigenvectors of a symmetric d x d matrix, by falling eigenvalue: vectors (d x d, one a row) and
 * values (d).  The sign of each vector is fixed: its largest-magnitude coordinate (the first such)
 * is positive. */
vq_status vq_eigen_symmetric(const double *a, size_t d, double *vectors, double *values,
                             vq_error *err);
/* Cholesky: the symmetric, positive definite a (d x d) becomes its lower factor L (zeros above the
 * diagonal), a = L L^T, and inverse (d x d) L^-1.  VQ_EINVAL if a is not positive definite. */
vq_status vq_cholesky(double *a, size_t d, double *inverse, vq_error *err);
/* The orthogonal d x d matrix R nearest to a: R = U V^T of a = U S V^T (Procrustes). */
vq_status vq_procrustes(const double *a, size_t d, double *r, vq_error *err);

/* The core type that OpenBLAS had better be told in OPENBLAS_CORETYPE, where it has chosen `core`
 * and the processor has `cpu` (VQ_CPU_* bits); NULL: none. */
const char *vq_blas_better_core(const char *core, uint32_t cpu);

#endif
