/* SPDX-License-Identifier: Apache-2.0 */
/* out.h -- writing a file so that it is there whole or not at all: bytes go to a temporary file in
 * the same folder, commit makes them durable and renames.  A path ending in .zst is compressed. */
#ifndef VQ_IO_OUT_H
#define VQ_IO_OUT_H

#include <stddef.h>

#include "src/base/status.h"

typedef struct vq_out vq_out;
vq_status vq_out_open(vq_out **out, const char *path, vq_error *err);
vq_status vq_out_write(vq_out *o, const void *bytes, size_t len, vq_error *err);
vq_status vq_out_commit(vq_out *o, vq_error *err); /* then only close */
void vq_out_close(vq_out *o); /* accepts NULL; without a commit nothing is left behind */

#endif
