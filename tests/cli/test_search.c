/* SPDX-License-Identifier: Apache-2.0 */
/* test_search.c -- vq search as it is typed: one answer in every format, several files as one. */
#include "tests/cli/user.h"

#include <inttypes.h>
#include <math.h>

#include "src/io/qrels.h"
#include "src/io/truth.h"

#define N     1200u
#define D     12u
#define NQ    15u
#define K     7u
#define EXACT "--nprobe all --rerank 1200" /* all lists, all rows: exact search */

static char *dir;

static void open_dir(void)
{
    static float rows[N * D], queries[NQ * D];
    vq_rng rng;
    vq_rng_init(&rng, test_seed(), 1);
    dir = test_tmpdir();
    fill_normal(&rng, rows, N * D);
    fill_normal(&rng, queries, NQ * D);
    write_fbin(dir, "b.fbin", rows, N, D);
    write_fbin(dir, "b1.fbin", rows, 500, D);
    write_fbin(dir, "b2.fbin", rows + 500 * D, N - 500, D);
    write_fbin(dir, "q.fbin", queries, NQ, D);
    write_fbin(dir, "q0.fbin", queries, 1, D);
    write_fbin(dir, "wide.fbin", rows, 30, 2 * D);
    DONE(dir, "seq 0 1199 >ids; head -n 500 ids >ids1; tail -n 700 ids >ids2");
    DONE(dir, "for x in '' 1 2; do sed 's/^/doc /' ids$x >names$x; done");
    DONE(dir, "seq -f q%%g 0 14 >q.ids; \"$VQ\" build b.fbin -o b.vq -q");
}

static void close_dir(void)
{
    test_rmdir(dir);
}

TestSuite(search, .init = open_dir, .fini = close_dir);

typedef struct answer {
    uint64_t id;
    double score;
} answer;

/* The answers as tsv has them; the other formats are compared with these. */
static void read_tsv(answer want[NQ][K])
{
    test_run r = type(dir, 0, "\"$VQ\" search b.vq q.fbin -k %u --format tsv", K);
    const char *p = r.out;
    for (unsigned q = 0; q < NQ; q++)
        for (unsigned i = 0; i < K; i++) {
            unsigned query, rank;
            int len;
            answer *a = &want[q][i];
            cr_assert_eq(
                sscanf(p, "%u\t%u\t%" SCNu64 "\t%lf%n", &query, &rank, &a->id, &a->score, &len), 4);
            cr_assert(query == q && rank == i + 1 && p[len] == '\n');
            cr_assert(i == 0 || a->score >= want[q][i - 1].score);
            p += len + 1;
        }
    cr_assert_eq(*p, '\0');
    test_run_fini(&r);
}

/* What is read is not written over. */
Test(search, to_a_file_that_is_read)
{
    DONE(dir, "cp b.vq kept.vq; cp q.fbin kept.fbin; seq 0 9 >some");
    REFUSED(dir, 2, "b.vq is both input and output", "\"$VQ\" search b.vq q.fbin -o b.vq");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" search b.vq q.fbin -o ./b.vq");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" search b.vq q.fbin -o q.fbin");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" search b.vq --like 3 -o b.vq");
    REFUSED(dir, 2, "both input and output", "\"$VQ\" search b.vq q.fbin --deny some -o some");
    REFUSED(dir, 2, "both input and output",
            "\"$VQ\" search b.vq q.fbin --query-ids q.ids -o q.ids");
    REFUSED(dir, 2, "another part", "\"$VQ\" build b1.fbin --model b.vq -o b.vq --force");
    REFUSED(dir, 2, "can be one of the files only", "\"$VQ\" search b.vq - --allow - <q.fbin");
    REFUSED(dir, 2, "can be one of the files only", "\"$VQ\" gt - - -o t.ibin <q.fbin");
    DONE(dir, "cmp b.vq kept.vq && cmp q.fbin kept.fbin && seq 0 9 | cmp - some");
    DONE(dir, "\"$VQ\" search b.vq q.fbin -o - | grep -q .");
}

/* All within a bound: as many of the best as lie there. */
Test(search, within, .timeout = 60)
{
    char *folder = test_tmpdir();
    DONE(folder,
         "\"$VQ\" gen a.fbin -n 500 -d 8 --seed 1 && \"$VQ\" gen q.fbin -n 9 -d 8 --seed 2 && "
         "\"$VQ\" build a.fbin -o x.vq -q && \"$VQ\" build a.fbin -o c.vq -q --metric cosine");
    DONE(folder, "\"$VQ\" search x.vq q.fbin -k 500 --recall 1 --format tsv | awk '$4 <= 20' >1 && "
                 "test -s 1 && "
                 "\"$VQ\" search x.vq q.fbin --max-distance 20 --recall 1 --format tsv | cmp - 1");
    DONE(
        folder,
        "\"$VQ\" search c.vq q.fbin -k 500 --recall 1 --format tsv | awk '$4 >= -.25 && $2 <= 300' "
        ">1 && \"$VQ\" search c.vq q.fbin -k 300 --min-score -.25 --recall 1 --format tsv | "
        "cmp - 1");
    PRINTS(folder, "\"hits\": []", "\"$VQ\" search x.vq q.fbin --max-distance -1 --format jsonl");
    PRINTS(folder, "   1             0  17\n", "\"$VQ\" search x.vq --like 17 --max-distance 0");
    REFUSED(folder, 2, "x.vq has metric l2: give --max-distance",
            "\"$VQ\" search x.vq q.fbin --min-score 1");
    REFUSED(folder, 2, "give --min-score", "\"$VQ\" search c.vq q.fbin --max-distance 1");
    REFUSED(folder, 2, "exclude each other",
            "\"$VQ\" search x.vq q.fbin --min-score 1 --max-distance 1");
    REFUSED(folder, 2, "needs a number, not 'far'",
            "\"$VQ\" search x.vq q.fbin --max-distance far");
    REFUSED(folder, 2, "ibin and npy", "\"$VQ\" search x.vq q.fbin --max-distance 1 --format npy");
    test_rmdir(folder);
}

Test(search, text_and_jsonl_agree_with_tsv)
{
    static answer want[NQ][K];
    read_tsv(want);
    test_run text = type(dir, 0, "\"$VQ\" search b.vq q.fbin -k %u", K);
    test_run json = type(dir, 0, "\"$VQ\" search b.vq q.fbin -k %u --format jsonl", K);
    char *save, *line = strtok_r(json.out, "\n", &save);
    const char *t = text.out;
    for (unsigned q = 0; q < NQ; q++, line = strtok_r(NULL, "\n", &save)) {
        char head[40];
        int len = 0;
        (void)snprintf(head, sizeof head, "{\"query\": %u, \"hits\": [{", q);
        cr_assert(line != NULL && is_json(line) && strncmp(line, head, strlen(head)) == 0, "%s",
                  line);
        unsigned query, rank;
        cr_assert(sscanf(t, " query %u%n", &query, &len) == 1 && query == q);
        t += len;
        const char *j = line;
        for (unsigned i = 0; i < K; i++) {
            uint64_t id;
            double score;
            cr_assert_eq(sscanf(t, "%u %lf %" SCNu64 "%n", &rank, &score, &id, &len), 3);
            t += len;
            cr_assert(rank == i + 1 && id == want[q][i].id);
            cr_assert_float_eq(score, want[q][i].score, 1e-5 * want[q][i].score);
            j = strstr(j, "{\"id\": ");
            cr_assert(j != NULL &&
                      sscanf(j, "{\"id\": %" SCNu64 ", \"score\": %lf}", &id, &score) == 2);
            j++;
            cr_assert(id == want[q][i].id && score == want[q][i].score);
        }
    }
    cr_assert(line == NULL);
    test_run_fini(&text);
    test_run_fini(&json);
}

Test(search, trec_agrees_and_is_read_as_a_run)
{
    static answer want[NQ][K];
    vq_error err = {0};
    vq_run run = {0};
    read_tsv(want);
    DONE(dir, "\"$VQ\" search b.vq q.fbin -k %u --format trec -o run.txt", K);
    char *path = test_path(dir, "run.txt");
    cr_assert_eq(vq_run_read(&run, path, &err), VQ_OK, "%s", err.text);
    cr_assert_eq(run.nq, NQ);
    for (size_t at = 0; at < NQ; at++) {
        size_t q = strtoul(run.qid[at], NULL, 10);
        cr_assert(q < NQ && run.first[at + 1] - run.first[at] == K);
        for (size_t i = 0; i < K; i++) {
            const vq_run_line *l = &run.lines[run.first[at] + i];
            cr_assert_eq(strtoull(l->doc, NULL, 10), want[q][i].id);
            cr_assert_eq(l->score, -want[q][i].score); /* l2: negated */
        }
    }
    vq_run_fini(&run);
    free(path);
}

Test(search, the_binary_formats_agree)
{
    static answer want[NQ][K];
    vq_error err = {0};
    vq_truth t = {0};
    read_tsv(want);
    DONE(dir, "\"$VQ\" search b.vq q.fbin -k %u --format ibin -o r.ibin", K);
    DONE(dir, "\"$VQ\" search b.vq q.fbin -k %u --format npy >r.npy", K);
    char *path = test_path(dir, "r.ibin"), *npy_path = test_path(dir, "r.npy");
    cr_assert_eq(vq_truth_read(&t, path, &err), VQ_OK, "%s", err.text);
    cr_assert(t.nq == NQ && t.k == K && t.scores != NULL);
    size_t len;
    uint8_t *npy = test_read(npy_path, &len);
    cr_assert_eq(len, 128 + 8 * NQ * K);
    cr_assert_eq(memcmp(npy, "\x93NUMPY\x01\x00\x76\x00{'descr': '<u8'", 25), 0);
    cr_assert(strstr((char *)npy + 10, "'shape': (15, 7)") != NULL && npy[127] == '\n');
    for (size_t i = 0; i < NQ * K; i++) {
        uint64_t id;
        memcpy(&id, npy + 128 + 8 * i, 8);
        cr_assert(id == want[i / K][i % K].id && t.ids[i] == id);
        cr_assert_eq(t.scores[i], (float)want[i / K][i % K].score);
    }
    vq_truth_fini(&t);
    free(npy);
    free(path);
    free(npy_path);
}

Test(search, where_fewer_answers_exist)
{
    DONE(dir, "\"$VQ\" build q.fbin -o q.vq -q");
    PRINTS(dir, "15\n", "\"$VQ\" search q.vq q0.fbin -k 40 --format tsv | wc -l");
    DONE(dir, "\"$VQ\" search q.vq q0.fbin -k 16 --format ibin -o r.ibin");
    PRINTS(dir, "ffffffff", "tail -c +69 r.ibin | head -c 4 | od -An -tx4");
    PRINTS(dir, "ffffffffffffffff",
           "\"$VQ\" search q.vq q0.fbin -k 16 --format npy | tail -c 8 | od -An -tx8");
}

Test(search, nearest_of_a_stored_vector_is_itself)
{
    PRINTS(dir, "0\t1\t0\t0\n0\t2\t",
           "\"$VQ\" build b.fbin -o f.vq --store f32 -q; "
           "head -c 56 b.fbin >x; (printf '\\1\\0\\0\\0'; tail -c +5 x) >x.fbin; "
           "\"$VQ\" search f.vq x.fbin -k 2 --format tsv");
    PRINTS(dir, "17\t1\t17\t0\n", "\"$VQ\" search f.vq --like 17 --format tsv");
    PRINTS(dir, "query 17\n", "\"$VQ\" search f.vq --like 17");
    PRINTS(dir, "17\t1\t17\t0\n4\t1\t4\t0\n",
           "\"$VQ\" search f.vq --like 17 --like 4 -k 1 --format tsv");
    REFUSED(dir, 1, "9999", "\"$VQ\" search f.vq --like 9999");
    REFUSED(dir, 1, "nosuch", "\"$VQ\" search f.vq --like nosuch");
}

Test(search, several_files_are_one)
{
    DONE(dir, "for x in '' 1 2; do \"$VQ\" build b$x.fbin -o n$x.vq --ids ids$x -q && "
              "\"$VQ\" build b$x.fbin -o s$x.vq --ids names$x -q || exit 9; done");
    for (int k = 1; k <= 1200; k += 1199) {
        DONE(dir, "\"$VQ\" search n.vq q.fbin -k %d " EXACT " --format tsv >one", k);
        DONE(dir, "\"$VQ\" search n1.vq n2.vq q.fbin -k %d " EXACT " --format tsv | cmp - one", k);
        DONE(dir, "\"$VQ\" search n2.vq n1.vq q.fbin -k %d " EXACT " --format tsv | cmp - one", k);
        DONE(dir,
             "\"$VQ\" search s.vq q.fbin -k %d " EXACT " --format tsv | sed 's/doc //' | cmp - one",
             k);
        DONE(dir,
             "\"$VQ\" search s1.vq s2.vq q.fbin -k %d " EXACT " --format tsv | sed 's/doc //' | "
             "cmp - one",
             k);
    }
    PRINTS(dir, "doc 600", "\"$VQ\" search s1.vq s2.vq --like 'doc 600'");
    PRINTS(dir, "{\"query\": \"doc 3\", \"hits\": [{\"id\": \"doc 3\", ",
           "\"$VQ\" search s1.vq s2.vq --like 'doc 3' --format jsonl");
    REFUSED(dir, 1, "ids", "\"$VQ\" search n1.vq s2.vq q.fbin");
    DONE(dir,
         "\"$VQ\" build b.fbin -o ip.vq --metric ip -q; \"$VQ\" build wide.fbin -o wide.vq -q");
    REFUSED(dir, 1, "metric", "\"$VQ\" search n1.vq ip.vq q.fbin");
    REFUSED(dir, 1, "dimensions", "\"$VQ\" search n1.vq wide.vq q.fbin");
    REFUSED(dir, 1, "has a blank", "\"$VQ\" search s.vq q.fbin --format trec");
}

Test(search, an_index_is_given_once)
{
    REFUSED(dir, 2, "b.vq and ./b.vq are the same index", "\"$VQ\" search b.vq ./b.vq q.fbin");
    REFUSED(dir, 2, "are the same index", "ln b.vq same.vq; \"$VQ\" search b.vq same.vq q.fbin");
}

Test(search, query_ids)
{
    PRINTS(dir, "query q3\n", "\"$VQ\" search b.vq q.fbin --query-ids q.ids");
    PRINTS(dir, "{\"query\": \"q3\", ",
           "\"$VQ\" search b.vq q.fbin --query-ids q.ids --format jsonl");
    PRINTS(dir, "q14\t10\t", "\"$VQ\" search b.vq - --query-ids q.ids --format tsv <q.fbin");
    REFUSED(dir, 1, "q.ids has 15 ids", "\"$VQ\" search b.vq b.fbin --query-ids q.ids");
    REFUSED(dir, 1, "few", "head -n 3 q.ids >few; \"$VQ\" search b.vq q.fbin --query-ids few");
    DONE(dir, "sed 's/q/a b/' q.ids >blank.ids");
    REFUSED(dir, 1, "has a blank",
            "\"$VQ\" search b.vq q.fbin --query-ids blank.ids --format trec");
}

Test(search, effort)
{
    DONE(dir, "\"$VQ\" search b.vq q.fbin " EXACT " --format tsv >exact");
    DONE(dir, "\"$VQ\" search b.vq q.fbin " EXACT " --format tsv --threads 3 | cmp - exact");
    DONE(dir,
         "\"$VQ\" search b.vq q0.fbin " EXACT " --format tsv >q0; head -n 10 exact | cmp - q0");
    DONE(dir, "\"$VQ\" gt b.fbin q.fbin -o gt.ibin -k 10 -q; \"$VQ\" build b.fbin -o f.vq --store "
              "f32 -q; "
              "\"$VQ\" search f.vq q.fbin " EXACT " --format ibin -o r.ibin; cmp gt.ibin r.ibin");
    DONE(dir,
         "\"$VQ\" search b.vq q.fbin --nprobe 3 --format tsv >three; \"$VQ\" search b.vq q.fbin "
         "--nprobe 3 --latency --threads 3 --format tsv | cmp - three");
    REFUSED(dir, 2, "--nprobe", "\"$VQ\" search b.vq q.fbin --latency");
    PRINTS(dir, "150\n", "\"$VQ\" search b.vq q.fbin --nprobe 1 --rerank 0 --format tsv | wc -l");
}

Test(search, wrong_input)
{
    REFUSED(dir, 1, "nosuch.vq", "\"$VQ\" search nosuch.vq q.fbin");
    REFUSED(dir, 1, "nosuch.fbin", "\"$VQ\" search b.vq nosuch.fbin");
    REFUSED(dir, 1, "b.fbin", "\"$VQ\" search b.fbin q.fbin");
    REFUSED(dir, 1, "vectors of 24 dimensions, the index has 12", "\"$VQ\" search b.vq wide.fbin");
    float bad[2 * D] = {0};
    bad[D + 3] = NAN;
    write_fbin(dir, "nan.fbin", bad, 2, D);
    REFUSED(dir, 1, "nan.fbin", "\"$VQ\" search b.vq nan.fbin -o out");
    cr_assert(!exists(dir, "out"), "no half of an answer");
    PRINTS(dir, "0\n", "ls | grep -c tmp || true");
}

Test(search, output_files)
{
    DONE(dir, "\"$VQ\" search b.vq q.fbin -o out && \"$VQ\" search b.vq q.fbin | cmp - out");
    DONE(dir,
         "\"$VQ\" search b.vq q.fbin -o - | cmp - out; \"$VQ\" search b.vq q.fbin -o /dev/null");
    REFUSED(dir, 3, "nofolder/out", "\"$VQ\" search b.vq q.fbin -o nofolder/out");
    REFUSED(dir, 3, "folder", "\"$VQ\" search b.vq q.fbin -o .");
    test_run r = type(dir, 3, "\"$VQ\" search b.vq q.fbin >/dev/full");
    test_run_fini(&r);
}

Test(search, allowed_and_denied, .timeout = 120)
{
    char *own = test_tmpdir();
    DONE(own,
         "\"$VQ\" gen b.fbin -n 3000 -d 16 --seed 1 && \"$VQ\" gen q.fbin -n 20 -d 16 --seed 2 && "
         "\"$VQ\" build b.fbin -o b.vq -q && seq 0 7 20999 >some && seq 0 2999 | "
         "grep -v -x -f some >others");
    /* Whatever is allowed is answered alone, ten times for each query. */
    DONE(own, "\"$VQ\" search b.vq q.fbin --format tsv --allow some >a.tsv && "
              "test $(wc -l <a.tsv) = 200 && ! cut -f3 a.tsv | grep -v -x -q -f some");
    DONE(own, "\"$VQ\" search b.vq q.fbin --format tsv --deny others | cmp - a.tsv");
    DONE(own,
         "printf '5\\n17\\n99999\\n' >two && \"$VQ\" search b.vq q.fbin --format tsv --allow two "
         ">t.tsv && test $(wc -l <t.tsv) = 40");
    PRINTS(own, "vq: nobody holds no id, so there are no answers",
           ": >nobody && \"$VQ\" search b.vq q.fbin --allow nobody 2>&1");
    REFUSED(own, 1, "give such", "echo x >names && \"$VQ\" search b.vq q.fbin --allow names");
    REFUSED(own, 1, "No such file", "\"$VQ\" search b.vq q.fbin --deny none");
    test_rmdir(own);
}

/* Where codes lie changes no answer; what a search waited for is told. */
Test(search, codes_in_memory)
{
    DONE(dir, "\"$VQ\" search b.vq q.fbin --format tsv >a.tsv");
    PRINTS(dir, "page faults: ",
           "\"$VQ\" search b.vq q.fbin --format tsv --codes-in-memory --stats -o b.tsv 2>&1");
    DONE(dir, "cmp a.tsv b.tsv");
    PRINTS(dir, "..and reads", "\"$VQ\" eval b.vq q.fbin --codes-in-memory");
}
