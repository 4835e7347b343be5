/* SPDX-License-Identifier: Apache-2.0 */
/* attach.c -- see attach.h. */
#include "cli/attach.h"

#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/util.h"

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

bool attach_print(FILE *f, vq_attrs_kind kind, const char *id, const vq_document *d)
{
    switch (kind) {
    case VQ_ATTRS_TAGS:
        if (d->ntags == 0) return false;
        (void)fprintf(f, "%s", id);
        for (uint64_t i = 0; i < d->ntags; i++) (void)fprintf(f, "\t%s", d->tags[i]);
        break;
    case VQ_ATTRS_TIMES:
        if (d->time == VQ_NO_TIME) return false;
        (void)fprintf(f, "%s\t%" PRId64, id, d->time);
        break;
    case VQ_ATTRS_PAYLOAD:
        if (d->payload == NULL) return false;
        (void)fwrite(d->payload, 1, d->payload_bytes, f);
        break;
    }
    (void)fputc('\n', f);
    return true;
}
