/* SPDX-License-Identifier: Apache-2.0 */
/* bytes.h -- integers and floats to and from bytes, and a bounded reader.
 * Disk is little-endian; keys are big-endian, so that memcmp orders them. */
#ifndef VQ_BASE_BYTES_H
#define VQ_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t vq_le16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t vq_le32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t vq_le64(const void *p)
{
    return (uint64_t)vq_le32(p) | (uint64_t)vq_le32((const uint8_t *)p + 4) << 32;
}

static inline float vq_lef32(const void *p)
{
    uint32_t u = vq_le32(p);
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline void vq_put_le32(void *p, uint32_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v, b[1] = (uint8_t)(v >> 8), b[2] = (uint8_t)(v >> 16),
    b[3] = (uint8_t)(v >> 24);
}

static inline void vq_put_le64(void *p, uint64_t v)
{
    vq_put_le32(p, (uint32_t)v);
    vq_put_le32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

static inline void vq_put_lef32(void *p, float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    vq_put_le32(p, u);
}

static inline uint32_t vq_be32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
}

static inline uint64_t vq_be64(const void *p)
{
    return (uint64_t)vq_be32(p) << 32 | vq_be32((const uint8_t *)p + 4);
}

static inline void vq_put_be32(void *p, uint32_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)(v >> 24), b[1] = (uint8_t)(v >> 16), b[2] = (uint8_t)(v >> 8),
    b[3] = (uint8_t)v;
}

static inline void vq_put_be64(void *p, uint64_t v)
{
    vq_put_be32(p, (uint32_t)(v >> 32));
    vq_put_be32((uint8_t *)p + 4, (uint32_t)v);
}

/* Bounded reader: failure is sticky, so take all and check `ok` once. */
typedef struct vq_rd {
    const uint8_t *p, *end;
    bool ok;
} vq_rd;

static inline vq_rd vq_rd_init(const void *bytes, size_t len)
{
    vq_rd r = {bytes, (const uint8_t *)bytes + len, true};
    return r;
}

static inline const uint8_t *vq_rd_take(vq_rd *r, size_t n)
{
    if (!r->ok || n > (size_t)(r->end - r->p)) {
        r->ok = false;
        return NULL;
    }
    r->p += n;
    return r->p - n;
}

static inline uint32_t vq_rd_u32(vq_rd *r)
{
    const uint8_t *p = vq_rd_take(r, 4);
    return p != NULL ? vq_le32(p) : 0;
}

static inline uint64_t vq_rd_u64(vq_rd *r)
{
    const uint8_t *p = vq_rd_take(r, 8);
    return p != NULL ? vq_le64(p) : 0;
}

static inline float vq_rd_f32(vq_rd *r)
{
    const uint8_t *p = vq_rd_take(r, 4);
    return p != NULL ? vq_lef32(p) : 0.0f;
}

#endif
