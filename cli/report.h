/* SPDX-License-Identifier: Apache-2.0 */
/* report.h -- printing: JSON, labelled lines, numbers for people. */
#ifndef VQ_CLI_REPORT_H
#define VQ_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH 8

typedef struct json { /* no memory of its own; nothing to end but the outermost bracket */
    FILE *f;
    bool pretty; /* one member a line */
    int depth;
    bool more[JSON_DEPTH]; /* a comma is due */
} json;

/* key is NULL inside an array and for the outermost value; bracket is '{' or '['. */
void json_open(json *j, const char *key, char bracket);
void json_close(json *j, char bracket); /* '}' or ']' */
void json_text(json *j, const char *key, const char *text);
/* A string of len bytes, whatever they are; U+FFFD stands for what is no UTF-8. */
void json_bytes(json *j, const char *key, const char *text, size_t len);
void json_real(json *j, const char *key, double x); /* 9 digits; null if it is not finite */
void json_count(json *j, const char *key, uint64_t x);
void json_int(json *j, const char *key, int64_t x);
void json_raw(json *j, const char *key, const char *bytes, size_t len); /* that are JSON */
void json_bool(json *j, const char *key, bool x);

/* From this drift on (vq_info) a user is told of vq retrain. */
#define DRIFT_HINT   0.2
#define UNTUNED_HINT 0.25 /* of the vectors */

/* "label           value" */
void report_line(FILE *f, const char *label, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* 1,234,567 and 12.3 MiB, into text (32 bytes), which is returned. */
char *report_count(char text[32], uint64_t x);
char *report_bytes(char text[32], uint64_t bytes);

#endif
