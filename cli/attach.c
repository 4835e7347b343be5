/* SPDX-License-Identifier: Apache-2.0 */
/* attach.c -- see attach.h. */
#include "cli/attach.h"

#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/util.h"
#include "src/io/ids.h"
#include "src/io/jsonl.h"

bool attach_any(const attach_files *f)
{
    return f->tags != NULL || f->times != NULL || f->payload != NULL;
}

int attach_open(attach *a, const attach_files *f, bool strings)
{
    vq_error err = {0};
    const char *paths[ATTACH_KINDS] = {f->tags, f->times, f->payload};
    memset(a, 0, sizeof *a);
    for (int kind = 0; kind < ATTACH_KINDS; kind++) {
        if (paths[kind] == NULL) continue;
        vq_status rc =
            vq_attrs_read(&a->files[a->n], paths[kind], (vq_attrs_kind)kind, strings, &err);
        if (rc != VQ_OK) return fail_data(rc, &err);
        a->paths[a->n] = paths[kind];
        a->attributes[a->n] = &a->files[a->n].a;
        a->n++;
    }
    return CLI_DONE;
}

void attach_close(attach *a)
{
    for (size_t i = 0; i < a->n; i++) vq_attrs_fini(&a->files[i]);
}

/* Is a payload one line that attach_open takes for that of id, byte by byte? */
static bool is_line(const vq_document *d, const char *id)
{
    vq_error err = {0};
    char own[VQ_ID_MAX + 1];
    const char *p = d->payload;
    size_t n = d->payload_bytes;
    return p[0] == '{' && p[n - 1] == '}' && memchr(p, '\n', n) == NULL &&
           vq_json_id(p, n, own, sizeof own, &err) == VQ_OK && strcmp(own, id) == 0;
}

int attach_print(FILE *f, vq_attrs_kind kind, const char *id, const vq_document *d)
{
    switch (kind) {
    case VQ_ATTRS_TAGS:
        if (d->ntags == 0) return CLI_DONE;
        (void)fprintf(f, "%s", id);
        for (uint64_t i = 0; i < d->ntags; i++) (void)fprintf(f, "\t%s", d->tags[i]);
        break;
    case VQ_ATTRS_TIMES:
        if (d->time == VQ_NO_TIME) return CLI_DONE;
        (void)fprintf(f, "%s\t%" PRId64, id, d->time);
        break;
    case VQ_ATTRS_PAYLOAD:
        if (d->payload == NULL) return CLI_DONE;
        if (!is_line(d, id))
            return fail(CLI_DATA,
                        "the payload of %s is no line of a JSON object with this id, which is what "
                        "a file of payloads has; vq get --payload prints it as it is",
                        id);
        (void)fwrite(d->payload, 1, d->payload_bytes, f);
        break;
    }
    (void)fputc('\n', f);
    return CLI_DONE;
}
