/* SPDX-License-Identifier: Apache-2.0 */
/* opts.c -- see opts.h. */
#include "index/opts.h"

#include <stdbool.h>
#include <string.h>

enum { OPTS_MAX = 4096 };

static bool all_zero(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != 0) return false;
    return true;
}

vq_status vq_opts_import(void *dst, size_t dsize, const void *src, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t ssize;
    memset(dst, 0, dsize);
    if (src == NULL) goto out;
    memcpy(&ssize, src, sizeof ssize);
    VQ_REQUIRE(ssize >= sizeof ssize && ssize <= OPTS_MAX, VQ_EINVAL,
               "options: struct_size is %zu; start from the _INIT macro", ssize);
    VQ_REQUIRE(ssize <= dsize || all_zero((const char *)src + dsize, ssize - dsize),
               VQ_EUNSUPPORTED, "options: made for a newer libvq");
    memcpy(dst, src, VQ_MIN(ssize, dsize));
    memcpy(dst, &dsize, sizeof dsize);
out:
    return rc;
}

vq_status vq_opts_export(void *dst, const void *src, size_t ssize, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t dsize;
    memcpy(&dsize, dst, sizeof dsize);
    VQ_REQUIRE(dsize >= sizeof dsize && dsize <= OPTS_MAX, VQ_EINVAL,
               "struct_size is %zu; start from the _INIT macro", dsize);
    size_t n = VQ_MIN(ssize, dsize);
    memset(dst, 0, dsize);
    memcpy((char *)dst + sizeof dsize, (const char *)src + sizeof dsize, n - sizeof dsize);
    memcpy(dst, &dsize, sizeof dsize);
out:
    return rc;
}
