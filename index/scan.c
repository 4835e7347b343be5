/* SPDX-License-Identifier: Apache-2.0 */
/* scan.c -- the codes of the probed lists, block by block; whatever may be among the best goes to
 * the reservoir, whose threshold rises as it fills. */
#include "index/searcher.h"

vq_status vq_query_scan(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                        const void *tables, vq_arena *arena, vq_reservoir *r, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &s->model;
    size_t room = vq_round_up(s->capacity, VQ_BLOCK);
    void *scratch = vq_arena_take(arena, vq_scan_scratch(room), 1);
    uint32_t *idx = vq_arena_take(arena, room, sizeof *idx);
    float *score = vq_arena_take(arena, room, sizeof *score);
    VQ_REQUIRE(scratch != NULL && idx != NULL && score != NULL, VQ_ENOMEM, "scan: %zu vectors",
               room);
    for (uint32_t i = 0; i < x->nlists; i++) {
        uint32_t list = (uint32_t)x->lists[i].id;
        const vq_list_view *l = &s->lists[list];
        float base = x->lists[i].score + m->biases[list];
        for (uint32_t c = 0; c < l->nchunks; c++) {
            const vq_chunk_view *v = &l->chunks[c];
            uint64_t place = (uint64_t)list << 32 | (uint64_t)c * s->capacity;
            size_t kept = m->codec->scan(&m->code, k, tables, v->codes, v->factors, v->n, base,
                                         r->threshold, scratch, idx, score);
            for (size_t j = 0; j < kept; j++) vq_reservoir_push(r, score[j], place + idx[j]);
        }
    }
out:
    return rc;
}
