/* SPDX-License-Identifier: Apache-2.0 */
/* vq.h -- nearest neighbours of vectors, from one index file.  This header is the whole public API.
 *
 * Shapes   "n x d" is n rows of d elements, row-major, rows adjacent.
 * Scores   l2 is the squared distance, smaller is nearer; ip and cosine are products, larger is
 *          nearer.  A score is the exact value over the stored row, computed in double and rounded
 *          to float; equal scores are ordered by the smaller id.  Searches without stored rows (or
 *          with rerank = VQ_NONE) give the score of the compressed vector instead.
 * Ids      are uint64_t.  An index with string ids hands out labels: a build gives the label of an
 *          id by its rank in byte order, ids that come later get the next ones, and a label is
 *          never given twice; vq_id_name() and vq_id_find() translate.
 * Threads  a vq_index may be shared by all threads; a vq_searcher or vq_writer belongs to one
 *          thread at a time.  Readers never wait for a writer.
 * Errors   a call that can fail returns VQ_OK or a negative code; `err`, if not NULL, receives the
 *          text.  On failure out parameters are NULL or untouched.
 * Memory   what a vq_*_open() hands out goes to the matching vq_*_close(), which accepts NULL.  No
 *          pointer to a caller's data outlives the call, except where a source says so.
 * Silence  the library prints nothing, ends no process, reads no environment, sets no handler.
 */
#ifndef VQ_VQ_H
#define VQ_VQ_H

#include <stddef.h>
#include <stdint.h>

#define VQ_VERSION_MAJOR 0 /* soname libvq.so.0.<MINOR> until 1.0, then libvq.so.<MAJOR> */
#define VQ_VERSION_MINOR 1
#define VQ_VERSION_PATCH 0

#define VQ_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vq_status { /* values are never reused; expect new ones */
                         VQ_OK = 0,
                         VQ_EINVAL = -1,      /* an argument or option is wrong */
                         VQ_ENOMEM = -2,      /* out of memory */
                         VQ_EIO = -3,         /* the system refused: open, read, write, disk full */
                         VQ_ECORRUPT = -4,    /* the bytes are not what they should be: a damaged or
                                                 foreign file */
                         VQ_EVERSION = -5,    /* a file of a newer format */
                         VQ_ENOENT = -6,      /* no such file, id or part */
                         VQ_EBUSY = -7,       /* somebody else holds it */
                         VQ_ECANCELED = -8,   /* the progress callback asked to stop */
                         VQ_EUNSUPPORTED = -9 /* valid, but not in this build or version */
} vq_status;

/* Yours, on your stack; nothing to free.  Untouched by a call that succeeds. */
typedef struct vq_error {
    int32_t code;   /* the vq_status returned */
    char text[508]; /* what was expected, what was found, what to do; UTF-8, ends with NUL */
} vq_error;

typedef enum vq_metric {
    VQ_METRIC_DEFAULT = 0,
    VQ_METRIC_L2 = 1,
    VQ_METRIC_IP = 2,
    VQ_METRIC_COSINE = 3
} vq_metric;

typedef enum vq_elem { /* type of one coordinate of a row */
                       VQ_ELEM_DEFAULT = 0,
                       VQ_F32 = 1,
                       VQ_F16 = 2, /* IEEE 754 binary16 */
                       VQ_I8 = 3,
                       VQ_U8 = 4,
                       VQ_ELEM_NONE = 5 /* as a store: keep no rows */
} vq_elem;

typedef struct vq_source vq_source; /* a stream of n x d rows: a file, an array, your callback */
typedef struct vq_index vq_index;   /* an open file */
typedef struct vq_searcher vq_searcher; /* a snapshot of it, with scratch memory: reuse it */
typedef struct vq_writer vq_writer;     /* the right to change it, and changes not yet made */

#define VQ_NONE  UINT32_MAX /* "off", where 0 means "default" */
#define VQ_ALL   UINT32_MAX /* nprobe: every list */
#define VQ_NO_ID UINT64_MAX

/* MAJOR<<16 | MINOR<<8 | PATCH of the library loaded, not of this header. */
VQ_API uint32_t vq_version(void);
/* What the environment variable OPENBLAS_CORETYPE should be for indexes to be built faster, or
 * NULL: the kernels that OpenBLAS has chosen will do.  It reads that when it is loaded, so it has
 * to be set before the program starts; the program vq starts anew with it.  A static string. */
VQ_API const char *vq_blas_core(void);
/* A short static English name of a status code, "unknown status" for others. */
VQ_API const char *vq_strerror(int code);
VQ_API const char *vq_metric_name(uint32_t metric); /* "l2", "ip", "cosine" or "?" */
VQ_API const char *vq_elem_name(uint32_t elem);     /* "f32", "f16", "i8", "u8", "none" or "?" */
VQ_API size_t vq_elem_size(uint32_t elem);          /* bytes: 4, 2, 1, 1, else 0 */

/* ---- sources of vectors ------------------------------------------------------------------- */

/* A file of vectors: fvecs, bvecs, fbin, u8bin, i8bin or npy, plain or .zst, recognised by its
 * content; "-" is standard input ("i8bin:-" and "u8bin:-" where content does not tell), which is
 * spooled to an unlinked temporary file beside the working directory when it has to be read twice.
 * Rows with NaN or infinities are refused with their number, or left out and counted if skip_bad
 * is not 0.  Errors: VQ_ENOENT, VQ_EIO, VQ_ECORRUPT. */
VQ_API vq_status vq_source_open_file(vq_source **out, const char *path, int skip_bad,
                                     vq_error *err);
/* n x d elements in memory, which must live until the source is closed. */
VQ_API vq_status vq_source_open_array(vq_source **out, const void *rows, uint64_t n, uint32_t d,
                                      uint32_t elem, vq_error *err);
/* Called with room for max rows of d elements: fill some, store their count in *got (0 = end).
 * Return 0, or non-zero to fail.  With rewind != 0 start again from row 0 (and fill nothing). */
typedef int (*vq_read_fn)(void *ctx, int rewind, void *rows, size_t max, size_t *got);
VQ_API vq_status vq_source_open_fn(vq_source **out, vq_read_fn fn, void *ctx, uint32_t d,
                                   uint32_t elem, vq_error *err);
/* The stored rows of an index, in the order of their ids (numbers rising, strings bytewise), with
 * the values that vq_get() gives; rows of scaled i8 are f32.  Close it before the index.
 * Expected errors: VQ_EUNSUPPORTED (no rows are stored), VQ_ECORRUPT. */
VQ_API vq_status vq_source_open_index(vq_source **out, vq_index *ix, vq_error *err);
/* The ids of those rows, in their order, until the source is closed: numbers or names; both NULL
 * where they are 0, 1, 2...  VQ_EINVAL: src is of no index. */
VQ_API vq_status vq_source_ids(const vq_source *src, const uint64_t **ids,
                               const char *const **names, uint64_t *n, vq_error *err);
/* n is UINT64_MAX where the stream does not tell. */
VQ_API void vq_source_shape(const vq_source *src, uint64_t *n, uint32_t *d, uint32_t *elem);
/* The next rows, at most max, as f32 (max x d) into rows; *got = 0 at the end. */
VQ_API vq_status vq_source_read_f32(vq_source *src, float *rows, size_t max, size_t *got,
                                    vq_error *err);
VQ_API uint64_t vq_source_skipped(const vq_source *src); /* bad rows left out so far */
VQ_API void vq_source_close(vq_source *src);

/* ---- tags, times, payloads ---------------------------------------------------------------- */

/* A vector may carry tags (short texts), one time (any whole number, such as seconds since 1970)
 * and a payload (bytes, such as its text).  They belong to its id: who replaces the vector keeps
 * them, who deletes it deletes them. */
#define VQ_NO_TIME     INT64_MIN
#define VQ_TAG_MAX     255u       /* bytes of a tag: UTF-8 without control characters */
#define VQ_TAGS_MAX    65535u     /* tags of a vector */
#define VQ_PAYLOAD_MAX (1u << 26) /* bytes */
typedef struct vq_attributes {    /* of n ids, each once; in any order */
    size_t struct_size;           /* set by VQ_ATTRIBUTES_INIT */
    const uint64_t *ids;          /* n numbers, or.. */
    const char *const *names;     /* ..n names, as the index has them; never both */
    uint64_t n;
    /* Each of these may be NULL: then what the ids have of that kind stays.  So to clear the tags
     * of ids give an array that is not NULL, though nothing is read of it, and equal tag_begins. */
    const char *const *tags;       /* those of id i are tags[tag_begins[i]] and on, below.. */
    const uint64_t *tag_begins;    /* ..tag_begins[i + 1]: n + 1 of them, rising from 0 */
    const int64_t *times;          /* n; VQ_NO_TIME: none */
    const void *const *payloads;   /* n; with.. */
    const uint64_t *payload_bytes; /* ..n sizes; 0: none */
} vq_attributes;
#define VQ_ATTRIBUTES_INIT                                                                         \
    {                                                                                              \
        .struct_size = sizeof(vq_attributes)                                                       \
    }

typedef struct vq_document { /* what a vector carries */
    size_t struct_size;      /* set by VQ_DOCUMENT_INIT */
    int64_t time;            /* or VQ_NO_TIME */
    const char *const *tags; /* ntags */
    uint64_t ntags;
    const void *payload; /* payload_bytes, and a NUL that is not counted; NULL: none */
    uint64_t payload_bytes;
} vq_document;
#define VQ_DOCUMENT_INIT                                                                           \
    {                                                                                              \
        .struct_size = sizeof(vq_document)                                                         \
    }
/* What row number `row` of vq_source_open_index carries, as of the snapshot that its rows and ids
 * are of.  Pointers live until the next call with src.  VQ_EINVAL: src is of no index; VQ_ENOENT:
 * there is no such row; else as vq_get_attributes. */
VQ_API vq_status vq_source_attributes(vq_source *src, uint64_t row, vq_document *out,
                                      vq_error *err);

/* ---- building ----------------------------------------------------------------------------- */

/* Runs on the thread that made the call, at most ten times a second and at each phase's end
 * (done == total).  total is 0 where it is not known.  Non-zero: stop, VQ_ECANCELED. */
typedef int (*vq_progress_fn)(void *ctx, const char *phase, uint64_t done, uint64_t total);

typedef enum vq_rotation {
    VQ_ROTATION_AUTO = 0,
    VQ_ROTATION_NONE = 1,
    VQ_ROTATION_RANDOM = 2, /* signs and Hadamard transforms: d log d */
    VQ_ROTATION_PCA = 3,    /* principal axes, dealt to the sub-spaces in balance */
    VQ_ROTATION_OPQ = 4     /* optimised for the codes, started from PCA (Ge et al. 2013) */
} vq_rotation;

typedef enum vq_train {
    VQ_TRAIN_AUTO = 0,
    VQ_TRAIN_KMEANS = 1,      /* codes that reproduce the vectors */
    VQ_TRAIN_QUERY_AWARE = 2, /* error weighed as the queries feel it: axes, lists and codebooks in
                                 the space whitened by E[q q^T], each vector's code by the queries
                                 that find it */
    VQ_TRAIN_DISTILL = 3      /* and codebooks that learn to reproduce the exact ranking */
} vq_train; /* without training queries the last two take vectors of the index, moved a little, in
               their place, and do not whiten.  l2 does not whiten either, and of what distillation
               learns has codebooks alone: no lists, no map of the queries */

/* Copies of vectors in a second list (SOAR, Sun et al. 2023): the list whose residual is most
 * nearly orthogonal to that in the first, for the vectors that gain by one.  Fewer lists then hold
 * a query's neighbours; a copy takes code_bytes + 8. */
typedef enum vq_copies {
    VQ_COPIES_AUTO = 0, /* if they spare a tenth of the vectors read for .95 of the neighbours,
                           measured on the training sample; from 10,000 vectors on */
    VQ_COPIES_NO = 1,
    VQ_COPIES_YES = 2
} vq_copies;

/* Pairs of a training query and a row of the vectors, in any order, no pair twice. */
typedef struct vq_pairs {
    uint64_t n;
    const uint64_t *query; /* n: number among all training queries as they are read, from 0 */
    const uint64_t *row;   /* n: number in src, from 0, bad rows counted */
    const float *score;    /* n: larger is better, on any scale; of labels: not read, may be NULL */
} vq_pairs;

/* After each epoch of distillation, before the state is judged good enough to be kept or not. */
typedef struct vq_epoch {
    size_t struct_size; /* set by the library; fields are only ever appended */
    uint32_t round;     /* from 1 */
    uint32_t epoch;     /* of the round, from 1 */
    double loss;        /* mean over the queries that teach, as they were met */
    double overlap;     /* 10@10 of the codes alone with the teacher, on the queries that judge */
} vq_epoch;
/* Runs on the thread that made the call.  Non-zero: stop, VQ_ECANCELED. */
typedef int (*vq_epoch_fn)(void *ctx, const vq_epoch *epoch);

/* 0 or NULL in any field means the default stated there.  Fields are only ever appended. */
typedef struct vq_build_opts {
    size_t struct_size;       /* set by VQ_BUILD_OPTS_INIT */
    const char *codec;        /* "pq8", "pq4", "aq8", "saq", "rabitq", "sq8", "flat"; NULL or "auto"
                                 = chosen, by a trial where several may serve */
    uint32_t metric;          /* VQ_METRIC_*; default l2 */
    uint32_t code_bytes;      /* per vector, everything in `lists` but ids; default from d */
    uint32_t nlist;           /* inverted lists; default 2*sqrt(n), 4* where queries train, 6* with
                                 codes of 20 bytes or fewer */
    uint32_t rotation;        /* VQ_ROTATION_* */
    uint32_t store;           /* VQ_F32.. of the rows kept for rerank, or VQ_ELEM_NONE;
                                 default: f16 for f32 rows, else as they come */
    uint32_t threads;         /* default: as many as there are processors; the index does not depend
                                 on it */
    uint64_t seed;            /* default 1 */
    uint64_t memory;          /* bytes to stay within, about; default 0 = about 256 MB + training */
    const uint64_t *ids;      /* ids of the rows, nids of them; default 0, 1, 2.. */
    const char *const *names; /* or string ids (1-500 bytes UTF-8), nids of them; not both */
    uint64_t nids;
    vq_progress_fn progress; /* may be NULL */
    void *progress_ctx;
    uint32_t force;            /* not 0: replace a file that exists at path */
    uint32_t reserved;         /* 0 */
    vq_source *const *queries; /* nqueries sources of training queries, unlabelled; in
                                  all as many as dimensions, or VQ_EINVAL: fewer do harm.  Where
                                  they can teach a codec with error bars nothing (l2, kmeans) they
                                  tell how far these reach; then 200 are the least */
    uint64_t nqueries;
    const char *loss;   /* of distillation: "listnet" (default), "kl", "margin-mse", "ranknet",
                           "lambda" */
    uint32_t train;     /* VQ_TRAIN_*; default: the best for what is given */
    uint32_t epochs;    /* of distillation, in each of two rounds; default 6 */
    float temperature;  /* of the loss, in the unit of the teacher's scores; default: the one at
                           which the mean perplexity of the teacher's softmax is 20 */
    uint32_t reserved2; /* 0 */
    vq_epoch_fn log;    /* may be NULL */
    void *log_ctx;
    uint32_t fixed_queries; /* not 0: distillation learns no map of the queries, codes alone */
    float bits; /* in place of code_bytes, for saq and rabitq: bits a coordinate on the average, 0.5
                   to 13, factors not counted; auto tries product codes of as many bytes,
                   where there are any, and else takes saq */
    const char *teacher_cache; /* a file that keeps the exact answers to the training queries:
                                  read if it is of the same rows and queries, else (re)written */
    const vq_pairs *teacher;   /* scores to learn instead of those of exact search: another model's.
                                  Queries without a pair are left out of distillation; other rows
                                  count as the lowest pair of the query */
    const vq_pairs *positives; /* labels: rows that are right, whatever the teacher says; they get
                                  its best score of the query */
    uint32_t no_tune;          /* not 0: do not measure at the end what recall takes (vq_tune), on
                                  held-out training queries, or stored vectors where there are none */
    uint32_t copies;           /* VQ_COPIES_* */
    uint32_t nattributes;
    const vq_attributes *const *attributes; /* nattributes, each of other kinds or ids; an id that
                                        is of no row is VQ_ENOENT, unless its row was left out.
                                        Nothing is copied: all they point to lives until vq_build
                                        returns */
    vq_index *model; /* lists, axes and codes are those of this index, as of its newest snapshot,
                        and nothing is trained: only encoded.  To be open until vq_build returns.
                        Then metric, store, nlist, copies and so on are its own, and what would
                        choose them, or teach, is VQ_EINVAL; such indexes can be merged (vq_merge).
                        Rows that its i8 rows cannot hold are clamped, which vq_info.why tells */
} vq_build_opts;
#define VQ_BUILD_OPTS_INIT                                                                         \
    {                                                                                              \
        .struct_size = sizeof(vq_build_opts)                                                       \
    }

/* Trains on a sample of src, writes all its rows to a new file beside path and renames it to path.
 * Whenever it fails or is stopped, path is as before.  src is read twice, from its start.
 * From the rows of an index (vq_source_open_index) it makes another with new lists and codes:
 * metric, store and ids are that index's where opts leaves them out, and a row that is stored as it
 * was is the same bits.  path may be the index itself, with force: who has it open goes on with the
 * old file until their next search (vq_searcher_refresh).  Nobody can change a file that is about
 * to be replaced (vq_writer_open: VQ_EBUSY). Expected errors: VQ_EINVAL (options, duplicate ids),
 * VQ_ECORRUPT (the source), VQ_EIO (disk full), VQ_EBUSY (path exists and force is 0, another build
 * of path runs, a writer has it for longer than 10 s, or src is of the index at path and that has
 * been changed or replaced since src was opened), VQ_ECANCELED. */
VQ_API vq_status vq_build(const char *path, vq_source *src, const vq_build_opts *opts,
                          vq_error *err);

/* ---- an open index ------------------------------------------------------------------------ */

/* Costs the same for any file size: lists and rows are read where they lie.  Opening a file twice
 * in one process shares the first.  The path counts from the folder of this moment; if another file
 * takes its place, later calls are about that one (vq_searcher_refresh).  A symbolic link is
 * followed, and what replaces an index replaces the file, not the link; but a file must not be used
 * by two hard links.  May be closed before its searchers.  flags: 0.  Expected errors: VQ_ENOENT,
 * VQ_ECORRUPT (damaged, cut short, or another program's), VQ_EVERSION, VQ_EIO. */
VQ_API vq_status vq_open(vq_index **out, const char *path, uint32_t flags, vq_error *err);
VQ_API void vq_close(vq_index *ix); /* after its searchers */

typedef struct vq_info {
    size_t struct_size; /* set by VQ_INFO_INIT */
    uint64_t n;         /* vectors */
    uint64_t file_bytes;
    uint64_t lists_bytes; /* the lists: codes, factors, labels, padding */
    uint64_t rows_bytes;  /* the stored rows */
    uint64_t seed;
    uint32_t d;      /* dimensions of a vector */
    uint32_t d_code; /* dimensions that are coded, after the rotation */
    uint32_t metric; /* VQ_METRIC_* */
    uint32_t nlist;
    uint32_t store;      /* VQ_F32.. or VQ_ELEM_NONE */
    uint32_t input;      /* type of the rows as they came */
    uint32_t code_bytes; /* per vector, all but the id */
    uint32_t string_ids; /* 1: ids are labels of strings */
    uint32_t rotation;   /* VQ_ROTATION_* as chosen */
    uint32_t format_version;
    uint32_t default_nprobe; /* what 0 means in vq_search_opts, for k = 10 */
    uint32_t default_rerank;
    char codec[16];
    char why[1000];           /* one line an automatic choice, separated by newlines */
    uint32_t train;           /* VQ_TRAIN_* as chosen */
    uint32_t mapped;          /* 1: queries have a matrix of their own that they have taught */
    uint64_t copies;          /* vectors that a second list holds too */
    uint64_t copies_bytes;    /* what the copies take */
    uint64_t free_bytes;      /* of the file, that changes have left free: later ones use them */
    uint64_t snapshot;        /* the number of changes that were made to the file, more or less: the
                                 newest snapshot */
    uint64_t oldest_snapshot; /* that a searcher or writer holds, in any process: what came free
                                 since cannot be used again yet */
    uint32_t readers;         /* searchers and writers that hold a snapshot */
    uint32_t oldest_pid;      /* the process that holds the oldest one; 0: nobody holds any */
    uint64_t described;       /* vectors that have tags, a time or a payload */
    uint64_t tags;            /* different tags that vectors have had */
    uint64_t attributes_bytes; /* what tags, times and payloads take */
    uint64_t added;            /* vectors added since the build, those deleted again too */
    float drift; /* how much further from the centroids of their lists these lie than those of the
                    build: 0.2 is 20 %; codes and lists then suit them less (vq_source_open_index,
                    vq_build) */
    float gain;  /* what products with codes are multiplied by, for ip and cosine; 0: nothing */
    uint64_t untuned; /* vectors added since the curve of recall was measured, which is of an index
                         without them (vq_tune); 0 if there is no curve */
} vq_info;
#define VQ_INFO_INIT                                                                               \
    {                                                                                              \
        .struct_size = sizeof(vq_info)                                                             \
    }
VQ_API vq_status vq_index_info(vq_index *ix, vq_info *info, vq_error *err);
/* 32 hexadecimal digits and NUL: a hash of the logical content (model, lists, rows, ids), the same
 * for any number of threads, and for any memory bound that holds the training sample, and all
 * vectors where queries teach (vq_info.why says if it did not).  Reads the whole file. */
VQ_API vq_status vq_index_digest(vq_index *ix, char hex[33], vq_error *err);

/* ---- searching ---------------------------------------------------------------------------- */

typedef struct vq_search_opts {
    size_t struct_size; /* set by VQ_SEARCH_OPTS_INIT */
    float recall;      /* the share of the true k best to find, on the average of queries like those
                          the index was tuned with: each then gets as many lists and rows as it
                          needs.  0 < recall < 1 needs a tuned index (VQ_EUNSUPPORTED) or one of so few
                          vectors that all are looked at; 1 = every list and every row: exact
                          search.  Not with nprobe or rerank.
                          0 = by nprobe and rerank, and if they are 0 too 0.95 where the index is
                          tuned */
    uint32_t nprobe;   /* lists read per query, of those that hold something (where there are 8,192
                          or fewer); 0 = chosen, VQ_ALL = every list */
    uint32_t rerank;   /* candidates scored in full; 0 = chosen, VQ_NONE = codes alone.  A number
                          needs stored rows: VQ_EUNSUPPORTED */
    uint32_t threads;  /* for batches; 0 = one */
    uint32_t latency;  /* 1: queries one after the other, each on all threads if it reads enough
                          lists to be worth their waking (65,536 vectors): sooner answered on an
                          idle machine, but fewer a second.  Not where error bars decide (bars):
                          those go list by list.  Needs nprobe: VQ_EINVAL */
    uint32_t pinned;   /* not 0: a search sees what was there when the searcher was opened or last
                          refreshed; 0: what is there when it begins.  Names and vectors (vq_id_name,
                          vq_id_find, vq_get) are always those of the last search */
    uint32_t reserved; /* 0 */
    float bars;        /* codecs with error bars (saq, rabitq) look closer at a vector, at its whole
                          code and then its row, as long as it may be among the best k: if its
                          estimate is that many standard deviations too low.  A band of confidence,
                          no bound: 2 leaves out one in 44 of the vectors at the border, 3 one in
                          740.  0 = 3; not used where a number is given for rerank,
                         with a recall of 1, and by codes alone that are scanned whole */
} vq_search_opts;
#define VQ_RECALL_DEFAULT 0.95f
#define VQ_BARS_DEFAULT   3.0f
#define VQ_SEARCH_OPTS_INIT                                                                        \
    {                                                                                              \
        .struct_size = sizeof(vq_search_opts)                                                      \
    }

VQ_API vq_status vq_searcher_open(vq_searcher **out, vq_index *ix, const vq_search_opts *opts,
                                  vq_error *err);
/* Several indexes searched as one: same dimension, metric and kind of id.  With string ids a result
 * is not a label but a handle of this searcher (bits 48-63: the index), for vq_id_name(). */
VQ_API vq_status vq_searcher_open_many(vq_searcher **out, vq_index *const *ix, size_t nix,
                                       const vq_search_opts *opts, vq_error *err);
VQ_API void vq_searcher_close(vq_searcher *s);
/* Moves on to the newest snapshot of each index, as vq_search does at its beginning unless it is
 * pinned; costs two loads where there is no newer one.  An index is its name: if another file has
 * taken that (vq_build with force, vq_compact, vq_restore), this moves on to it; a search looks for
 * one a hundred times a second at most.  It must answer the same queries: VQ_EINVAL if dimensions,
 * metric or kind of ids differ, VQ_EUNSUPPORTED if it cannot do what the searcher was opened for,
 * VQ_ECORRUPT if it is no index; a search fails likewise, rather than answer with what is out of
 * date, until there is a fit one.  Where nothing has the name any more, what is open goes on.
 * VQ_EBUSY: the file was moved there by hand, beside the lock file (NAME-lock) of the old one, and
 * cannot be opened while this process has that open; searches go on with the old one.  On failure s
 * has moved on to no other file, though of several indexes some may be at a newer snapshot. */
VQ_API vq_status vq_searcher_refresh(vq_searcher *s, vq_error *err);
/* Brings what scans read, codes and not rows, into memory, so that first queries do not wait for a
 * disk.  lock not 0: it also stays there, whatever else wants memory, as long as the index is open
 * and as far as the system allows (RLIMIT_MEMLOCK).  bytes, locked (may be NULL): how much that is.
 * Of the snapshot in hand: what a later one has anew is not in it, and what only an old one had
 * stays locked until the index is closed.  For the thread that has the searcher, like a search.
 * Expected errors: VQ_EIO, VQ_ECORRUPT, VQ_ENOMEM, as of vq_search. */
VQ_API vq_status vq_searcher_warm(vq_searcher *s, uint32_t lock, uint64_t *bytes, uint64_t *locked,
                                  vq_error *err);
/* For each of the nq rows of q (nq x d) the k nearest, nearest first, into ids and scores (nq x k
 * each; scores may be NULL).  Fewer than k only if the index holds fewer: then VQ_NO_ID, NaN.
 * Single queries and batches, one thread and many, any instruction set: the same bits. */
VQ_API vq_status vq_search(vq_searcher *s, const float *q, size_t nq, uint32_t k, uint64_t *ids,
                           float *scores, vq_error *err);
/* Non-zero: stop, VQ_ECANCELED. */
typedef int (*vq_hit_fn)(void *ctx, uint64_t id, float score);
/* All vectors whose score for the query q (d) is bound or better (l2: a squared distance of at most
 * bound; ip and cosine: a product of at least bound), nearest first, at most `most` of them (0:
 * all), each once to fn, on the thread that made the call.  Scores are as exact as those of
 * vq_search, so none is handed out that lies beyond the bound.  Whether none is missing is what
 * recall says: with recall = 1 none is; else the share that is found is that of a search for as
 * many, and a search by nprobe finds what lies in the lists it reads.  It is a
 * search for 64 results, then for four times as many as long as all of those lie within the bound,
 * so it takes about what vq_search takes for five times the results; with recall = 1, where each
 * looks at all vectors: for 1,024, and then for 64 times as many.  12 bytes of memory for each of
 * them, and what vq_search takes.  fn may ask s about an id (vq_id_name, vq_get,
 * vq_get_attributes), but not search, filter, refresh or close.  Counts as one query in
 * vq_searcher_stats.  Expected errors: VQ_EINVAL (a bound that is no number), VQ_ECANCELED (by fn,
 * who has had the nearer ones), those of vq_search. */
VQ_API vq_status vq_search_within(vq_searcher *s, const float *q, float bound, uint64_t most,
                                  vq_hit_fn fn, void *ctx, vq_error *err);
enum { VQ_FILTER_NONE = 0, VQ_FILTER_ALLOW = 1, VQ_FILTER_DENY = 2 };
/* From now on searches answer with these ids alone (VQ_FILTER_ALLOW), or with none of them
 * (VQ_FILTER_DENY); VQ_FILTER_NONE: with all again.  n numbers or names, as the index has them,
 * which are copied; those that are not there do nothing, now or after a refresh.  A search still
 * gives k results as long as k vectors may be answered: lists and blocks of codes without any are
 * not read, and where few may be answered they are scored in full straight away.  Costs a look-up
 * of each id at the next search, and whenever the index has changed. */
VQ_API vq_status vq_searcher_filter(vq_searcher *s, uint32_t kind, const uint64_t *ids,
                                    const char *const *names, uint64_t n, vq_error *err);
/* From now on searches answer only with vectors for which an expression holds; NULL: with all
 * again.
 * - tag:NAME            has the tag; NAME may stand in quotes: tag:"a \\"b\\" c"
 * - time >= 1700000000  also =, !=, <, <=, >; a vector without a time satisfies none of them
 * - ! & | ( )           or not, and, or; ! binds most, | least; nested 30 deep at most
 * A tag that no vector has is no error.  Together with vq_searcher_filter both must allow a vector;
 * what is said there of k results holds here.  The expression is copied.  Costs a look at the tags'
 * bitmaps and at the times at the next search, and whenever the index has changed.  VQ_EINVAL: the
 * text tells where, and the filter is as before. */
VQ_API vq_status vq_searcher_filter_text(vq_searcher *s, const char *expression, vq_error *err);
/* The values in force for k results: what 0 became.  With a recall they are the most that a query
 * may take, not what it does: see vq_searcher_stats. */
VQ_API void vq_searcher_effort(const vq_searcher *s, uint32_t k, uint32_t *nprobe,
                               uint32_t *rerank);
/* The recall that rules a search for k results; 0: nprobe and rerank do. */
VQ_API float vq_searcher_recall(const vq_searcher *s, uint32_t k);

typedef struct vq_search_stats { /* sums over all queries since the searcher was opened */
    size_t struct_size;          /* set by VQ_SEARCH_STATS_INIT */
    uint64_t queries;            /* of many indexes: once for each */
    uint64_t lists;              /* scanned */
    uint64_t vectors;            /* scanned, by their codes, copies counted */
    uint64_t rows;               /* scored in full */
    uint64_t copies;             /* scanned, in second lists */
    uint64_t codes;              /* read whole, of codecs whose scan reads only a part of a code */
} vq_search_stats;
#define VQ_SEARCH_STATS_INIT                                                                       \
    {                                                                                              \
        .struct_size = sizeof(vq_search_stats)                                                     \
    }
VQ_API vq_status vq_searcher_stats(const vq_searcher *s, vq_search_stats *stats, vq_error *err);
/* The stored row of an id, as f32 (d).  VQ_ENOENT: no such id; VQ_EUNSUPPORTED: no stored rows. */
VQ_API vq_status vq_get(vq_searcher *s, uint64_t id, float *row, vq_error *err);
/* The id of a name, and the name of an id: the string, or the number in decimal.  cap bytes of
 * room, 501 suffice.  VQ_ENOENT: no such id. */
VQ_API vq_status vq_id_find(vq_searcher *s, const char *name, uint64_t *id, vq_error *err);
VQ_API vq_status vq_id_name(vq_searcher *s, uint64_t id, char *name, size_t cap, vq_error *err);

/* What an id carries, as of the last search.  Pointers live until the next call with s.  Expected
 * errors: VQ_ENOENT (no such id), VQ_ECORRUPT (its record, a tag's, or the payload's), VQ_ENOMEM.
 */
VQ_API vq_status vq_get_attributes(vq_searcher *s, uint64_t id, vq_document *out, vq_error *err);
/* Called for each tag that some vector has, in byte order, with the number of vectors.  tag lives
 * until it returns.  Non-zero: stop, VQ_ECANCELED. */
typedef int (*vq_tag_fn)(void *ctx, const char *tag, uint64_t vectors);
/* All tags of the newest snapshot, on the thread that made the call; any threads may, at the same
 * time, and fn may use ix.  Expected errors: VQ_ECANCELED, VQ_ECORRUPT, VQ_EIO, VQ_ENOMEM. */
VQ_API vq_status vq_tags(vq_index *ix, vq_tag_fn fn, void *ctx, vq_error *err);

/* ---- changing an index -------------------------------------------------------------------- */

typedef struct vq_writer_opts { /* 0 in any field means the default stated there */
    size_t struct_size;         /* set by VQ_WRITER_OPTS_INIT */
    uint32_t wait_ms;  /* how long to wait while another writer has the index; default 10,000;
                          VQ_NONE: not at all */
    uint32_t threads;  /* that encode; default: as many as there are processors; the index does not
                          depend on it */
    uint32_t no_sync;  /* not 0: a commit returns before the disk has it, for bulk loads.  If then
                          the power fails the index may be damaged; a process that ends, in whatever
                          way, does no harm */
    uint32_t reserved; /* 0 */
    vq_progress_fn progress; /* of rows that are encoded; may be NULL */
    void *progress_ctx;
} vq_writer_opts;
#define VQ_WRITER_OPTS_INIT                                                                        \
    {                                                                                              \
        .struct_size = sizeof(vq_writer_opts)                                                      \
    }

/* One writer at a time, among all processes: VQ_EBUSY after the wait.  Verifies the file's pages.
 * Changes gather in the writer's memory (code, row and about 100 bytes a vector) until a commit
 * makes all of them in one step: who has the index open sees none or all, and a process that is
 * killed before leaves nothing.  Expected errors: VQ_ENOENT, VQ_ECORRUPT, VQ_EVERSION, VQ_EIO (it
 * may not be written). */
VQ_API vq_status vq_writer_open(vq_writer **out, const char *path, const vq_writer_opts *opts,
                                vq_error *err);
/* All rows of src, encoded by the index's own model: nearest list, code of the residual, a copy in
 * a second list by the same rule if the index has copies.  (Codes that queries chose for the
 * vectors of a build are not chosen so for these: the queries are not in the index.)  ids or names:
 * nids of them, one a row, bad rows that src leaves out counted; without ids row i gets the largest
 * id and 1 + i.  An index with string ids needs names.  Rows may be of another type than those of
 * the build if the store can hold them; i8 rows of an index built from floats are clamped to what
 * its scale holds, and counted.  On failure the changes gathered so far are as before the call.
 * Expected errors: VQ_EINVAL (an id that is there already or twice among these, dimensions),
 * VQ_ECORRUPT (the source, or the list of an id), VQ_ENOMEM, VQ_ECANCELED. */
VQ_API vq_status vq_writer_add(vq_writer *w, vq_source *src, const uint64_t *ids,
                               const char *const *names, uint64_t nids, vq_error *err);
/* The same, but a vector that is there under an id is replaced; a string keeps its label, and the
 * id what it carries. */
VQ_API vq_status vq_writer_upsert(vq_writer *w, vq_source *src, const uint64_t *ids,
                                  const char *const *names, uint64_t nids, vq_error *err);
/* Expected errors: VQ_ENOENT (an id is not there), VQ_EINVAL (an id twice): nothing is gathered. */
VQ_API vq_status vq_writer_delete(vq_writer *w, const uint64_t *ids, const char *const *names,
                                  uint64_t nids, vq_error *err);

/* Tags, times and payloads of ids that are there, or gathered: of the kinds that a names, what they
 * had before is replaced.  All of it is copied, and gathers until the commit.  Expected errors:
 * VQ_ENOENT (an id is not there), VQ_EINVAL (an id twice, a tag that is none, an array missing),
 * VQ_ENOMEM: nothing is gathered. */
VQ_API vq_status vq_writer_set(vq_writer *w, const vq_attributes *a, vq_error *err);

typedef struct vq_write_report {
    size_t struct_size;                /* set by VQ_WRITE_REPORT_INIT */
    uint64_t added, replaced, deleted; /* by the commit */
    uint64_t clamped;  /* new rows with a coordinate that i8 rows of this index cannot hold */
    uint64_t n;        /* vectors in the index now */
    uint64_t set;      /* ids whose tags, time or payload were set */
    float drift;       /* see vq_info */
    uint32_t reserved; /* 0 */
    uint64_t untuned;  /* see vq_info */
} vq_write_report;
#define VQ_WRITE_REPORT_INIT                                                                       \
    {                                                                                              \
        .struct_size = sizeof(vq_write_report)                                                     \
    }
/* Makes the gathered changes; w may gather more after that.  Lists that grow too large by them give
 * vectors to new lists in the same step, where rows are stored and lists are 8,128 or fewer.  When
 * this returns VQ_OK they survive a power failure (unless no_sync).  On failure the file is as
 * before, and the changes stay gathered.  report may be NULL.  Expected errors: VQ_EIO (disk full,
 * file too large), VQ_ENOMEM, VQ_ECORRUPT, VQ_EBUSY (another file has taken the name of the index
 * meanwhile). */
VQ_API vq_status vq_writer_commit(vq_writer *w, vq_write_report *report, vq_error *err);
VQ_API void vq_writer_abort(vq_writer *w); /* forgets what is gathered; accepts NULL */
VQ_API void vq_writer_close(vq_writer *w); /* what is not committed is forgotten */

typedef struct vq_compact_opts { /* 0 in any field means the default stated there */
    size_t struct_size;          /* set by VQ_COMPACT_OPTS_INIT */
    uint32_t wait_ms; /* in place: how long to wait for a writer; default 10,000; VQ_NONE: not
                         at all */
    uint32_t force;   /* not 0: replace a file that exists at out */
    vq_progress_fn progress; /* may be NULL */
    void *progress_ctx;
} vq_compact_opts;
#define VQ_COMPACT_OPTS_INIT                                                                       \
    {                                                                                              \
        .struct_size = sizeof(vq_compact_opts)                                                     \
    }
/* A dense copy of an index, without the space that changes have left free: every value summed on
 * the way, the digest the same.  out: a file to write, a consistent one while writers go on; NULL:
 * in the place of path, which no writer may hold meanwhile.  Whoever has path open goes on with the
 * old file until their next search (vq_searcher_refresh).  Whenever this fails out, or path, is
 * as before.  Expected errors: VQ_ECORRUPT, VQ_EIO (disk full), VQ_EBUSY (a writer; out exists and
 * force is 0), VQ_ECANCELED. */
VQ_API vq_status vq_compact(const char *path, const char *out, const vq_compact_opts *opts,
                            vq_error *err);

/* A backup of an index that may be in use: one snapshot, every value summed on the way, as a file
 * that is compressed and checksummed if its name ends in .zst (zstd -d makes an index of it, too).
 * Needs as much space beside out as the index has, while it runs.  wait_ms is not used; force: as
 * in vq_compact.  Whenever this fails out is as before.  Expected errors: VQ_ENOENT, VQ_ECORRUPT,
 * VQ_EIO (disk full), VQ_EBUSY (out exists and force is 0), VQ_ECANCELED. */
VQ_API vq_status vq_backup(const char *path, const char *out, const vq_compact_opts *opts,
                           vq_error *err);
/* The index that a backup (path; "-": standard input) holds, to out; its digest is the one that it
 * had.  Every value is summed before out gets its name.  Who has an index open at out, with force,
 * goes on with the old file until their next search; no writer may hold it: VQ_EBUSY after wait_ms.
 * Errors as above. */
VQ_API vq_status vq_restore(const char *path, const char *out, const vq_compact_opts *opts,
                            vq_error *err);

typedef enum vq_keep {                    /* where two indexes have an id */
                       VQ_KEEP_NONE = 0,  /* that is an error */
                       VQ_KEEP_FIRST = 1, /* the vector of the first one that has it stays, with
                                             what it carries */
                       VQ_KEEP_LAST = 2   /* that of the last one */
} vq_keep;
typedef struct vq_merge_opts { /* 0 in any field means the default stated there */
    size_t struct_size;        /* set by VQ_MERGE_OPTS_INIT */
    uint32_t keep;             /* VQ_KEEP_* */
    uint32_t force;            /* not 0: replace a file that exists at out */
    uint32_t wait_ms;  /* with force: how long to wait for a writer of out; default 10,000; VQ_NONE:
                          not at all */
    uint32_t reserved; /* 0 */
    vq_progress_fn progress; /* may be NULL */
    void *progress_ctx;
} vq_merge_opts;
#define VQ_MERGE_OPTS_INIT                                                                         \
    {                                                                                              \
        .struct_size = sizeof(vq_merge_opts)                                                       \
    }
/* n indexes (2 or more) of one model as one index at out, one snapshot of each: codes, rows, ids,
 * tags, times and payloads as they are, nothing is encoded.  Of one model are copies of an index,
 * whatever was added and deleted since, and builds with its model (vq_build_opts.model).  Labels
 * of strings are given anew, by rank.  What recall takes (vq_tune), the defaults of a search,
 * vq_info.why and what judged queries have taught (vq_relevance_calibrate) stay as they are in the
 * first, or are missing as there.  Every value is summed on the way.  Memory: 8 bytes for each
 * label of strings that was ever given, 8 for each vector left out (16 with its copy), 16 for each
 * pair of a vector and a tag and each time, some bytes a list.  Whenever this fails out is as
 * before; it may be one of paths, with force.  Expected errors: VQ_EINVAL (not of one model, which
 * the text tells how; a file given twice; an id that two have, unless keep says which stays),
 * VQ_ENOENT, VQ_ECORRUPT, VQ_EIO (disk full), VQ_EBUSY (out exists and force is 0; a writer has
 * it), VQ_ECANCELED. */
VQ_API vq_status vq_merge(const char *const *paths, size_t n, const char *out,
                          const vq_merge_opts *opts, vq_error *err);

/* ---- tuning ------------------------------------------------------------------------------- */

typedef struct vq_tune_opts {
    size_t struct_size;        /* set by VQ_TUNE_OPTS_INIT */
    vq_source *const *queries; /* nqueries sources of queries like those that will be asked; none:
                                  stored vectors serve, each left out of its own answers */
    uint64_t nqueries;
    uint32_t max_queries; /* of them, evenly spaced; 0 = what takes seconds: 256 to 2,000 */
    uint32_t k;           /* the number of answers to measure for; 0 = 1, 3, 10, 30 and 100, other
                             numbers lie between */
    uint32_t threads;     /* 0 = as many as there are processors; nothing depends on it */
    uint32_t reserved;    /* 0 */
    vq_progress_fn progress; /* may be NULL */
    void *progress_ctx;
} vq_tune_opts;
#define VQ_TUNE_OPTS_INIT                                                                          \
    {                                                                                              \
        .struct_size = sizeof(vq_tune_opts)                                                        \
    }

/* Measures what each recall takes on an index, and stores it in the file in place of what was
 * measured before; who has the file open keeps what they see.  Recall is that against exact search
 * over the stored rows.  Without stored rows queries are needed, and recall is that against a scan
 * of all codes.  vq_build() does this at its end.  Expected errors: VQ_EUNSUPPORTED (too few
 * vectors, or no rows and no queries), VQ_EBUSY (a writer has the index for longer than 10 s),
 * VQ_ECORRUPT, VQ_EIO, VQ_ECANCELED. */
VQ_API vq_status vq_tune(const char *path, const vq_tune_opts *opts, vq_error *err);

typedef struct vq_tune_point { /* what tuning found; means are of its queries */
    uint32_t k;
    float recall;                   /* of k results, on the average */
    float lists;                    /* scanned, on the average */
    float vectors;                  /* scanned, on the average */
    float rows;                     /* scored in full, on the average; 0: none are stored, or
                                       error bars of the codes tell which */
    uint32_t most_lists, most_rows; /* that a search at this recall may take; rows as above */
    uint32_t queries;               /* it was measured on */
} vq_tune_point;
/* The points by k and recall: at most max of them into points, *count is how many there are; 0: the
 * index is not tuned. */
VQ_API vq_status vq_tune_points(vq_index *ix, vq_tune_point *points, size_t max, size_t *count,
                                vq_error *err);

/* ---- relevance ---------------------------------------------------------------------------- */

/* The k nearest are not all relevant, and which score is good enough differs from query to query.
 * Judged queries teach how probable it is, by an answer's score, its gap to the best one, its rank,
 * and how the scores of the query lie. */

typedef struct vq_judgements { /* nq queries */
    uint64_t nq;
    const uint64_t *first; /* nq + 1, rising from 0: those of query i are first[i] and on, below
                              first[i + 1] */
    const uint64_t *ids;   /* VQ_NO_ID: of something that the index does not hold */
    const int32_t *grades; /* above 0: relevant.  What is not judged counts as not relevant, and a
                              query without a judgement is left out */
} vq_judgements;

typedef struct vq_relevance_opts {
    size_t struct_size;        /* set by VQ_RELEVANCE_OPTS_INIT */
    vq_source *const *queries; /* nqueries sources.. */
    uint64_t nqueries;
    const vq_judgements *judged; /* ..and judgements of all their rows, in turn */
    uint32_t depth;              /* answers of a query to look at, 2 to 1,000; default 10 */
    uint32_t threads;            /* default: as many as there are processors */
    vq_progress_fn progress;     /* may be NULL */
    void *progress_ctx;
} vq_relevance_opts;
#define VQ_RELEVANCE_OPTS_INIT                                                                     \
    {                                                                                              \
        .struct_size = sizeof(vq_relevance_opts)                                                   \
    }
/* Searches for the judged queries, learns from nine of ten, and stores that in the file in place of
 * what was learnt before; who has it open keeps what they see.  Ids of judgements are those of the
 * file that path names when this is called: of strings, labels of that file.  It stays with what is
 * added and deleted, and in copies; of merged indexes that of the first one stays; what is trained
 * anew has none.  Expected errors: VQ_EINVAL (nothing is judged, or nothing that is answered is
 * relevant, or all is; none of the queries held out has a relevant document; fewer than 20 judged
 * queries), VQ_EBUSY (a writer has the index for longer than 10 s; another file has taken its name
 * meanwhile), VQ_ECORRUPT, VQ_EIO, VQ_ECANCELED. */
VQ_API vq_status vq_relevance_calibrate(const char *path, const vq_relevance_opts *opts,
                                        vq_error *err);

typedef struct vq_relevance {
    size_t struct_size; /* set by VQ_RELEVANCE_INIT */
    uint64_t queries;   /* that it was learnt from.. */
    uint64_t judges;    /* ..and others that judge: the last three numbers */
    uint32_t depth;     /* answers of a query that were looked at */
    uint32_t first;     /* how many answers to keep of each query.. */
    float score;        /* ..or from which score on.. */
    float best;         /* ..or from which probability on, for the best F1 on the former */
    float f1;           /* of cutting at that probability, over all answers together */
    float score_f1;     /* ..at that score */
    float first_f1;     /* ..behind that number */
    uint32_t reserved;  /* 0 */
} vq_relevance;
#define VQ_RELEVANCE_INIT                                                                          \
    {                                                                                              \
        .struct_size = sizeof(vq_relevance)                                                        \
    }
/* VQ_ENOENT: the index is not calibrated. */
VQ_API vq_status vq_relevance_info(vq_index *ix, vq_relevance *out, vq_error *err);

/* vq_search, and the probability that each answer is relevant (nq x k; may be NULL); those for
 * which it is below `least` are left out, as if the index held no more.  It never rises from an
 * answer to the next, so what is left out is the end.  A search for as many answers as calibration
 * looked at, at least; with a filter, of those that it allows, though queries without one taught.
 * Expected errors: VQ_EUNSUPPORTED (the index is not calibrated; more than one index), those of
 * vq_search. */
VQ_API vq_status vq_search_relevant(vq_searcher *s, const float *q, size_t nq, uint32_t k,
                                    float least, uint64_t *ids, float *scores, float *relevance,
                                    vq_error *err);

/* ---- verifying ---------------------------------------------------------------------------- */

typedef struct vq_check_report {
    size_t struct_size;     /* set by VQ_CHECK_REPORT_INIT */
    uint64_t pages, values; /* verified */
    uint64_t vectors;
    uint64_t problems; /* 0: the file is sound */
} vq_check_report;
#define VQ_CHECK_REPORT_INIT                                                                       \
    {                                                                                              \
        .struct_size = sizeof(vq_check_report)                                                     \
    }
/* Called for each problem with a line of text. */
typedef void (*vq_problem_fn)(void *ctx, const char *text);
/* Verifies every page, checksum, count and cross-reference of the file.  Returns VQ_OK if it could
 * look (problems are counted), an error if it could not.  Call it in a child process if the file is
 * not trusted and may be replaced while it is read. */
VQ_API vq_status vq_check(const char *path, vq_problem_fn fn, void *ctx, vq_check_report *report,
                          vq_error *err);

#ifdef __cplusplus
}
#endif
#endif
