/* SPDX-License-Identifier: Apache-2.0 */
/* searcher.h -- a searcher: snapshots of one or more indexes, their lists as they are touched, and
 * scratch memory.  search.c is the way of a query; probe.c, scan.c and rerank.c are its steps. */
#ifndef VQ_INDEX_SEARCHER_H
#define VQ_INDEX_SEARCHER_H

#include <pthread.h>

#include "index/brief.h"
#include "index/grouping.h"
#include "index/model.h"
#include "index/relation.h"
#include "src/base/bytes.h"
#include "src/math/kth.h"
#include "src/math/topk.h"

/* One chunk of a list, where it lies in the map. */
typedef struct vq_chunk_view {
    uint32_t n;
    const uint8_t *codes;
    const float *factors;  /* or NULL */
    const uint8_t *labels; /* of copies: places */
} vq_chunk_view;

typedef struct vq_list_view {
    vq_chunk_view *chunks;     /* owned; first those of vectors, then those of copies */
    uint32_t nchunks, ncopied; /* of each */
    uint32_t n, copies;        /* vectors and copies in them */
    const uint8_t **rows;      /* of each chunk of rows, where they begin; NULL until vq_shard_row
                                  has found them; shared by the workers; owned */
    bool loaded;               /* else n and rows may be an older snapshot's, see carry_lists */
} vq_list_view;

typedef struct vq_vacant { /* lists that hold neither vectors nor copies */
    uint8_t *state;        /* nlist: 0 of these; NULL: it is not known, and none is named; owned */
    uint32_t nlist;
    uint32_t *lists; /* n, rising; owned */
    uint32_t n;
} vq_vacant;

typedef struct vq_filter vq_filter; /* mask.h */
typedef struct vq_mask vq_mask;
typedef struct vq_expr vq_expr;         /* expr.h */
typedef struct vq_doc_room vq_doc_room; /* docs.h */

typedef struct vq_shard { /* one index */
    vq_snapshot snapshot;
    vq_model model;
    vq_brief brief;        /* made by the first search that scores candidates from rows, or whose
                              codes have error bars; no memory: every bit counts */
    vq_groups groups;      /* of the lists, where there are many: made by the first search; no
                              memory: none */
    vq_list_view *lists;   /* room of them, nlist at least; filled by vq_shard_load */
    uint32_t room;         /* a writer looks at lists to come, which are empty as yet */
    pthread_mutex_t *lock; /* held while a list is looked up; owned */
    vq_vacant vacant;      /* none is named where lists lie in groups */
    uint32_t capacity;     /* vectors of a full chunk */
    uint32_t row_capacity; /* rows of a full chunk of rows */
    vq_mask *mask;         /* of the searcher's filter for this snapshot; NULL: no filter; owned */
    uint8_t *names;        /* the last block of names that was unpacked; NULL at first */
    uint32_t names_block, names_count;
    vq_doc_room *docs; /* of the document that was read last; NULL at first; owned */
} vq_shard;

/* Opens a snapshot of f and reads the model. */
vq_status vq_shard_open(vq_shard *s, vq_file *f, vq_error *err);
void vq_shard_close(vq_shard *s);
/* Moves on to the newest snapshot of the file, if there is a newer one; lists and rows that have
 * changed are looked up anew, when they are wanted.  On failure s is as before. */
vq_status vq_shard_refresh(vq_shard *s, vq_error *err);
/* Makes room for lists to come.  false: out of memory. */
bool vq_shard_room(vq_shard *s, uint32_t nlist);
/* The list's chunks, looked up at the first call.  Any thread; but who has not called it for a list
 * must not look at that list. */
vq_status vq_shard_load(vq_shard *s, uint32_t list, vq_error *err);

/* vacant.c: into v, by the keys of a snapshot; old: of an earlier one, or NULL, of which lists that
 * may have changed have been forgotten.  On failure v is empty. */
vq_status vq_vacant_find(vq_vacant *v, const vq_snapshot *s, uint32_t nlist, const vq_vacant *old,
                         vq_error *err);
void vq_vacant_forget(vq_vacant *v, uint32_t list);
void vq_vacant_fini(vq_vacant *v);
#define VQ_VACANT_SCORE (-0x1p126f) /* below that of any other list, and no infinity */
/* Lists that a search of all of them reads; 1 at least. */
static inline uint32_t vq_shard_live(const vq_shard *s)
{
    return VQ_MAX(s->model.nlist - s->vacant.n, 1u);
}

/* Where a vector lies: list << 32 | slot. */
static inline const vq_chunk_view *vq_shard_at(const vq_shard *s, uint64_t place, uint32_t *slot)
{
    uint32_t in_list = (uint32_t)place;
    *slot = in_list % s->capacity;
    return &s->lists[place >> 32].chunks[in_list / s->capacity];
}

/* The stored row of a place; its chunk is looked up at the first call: a scan of all lists need not
 * touch the rows of any.  Any thread; two that look at once find the same.  VQ_EUNSUPPORTED: none
 * are stored. */
vq_status vq_shard_row(const vq_shard *s, uint64_t place, const uint8_t **row, vq_error *err);
/* Whether the chunk of that row has been looked up. */
static inline bool vq_shard_row_seen(const vq_shard *s, uint64_t place)
{
    const vq_list_view *l = &s->lists[place >> 32];
    return VQ_ATOMIC_LOAD(&l->rows[(uint32_t)place / s->row_capacity]) != NULL;
}
/* Sums the chunk of a row. */
vq_status vq_shard_row_verify(const vq_shard *s, uint64_t place, vq_error *err);

/* ids.c: external ids */
/* What a value of `ids` says: list << 32 | slot of the vector, checked to exist, the list loaded.
 */
vq_status vq_shard_place(vq_shard *s, const uint8_t *value, size_t size, uint64_t *place,
                         vq_error *err);
/* What the second half of it says (8 bytes): the place, in `copies`, of the copy of the vector at
 * `of`. */
vq_status vq_shard_copy(vq_shard *s, const uint8_t *value, uint64_t of, uint64_t *place,
                        vq_error *err);
vq_status vq_shard_find(vq_shard *s, uint64_t label, uint64_t *place, vq_error *err);
vq_status vq_shard_find_name(vq_shard *s, const char *name, uint64_t *label, vq_error *err);
vq_status vq_shard_name(vq_shard *s, uint64_t label, char *name, size_t cap, vq_error *err);
/* Of string ids, whose keys and values have no checksum: sums the records of all names and finds
 * each by `ids`, at a vector with its label.  As they are as many as vectors, each id has its name.
 * *records grows by those that were read.  VQ_ECORRUPT. */
vq_status vq_shard_check_names(vq_shard *s, uint64_t *records, vq_error *err);

/* ---- one query at work ---- */

typedef struct vq_effort {
    uint32_t k, nprobe, candidates; /* candidates: kept by the scan for the second pass */
    bool exact;                     /* the second pass reads stored rows; else the codec's score */
    bool adaptive;                  /* nprobe and candidates are bounds; the rules decide within */
    float recall;                   /* that was asked for; 0: none */
    vq_rule lists, rows;
    float bars; /* of codes that have them: their width in deviations */
    float gap;  /* no candidate so far below the k-th is taken; not below 0 */
} vq_effort;

/* When to stop: lives while a query is scanned. */
typedef struct vq_stop {
    const vq_shard *shard;
    const vq_kernels *k;
    const vq_effort *effort;
    vq_kth kth;
    float unit;  /* of gaps */
    float first; /* score of the first list */
    uint32_t nlist;
    vq_arena *arena;
    void *scratch; /* vq_probe_scratch, once more lists were found by groups */
    bool failed;   /* out of memory */
} vq_stop;

typedef struct vq_query {
    const float *q; /* d, as given */
    float *y;       /* d_code: in coded space; NULL: rows alone are scored */
    double *wide;   /* d */
    vq_fixed fixed; /* d: wide in integers, for rows of bytes; x NULL: no rows are scored */
    bool whole;     /* fixed is wide, and small enough that no product of it is ever rounded */
    double q_sq;    /* sum of squares of q; 0: l2 without rows, where nobody asks */
    double unit;    /* of vq_exact_score */
    double offset;  /* turns an estimate into a score: ip, cosine: + offset; l2: offset - 2 * . */
    vq_hit *lists;  /* nprobe lists, best first: id = list, score = rank value */
    uint32_t nlists, sorted;   /* the first so many are in order, the others in none */
    const struct vq_query *of; /* the query whose lists these are a share of; NULL: they are all */
    float *rest; /* nlist: scores of the lists that are not in `lists` yet, NaN for those that are;
                    NULL: not wanted, or all wanted are there, or: */
    bool open;   /* more lists are found by their groups, when they are wanted */
} vq_query;

/* What is left of the chunks that were scanned: the best `keep` of them, of equal ones those of
 * smaller places, but none that cannot be among the `best`, and what came since they were last
 * chosen.  So it does not matter which list was
 * scanned first.  Kept in the order of the scan. */
enum { VQ_POOL_ROWS = 64 };
typedef struct vq_pool {
    float *scores;    /* cap + the most that one scan adds */
    float *most;      /* what they may score at best, where error bars tell; else scores */
    uint64_t *places; /* list << 32 | slot */
    size_t n, keep, cap;
    size_t best;     /* so many are wanted in the end; */
    float slack;     /* ..by scores that are off from these by no more; infinite: it is not known */
    uint64_t codes;  /* that were read to the end, where error bars decide which are */
    float threshold; /* nothing below it can be among the best; -inf at first */
    const uint8_t *rows[VQ_POOL_ROWS]; /* of a group of candidates */
} vq_pool;

/* probe.c: fills everything of x but q and the memory that y, wide and fixed.x point to (d_code, d
 * and d; fewer when lists is NULL).  in_order: best list first; else in any.  scratch:
 * vq_probe_scratch() bytes. */
size_t vq_probe_scratch(const vq_model *m);
void vq_query_prepare(const vq_shard *s, const vq_kernels *k, vq_query *x, void *scratch);
void vq_query_probe(const vq_shard *s, const vq_kernels *k, vq_query *x, uint32_t nprobe,
                    bool in_order, void *scratch);
/* Both for n queries (VQ_PROBE_TOGETHER at most) that want all lists that hold anything, in no
 * order, of a shard without a brief: matrices are read once for all of them.  scratch:
 * vq_probe_together_scratch() bytes. */
enum { VQ_PROBE_TOGETHER = 8 };
size_t vq_probe_together_scratch(const vq_model *m);
void vq_queries_probe_all(const vq_shard *s, const vq_kernels *k, vq_query *x, size_t n,
                          void *scratch);
/* Makes what a probe by groups needs, if the model has groups and it is not there yet.  Not while
 * others search the shard. */
vq_status vq_shard_group(vq_shard *s, vq_error *err);
/* Whether a probe for so many lists should go by groups, and whether it does: they are made. */
static inline bool vq_shard_groupable(const vq_shard *s, uint64_t nprobe)
{
    return s->model.ngroups > 0 && nprobe <= s->model.nlist / VQ_GROUPS_SHARE &&
           nprobe <= VQ_GROUPS_MOST;
}
static inline bool vq_shard_grouped(const vq_shard *s, uint64_t nprobe)
{
    return s->groups.memory != NULL && vq_shard_groupable(s, nprobe);
}
/* The query's product with the centroid of one of its lists, to which those with codes are added.
 */
static inline float vq_list_base(const vq_model *m, const vq_kernels *k, const vq_query *x,
                                 const vq_hit *list)
{
    if (m->routes == NULL) return list->score + m->biases[list->id];
    return k->dot_f32(x->y, m->centroids + (size_t)list->id * m->d_code, m->d_code);
}
/* Scores of all lists, as a probe has them before it looks closer. */
void vq_query_scores(const vq_shard *s, const vq_kernels *k, const vq_query *x, void *scratch,
                     float *scores);

/* What a scan looks up of a query that is prepared; NULL: no memory. */
const void *vq_shard_tables(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                            vq_arena *arena);

/* The unit of a query's gaps, above 0: what its products with residuals vary by, where rows are
 * stored and codes tell; else, and by rules of older versions, its length in the coded space. */
float vq_query_unit(const vq_shard *s, const vq_kernels *k, const float *y, bool older);

/* copies.c: a copy makes its vector a candidate where the vector's own list is not scanned.  From
 * there on it is the vector that counts: its row, label and code. */
/* The place of the vector that a slot of a chunk of copies is of. */
static inline uint64_t vq_copy_of(const vq_chunk_view *v, uint32_t slot)
{
    return vq_le64(v->labels + 8 * (size_t)slot);
}
/* A place of the pool without what tells that a copy has found it. */
static inline uint64_t vq_copies_place(uint64_t place)
{
    return place & ~(UINT64_C(1) << 63);
}
typedef struct vq_marks {
    uint64_t *done;  /* a bit a list whose vectors need no copies: scanned, or sure to be; NULL: no
                        copies are scanned */
    uint64_t *met;   /* a bit a list of which a vector has been found by its copy; NULL: it is known
                        beforehand which lists are scanned */
    uint64_t *found; /* places of the first of those vectors, by their hash, and how many */
} vq_marks;
/* No copies are scanned where there are none, or where all lists will be.  ahead: all lists of x
 * will be scanned; else they are done one by one (vq_copies_done). */
vq_status vq_copies_begin(vq_marks *c, const vq_shard *s, const vq_query *x, bool ahead,
                          vq_arena *arena, vq_error *err);
static inline void vq_copies_done(const vq_marks *c, uint32_t list)
{
    if (c->done != NULL) c->done[list / 64] |= UINT64_C(1) << list % 64;
}
/* The scan of a chunk of copies, or of vectors of a list, has kept these slots, whose scores lie
 * behind those of the pool.  Leaves those that have not been found before, and returns how many;
 * take: writes their places, too. */
size_t vq_copies_take(const vq_marks *c, uint32_t nlist, const vq_chunk_view *v,
                      const uint32_t *idx, size_t kept, vq_pool *pool);
size_t vq_copies_skip(const vq_marks *c, uint64_t first, uint32_t *idx, size_t kept, vq_pool *pool);
/* Candidates that are copies become their vectors, whose lists are looked up. */
vq_status vq_copies_settle(const vq_marks *c, vq_shard *s, vq_pool *pool, vq_error *err);

typedef struct vq_look vq_look;

/* scan.c: a part of a list at a time, for one query or, in batch.c, for many. */
typedef struct vq_scan { /* memory of the arena */
    const vq_shard *s;
    const vq_kernels *k;
    size_t room; /* vectors of the largest part */
    void *scratch;
    uint32_t *idx;
    vq_look *look; /* where error bars decide; else NULL */
} vq_scan;
typedef struct vq_part {
    uint32_t list, chunk, first, n; /* slots of a chunk; the first is one of a block */
    const uint8_t *ahead;           /* codes that are scanned later, see vq_codec.scan; or NULL */
} vq_part;
static inline const uint8_t *vq_part_codes(const vq_shard *s, vq_part p)
{
    return s->lists[p.list].chunks[p.chunk].codes + (size_t)p.first * s->model.code.code_bytes;
}
vq_status vq_scan_begin(vq_scan *w, const vq_shard *s, const vq_kernels *k, size_t room,
                        vq_arena *arena, vq_error *err);
/* Candidates after which a pool of so many shrinks. */
static inline size_t vq_pool_cap(size_t keep)
{
    return 2 * keep + 64;
}
vq_status vq_pool_begin(vq_pool *p, size_t keep, const vq_scan *w, vq_arena *arena, vq_error *err);
/* Of a pool that has begun: codes alone rank, so that what is off by more than the tables of the
 * scan may be need not be kept.  Not where copies are scanned, whose codes are others'. */
void vq_pool_trust(vq_pool *p, const vq_shard *s, const vq_query *x, const void *tables,
                   const vq_effort *e);
/* Puts what may be among the best of a part (vectors, or copies where copies->done is there) behind
 * the pool, and returns how many.  base: the list's share of the score.  The caller shrinks. */
size_t vq_scan_part(const vq_scan *w, const void *tables, const vq_marks *copies, vq_part part,
                    float base, vq_pool *pool);
/* Its end, where the codec has left `kept` slots of the part in w->idx, scores behind the pool. */
size_t vq_scan_keep(const vq_scan *w, const vq_marks *copies, vq_part part, size_t kept,
                    vq_pool *pool);
void vq_pool_shrink(vq_pool *p, const vq_kernels *k); /* to the best; raises the threshold */

/* bars.c: the scan of codes with error bars for one query. */
typedef struct vq_seen { /* beside a candidate of the pool */
    const vq_chunk_view *chunk;
    uint32_t slot, list;  /* of its code, which may be a copy's */
    float estimate, base; /* by its head; the list's share */
    float away; /* what the query, for l2 less the centroid, feels of a whole code's error */
    bool read;  /* to the end: the pool has the score of the whole code */
} vq_seen;
struct vq_look { /* memory of the arena */
    const vq_query *x;
    const void *tables;
    bool exact, two; /* rows come after; a code is more than its head */
    float length;    /* of what integers were multiplied by */
    uint32_t list;   /* that sight is of */
    vq_sight sight;
    float stretch, away; /* what sight has for heads, of whole codes */
    vq_kth kth;          /* of whole codes; exact: of the least that these may score */
    float y_sq;          /* squared length of the query in the coded space */
    uint32_t *slots;     /* of a part, what its heads leave; */
    float *scores;       /* their estimates; */
    float *most;         /* what they may score at best */
    vq_seen *seen;       /* as many as the pool has room for */
    vq_hit *hits;        /* likewise, for sorting */
    size_t done;         /* candidates in front of the pool about which nothing is open */
};
vq_status vq_look_begin(vq_look *l, const vq_scan *w, const vq_query *x, const void *tables,
                        const vq_effort *e, vq_arena *arena, vq_error *err);
/* vq_scan_part where error bars decide; what waits in the pool has no score yet. */
size_t vq_look_part(vq_look *l, const vq_scan *w, const vq_marks *copies, vq_part part,
                    vq_pool *pool);
/* In place of vq_pool_shrink: leaves those that count, scored by their whole codes. */
void vq_look_finish(vq_look *l, const vq_scan *w, vq_pool *pool);
/* In place of vq_query_rerank: final scores of what is in the pool, into out.  Adds to stats the
 * codes and rows that were read. */
vq_status vq_look_rank(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                       const vq_effort *e, vq_arena *arena, const vq_pool *pool, vq_reservoir *out,
                       vq_search_stats *stats, vq_error *err);

/* The candidates of the lists of x: the best of e->candidates by estimate, or those that error bars
 * leave, into pool, whose memory lies in the arena.  stop: NULL (then all lists of x are in order),
 * or what ends it early and brings more lists into x as they are wanted.  *lists is how many were
 * scanned. */
vq_status vq_query_scan(vq_shard *s, const vq_kernels *k, vq_query *x, const void *tables,
                        vq_arena *arena, vq_stop *stop, const vq_effort *e, vq_pool *pool,
                        uint32_t *lists, vq_error *err);

/* batch.c: the same for many queries: lists are scanned once for all that want them. */
typedef struct vq_seat { /* of a query */
    vq_query *x;
    const void *tables;
    vq_pool pool;
    vq_marks copies;
} vq_seat;
vq_status vq_batch_scan(vq_shard *s, const vq_kernels *k, vq_seat *seats, size_t n,
                        const vq_effort *e, vq_arena *arena, vq_error *err);

/* spread.c: one query on all threads of the searcher, like vq_query_scan without stop.  The lists
 * of x have been looked up; pool lies in the shared arena; *tables will do for vq_query_rerank. */
vq_status vq_spread_scan(vq_searcher *s, vq_shard *shard, const vq_query *x, const vq_effort *e,
                         vq_pool *pool, const void **tables, vq_error *err);

enum { VQ_SORT_LISTS = 16 }; /* of an adaptive search: known before any is scanned */

/* stop.c: the rules of relation.h at work.  false: out of memory. */
bool vq_stop_init(vq_stop *t, const vq_effort *e, const vq_shard *s, const vq_kernels *k,
                  const float *y, vq_arena *arena);
/* Brings more lists into order, from x->sorted on, but for those that the rule cannot reach any
 * more. */
void vq_stop_order(vq_stop *t, vq_query *x);
/* Is there a list of this rank, and is it worth scanning?  Ranks are asked for in turn. */
static inline bool vq_stop_goes_on(vq_stop *t, vq_query *x, uint32_t rank)
{
    if (rank == x->sorted) vq_stop_order(t, x);
    if (rank >= x->nlists) return false;
    float score = x->lists[rank].score;
    if (rank == 0) t->first = score;
    if (t->kth.n < t->kth.k) return true;
    return vq_rule_on(&t->effort->lists, (t->kth.worst - score) / t->unit, vq_lb(rank + 1),
                      (t->first - score) / t->unit);
}
/* The score below which no candidate is taken, whatever its rank. */
static inline float vq_stop_floor(const vq_stop *t)
{
    if (t->kth.n < t->kth.k || !t->effort->exact) return -INFINITY;
    return t->kth.worst - t->effort->gap * t->unit; /* rounded the same everywhere */
}
/* Leaves in the pool the candidates that are worth their rows.  false: out of memory. */
bool vq_stop_rows(const vq_stop *t, vq_pool *pool, vq_arena *arena);

/* rerank.c: candidates to final scores, into out (id: label, score: larger is better).  The scores
 * of pool are overwritten. */
vq_status vq_query_rerank(const vq_shard *s, const vq_kernels *k, const vq_query *x,
                          const void *tables, bool exact, vq_pool *pool, vq_reservoir *out,
                          vq_error *err);

struct vq_searcher {
    vq_shard *shards;
    vq_shard *fresh; /* nshards, empty but while other files take their names */
    char **paths;    /* of the shards: whose names they are */
    size_t nshards;
    double followed;         /* when names were last looked at, by vq_now */
    vq_error unfit;          /* what was wrong with the files found then; code 0: nothing */
    uint32_t nprobe, rerank; /* as asked: 0, a number, VQ_ALL, VQ_NONE */
    float recall;            /* as asked; 0: the default, where neither of those is given either */
    float bars;              /* as asked; 0: the default */
    bool pinned;             /* a search does not move on to newer snapshots */
    vq_filter *filter;       /* or NULL; owned */
    vq_expr *expr;           /* or NULL; owned */
    int threads;
    uint64_t
        spread; /* least vectors that one query is spread over threads for; UINT64_MAX: never */
    const vq_kernels *k;
    vq_arena shared;        /* of a tile of queries */
    vq_arena *workers;      /* threads */
    vq_search_stats *stats; /* threads: what each worker has done */
};

vq_effort vq_searcher_effort_of(const vq_searcher *s, const vq_shard *shard, uint32_t k);
/* nq x k ids and scores; scores may be NULL. */
/* Each of the nq rows of q finite, and not so large that scores overflow?  VQ_EINVAL tells which is
 * not. */
vq_status vq_search_check(const vq_searcher *s, const float *q, size_t nq, vq_error *err);
vq_status vq_search_run(vq_searcher *s, const float *q, size_t nq, uint32_t k, uint64_t *ids,
                        float *scores, vq_error *err);
/* range.c: see vq_search_within. */
vq_status vq_range_run(vq_searcher *s, const float *q, float bound, uint64_t most, vq_hit_fn fn,
                       void *ctx, vq_error *err);

#endif
