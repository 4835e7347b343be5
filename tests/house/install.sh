#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cmake --install, then consumers of the installed tree: by pkg-config and by find_package, shared
# and static; and the examples, which must run.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
root=$dir/root
quiet() { "$@" >"$dir/log" 2>&1 || { echo "failed: $*"; cat "$dir/log"; exit 1; }; }
say() { echo "install: $*"; }

quiet cmake --install "$BUILD" --prefix "$root"
lib=$(dirname "$(find "$root" -name libvq.a)")
version=$(head -n 1 "$SOURCE/VERSION")
soname=libvq.so.${version%.*}
case $version in 0.*) ;; *) soname=libvq.so.${version%%.*} ;; esac
for file in "$root/include/vq/vq.h" "$lib/libvq.a" "$lib/libvq.so" "$lib/$soname" "$lib/libvq.so.$version" \
    "$lib/pkgconfig/vq.pc" "$lib/cmake/vq/vqConfig.cmake" "$lib/cmake/vq/vqConfigVersion.cmake" \
    "$root/bin/vq" "$root/share/bash-completion/completions/vq" "$root/share/man/man1/vq.1"; do
    [ -e "$file" ] || { echo "not installed: ${file#"$root"/}"; exit 1; }
done
[ "$(find "$root/include" -name '*.h' | wc -l)" = 1 ] || { echo "more than one header is installed"; exit 1; }
readelf -d "$lib/libvq.so" | grep -q "SONAME.*\[$soname\]" || { echo "soname is not $soname"; exit 1; }
for page in "$SOURCE"/docs/man/*.1; do
    [ -e "$root/share/man/man1/$(basename "$page")" ] || { echo "not installed: $page"; exit 1; }
done
"$root/bin/vq" --version | grep -q "$version" || { echo "the installed program does not run"; exit 1; }
say "files, soname $soname, program"

# ---- pkg-config ------------------------------------------------------------------------------
export PKG_CONFIG_PATH=$lib/pkgconfig
[ "$(pkg-config --modversion vq)" = "$version" ] || { echo "vq.pc has another version"; exit 1; }
# shellcheck disable=SC2046 # lists of flags
quiet $CC -Wall -Werror "$SOURCE/tests/house/consumer/consumer.c" $(pkg-config --cflags --libs vq) -o "$dir/shared"
readelf -d "$dir/shared" | grep -q "NEEDED.*$soname" || { echo "the consumer is not linked to $soname"; exit 1; }
! readelf -d "$dir/shared" | grep -q 'NEEDED.*lmdb' || { echo "libvq's private libraries leak to its users"; exit 1; }
LD_LIBRARY_PATH=$lib quiet "$dir/shared" "$dir/a.vq"
say "pkg-config, shared"
mkdir "$dir/only-a"
mv "$lib"/libvq.so* "$dir/only-a/"
# shellcheck disable=SC2046
quiet $CC -Wall -Werror "$SOURCE/tests/house/consumer/consumer.c" $(pkg-config --cflags --libs --static vq) -o "$dir/static"
mv "$dir"/only-a/* "$lib/"
! readelf -d "$dir/static" | grep -q 'NEEDED.*libvq' || { echo "the static consumer needs libvq.so"; exit 1; }
quiet "$dir/static" "$dir/b.vq"
say "pkg-config, static"

# ---- find_package, from the tree moved elsewhere ----------------------------------------------
unset PKG_CONFIG_PATH
mv "$root" "$dir/moved"
root=$dir/moved
quiet cmake -S "$SOURCE/tests/house/consumer" -B "$dir/consumer" -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$root" \
    -DWANT="${version%.*}"
quiet cmake --build "$dir/consumer"
quiet "$dir/consumer/consumer_shared" "$dir/c.vq"
quiet "$dir/consumer/consumer_static" "$dir/d.vq"
! readelf -d "$dir/consumer/consumer_static" | grep -q 'NEEDED.*libvq' || { echo "vq::vq_static is not static"; exit 1; }
say "find_package, vq::vq and vq::vq_static"

quiet cmake -S "$SOURCE/examples" -B "$dir/examples" -DCMAKE_C_COMPILER="$CC" -DCMAKE_PREFIX_PATH="$root" \
    -DCMAKE_C_FLAGS='-Wall -Wextra -Werror'
quiet cmake --build "$dir/examples"
quiet "$dir/examples/build_and_search" "$dir/points.vq"
grep -q '^query 0:  1500 (0.0000)' "$dir/log" || { echo "build_and_search: row 500 did not find itself:"; cat "$dir/log"; exit 1; }
grep -q '^query 1:  1501 (0.0000)' "$dir/log" || { echo "build_and_search: row 501 did not find itself:"; cat "$dir/log"; exit 1; }
! "$dir/examples/build_and_search" "$dir/no/such/folder/points.vq" >"$dir/log" 2>&1 ||
    { echo "build_and_search: a path that cannot be written went well"; exit 1; }
grep -q 'no/such/folder' "$dir/log" || { echo "build_and_search: the error names no path:"; cat "$dir/log"; exit 1; }
say "examples"
