/* SPDX-License-Identifier: Apache-2.0 */
/* ids.c -- external ids, one a line. */
#include "src/io/ids.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/mem.h"
#include "src/io/text.h"
#include "src/io/utf8.h"

/* "0", or digits without a zero in front, below 2^64. */
static bool canonical_number(const char *text, uint64_t *out)
{
    uint64_t x = 0;
    if (*text == '\0' || (text[0] == '0' && text[1] != '\0')) return false;
    for (const char *p = text; *p != '\0'; p++)
        if (*p < '0' || *p > '9' || __builtin_mul_overflow(x, 10u, &x) ||
            __builtin_add_overflow(x, (uint64_t)(*p - '0'), &x))
            return false;
    *out = x;
    return true;
}

bool vq_id_number(const char *text, uint64_t *out)
{
    return canonical_number(text, out) && *out != VQ_NO_ID;
}

vq_status vq_id_check(const char *file, size_t line, const char *id, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t bytes = strlen(id), at = vq_utf8_clean(id, bytes);
    uint32_t code;
    VQ_REQUIRE(bytes > 0, VQ_ECORRUPT, "%s:%zu: an empty line, expected an id", file, line);
    VQ_REQUIRE(bytes <= VQ_ID_MAX, VQ_ECORRUPT,
               "%s:%zu: an id of %zu bytes, at most %u are possible", file, line, bytes, VQ_ID_MAX);
    if (at == bytes) goto out;
    VQ_REQUIRE(vq_utf8_next(id + at, bytes - at, &code) != 0, VQ_ECORRUPT,
               "%s:%zu: byte %zu of the id is not valid UTF-8 (0x%02x)", file, line, at + 1,
               (unsigned)code);
    rc = vq_fail(err, VQ_ECORRUPT,
                 "%s:%zu: a control character (U+%04" PRIX32 ") at byte %zu of the id", file, line,
                 code, at + 1);
out:
    return rc;
}

/* Takes all lines: names of all, and whether some is no number. */
static vq_status take_lines(vq_ids *ids, vq_text *t, vq_error *err)
{
    vq_status rc = VQ_OK;
    size_t room = 0;
    for (char *line; (line = vq_text_line(t)) != NULL; ids->n++) {
        uint64_t number;
        VQ_TRY(vq_id_check(t->name, t->line, line, err));
        if (!canonical_number(line, &number)) ids->strings = true;
        char **names = vq_mem_reserve(ids->names, ids->n, ids->n + 1, &room, sizeof *names);
        VQ_REQUIRE(names != NULL, VQ_ENOMEM, "%s: no memory for %zu ids", t->name, ids->n + 1);
        ids->names = names;
        ids->names[ids->n] = line;
    }
out:
    return rc;
}

static vq_status make_numbers(vq_ids *ids, const char *name, vq_error *err)
{
    vq_status rc = VQ_OK;
    ids->numbers = vq_mem_alloc(ids->n, sizeof *ids->numbers);
    VQ_REQUIRE(ids->numbers != NULL, VQ_ENOMEM, "%s: no memory for %zu ids", name, ids->n);
    for (size_t i = 0; i < ids->n; i++) {
        (void)canonical_number(ids->names[i], &ids->numbers[i]);
        VQ_REQUIRE(ids->numbers[i] != VQ_NO_ID, VQ_ECORRUPT,
                   "%s:%zu: the id %" PRIu64 " is reserved, since it stands for \"no id\"", name,
                   i + 1, VQ_NO_ID);
    }
    vq_mem_free(ids->names);
    vq_mem_free(ids->text);
    ids->names = NULL;
    ids->text = NULL;
out:
    return rc;
}

vq_status vq_ids_read(vq_ids *ids, const char *path, bool force_strings, vq_error *err)
{
    vq_status rc = VQ_OK;
    vq_text t;
    memset(ids, 0, sizeof *ids);
    VQ_TRY(vq_text_read(&t, path, err));
    ids->text = t.bytes;
    VQ_TRY(take_lines(ids, &t, err));
    if (force_strings) ids->strings = true;
    if (!ids->strings) VQ_TRY(make_numbers(ids, t.name, err));
out:
    if (rc != VQ_OK) vq_ids_fini(ids);
    return rc;
}

void vq_ids_fini(vq_ids *ids)
{
    vq_mem_free(ids->numbers);
    vq_mem_free(ids->names);
    vq_mem_free(ids->text);
    vq_mem_free(ids->order);
    memset(ids, 0, sizeof *ids);
}

static int compare(const vq_ids *ids, size_t a, size_t b)
{
    if (ids->strings) return strcmp(ids->names[a], ids->names[b]);
    return (ids->numbers[a] > ids->numbers[b]) - (ids->numbers[a] < ids->numbers[b]);
}

static int by_id(const void *a, const void *b, void *ctx)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    int order = compare(ctx, x, y);
    return order != 0 ? order : (x > y) - (x < y);
}

vq_status vq_ids_sort(vq_ids *ids, vq_error *err)
{
    if (ids->order != NULL || ids->n == 0) return VQ_OK;
    ids->order = vq_mem_alloc(ids->n, sizeof *ids->order);
    if (ids->order == NULL) return vq_fail(err, VQ_ENOMEM, "no memory to sort %zu ids", ids->n);
    for (size_t i = 0; i < ids->n; i++) ids->order[i] = i;
    qsort_r(ids->order, ids->n, sizeof *ids->order, by_id, ids);
    return VQ_OK;
}

size_t vq_ids_find(const vq_ids *ids, const char *id)
{
    uint64_t number = 0;
    size_t low = 0, high = ids->n;
    if (!ids->strings && !canonical_number(id, &number)) return SIZE_MAX;
    while (low < high) { /* to the first that is not below */
        size_t mid = low + (high - low) / 2, line = ids->order[mid];
        bool below = ids->strings ? strcmp(ids->names[line], id) < 0 : ids->numbers[line] < number;
        if (below)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == ids->n) return SIZE_MAX;
    size_t line = ids->order[low];
    bool found = ids->strings ? strcmp(ids->names[line], id) == 0 : ids->numbers[line] == number;
    return found ? line : SIZE_MAX;
}

bool vq_ids_repeat(const vq_ids *ids)
{
    for (size_t i = 1; i < ids->n; i++)
        if (compare(ids, ids->order[i - 1], ids->order[i]) == 0) return true;
    return false;
}
