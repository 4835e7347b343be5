/* SPDX-License-Identifier: Apache-2.0 */
/* blas.c -- OpenBLAS behind our own signatures; the only file that includes cblas.h.  Debian's
 * library holds LAPACK too, but no header for it: the routines used are declared here, as
 * Fortran has them (column-major; the lengths of the character arguments come last). */
#include "src/math/blas.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "src/base/mem.h"
#include "src/math/kernels.h"

extern void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
                    double *w, double *work, const int *lwork, int *iwork, const int *liwork,
                    int *info, size_t jobz_len, size_t uplo_len);
extern void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda,
                    double *s, double *u, const int *ldu, double *vt, const int *ldvt, double *work,
                    const int *lwork, int *iwork, int *info, size_t jobz_len);

extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info,
                    size_t uplo_len);
extern void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda,
                    int *info, size_t uplo_len, size_t diag_len);

/* A processor that is younger than OpenBLAS gets kernels of twenty years ago: of one of Intel's
 * with AMX, 0.3.21 says "Prescott", and multiplies floats at a fifth of the speed that its kernels
 * for Skylake X have there. */
const char *vq_blas_better_core(const char *core, uint32_t cpu)
{
    static const char *const outdated[] = {
        "Prescott", "Core2",     "Penryn", "Dunnington", "Nehalem",    "Sandybridge", "Atom",
        "Nano",     "Barcelona", "Bobcat", "Bulldozer",  "Piledriver", "Steamroller", "Excavator"};
    if (core == NULL) return NULL;
    for (size_t i = 0; i < sizeof outdated / sizeof outdated[0]; i++) {
        if (strcasecmp(core, outdated[i]) != 0) continue;
        if ((cpu & VQ_CPU_AVX512) != 0) return "SkylakeX";
        return (cpu & VQ_CPU_AVX2) != 0 ? "Haswell" : NULL;
    }
    return NULL;
}

const char *vq_blas_core(void)
{
    return vq_blas_better_core(openblas_get_corename(), vq_kernels_get()->needs);
}

static void gemm(CBLAS_TRANSPOSE ta, CBLAS_TRANSPOSE tb, size_t m, size_t n, size_t k, float alpha,
                 const float *a, size_t lda, const float *b, size_t ldb, float beta, float *c,
                 size_t ldc)
{
    assert(m <= INT_MAX && n <= INT_MAX && k <= INT_MAX);
    assert(lda <= INT_MAX && ldb <= INT_MAX && ldc <= INT_MAX);
    if (m == 0 || n == 0) return;
    cblas_sgemm(CblasRowMajor, ta, tb, (blasint)m, (blasint)n, (blasint)k, alpha, a, (blasint)lda,
                b, (blasint)ldb, beta, c, (blasint)ldc);
}

void vq_gemm_nt(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasNoTrans, CblasTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void vq_gemm_nn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasNoTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

void vq_gemm_tn(size_t m, size_t n, size_t k, float alpha, const float *a, size_t lda,
                const float *b, size_t ldb, float beta, float *c, size_t ldc)
{
    gemm(CblasTrans, CblasNoTrans, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* A copy of the d x d matrix a for LAPACK to destroy.  LAPACK may loop for ever on a NaN. */
static vq_status copy_square(double **out, const double *a, size_t d, const char *who,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t n;
    *out = NULL;
    VQ_REQUIRE(d <= INT_MAX && vq_mul_size(d, d, &n), VQ_EINVAL, "%s: a matrix of order %zu", who,
               d);
    for (size_t i = 0; i < n; i++)
        VQ_REQUIRE(isfinite(a[i]), VQ_EINVAL, "%s: a value that is not finite", who);
    *out = vq_mem_alloc(n, sizeof **out);
    VQ_REQUIRE(*out != NULL, VQ_ENOMEM, "%s: %zu x %zu doubles", who, d, d);
    memcpy(*out, a, n * sizeof **out);
out:
    return rc;
}

/* A routine's answer to a query for the size of its work array. */
static bool work_size(double answer, int *size)
{
    if (!(answer >= 1.0) || answer > (double)INT_MAX) return false;
    *size = (int)answer;
    return true;
}

/* The first coordinate of largest magnitude becomes positive. */
static void fix_sign(double *v, size_t d)
{
    size_t top = 0;
    for (size_t i = 1; i < d; i++)
        if (fabs(v[i]) > fabs(v[top])) top = i;
    if (!(v[top] < 0.0)) return;
    for (size_t i = 0; i < d; i++) v[i] = -v[i];
}

vq_status vq_eigen_symmetric(const double *a, size_t d, double *vectors, double *values,
                             vq_error *err)
{
    vq_status rc = VQ_OK;
    double *m = NULL, *rising = NULL, *work = NULL, size = 0.0;
    int *iwork = NULL, n = 0, lwork = -1, liwork = -1, isize = 0, info = 0;
    if (d == 0) goto out;
    VQ_TRY(copy_square(&m, a, d, "eigenvectors", err));
    n = (int)d;
    rising = vq_mem_alloc(d, sizeof *rising);
    VQ_REQUIRE(rising != NULL, VQ_ENOMEM, "eigenvectors: %zu doubles", d);
    dsyevd_("V", "U", &n, m, &n, rising, &size, &lwork, &isize, &liwork, &info, 1, 1);
    VQ_REQUIRE(info == 0 && work_size(size, &lwork) && isize >= 1, VQ_EINVAL,
               "eigenvectors: no work size for order %zu", d);
    liwork = isize;
    work = vq_mem_alloc((size_t)lwork, sizeof *work);
    iwork = vq_mem_alloc((size_t)liwork, sizeof *iwork);
    VQ_REQUIRE(work != NULL && iwork != NULL, VQ_ENOMEM, "eigenvectors: %d doubles", lwork);
    dsyevd_("V", "U", &n, m, &n, rising, work, &lwork, iwork, &liwork, &info, 1, 1);
    VQ_REQUIRE(info == 0, VQ_EINVAL, "eigenvectors: no convergence (%d)", info);
    for (size_t i = 0; i < d; i++) { /* a column of LAPACK is a row of ours */
        memcpy(vectors + i * d, m + (d - 1 - i) * d, d * sizeof *m);
        fix_sign(vectors + i * d, d);
        values[i] = rising[d - 1 - i];
    }
out:
    vq_mem_free(iwork);
    vq_mem_free(work);
    vq_mem_free(rising);
    vq_mem_free(m);
    return rc;
}

vq_status vq_cholesky(double *a, size_t d, double *inverse, vq_error *err)
{
    vq_status rc = VQ_OK;
    int n = (int)d, info = 0;
    if (d == 0) goto out;
    VQ_REQUIRE(d <= INT_MAX, VQ_EINVAL, "cholesky: a matrix of order %zu", d);
    for (size_t i = 0; i < d * d; i++)
        VQ_REQUIRE(isfinite(a[i]), VQ_EINVAL, "cholesky: a value is not finite");
    /* The upper factor by columns is the lower one by rows. */
    dpotrf_("U", &n, a, &n, &info, 1);
    VQ_REQUIRE(info == 0, VQ_EINVAL, "cholesky: not positive definite (%d)", info);
    for (size_t i = 0; i < d; i++) memset(a + i * d + i + 1, 0, (d - i - 1) * sizeof *a);
    memcpy(inverse, a, d * d * sizeof *a);
    dtrtri_("U", "N", &n, inverse, &n, &info, 1, 1);
    VQ_REQUIRE(info == 0, VQ_EINVAL, "cholesky: singular (%d)", info);
out:
    return rc;
}

vq_status vq_procrustes(const double *a, size_t d, double *r, vq_error *err)
{
    vq_status rc = VQ_OK;
    double *m = NULL, *s = NULL, *u = NULL, *vt = NULL, *work = NULL, size = 0.0;
    int *iwork = NULL, n = 0, lwork = -1, info = 0;
    if (d == 0) goto out;
    VQ_TRY(copy_square(&m, a, d, "procrustes", err)); /* read by columns: a^T = V S U^T */
    n = (int)d;
    s = vq_mem_alloc(d, sizeof *s);
    u = vq_mem_alloc(d * d, sizeof *u);
    vt = vq_mem_alloc(d * d, sizeof *vt);
    iwork = vq_mem_alloc(d, 8 * sizeof *iwork);
    VQ_REQUIRE(s != NULL && u != NULL && vt != NULL && iwork != NULL, VQ_ENOMEM,
               "procrustes: %zu x %zu doubles", d, d);
    dgesdd_("A", &n, &n, m, &n, s, u, &n, vt, &n, &size, &lwork, iwork, &info, 1);
    VQ_REQUIRE(info == 0 && work_size(size, &lwork), VQ_EINVAL,
               "procrustes: no work size for order %zu", d);
    work = vq_mem_alloc((size_t)lwork, sizeof *work);
    VQ_REQUIRE(work != NULL, VQ_ENOMEM, "procrustes: %d doubles", lwork);
    dgesdd_("A", &n, &n, m, &n, s, u, &n, vt, &n, work, &lwork, iwork, &info, 1);
    VQ_REQUIRE(info == 0, VQ_EINVAL, "procrustes: no convergence (%d)", info);
    /* Here u holds V and vt holds U^T; the product V U^T by columns is U V^T by rows. */
    cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1.0, u, n, vt, n, 0.0, r, n);
out:
    vq_mem_free(work);
    vq_mem_free(iwork);
    vq_mem_free(vt);
    vq_mem_free(u);
    vq_mem_free(s);
    vq_mem_free(m);
    return rc;
}
