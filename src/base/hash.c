/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c -- the only file that includes xxhash.h. */
#include "src/base/hash.h"

#include <string.h>
#include <xxhash.h>

uint64_t vq_xxh3(const void *bytes, size_t len)
{
    return XXH3_64bits(bytes, len);
}

vq_hasher *vq_hasher_new(void)
{
    XXH3_state_t *state = XXH3_createState();
    if (state != NULL) (void)XXH3_128bits_reset(state);
    return (vq_hasher *)(void *)state;
}

void vq_hasher_add(vq_hasher *h, const void *bytes, size_t len)
{
    (void)XXH3_128bits_update((XXH3_state_t *)(void *)h, bytes, len);
}

void vq_hasher_get(const vq_hasher *h, uint8_t digest[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical,
                             XXH3_128bits_digest((const XXH3_state_t *)(const void *)h));
    memcpy(digest, canonical.digest, 16);
}

void vq_hasher_free(vq_hasher *h)
{
    (void)XXH3_freeState((XXH3_state_t *)(void *)h);
}
