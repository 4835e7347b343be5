/* SPDX-License-Identifier: Apache-2.0 */
/* text.c -- text files line by line. */
#include "src/io/text.h"

#include <string.h>

#include "src/base/mem.h"
#include "src/base/pack.h"
#include "src/io/format.h"

static vq_status read_bytes(vq_text *t, vq_stream *stream, vq_error *err)
{
    size_t room = 0, got = 1;
    while (got > 0) {
        char *grown = vq_mem_reserve(t->bytes, t->len, t->len + 2, &room, 1);
        if (grown == NULL)
            return vq_fail(err, VQ_ENOMEM, "%s: no memory for more than %zu bytes of text", t->name,
                           t->len);
        t->bytes = grown;
        vq_status rc = vq_stream_read(stream, t->bytes + t->len, room - t->len - 1, &got, err);
        if (rc != VQ_OK) return rc;
        t->len += got;
    }
    t->bytes[t->len] = '\0';
    return VQ_OK;
}

static vq_status fail_binary(const vq_text *t, const char *nul, vq_error *err)
{
    const char *foreign = vq_foreign_name((const uint8_t *)t->bytes, t->len);
    if (foreign != NULL)
        return vq_fail(err, VQ_ECORRUPT, "%s: is %s, not a text file", t->name, foreign);
    size_t line = 1;
    for (const char *p = t->bytes; (p = memchr(p, '\n', (size_t)(nul - p))) != NULL; p++) line++;
    return vq_fail(err, VQ_ECORRUPT, "%s:%zu: a NUL byte: not a text file", t->name, line);
}

vq_status vq_text_read(vq_text *t, const char *path, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_stream *stream = NULL;
    memset(t, 0, sizeof *t);
    t->name = strcmp(path, "-") == 0 ? "standard input" : path;
    VQ_TRY(vq_stream_open(&stream, path, err));
    VQ_TRY(read_bytes(t, stream, err));
    const char *nul = memchr(t->bytes, '\0', t->len);
    if (nul != NULL) {
        rc = fail_binary(t, nul, err);
        goto out;
    }
    t->next = t->bytes + (strncmp(t->bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0);
out:
    vq_stream_close(stream);
    if (rc != VQ_OK) vq_text_fini(t);
    return rc;
}

char *vq_text_line(vq_text *t)
{
    char *line = t->next, *end = t->bytes + t->len;
    if (line == end) return NULL;
    char *stop = memchr(line, '\n', (size_t)(end - line));
    t->next = stop != NULL ? stop + 1 : end;
    if (stop == NULL) stop = end;
    while (stop > line && (stop[-1] == '\r' || stop[-1] == '\t' || stop[-1] == ' ')) stop--;
    *stop = '\0';
    t->line++;
    return line;
}

size_t vq_text_fields(char *line, char **fields, size_t max)
{
    size_t n = 0;
    for (char *p = line; *(p += strspn(p, " \t")) != '\0'; n++) {
        if (n == max) return max + 1;
        fields[n] = p;
        p += strcspn(p, " \t");
        if (*p != '\0') *p++ = '\0';
    }
    return n;
}

void vq_text_fini(vq_text *t)
{
    vq_mem_free(t->bytes);
    memset(t, 0, sizeof *t);
}
