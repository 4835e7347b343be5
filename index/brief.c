/* SPDX-License-Identifier: Apache-2.0 */
/* brief.c -- see brief.h. */
#include "index/brief.h"

#include <math.h>
#include <string.h>

/* A byte is off by up to half a step, evenly, in each of the coordinates. */
static float blur_of(const vq_bytemat *a)
{
    double sum = 0.0;
    for (size_t j = 0; j < a->rows; j++) sum += (double)a->step[j] * (double)a->step[j];
    return a->rows > 0 ? (float)sqrt(sum / (12.0 * (double)a->rows)) : 0.0f;
}

vq_status vq_brief_make(vq_brief *b, const vq_model *m, const vq_kernels *k, vq_error *err)
{
    vq_status rc = VQ_OK;
    const float *matrix = m->query_map ? m->query_matrix : m->matrix;
    size_t rows = m->transform_kind == VQ_TRANSFORM_DENSE ? m->d_code : 0;
    size_t first = vq_round_up(vq_bytemat_size(rows, m->d), VQ_CACHELINE);
    size_t second = vq_bytemat_size(m->nlist, m->d_code);
    size_t third = m->codec->brief_size != NULL ? m->codec->brief_size(m->d_code, m->m) : 0, all;
    memset(b, 0, sizeof *b);
    VQ_REQUIRE(second < SIZE_MAX / 8 && third < SIZE_MAX / 8, VQ_ENOMEM, "searcher: %u lists",
               m->nlist);
    second = vq_round_up(second, VQ_CACHELINE);
    all = first + second + third;
    b->memory = vq_mem_alloc(all, 1);
    VQ_REQUIRE(b->memory != NULL, VQ_ENOMEM, "searcher: %zu bytes of model", all);
    char *at = b->memory;
    if (rows > 0) vq_bytemat_make(&b->matrix, k, matrix, rows, m->d, at);
    b->blur = blur_of(&b->matrix);
    vq_bytemat_make(&b->centroids, k, m->centroids, m->nlist, m->d_code, at + first);
    b->code = m->code;
    if (third > 0) {
        m->codec->brief(&m->code, k, at + first + second);
        b->code.brief = at + first + second;
    }
out:
    return rc;
}

void vq_brief_free(vq_brief *b)
{
    vq_mem_free(b->memory);
    memset(b, 0, sizeof *b);
}
