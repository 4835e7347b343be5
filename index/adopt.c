/* SPDX-License-Identifier: Apache-2.0 */
/* adopt.c -- see adopt.h. */
#include "index/adopt.h"

#include <inttypes.h>
#include <string.h>

enum { SAMPLE = 256, DEFAULT_MEMORY = 256 << 20 };
#define F16_MAX 65504.0f
#define I8_MAX  127.5f

/* The first option given that would choose what the model says, or teach; NULL: none. */
static const char *idle_option(const vq_build_opts *o)
{
    return o->codec != NULL && strcmp(o->codec, "auto") != 0 ? "codec"
           : o->code_bytes != 0                              ? "bytes"
           : o->bits != 0.0f                                 ? "bits"
           : o->nlist != 0                                   ? "nlist"
           : o->rotation != VQ_ROTATION_AUTO                 ? "rotation"
           : o->seed != 0                                    ? "seed"
           : o->train != VQ_TRAIN_AUTO                       ? "train"
           : o->nqueries > 0                                 ? "queries"
           : o->loss != NULL                                 ? "loss"
           : o->epochs != 0                                  ? "epochs"
           : o->temperature != 0.0f                          ? "temperature"
           : o->fixed_queries != 0                           ? "learn-query-map"
           : o->teacher_cache != NULL                        ? "teacher-cache"
           : o->teacher != NULL                              ? "teacher"
           : o->positives != NULL                            ? "qrels"
                                                             : NULL;
}

static vq_status check(const vq_model *of, const char *name, const vq_build_opts *o, uint64_t n,
                       uint32_t d, uint32_t elem, vq_error *err)
{
    vq_status rc = VQ_OK;
    const char *idle = idle_option(o);
    bool bytes = of->store == VQ_I8 || of->store == VQ_U8;
    bool floats = elem == VQ_F32 || elem == VQ_F16;
    VQ_REQUIRE(idle == NULL, VQ_EINVAL,
               "%s: all is as in %s, whose model this is to be: leave it out, or the model", idle,
               name);
    VQ_REQUIRE(o->metric == VQ_METRIC_DEFAULT || o->metric == of->metric, VQ_EINVAL,
               "metric %s: the model of %s is for %s", vq_metric_name(o->metric), name,
               vq_metric_name(of->metric));
    VQ_REQUIRE(o->store == VQ_ELEM_DEFAULT || o->store == of->store, VQ_EINVAL,
               "store %s: %s has %s", vq_elem_name(o->store), name, vq_elem_name(of->store));
    VQ_REQUIRE(o->copies <= VQ_COPIES_YES, VQ_EINVAL, "copies %u: there is no such choice",
               o->copies);
    VQ_REQUIRE(d == of->d, VQ_EINVAL, "rows of %u dimensions; the model of %s is for %u", d, name,
               of->d);
    VQ_REQUIRE(!bytes || elem == of->store || (floats && of->store_scale != 1.0f), VQ_EINVAL,
               "the rows are %s; %s stores %s, which does not hold them", vq_elem_name(elem), name,
               vq_elem_name(of->store));
    VQ_REQUIRE(elem != of->store || of->store_scale == 1.0f, VQ_EINVAL,
               "the rows are %s; those that %s stores are floats, scaled: give floats",
               vq_elem_name(elem), name);
    VQ_REQUIRE(n <= UINT32_MAX, VQ_EUNSUPPORTED,
               "%" PRIu64 " vectors; one index holds up to %u, so make several and search them as "
               "one",
               n, UINT32_MAX);
out:
    return rc;
}

vq_status vq_adopt_plan(vq_plan *p, const vq_model *of, const char *name, const vq_build_opts *o,
                        uint64_t n, uint32_t d, uint32_t elem, vq_error *err)
{
    vq_status rc = VQ_OK;
    memset(p, 0, sizeof *p);
    VQ_TRY(check(of, name, o, n, d, elem, err));
    vq_model *m = &p->model;
    *m = *of;
    m->relevance = NULL, m->tune = (vq_relation){0}; /* measured on other vectors */
    m->format = vq_format_least(m);
    m->n = n;
    m->copies = m->labels = m->added = m->tuned_at = 0;
    m->added_spread = 0.0f;
    m->input = elem;
    m->string_ids = o->names != NULL;
    p->adopted = true;
    p->sample = (size_t)VQ_MIN(n, (uint64_t)SAMPLE); /* nobody learns from it */
    p->threads = vq_team(o->threads, 1024);
    p->memory = o->memory != 0 ? (size_t)o->memory : (size_t)DEFAULT_MEMORY;
    p->copies = o->copies == VQ_COPIES_AUTO ? of->copies > 0 : o->copies == VQ_COPIES_YES;
    vq_plan_note(p, "model of %s: nothing was trained", name);
out:
    return rc;
}

vq_status vq_adopt_store(vq_plan *p, float largest, vq_error *err)
{
    vq_status rc = VQ_OK;
    const vq_model *m = &p->model;
    VQ_REQUIRE(m->store != VQ_F16 || largest <= F16_MAX, VQ_EINVAL,
               "store f16, as the model has it: values reach %g, f16 ends at %g", (double)largest,
               (double)F16_MAX);
    if (m->store == VQ_I8 && largest * m->store_scale > I8_MAX)
        vq_plan_note(p,
                     "values up to %g clamped to %g instead of %g: the model's i8 rows end there",
                     (double)largest, (double)(127.0f / m->store_scale), (double)largest);
out:
    return rc;
}
