/* SPDX-License-Identifier: Apache-2.0 */
#include "src/io/qrels.h"
#include "tests/src/io/io.h"

static vq_status read_qrels(vq_qrels *q, const char *text, vq_error *err)
{
    char path[64];
    int fd = memory_file(path, text, strlen(text));
    vq_status rc = vq_qrels_read(q, path, err);
    close(fd);
    return rc;
}

static vq_status read_run(vq_run *r, const char *text, vq_error *err)
{
    char path[64];
    int fd = memory_file(path, text, strlen(text));
    vq_status rc = vq_run_read(r, path, err);
    close(fd);
    return rc;
}

/* TREC, MS MARCO and BEIR say the same. */
Test(qrels, three_dialects)
{
    static const char *const texts[] = {
        "q2 0 d9 1\nq1 0 d2 0\nq1 0 d1 2\n",
        "q2\t0\td9\t1\r\n\r\nq1\t0\td1\t2\r\nq1\t0\td2\t0\r\n",
        "query-id\tcorpus-id\tscore\nq1\td2\t0\nq1\td1\t2\nq2\td9\t1\n",
        "  q1  Q0\td1   2\nq1 x d2 0\nq2 0 d9 1\nq1 0 d1 2\n",
    };
    vq_error err = {0};
    for (size_t i = 0; i < VQ_COUNT(texts); i++) {
        vq_qrels q;
        cr_assert_vq(read_qrels(&q, texts[i], &err));
        cr_assert(q.nq == 2 && q.first[0] == 0 && q.first[1] == 2 && q.first[2] == 3);
        cr_assert_str_eq(q.qid[0], "q1");
        cr_assert_str_eq(q.qid[1], "q2");
        cr_assert_str_eq(q.judgements[0].doc, "d1");
        cr_assert_str_eq(q.judgements[1].doc, "d2");
        cr_assert_str_eq(q.judgements[2].doc, "d9");
        cr_assert(q.judgements[0].grade == 2 && q.judgements[1].grade == 0 &&
                  q.judgements[2].grade == 1);
        cr_assert(vq_qrels_find(&q, "q1") == 0 && vq_qrels_find(&q, "q2") == 1);
        cr_assert(vq_qrels_find(&q, "q") == SIZE_MAX && vq_qrels_find(&q, "q3") == SIZE_MAX);
        vq_qrels_fini(&q);
        vq_qrels_fini(&q);
    }
}

Test(qrels, bad_lines)
{
    static const char *const cases[][2] = {
        {"q1 0 d1 1\nq1 0 d1 2\n", ":2:|q1|d1|line 1"},
        {"q1 0 d1 1\n\nq1 0 d2\n", ":3:|3 fields|4"},
        {"q1 0 d1 1 x\n", ":1:|more than 4 fields"},
        {"q1 d1 1\n", ":1:|3 fields|header"},
        {"query-id corpus-id score\nq1 0 d1 1\n", ":2:|4 fields|expected 3"},
        {"q1 0 d1 good\n", ":1:|good|whole number"},
        {"q1 0 d1 1.5\n", ":1:|1.5|whole number"},
        {"q1 0 d1 99999999999\n", ":1:|99999999999"},
        {"q1 0 d1 99999999999999999999999\n", ":1:|whole number"},
    };
    vq_error err = {0};
    vq_qrels q;
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        expect_error(read_qrels(&q, cases[i][0], &err), VQ_ECORRUPT, &err, cases[i][1]);
        cr_assert(q.nq == 0 && q.qid == NULL && q.text == NULL);
    }
    cr_assert_vq(read_qrels(&q, "", &err));
    cr_assert(q.nq == 0 && q.first[0] == 0 && vq_qrels_find(&q, "x") == SIZE_MAX);
    vq_qrels_fini(&q);
    expect_error(vq_qrels_read(&q, "/no/qrels", &err), VQ_ENOENT, &err, "/no/qrels");
}

Test(qrels, negative_grades)
{
    vq_error err = {0};
    vq_qrels q;
    cr_assert_vq(read_qrels(&q, "q 0 d -1\nq 0 e -2147483648\n", &err));
    cr_assert(q.judgements[0].grade == -1 && q.judgements[1].grade == INT32_MIN);
    vq_qrels_fini(&q);
}

Test(qrels, run_is_sorted)
{
    vq_error err = {0};
    vq_run r;
    cr_assert_vq(
        read_run(&r, "b Q0 x 1 0.5 t\na Q0 d3 1 -1e-3 t\na Q0 d2 2 7 t\na Q0 d1 3 7.0 t\n", &err));
    cr_assert(r.nq == 2 && r.first[0] == 0 && r.first[1] == 3 && r.first[2] == 4);
    cr_assert_str_eq(r.qid[0], "a");
    cr_assert_str_eq(r.lines[0].doc, "d1");
    cr_assert_str_eq(r.lines[1].doc, "d2");
    cr_assert_str_eq(r.lines[2].doc, "d3");
    cr_assert_str_eq(r.lines[3].doc, "x");
    cr_assert(r.lines[0].score == 7 && r.lines[2].score == -1e-3);
    vq_run_fini(&r);
    vq_run_fini(&r);
    static const char *const cases[][2] = {
        {"a Q0 d 1 2\n", ":1:|5 fields|6"},
        {"a Q0 d 1 2 t u\n", ":1:|more than 6"},
        {"a Q0 d 1 nan t\n", ":1:|nan"},
        {"a Q0 d 1 inf t\n", ":1:|inf"},
        {"a Q0 d 1 1,5 t\n", ":1:|1,5"},
        {"a Q0 d 1 2 t\na Q0 e 2 1 t\na Q0 d 3 2 t\n", ":3:|line 1"},
    };
    for (size_t i = 0; i < VQ_COUNT(cases); i++) {
        expect_error(read_run(&r, cases[i][0], &err), VQ_ECORRUPT, &err, cases[i][1]);
        cr_assert(r.nq == 0 && r.lines == NULL);
    }
}

/* Against a plain look-up of every line. */
Test(qrels, many_lines)
{
    vq_error err = {0};
    vq_rng rng;
    vq_rng_init(&rng, test_seed(), 70);
    enum { QUERIES = 50, DOCS = 40 };
    int grades[QUERIES][DOCS];
    char *text = malloc(QUERIES * DOCS * 40), *p = text;
    memset(grades, -1, sizeof grades);
    for (int i = 0; i < 1500; i++) {
        size_t q = vq_rng_below(&rng, QUERIES), d = vq_rng_below(&rng, DOCS);
        if (grades[q][d] < 0) grades[q][d] = (int)vq_rng_below(&rng, 4);
        p += sprintf(p, "q%zu 0 d%zu %d\n", q, d, grades[q][d]);
    }
    vq_qrels got;
    cr_assert_vq(read_qrels(&got, text, &err));
    for (size_t q = 0; q < QUERIES; q++) {
        char qid[20];
        size_t judged = 0;
        (void)snprintf(qid, sizeof qid, "q%zu", q);
        size_t at = vq_qrels_find(&got, qid);
        for (size_t d = 0; d < DOCS; d++) judged += grades[q][d] >= 0;
        cr_assert(judged == (at == SIZE_MAX ? 0 : got.first[at + 1] - got.first[at]));
        for (size_t i = judged > 0 ? got.first[at] : 0; judged > 0 && i < got.first[at + 1]; i++)
            cr_assert(got.judgements[i].grade == grades[q][atoi(got.judgements[i].doc + 1)]);
    }
    vq_qrels_fini(&got);
    free(text);
}

Test(qrels, out_of_memory_and_random_bytes)
{
    vq_error err = {0};
    vq_rng rng;
    vq_rng_init(&rng, test_seed(), 71);
    char *text = malloc(40 * 3000), *p = text;
    for (int i = 0; i < 2500; i++) p += sprintf(p, "q%d Q0 d%d 1 %d t\n", i % 50, i, i);
    uint64_t fail = 1;
    for (vq_status rc = VQ_ENOMEM; rc != VQ_OK; fail++) {
        vq_run r;
        vq_mem_fail_after(fail);
        rc = read_run(&r, text, &err);
        vq_mem_fail_after(0);
        cr_assert(rc == VQ_OK || rc == VQ_ENOMEM, "%s", err.text);
        cr_assert(rc != VQ_OK || (r.nq == 50 && r.first[50] == 2500));
        vq_run_fini(&r);
    }
    cr_assert(fail > 8);
    for (int i = 0; i < 5000; i++) {
        char bytes[120];
        size_t len = vq_rng_below(&rng, sizeof bytes - 1);
        for (size_t j = 0; j < len; j++) bytes[j] = "q0 1d\t\n-.e9\r"[vq_rng_below(&rng, 12)];
        bytes[len] = '\0';
        vq_run r;
        vq_qrels q;
        (void)read_run(&r, bytes, &err);
        (void)read_qrels(&q, bytes, &err);
        vq_run_fini(&r);
        vq_qrels_fini(&q);
    }
    free(text);
}
