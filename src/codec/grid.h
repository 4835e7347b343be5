/* SPDX-License-Identifier: Apache-2.0 */
/* grid.h -- what the scalar codes with error bars are made of: shapes, parameters, factors.
 *
 * A residual o (d coordinates, d a multiple of 16) is coded in groups of 16 coordinates.  Group j
 * has bits[j] bits a coordinate: the number c of a level of an even grid whose points are x = step
 * * (c - (2^bits - 1) / 2), and o is rho * x, rho the vector's own.  The leading head[j] bits of a
 * code are a code too, with factors of their own: they are scanned, the others looked up for the
 * vectors that may be among the best.  After RaBitQ (Gao et al. 2024, 2025) and SAQ (Li et al.
 * 2025).
 *
 * Bytes of a row: planes of the head (2 bytes a plane of a group: coordinate i in bit i; groups in
 * order, leading bit first), factors of the head; and, if the code has more bits, planes of the
 * tail and factors of the whole.  Factors: rho as f16; of a head, for metric l2, by how much the
 * product of the centroid with what it decodes to falls short of that of the whole code (f16, in
 * `unit` of params); length of the error and turn (a byte each).
 */
#ifndef VQ_CODEC_GRID_H
#define VQ_CODEC_GRID_H

#include "src/codec/codec.h"
#include "src/math/fixed.h"

enum {
    VQ_GRID_GROUP = 16,
    VQ_GRID_FACTORS = 4,      /* bytes, of a whole code */
    VQ_GRID_HEAD_FACTORS = 6, /* of a head with a tail */
    VQ_GRID_HEAD = 62,        /* planes: what can be summed in 16 bits */
    VQ_GRID_FRONT = 32        /* planes of a head with a tail: more of them cost a scan more than
                                 they spare codes that have to be read to the end */
};

/* Of a code of m bytes for d dimensions. */
typedef struct vq_grid_shape {
    uint32_t groups;
    uint32_t head, tail; /* planes; tail 0: the head is all */
    uint32_t factors;    /* bytes of the head's */
    uint32_t at, rest;   /* bytes: where these begin, what comes behind them */
} vq_grid_shape;
vq_grid_shape vq_grid_shape_of(uint32_t d, uint32_t m);

/* The numbers behind the arrays of params, as on disk; bend and stretch: of the head, of the whole.
 */
enum {
    VQ_GRID_TYPICAL,
    VQ_GRID_ERROR,
    VQ_GRID_HEAD_ERROR,
    VQ_GRID_ALONG,
    VQ_GRID_HEAD_ALONG,
    VQ_GRID_PLAIN,
    VQ_GRID_UNIT,
    VQ_GRID_BEND,
    VQ_GRID_STRETCH = VQ_GRID_BEND + 2,
    VQ_GRID_NUMBERS = VQ_GRID_STRETCH + 2
};

/* Views into params; each has `groups` values.  Of the head: the grid that its bits are on. */
typedef struct vq_grid_params {
    const float *bits, *head_bits;     /* whole numbers, 0..13; head_bits <= bits */
    const float *step, *head_step;     /* of a vector with rho = 1 */
    const float *weight;               /* what a squared error costs there */
    const float *spread, *head_spread; /* squared error over the weighted one of all */
    float typical;             /* weighted length of what is coded, of a vector with rho = 1 */
    float error, head_error;   /* that of its errors */
    float unit;                /* of shifts: mean squared length of residuals */
    float plain;               /* squared length of residuals, over their weighted one */
    float bend[2], stretch[2]; /* of head and whole: what turn and deviation are multiplied with, so
                                  that they are right for true neighbours */
    float along, head_along;   /* the error of a product with a unit vector that is spread like
                                  residuals, over the error's length */
} vq_grid_params;
size_t vq_grid_nparams(uint32_t d, uint32_t m);
vq_grid_params vq_grid_params_of(const float *params, uint32_t d);

/* Sums of heads by tables: grid_heads.c. */
typedef struct vq_grid_heads {
    const uint8_t *luts; /* 4 x planes of the head, 16 entries each; 64-byte aligned */
    const vq_plane_run *runs;
    size_t nruns;
    float scale, low; /* a sum of the head is low + scale * (sum of entries) */
    float blunt;      /* squared error of what rounded entries add up to */
} vq_grid_heads;

/* What a query reads. */
typedef struct vq_grid_tables {
    vq_grid_shape shape;
    vq_grid_heads heads;
    const float *lead, *rest;     /* d: what a unit of a code's head, of its tail adds */
    vq_planes_plan *plan[2];      /* these two in integers; groups padded to a multiple of 4 */
    float integer[2];             /* their units */
    bool integers;                /* whole codes are scored by them, else by floats */
    const uint8_t *leads, *rests; /* groups, padded likewise: planes in head and tail */
    size_t leading;               /* groups up to the last that the head has planes of, likewise */
    float offset;                 /* what all-zero codes stand for */
    float felt[2]; /* deviation of a product over the error's length: of the head, of the whole */
    const float *rows; /* d: the query; with bars it times spread / G, likewise, behind */
    float along[2], error[2], bend[2], plain, unit; /* of the params, likewise */
    float sum[2];                                   /* of spread */
} vq_grid_tables;

/* Members of vq_codec. */
vq_status vq_grid_encode(const vq_code_model *cm, const vq_kernels *k, const float *x, size_t n,
                         uint8_t *rows, vq_error *err);
void vq_grid_centre(const vq_code_model *cm, const vq_kernels *k, const float *centroid,
                    float *scratch, uint8_t *row);
void vq_grid_decode(const vq_code_model *cm, const uint8_t *rows, size_t n, float *x);
void vq_grid_pack(const vq_code_model *cm, const uint8_t *rows, size_t n, uint8_t *blocks);
void vq_grid_unpack(const vq_code_model *cm, const uint8_t *blocks, size_t slot, uint8_t *row);

/* The codes of a row: d. */
void vq_grid_codes(const vq_code_model *cm, const uint8_t *row, uint16_t *codes);

/* Tables of the head's planes for a query, into t; false: no memory. */
bool vq_grid_heads_make(vq_grid_tables *t, const vq_grid_params *p, const float *q,
                        const vq_kernels *k, vq_arena *arena);
/* Sums of the heads' bits of all blocks, in tables' entries; ahead: see vq_codec.scan. */
void vq_grid_heads_scan(const vq_code_model *cm, const vq_kernels *k, const vq_grid_tables *t,
                        const uint8_t *blocks, const uint8_t *ahead, size_t n, uint16_t *sums);

/* What a vector's factors say. */
typedef struct vq_grid_bar {
    float error; /* weighted length of the error */
    float turn;  /* squared tangent of the angle between the vector and its code */
} vq_grid_bar;
/* typical: error or head_error of the params. */
vq_grid_bar vq_grid_bar_of(float typical, uint8_t length, uint8_t turn);
vq_grid_bar vq_grid_bar_of_row(const vq_grid_params *p, const vq_grid_shape *s, const uint8_t *row,
                               bool whole);
/* Half of the vector's squared length, roughly: plain of the params, and the sum of their spread.
 */
static inline float vq_grid_half(vq_grid_bar b, float plain, float sum)
{
    float sq = b.error * b.error, decoded = b.turn > 0.0f ? sq / b.turn * plain : 0.0f;
    return 0.5f * (decoded + sq * sum);
}
/* Lengths, squared, and turns are twelfths of octaves: what a byte of 2^0 stands for. */
float vq_grid_byte_error(void);
float vq_grid_byte_turn(void);
/* rho of a row, of its head or of the whole. */
float vq_grid_rho(const vq_grid_shape *s, const uint8_t *row, bool whole);

/* grid_train.c: deals the bits of m bytes to the groups, by what their squared errors cost in all
 * (groups), the head's likewise, which are then a prefix; params has bits, head_bits and weight. */
void vq_grid_deal(uint32_t d, uint32_t m, const double *cost, const float *weight, float *params);
/* The other params from rows of a sample (n x d); cm: all but params. */
vq_status vq_grid_train(const float *x, size_t n, const vq_code_model *cm, float *params,
                        vq_error *err);
/* grid_bars.c: members of vq_codec. */
vq_status vq_grid_calibrate(uint32_t d, uint32_t m, const vq_code_pair *pairs, size_t n,
                            int centred, int threads, float *params, float *bars, vq_error *err);
float vq_grid_stretch(const vq_code_model *cm, int whole, float width);
/* The deviation of a product with q over the error's length: spread as in params. */
float vq_grid_felt(const vq_kernels *k, const float *spread, const float *q, size_t groups);
/* Mean squares of the coordinates of each group. */
void vq_grid_squares(const float *x, size_t n, size_t d, double *out);

#endif
