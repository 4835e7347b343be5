#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# vq.h compiles alone, first, and without a warning: C99, C11, C++17, C++20.
set -eu
flags="-Wall -Wextra -pedantic -Werror -fsyntax-only -I$SOURCE/include"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/alone.c" <<'END'
#include <vq/vq.h>
#include <vq/vq.h>
int main(void);
int main(void)
{
    vq_search_opts opts = VQ_SEARCH_OPTS_INIT;
    vq_error err;
    vq_searcher *s = 0;
    return (int)vq_searcher_open(&s, 0, &opts, &err) + (int)vq_version();
}
END
cat >"$dir/alone.cc" <<'END'
#include <vq/vq.h>
int main()
{
    vq_search_opts opts{};
    opts.struct_size = sizeof opts;
    vq_error err{};
    vq_searcher *s = nullptr;
    return static_cast<int>(vq_searcher_open(&s, nullptr, &opts, &err));
}
END
for std in c99 c11; do
    # shellcheck disable=SC2086 # a list of flags
    $CC -std=$std $flags "$dir/alone.c"
    echo "C compiler, -std=$std: clean"
done
cxx=
for name in c++ g++ clang++; do
    if command -v $name >/dev/null; then cxx=$name; break; fi
done
[ -n "$cxx" ] || { echo "no C++ compiler: C++ not tried"; exit 0; }
for std in c++17 c++20; do
    # shellcheck disable=SC2086
    $cxx -std=$std $flags "$dir/alone.cc"
    echo "$cxx, -std=$std: clean"
done
