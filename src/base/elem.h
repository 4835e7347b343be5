/* SPDX-License-Identifier: Apache-2.0 */
/* elem.h -- element types: sizes, names, and the scalar conversion to and from f16. */
#ifndef VQ_BASE_ELEM_H
#define VQ_BASE_ELEM_H

#include <stddef.h>
#include <stdint.h>

#include "vq/vq.h"

float vq_f16_to_f32(uint16_t h);
uint16_t vq_f32_to_f16(float f); /* round to nearest even; too large becomes infinity */

#endif
