/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "src/base/status.h"

Test(status, fail_writes_code_and_text)
{
    vq_error err = {0};
    cr_assert(vq_fail(&err, VQ_ECORRUPT, "row %d of %s", 7, "x.fbin") == VQ_ECORRUPT);
    cr_assert(err.code == VQ_ECORRUPT);
    cr_assert_str_eq(err.text, "row 7 of x.fbin");
    cr_assert(vq_fail(NULL, VQ_EIO, "nobody listens") == VQ_EIO);
}

Test(status, system_errors)
{
    vq_error err = {0};
    cr_assert(vq_fail_errno(&err, ENOENT, "a") == VQ_ENOENT);
    cr_assert_str_eq(err.text, "a: No such file or directory");
    cr_assert(vq_fail_errno(&err, ENOMEM, "a") == VQ_ENOMEM);
    cr_assert(vq_fail_errno(&err, EBUSY, "a") == VQ_EBUSY);
    cr_assert(vq_fail_errno(&err, ENOSPC, "a") == VQ_EIO);
    cr_assert(vq_fail_errno(NULL, EACCES, "a") == VQ_EIO);
    cr_assert(vq_fail_errno(&err, 123456, "a") == VQ_EIO);
    cr_assert(strstr(err.text, "123456") != NULL);
}

Test(status, context_goes_in_front)
{
    vq_error err = {0};
    vq_status rc = vq_fail(&err, VQ_EINVAL, "bad k");
    cr_assert(vq_fail_context(&err, rc, "query %d", 3) == VQ_EINVAL);
    cr_assert_str_eq(err.text, "query 3: bad k");
    vq_error before = err;
    cr_assert(vq_fail_context(&err, rc, "query %d", 3) == VQ_EINVAL);
    cr_assert_str_eq(err.text, before.text, "the same context twice says it once");
    cr_assert(vq_fail_context(&err, VQ_OK, "no") == VQ_OK);
    cr_assert_str_eq(err.text, "query 3: bad k");
    cr_assert(vq_fail_context(NULL, VQ_EIO, "no") == VQ_EIO);
}

Test(status, long_texts_are_cut)
{
    char text[2000];
    vq_error err;
    memset(&err, 0x55, sizeof err);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)vq_fail(&err, VQ_EIO, "%s", text);
    cr_assert(strlen(err.text) == sizeof err.text - 1);
    (void)vq_fail_errno(&err, ENOENT, "%s", text);
    cr_assert(strlen(err.text) == sizeof err.text - 1);
    (void)vq_fail_context(&err, VQ_EIO, "%s", text);
    cr_assert(strlen(err.text) == sizeof err.text - 1);
}

static vq_status step(int fails, int *cleaned, vq_error *err)
{
    vq_status rc = VQ_OK;
    VQ_REQUIRE(fails != 1, VQ_EINVAL, "first");
    VQ_TRY(fails == 2 ? vq_fail(err, VQ_EIO, "second") : VQ_OK);
out:
    *cleaned = 1;
    return rc;
}

Test(status, macros_leave_by_out)
{
    vq_error err = {0};
    for (int i = 0; i < 3; i++) {
        int cleaned = 0;
        vq_status rc = step(i, &cleaned, &err);
        cr_assert(cleaned == 1);
        cr_assert(rc == (i == 0 ? VQ_OK : i == 1 ? VQ_EINVAL : VQ_EIO));
    }
}

Test(status, names)
{
    for (int c = 0; c >= -9; c--) cr_assert_str_neq(vq_strerror(c), "unknown status");
    cr_assert_str_eq(vq_strerror(-10), "unknown status");
    cr_assert_str_eq(vq_strerror(1), "unknown status");
}
