/* SPDX-License-Identifier: Apache-2.0 */
#include "src/io/attrs.h"

#include "src/io/jsonl.h"
#include "tests/src/io/io.h"

static vq_status read_text(vq_attrs *a, const char *text, vq_attrs_kind kind, bool strings,
                           vq_error *err)
{
    char path[64];
    int fd = memory_file(path, text, strlen(text));
    vq_status rc = vq_attrs_read(a, path, kind, strings, err);
    close(fd);
    return rc;
}

Test(attrs, tags)
{
    vq_error err = {0};
    vq_attrs a;
    cr_assert_vq(read_text(&a, "7\ten\tdraft\r\n7\ta b\n0\n12\t\xc3\xa9t\xc3\xa9", VQ_ATTRS_TAGS,
                           false, &err));
    cr_assert(a.a.n == 3 && a.a.names == NULL && a.a.times == NULL && a.a.payloads == NULL);
    static const uint64_t ids[] = {7, 0, 12}, begins[] = {0, 3, 3, 4};
    static const char *const tags[] = {"en", "draft", "a b", "\xc3\xa9t\xc3\xa9"};
    cr_assert(memcmp(a.a.ids, ids, sizeof ids) == 0);
    cr_assert(memcmp(a.a.tag_begins, begins, sizeof begins) == 0);
    for (size_t i = 0; i < 4; i++) cr_assert_str_eq(a.a.tags[i], tags[i]);
    vq_attrs_fini(&a);
    vq_attrs_fini(&a); /* once more does no harm */
    cr_assert_vq(read_text(&a, "the first\ten\n", VQ_ATTRS_TAGS, true, &err));
    cr_assert(a.a.n == 1 && a.a.ids == NULL);
    cr_assert_str_eq(a.a.names[0], "the first");
    vq_attrs_fini(&a);
    cr_assert_vq(read_text(&a, "", VQ_ATTRS_TAGS, true, &err));
    cr_assert(a.a.n == 0 && a.a.tags != NULL);
    vq_attrs_fini(&a);
    expect_error(read_text(&a, "1\ten\nx\tde\n", VQ_ATTRS_TAGS, false, &err), VQ_ECORRUPT, &err,
                 ":2:|\"x\"|number");
    expect_error(read_text(&a, "1\ten\t\tde\n", VQ_ATTRS_TAGS, false, &err), VQ_ECORRUPT, &err,
                 ":1:|an empty tag");
    expect_error(read_text(&a, "\ten\n", VQ_ATTRS_TAGS, false, &err), VQ_ECORRUPT, &err,
                 ":1:|an id");
    expect_error(read_text(&a, "1\ta\xff\n", VQ_ATTRS_TAGS, false, &err), VQ_ECORRUPT, &err,
                 ":1:|UTF-8");
}

Test(attrs, times)
{
    vq_error err = {0};
    vq_attrs a;
    cr_assert_vq(read_text(&a, "1\t1700000000\n2\t-5\n3\t9223372036854775807\n", VQ_ATTRS_TIMES,
                           false, &err));
    static const int64_t times[] = {1700000000, -5, INT64_MAX};
    cr_assert(a.a.n == 3 && a.a.tags == NULL && memcmp(a.a.times, times, sizeof times) == 0);
    vq_attrs_fini(&a);
    static const char *const wrong[] = {"1\n",
                                        "1\t\n",
                                        "1\tx\n",
                                        "1\t1.5\n",
                                        "1\t9223372036854775808\n",
                                        "1\t-9223372036854775808\n",
                                        "1\t 5\n",
                                        "1\t5\t6\n"};
    for (size_t i = 0; i < VQ_COUNT(wrong); i++)
        expect_error(read_text(&a, wrong[i], VQ_ATTRS_TIMES, false, &err), VQ_ECORRUPT, &err,
                     ":1:|time");
}

Test(attrs, payloads)
{
    vq_error err = {0};
    vq_attrs a;
    static const char line[] = "{\"title\": \"x\", \"id\": 17, \"n\": [1, {\"id\": 3}]}";
    char text[200];
    (void)snprintf(text, sizeof text, " %s \n\n{\"id\":\"4\"}\n", line);
    cr_assert_vq(read_text(&a, text, VQ_ATTRS_PAYLOAD, false, &err));
    cr_assert(a.a.n == 2 && a.a.ids[0] == 17 && a.a.ids[1] == 4);
    cr_assert(a.a.payload_bytes[0] == strlen(line) &&
              memcmp(a.a.payloads[0], line, strlen(line)) == 0);
    vq_attrs_fini(&a);
    expect_error(read_text(&a, "{\"id\": 7}\n{\"id\": \"a\\u00e9\\ud83d\\ude00\\n\"}",
                           VQ_ATTRS_PAYLOAD, true, &err),
                 VQ_ECORRUPT, &err, ":2:|control character");
    expect_error(read_text(&a, "{\"id\": 7, \"x\": \"a\xff\"}", VQ_ATTRS_PAYLOAD, true, &err),
                 VQ_ECORRUPT, &err, ":1:|byte 18|UTF-8");
    cr_assert_vq(read_text(&a, "{\"id\": 7}\n{\"id\": \"a\\u00e9\\ud83d\\ude00\"}",
                           VQ_ATTRS_PAYLOAD, true, &err));
    cr_assert_str_eq(a.a.names[0], "7");
    cr_assert_str_eq(a.a.names[1], "a\xc3\xa9\xf0\x9f\x98\x80");
    vq_attrs_fini(&a);
    expect_error(read_text(&a, "{\"id\": 1}\n{\"id\": 2.5}\n", VQ_ATTRS_PAYLOAD, false, &err),
                 VQ_ECORRUPT, &err, ":2: |byte 8|whole number");
    expect_error(read_text(&a, "{\"name\": 1}\n", VQ_ATTRS_PAYLOAD, false, &err), VQ_ECORRUPT, &err,
                 ":1: |without \"id\"");
}

Test(attrs, out_of_memory)
{
    static const char *const texts[] = {"7\ten\tde\n8\ten\n", "7\t5\n", "{\"id\": 3}\n"};
    vq_error err = {0};
    for (int kind = 0; kind < 3; kind++) {
        uint64_t n = 1;
        for (;; n++) {
            vq_attrs a;
            vq_mem_fail_after(n);
            vq_status rc = read_text(&a, texts[kind], (vq_attrs_kind)kind, false, &err);
            vq_mem_fail_after(0);
            if (rc == VQ_OK) vq_attrs_fini(&a);
            if (rc == VQ_OK) break;
            cr_assert_eq(rc, VQ_ENOMEM);
        }
        cr_assert(n > 5);
    }
}

Test(jsonl, values)
{
    static const char *const good[] = {"1",
                                       "-0",
                                       "0.5",
                                       "-12.5e+3",
                                       "1E9",
                                       "\"\"",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
                                       "true",
                                       "false",
                                       "null",
                                       "[]",
                                       "[1, [2], {\"a\": 3}]",
                                       "{}",
                                       " { \"a\" : [ ] , \"b\" : null } "};
    static const char *const bad[] = {"",
                                      " ",
                                      "\"\xff\"",
                                      "{\"\xc3\": 1}",
                                      "01",
                                      "1.",
                                      ".5",
                                      "+1",
                                      "1e",
                                      "'a'",
                                      "\"a",
                                      "\"\t\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"\\ud800\\u0041\"",
                                      "tru",
                                      "[1,]",
                                      "[1 2]",
                                      "{a: 1}",
                                      "{\"a\"}",
                                      "{\"a\": 1,}",
                                      "{\"a\": 1",
                                      "1 2",
                                      "nulll",
                                      "[",
                                      "{",
                                      "-"};
    for (size_t i = 0; i < VQ_COUNT(good); i++)
        cr_assert(vq_json_valid(good[i], strlen(good[i])), "%s", good[i]);
    for (size_t i = 0; i < VQ_COUNT(bad); i++)
        cr_assert(!vq_json_valid(bad[i], strlen(bad[i])), "%s", bad[i]);
    for (size_t i = 0; i < VQ_COUNT(good); i++) /* never looks behind the end */
        for (size_t len = 0; len <= strlen(good[i]); len++) {
            char *end = guard_end(len);
            memcpy(end, good[i], len);
            (void)vq_json_valid(end, len);
            guard_free(end);
        }
    char deep[4000];
    memset(deep, '[', sizeof deep);
    cr_assert(!vq_json_valid(deep, sizeof deep));
}

Test(jsonl, ids)
{
    vq_error err = {0};
    char id[8];
    static const struct {
        const char *text, *what; /* NULL: the id is 42 */
    } lines[] = {
        {"{\"id\": 42}", NULL},
        {"{\"id\": \"42\"}", NULL},
        {"{\"\\u0069d\": 42, \"idx\": 3, \"x\": {\"id\": 4}}", NULL},
        {"{\"a\": 1, \"a\": 2, \"id\": 42}", NULL},
        {"[42]", "byte 1|object"},
        {"{\"id\": 42} x", "byte 12|end"},
        {"{\"id\": 42", "byte 10|}"},
        {"{\"id\": 42, \"id\": 42}", "byte 18|alone"},
        {"{\"id\": null}", "byte 8|string"},
        {"{\"id\": 42e0}", "byte 8|whole"},
        {"{\"id\": \"\"}", "empty"},
        {"{\"id\": \"4\\u00002\"}", "NUL"},
        {"{\"id\": \"12345678\"}", "more than 7"},
        {"{}", "without"},
    };
    for (size_t i = 0; i < VQ_COUNT(lines); i++) {
        vq_status rc = vq_json_id(lines[i].text, strlen(lines[i].text), id, sizeof id, &err);
        if (lines[i].what != NULL) {
            expect_error(rc, VQ_ECORRUPT, &err, lines[i].what);
            continue;
        }
        cr_assert_vq(rc);
        cr_assert_str_eq(id, "42");
    }
}
