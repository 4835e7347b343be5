/* SPDX-License-Identifier: Apache-2.0 */
/* report.c -- see report.h. */
#include "cli/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#include "src/io/utf8.h"

static void indent(json *j)
{
    if (j->pretty) (void)fprintf(j->f, "\n%*s", 2 * j->depth, "");
}

/* U+FFFD stands for each byte that is no UTF-8: JSON is. */
static void quoted(FILE *f, const char *text, size_t len)
{
    (void)fputc('"', f);
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t code;
        step = vq_utf8_next(text + i, len - i, &code);
        if (code == '"' || code == '\\')
            (void)fprintf(f, "\\%c", text[i]);
        else if (code < 0x20)
            (void)fprintf(f, "\\u%04x", (unsigned)code);
        else if (step > 0)
            (void)fwrite(text + i, 1, step, f);
        else
            (void)fputs("\xef\xbf\xbd", f);
        if (step == 0) step = 1;
    }
    (void)fputc('"', f);
}

static void begin(json *j, const char *key)
{
    if (j->depth > 0) {
        if (j->more[j->depth - 1]) (void)fputs(j->pretty ? "," : ", ", j->f);
        j->more[j->depth - 1] = true;
        indent(j);
    }
    if (key == NULL) return;
    quoted(j->f, key, strlen(key));
    (void)fputs(": ", j->f);
}

void json_open(json *j, const char *key, char bracket)
{
    begin(j, key);
    (void)fputc(bracket, j->f);
    if (j->depth < JSON_DEPTH) j->more[j->depth] = false;
    j->depth++;
}

void json_close(json *j, char bracket)
{
    j->depth--;
    if (j->more[j->depth]) indent(j);
    (void)fputc(bracket, j->f);
    if (j->depth == 0) (void)fputc('\n', j->f);
}

void json_text(json *j, const char *key, const char *text)
{
    json_bytes(j, key, text, strlen(text));
}

void json_bytes(json *j, const char *key, const char *text, size_t len)
{
    begin(j, key);
    quoted(j->f, text, len);
}

void json_real(json *j, const char *key, double x)
{
    begin(j, key);
    if (isfinite(x))
        (void)fprintf(j->f, "%.9g", x);
    else
        (void)fputs("null", j->f);
}

void json_count(json *j, const char *key, uint64_t x)
{
    begin(j, key);
    (void)fprintf(j->f, "%" PRIu64, x);
}

void json_int(json *j, const char *key, int64_t x)
{
    begin(j, key);
    (void)fprintf(j->f, "%" PRId64, x);
}

void json_raw(json *j, const char *key, const char *bytes, size_t len)
{
    begin(j, key);
    (void)fwrite(bytes, 1, len, j->f);
}

void json_bool(json *j, const char *key, bool x)
{
    begin(j, key);
    (void)fputs(x ? "true" : "false", j->f);
}

void report_line(FILE *f, const char *label, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)fprintf(f, "%-20s", label);
    (void)vfprintf(f, fmt, args);
    (void)fputc('\n', f);
    va_end(args);
}

char *report_count(char text[32], uint64_t x)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, x);
    char *to = text;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

char *report_bytes(char text[32], uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double x = (double)bytes / 1024;
    size_t u = 0;
    if (bytes < 1024) {
        (void)snprintf(text, 32, "%" PRIu64 " bytes", bytes);
        return text;
    }
    while (x >= 1024 && u < 3) {
        x /= 1024;
        u++;
    }
    (void)snprintf(text, 32, "%.1f %s", x, units[u]);
    return text;
}
