/* SPDX-License-Identifier: Apache-2.0 */
/* probe.h -- a probe of many lists, for micro.c. */
#ifndef VQ_BENCH_PROBE_H
#define VQ_BENCH_PROBE_H

#include <stddef.h>

#include "src/math/kernels.h"

enum { PROBE_QUERIES = 64 };

/* The 32 best of n lists of d dimensions for each of PROBE_QUERIES queries, as a search finds them;
 * returns the bytes of centroids that are there to be read.  Lists are made at the first call for
 * their number, and kept for the next one.  Ends the program if there is no memory. */
size_t probe_run(const vq_kernels *k, size_t n, size_t d);
void probe_free(void);

#endif
