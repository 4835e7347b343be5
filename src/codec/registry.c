/* SPDX-License-Identifier: Apache-2.0 */
/* registry.c -- the codec table. */
#include "src/codec/codec.h"

#include <string.h>

const vq_codec *const vq_codecs[] = {&vq_codec_flat, &vq_codec_sq8, &vq_codec_pq4,   &vq_codec_pq8,
                                     &vq_codec_aq8,  &vq_codec_saq, &vq_codec_rabitq};
const size_t vq_codec_count = VQ_COUNT(vq_codecs);

const vq_codec *vq_codec_by_name(const char *name)
{
    for (size_t i = 0; i < vq_codec_count; i++)
        if (strcmp(vq_codecs[i]->name, name) == 0) return vq_codecs[i];
    return NULL;
}

const vq_codec *vq_codec_by_id(uint32_t disk_id)
{
    for (size_t i = 0; i < vq_codec_count; i++)
        if (vq_codecs[i]->disk_id == disk_id) return vq_codecs[i];
    return NULL;
}
