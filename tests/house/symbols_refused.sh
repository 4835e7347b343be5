#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# script/check-symbols refuses a library that exports a foreign name, prints, or leaves one declared
# function out.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
names=$(tr '\n' ' ' <"$SOURCE/include/vq/vq.h" | grep -oE 'VQ_API [^;]*;' | grep -oE 'vq_[a-z0-9_]+\(' | tr -d '(' | sort -u)
status=0
# EXPECTED  C-TEXT: a library of all public names as empty functions, and the text
try()
{
    { for name in $names; do echo "void $name(void) {}"; done; echo "$2"; } |
        grep -v "${3:-^$}" >"$dir/toy.c"
    (
        cd "$dir"
        rm -f libvq.a
        $CC -w -fPIC -O0 -fno-builtin -c toy.c -o toy.c.o
        $CC -shared toy.c.o -o libvq.so
        ar rc libvq.a toy.c.o
    )
    got=accepted
    "$SOURCE/script/check-symbols" "$dir" >"$dir/log" 2>&1 || got=refused
    [ $got = "$1" ] || { echo "'$2' was $got:"; cat "$dir/log"; status=1; }
}
try accepted ''
try accepted 'int snprintf(char *, unsigned long, const char *, ...); static void __attribute__((used)) f(char *b) { snprintf(b, 1, ""); }'
try refused 'void helper(void) {}'
try refused 'void vq_secret(void) {}'
try refused '' 'void vq_version('
calls='exit abort printf fprintf puts getenv rand perror __printf_chk __fprintf_chk'
text=
for call in $calls; do text="$text void $call(); void *use_$call = $call;"; done
try refused "$(echo "$text" | sed 's/void \*use/static void *__attribute__((used)) use/g')"
for call in $calls; do
    grep -q "toy.c.o calls $call\$" "$dir/log" || { echo "a call of $call was accepted"; status=1; }
done
exit $status
