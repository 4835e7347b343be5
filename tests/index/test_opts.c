/* SPDX-License-Identifier: Apache-2.0 */
/* Option structs of callers that are older or newer than the library. */
#include "index/opts.h"

#include "tests/index/fixture.h"

typedef struct today {
    size_t struct_size;
    uint32_t a, b;
} today;
typedef struct older {
    size_t struct_size;
} older;
typedef struct newer {
    size_t struct_size;
    uint32_t a, b, c, d;
} newer;

Test(opts, import)
{
    today dst = {1, 2, 3};
    OK(vq_opts_import(&dst, sizeof dst, NULL, &err));
    cr_assert(dst.a == 0 && dst.b == 0);
    today same = {sizeof same, 5, 6};
    OK(vq_opts_import(&dst, sizeof dst, &same, &err));
    cr_assert(dst.struct_size == sizeof dst && dst.a == 5 && dst.b == 6);
    struct {
        older o;
        uint32_t garbage[2];
    } old = {{sizeof old.o}, {7, 8}};
    OK(vq_opts_import(&dst, sizeof dst, &old, &err));
    cr_assert(dst.struct_size == sizeof dst && dst.a == 0 && dst.b == 0);
    newer fresh = {sizeof fresh, 9, 10, 0, 0};
    OK(vq_opts_import(&dst, sizeof dst, &fresh, &err));
    cr_assert(dst.struct_size == sizeof dst && dst.a == 9 && dst.b == 10);
    fresh.d = 1;
    FAILS(VQ_EUNSUPPORTED, vq_opts_import(&dst, sizeof dst, &fresh, &err));
}

Test(opts, sizes_that_cannot_be)
{
    today dst, src = {0, 1, 2};
    static const size_t sizes[] = {0, 1, sizeof(size_t) - 1, 4097, SIZE_MAX};
    for (size_t i = 0; i < VQ_COUNT(sizes); i++) {
        src.struct_size = sizes[i];
        FAILS(VQ_EINVAL, vq_opts_import(&dst, sizeof dst, &src, &err));
        FAILS(VQ_EINVAL, vq_opts_export(&src, &dst, sizeof dst, &err));
    }
}

Test(opts, export_keeps_to_the_callers_size)
{
    const today src = {sizeof src, 5, 6};
    struct {
        older o;
        uint32_t kept[2];
    } old = {{sizeof old.o}, {7, 8}};
    OK(vq_opts_export(&old, &src, sizeof src, &err));
    cr_assert(old.o.struct_size == sizeof old.o && old.kept[0] == 7 && old.kept[1] == 8);
    newer fresh = {sizeof fresh, 1, 1, 1, 1};
    OK(vq_opts_export(&fresh, &src, sizeof src, &err));
    cr_assert(fresh.struct_size == sizeof fresh && fresh.a == 5 && fresh.b == 6);
    cr_assert(fresh.c == 0 && fresh.d == 0, "what we do not know of is 0");
}

Test(opts, the_public_functions_take_old_structs)
{
    char *dir = test_tmpdir(), *path = test_path(dir, "x.vq");
    vq_build_opts o = VQ_BUILD_OPTS_INIT;
    build_clusters(path, 1, 50, 4, &o);
    vq_index *ix = open_index(path);
    vq_info info = VQ_INFO_INIT;
    info.struct_size = offsetof(vq_info, file_bytes);
    info.file_bytes = 77;
    OK(vq_index_info(ix, &info, &err));
    cr_assert(info.n == 50 && info.file_bytes == 77 && info.struct_size == 16);
    vq_close(ix);
    vq_check_report report = VQ_CHECK_REPORT_INIT;
    report.struct_size = offsetof(vq_check_report, problems);
    report.problems = 77;
    OK(vq_check(path, NULL, NULL, &report, &err));
    cr_assert(report.vectors == 50 && report.problems == 77);
    o.reserved = 1;
    FAILS(VQ_EINVAL, try_build(path, path, 1, 1, VQ_U8, &o));
    free(path);
    test_rmdir(dir);
}
