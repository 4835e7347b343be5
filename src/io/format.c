/* SPDX-License-Identifier: Apache-2.0 */
/* format.c -- the table of vector file formats, and which of them a stream of bytes is. */
#include "src/io/format.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "src/base/bytes.h"

#define SNIFF_BYTES 4096u
#define SURE        90 /* a score from which content outweighs the name */

const vq_format *const vq_formats[] = {&vq_format_fvecs, &vq_format_bvecs, &vq_format_fbin,
                                       &vq_format_u8bin, &vq_format_i8bin, &vq_format_npy};
const size_t vq_format_count = VQ_COUNT(vq_formats);

const vq_format *vq_format_by_name(const char *name)
{
    for (size_t i = 0; i < vq_format_count; i++)
        if (strcmp(vq_formats[i]->name, name) == 0) return vq_formats[i];
    return NULL;
}

/* The ending before path[len], "" if there is none; returns the length of what precedes it. */
static size_t cut_ending(const char *path, size_t len, char ending[VQ_ENDING_MAX])
{
    size_t dot = len;
    ending[0] = '\0';
    while (dot > 0 && path[dot - 1] != '.' && path[dot - 1] != '/') dot--;
    if (dot == 0 || path[dot - 1] == '/' || len - dot >= VQ_ENDING_MAX) return len;
    for (size_t i = dot; i < len; i++)
        ending[i - dot] = path[i] >= 'A' && path[i] <= 'Z' ? (char)(path[i] + 32) : path[i];
    ending[len - dot] = '\0';
    return dot - 1;
}

void vq_path_ending(const char *path, char ending[VQ_ENDING_MAX], bool *zst)
{
    size_t len = cut_ending(path, strlen(path), ending);
    bool packed = strcmp(ending, "zst") == 0;
    if (packed) (void)cut_ending(path, len, ending);
    if (zst != NULL) *zst = packed;
}

bool vq_looks_f32(const uint8_t *bytes, size_t len)
{
    size_t seen = 0, common = 0;
    for (size_t at = 0; at + 4 <= len; at += 4) {
        uint32_t magnitude = vq_le32(bytes + at) & 0x7fffffffu, exponent = magnitude >> 23;
        if (magnitude == 0) continue;
        seen++;
        common += exponent >= 127 - 40 && exponent <= 127 + 40;
    }
    return seen > 0 && common >= seen - seen / 16;
}

/* The best of the scores, and whether another is as good and the name does not decide. */
static const vq_format *best_format(const uint8_t *bytes, size_t len, uint64_t size,
                                    const char *ending, int *score, const vq_format **rival)
{
    const vq_format *best = NULL;
    *score = 0;
    *rival = NULL;
    for (size_t i = 0; i < vq_format_count; i++) {
        const vq_format *f = vq_formats[i];
        int s = f->sniff(bytes, len, size, ending);
        bool named = strcmp(f->name, ending) == 0;
        if (s == 0 || s < *score) continue;
        if (s == *score && !named) {
            if (strcmp(best->name, ending) != 0) *rival = f;
            continue;
        }
        *rival = NULL;
        *score = s;
        best = f;
    }
    return best;
}

static vq_status fail_unknown(const char *path, const uint8_t *bytes, size_t len, uint64_t size,
                              vq_error *err)
{
    char start[3 * 8 + 1] = "", length[40] = "of unknown length";
    for (size_t i = 0; i < len && i < 8; i++)
        (void)snprintf(start + 3 * i, sizeof start - 3 * i, " %02x", bytes[i]);
    if (size != UINT64_MAX) (void)snprintf(length, sizeof length, "of %" PRIu64 " bytes", size);
    return vq_fail(
        err, VQ_ECORRUPT,
        "%s: not a file of vectors that vq knows (fvecs, bvecs, fbin, u8bin, i8bin, npy; "
        "plain or .zst): a file %s that starts with%s",
        path, length, start);
}

/* Of "i8bin:-", standard input, what precedes the colon. */
static void input_ending(const char *path, char ending[VQ_ENDING_MAX])
{
    vq_path_ending(path, ending, NULL);
    const char *colon = vq_path_is_stdin(path) ? strchr(path, ':') : NULL;
    if (colon != NULL && colon - path < (ptrdiff_t)VQ_ENDING_MAX)
        (void)snprintf(ending, VQ_ENDING_MAX, "%.*s", (int)(colon - path), path);
}

vq_status vq_format_detect(const vq_format **out, const char *path, vq_stream *stream,
                           vq_error *err)
{
    vq_status rc = VQ_OK;
    char ending[VQ_ENDING_MAX];
    const uint8_t *bytes;
    size_t len;
    int score;
    const vq_format *rival;
    uint64_t size = vq_stream_size(stream);
    input_ending(path, ending);
    VQ_TRY(vq_stream_peek(stream, &bytes, SNIFF_BYTES, &len, err));
    const vq_format *best = best_format(bytes, len, size, ending, &score, &rival);
    const vq_format *named = vq_format_by_name(ending);
    if (score < SURE) {
        const char *foreign = vq_foreign_name(bytes, len);
        VQ_REQUIRE(foreign == NULL, VQ_ECORRUPT, "%s: is %s, not a file of vectors", path, foreign);
        VQ_REQUIRE(strcmp(ending, "ivecs") != 0 && strcmp(ending, "ibin") != 0, VQ_ECORRUPT,
                   "%s: a file of neighbours' numbers, not of vectors", path);
        if (named != NULL) best = named, rival = NULL;
    }
    if (best == NULL) return fail_unknown(path, bytes, len, size, err);
    VQ_REQUIRE(rival == NULL, VQ_EINVAL,
               "%s: could be %s or %s, which look alike: let the file's name end in .%s or .%s "
               "(%s:- or %s:- is standard input)",
               path, best->name, rival->name, best->name, rival->name, best->name, rival->name);
    *out = best;
out:
    return rc;
}
