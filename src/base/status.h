/* SPDX-License-Identifier: Apache-2.0 */
/* status.h -- the one way to fail: a vq_status returned, a text in the caller's vq_error.
 * A function that can fail has `vq_status rc = VQ_OK;`, a parameter `vq_error *err` (may be NULL)
 * and one exit at label `out`, which frees what was taken. */
#ifndef VQ_BASE_STATUS_H
#define VQ_BASE_STATUS_H

#include "src/base/compiler.h"
#include "vq/vq.h"

/* Writes code and text to err (if not NULL) and returns code. */
vq_status vq_fail(vq_error *err, vq_status code, const char *fmt, ...) VQ_PRINTF(3, 4);
/* The same for a failed system call: appends ": " and the text of errnum.  ENOMEM, ENOENT and
 * EBUSY get their own codes, everything else VQ_EIO. */
vq_status vq_fail_errno(vq_error *err, int errnum, const char *fmt, ...) VQ_PRINTF(3, 4);
/* Puts "text: " before the message that err already holds (and keeps rc), for a caller who knows
 * the file or the row. */
vq_status vq_fail_context(vq_error *err, vq_status rc, const char *fmt, ...) VQ_PRINTF(3, 4);

#define VQ_TRY(call)                                                                               \
    do {                                                                                           \
        if ((rc = (call)) != VQ_OK) goto out;                                                      \
    } while (0)

#define VQ_REQUIRE(cond, code, ...)                                                                \
    do {                                                                                           \
        if (VQ_UNLIKELY(!(cond))) {                                                                \
            rc = vq_fail(err, (code), __VA_ARGS__);                                                \
            goto out;                                                                              \
        }                                                                                          \
    } while (0)

#endif
