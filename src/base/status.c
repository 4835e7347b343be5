/* SPDX-License-Identifier: Apache-2.0 */
/* status.c -- error texts. */
#include "src/base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void set_text(vq_error *err, vq_status code, const char *fmt, va_list args)
{
    if (err == NULL) return;
    err->code = code;
    (void)vsnprintf(err->text, sizeof err->text, fmt, args);
}

static void append_text(vq_error *err, const char *text)
{
    size_t len = strlen(err->text);
    (void)snprintf(err->text + len, sizeof err->text - len, "%s", text);
}

vq_status vq_fail(vq_error *err, vq_status code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    set_text(err, code, fmt, args);
    va_end(args);
    return code;
}

vq_status vq_fail_errno(vq_error *err, int errnum, const char *fmt, ...)
{
    vq_status code = errnum == ENOMEM   ? VQ_ENOMEM
                     : errnum == ENOENT ? VQ_ENOENT
                     : errnum == EBUSY  ? VQ_EBUSY
                                        : VQ_EIO;
    va_list args;
    va_start(args, fmt);
    set_text(err, code, fmt, args);
    va_end(args);
    if (err != NULL) {
        char buffer[128];
        append_text(err, ": ");
        append_text(err, strerror_r(errnum, buffer, sizeof buffer)); /* GNU's: thread-safe */
    }
    return code;
}

vq_status vq_fail_context(vq_error *err, vq_status rc, const char *fmt, ...)
{
    if (rc == VQ_OK || err == NULL) return rc;
    vq_error inner = *err;
    va_list args;
    va_start(args, fmt);
    set_text(err, (vq_status)inner.code, fmt, args);
    va_end(args);
    append_text(err, ": ");
    size_t len = strlen(err->text); /* a layer below may have said the same */
    append_text(err, inner.text + (strncmp(inner.text, err->text, len) == 0 ? len : 0));
    return rc;
}

const char *vq_strerror(int code)
{
    switch (code) {
    case VQ_OK: return "no error";
    case VQ_EINVAL: return "invalid argument";
    case VQ_ENOMEM: return "out of memory";
    case VQ_EIO: return "input/output error";
    case VQ_ECORRUPT: return "damaged or foreign data";
    case VQ_EVERSION: return "newer format version";
    case VQ_ENOENT: return "not found";
    case VQ_EBUSY: return "busy";
    case VQ_ECANCELED: return "cancelled";
    case VQ_EUNSUPPORTED: return "not supported";
    default: return "unknown status";
    }
}
