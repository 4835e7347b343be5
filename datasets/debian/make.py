#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Make the Debian package data set again.

    apt-get install python3-sklearn zstd
    datasets/debian/make.py [OUTPUT-DIRECTORY]      (default: this directory)

Runs a private "apt-get update" (its state lies in a temporary directory; the
machine's own package lists are left alone), chooses about 20,000 packages of
main, embeds their long descriptions with TF-IDF and a truncated SVD, embeds
short descriptions and the lines of queries_text.txt as queries, rounds all to
int8, writes the files, and prints the quality of exact search.  README.md
describes the files.

The result depends on the seed below, on the package index that apt brings
and, in the last bits, on the versions of numpy, scipy and scikit-learn.
"""
import os
os.environ["OPENBLAS_NUM_THREADS"] = "1"   # one thread: the same sums each run

import collections
import random
import re
import subprocess
import sys
import tempfile
import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd

HERE = os.path.dirname(os.path.abspath(__file__))
SEED = 2026
N_BASE, N_DEV, N_TRAIN, DIM = 20000, 1000, 2000, 256
MIN_WORDS = 12          # a package with a shorter long description is left out
PER_SOURCE = 3          # at most this many packages of one source package
PROGRAM_WEIGHT = 1.5    # the weight of a program in the fit; a library has 1
DAMPING = 0.5           # a coordinate is scaled by (s / s[0]) ** -DAMPING

# ---------------------------------------------------------------- the index

def read_stanzas(path):
    """The stanzas of a package index (apt-helper unpacks it), as dicts."""
    text = subprocess.check_output(["/usr/lib/apt/apt-helper", "cat-file", path]).decode()
    for stanza in text.split("\n\n"):
        fields, key = {}, None
        for line in stanza.splitlines():
            if line.startswith(" "):
                fields[key] += "\n" + line[1:]
            else:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        if "Package" in fields:
            yield fields

def read_index():
    """Main/amd64 of the base release (no updates) with the long descriptions."""
    with tempfile.TemporaryDirectory() as tmp:
        os.chmod(tmp, 0o755)       # apt fetches as another user
        os.makedirs(tmp + "/state/lists/partial")
        os.makedirs(tmp + "/cache/archives/partial")
        options = (f"-o Dir::State={tmp}/state -o Dir::Cache={tmp}/cache "
                   "-o Dir::State::status=/dev/null -o Acquire::Languages=en "
                   "-o APT::Architecture=amd64 -o APT::Architectures=amd64").split()
        subprocess.run(["apt-get", "-qq", *options, "update"], check=True)
        form = "$(CREATED_BY)\t$(LABEL)\t$(COMPONENT)\t$(CODENAME)\t$(FILENAME)"
        rows = subprocess.check_output(
            ["apt-get", "indextargets", *options, "--format", form], text=True)
        packages, long_of = [], {}
        for row in rows.splitlines():
            kind, label, component, codename, path = row.split("\t")
            if label != "Debian" or component != "main" or "-" in codename:
                continue
            if kind == "Packages":
                packages += read_stanzas(path)
                for line in open(path.split("_main_")[0] + "_InRelease"):
                    if re.match(r"(Version|Codename|Date):", line):
                        print("index", line.strip())
            elif kind == "Translations":
                for s in read_stanzas(path):
                    text = s.get("Description-en", "").partition("\n")[2]
                    long_of[s["Description-md5"]] = text.replace("\n.\n", "\n\n")
    for p in packages:
        p["Long"] = long_of.get(p.get("Description-md5"), "")
        p["Source"] = p.get("Source", p["Package"]).split(" ")[0]
    print("packages in main/amd64:", len(packages))
    return packages

# --------------------------------------------------------------- the choice

LEFT_OUT_SECTIONS = set("debug doc introspection libdevel localization metapackages "
                        "oldlibs tasks".split())
LIBRARY_SECTIONS = set("cli-mono gnu-r golang haskell java javascript libs lisp ocaml perl "
                       "php python ruby rust zope".split())
LEFT_OUT_NAMES = re.compile(
    r"-(dev|dbg|dbgsym|docs?|doc-[a-z]+|data|common|examples|headers|locales|"
    r"tests|testsuite|all|dkms)$|-dev-|-(l10n|i18n|locale|wordlist)(-|$)|"
    r"^(task|gir1\.2|librust|libghc|linux-image|linux-headers|firmware|hunspell|"
    r"aspell|myspell|hyphen|mythes|education|node-types|manpages|fonts-noto)-")
LEFT_OUT_TEXT = re.compile(r"transitional|dummy package|meta-?package|empty package|"
                           r"debugging symbols|development files|header files", re.I)

def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())

def choose(packages):
    """Programs first, then a seeded sample of the libraries."""
    def rank(p):                   # the lowest stands for its group
        return (p["Package"] != p["Source"], p["Section"] in LIBRARY_SECTIONS,
                len(p["Package"]), p["Package"])
    groups = {}                    # one package per first paragraph
    for p in sorted(packages, key=rank):
        if (p["Section"] in LEFT_OUT_SECTIONS or LEFT_OUT_NAMES.search(p["Package"])
                or LEFT_OUT_TEXT.search(p["Description"])
                or re.search("transitional|dummy package", p["Long"], re.I)
                or len(words(p["Long"])) < MIN_WORDS):
            continue
        groups.setdefault(" ".join(words(p["Long"].split("\n\n")[0])[:30]), p)
    seen, left = collections.Counter(), []
    for p in groups.values():      # still in the order of rank
        seen[p["Source"]] += 1
        if seen[p["Source"]] <= PER_SOURCE:
            left.append(p)
    left.sort(key=lambda p: p["Package"])
    programs = [p for p in left if p["Section"] not in LIBRARY_SECTIONS]
    libraries = [p for p in left if p["Section"] in LIBRARY_SECTIONS]
    print("candidates: %d programs, %d libraries" % (len(programs), len(libraries)))
    libraries = random.Random(SEED).sample(libraries, N_BASE - len(programs))
    return sorted(programs + libraries, key=lambda p: p["Package"])

# ------------------------------------------------------------ the embedding

STOP = (set(ENGLISH_STOP_WORDS)
        - set("bill computer cry describe fill find fire interest move show side "
              "system top".split())
        | set("contains debian include includes including package packages provide "
              "provided provides use used uses using".split()))
ENDINGS = (("isation", "ize"), ("ization", "ize"), ("ational", "ate"), ("ising", "ize"),
           ("sses", "ss"), ("ies", "y"), ("edly", ""), ("ions", ""), ("ing", ""),
           ("ion", ""), ("ers", ""), ("ors", ""), ("ed", ""), ("er", ""), ("or", ""),
           ("es", ""), ("ly", ""), ("s", ""), ("e", ""))
TAG_FACETS = set("biology field game hardware mail network office science security sound "
                 "use web works-with works-with-format".split())

def stem(w):
    """Cuts one common ending: "editors", "editing" and "edit" are one term."""
    if len(w) <= 3 or w.endswith(("ss", "us", "is")):
        return w
    for end, put in ENDINGS:
        cut = w[:len(w) - len(end)] + put
        if w.endswith(end) and len(cut) >= 3:
            double = len(cut) > 3 and cut[-1] == cut[-2] and cut[-1] not in "lsz"
            return cut[:-1] if double else cut
    return w

def terms(text):
    return [stem(w) for w in re.findall(r"[a-z][a-z0-9+#]*|[0-9]+d", text.lower())
            if len(w) > 1 and w not in STOP]

def document(p):
    """The text of a document.  The short description is not part of it."""
    name = re.sub(r"[-.0-9]+", " ", p["Package"])
    tags = [t.strip().split("::") for t in p.get("Tag", "").split(",") if "::" in t]
    tags = [t[1].replace("-", " ") for t in tags if t[0] in TAG_FACETS]
    return "\n".join([p["Long"], name, name, p["Section"], *tags])

def fit(docs):
    """Fits on the documents alone; returns the function that embeds texts."""
    tfidf = TfidfVectorizer(analyzer=terms, sublinear_tf=True, min_df=2, max_df=0.2,
                            norm=None, dtype=np.float32)
    tfidf.fit(document(p) for p in docs)
    again = sp.diags(tfidf.idf_.astype(np.float32))       # idf counts twice

    def sparse(texts):
        return normalize(tfidf.transform(texts) @ again)
    x = sparse(document(p) for p in docs)
    weight = [1 if p["Section"] in LIBRARY_SECTIONS else PROGRAM_WEIGHT for p in docs]
    x = sp.diags(np.float32(weight)) @ x
    _, s, vt = randomized_svd(x, DIM, n_iter=6, random_state=SEED)
    project = (vt.T * (s / s[0]) ** -DAMPING).astype(np.float32)
    return lambda texts: normalize(sparse(texts) @ project)

# ------------------------------------------------------- measuring, writing

def quality(name, base, queries, own):
    """MRR@10 and recall of a query's own package by exact inner product."""
    score = queries.astype(np.float32) @ base.astype(np.float32).T
    mine = score[np.arange(len(own)), own][:, None]
    rank = (score > mine).sum(1)
    print("%-12s MRR@10 %.4f  recall@1 %.4f  @10 %.4f  @100 %.4f" % (
        name, np.where(rank < 10, 1 / (rank + 1), 0).mean(),
        *((rank < k).mean() for k in (1, 10, 100))))

def write_vectors(path, v):
    with open(path, "wb") as f:
        f.write(np.array(v.shape, "<u4").tobytes() + v.tobytes())

def write_lines(path, lines):
    with open(path, "w") as f:
        f.writelines(line + "\n" for line in lines)

def main():
    text_queries = open(HERE + "/queries_text.txt").read().splitlines()
    out = sys.argv[1] if len(sys.argv) > 1 else HERE
    os.makedirs(out, exist_ok=True)
    os.chdir(out)
    docs = choose(read_index())
    embed = fit(docs)
    base = embed(document(p) for p in docs)
    scale = 127 / np.abs(base).max()

    def int8(v):
        return np.clip(np.rint(v * scale), -127, 127).astype(np.int8)
    base8 = int8(base)
    names = [p["Package"] for p in docs]
    print("scale: %.2f" % scale)
    write_vectors("base.i8bin", base8)
    subprocess.run(["zstd", "-q", "-f", "-19", "--rm", "base.i8bin"], check=True)
    write_lines("base.ids", names)

    # A query needs three terms, and no other package may have the same ones.
    keys = [" ".join(sorted(set(terms(p["Description"])))) for p in docs]
    count = collections.Counter(keys)
    fit_for = [i for i, k in enumerate(keys) if k.count(" ") >= 2 and count[k] == 1]
    picked = random.Random(SEED + 1).sample(fit_for, N_DEV + N_TRAIN)
    inside = [" ".join(words(docs[i]["Description"])) in " ".join(words(docs[i]["Long"]))
              for i in picked]
    print("fit for a query: %d, chosen: %d, of these verbatim in the long description: %d"
          % (len(fit_for), len(picked), sum(inside)))
    for part, own in (("dev", picked[:N_DEV]), ("train", picked[N_DEV:])):
        queries = embed(docs[i]["Description"] for i in own)
        ids = ["%s%04d" % (part[0], k + 1) for k in range(len(own))]
        write_vectors(f"queries_{part}.i8bin", int8(queries))
        write_lines(f"queries_{part}.ids", ids)
        write_lines(f"qrels_{part}.tsv",
                    [f"{q}\t0\t{names[i]}\t1" for q, i in zip(ids, own)])
        quality(part + " float", base, queries, own)
        quality(part + " int8", base8, int8(queries), own)

    queries = int8(embed(text_queries))
    write_vectors("queries_text.i8bin", queries)
    write_lines("queries_text.txt", text_queries)
    for text, q in zip(text_queries, queries.astype(np.int32)):
        best = np.argsort(-(base8 @ q), kind="stable")[:5]
        print("%-44s %s" % (text, ", ".join(names[i] for i in best)))

if __name__ == "__main__":
    main()
