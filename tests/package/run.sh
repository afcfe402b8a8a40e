#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
#
# usage: run.sh find_package|pkg_config|add_subdirectory|testing, with the environment that tests/package/CMakeLists.txt gives
#
# Builds and runs consumer.cpp in one way; with `testing`, the tests of docs/testing.md. In a sanitizer build the consumer gets the same
# flags: an archive with a sanitizer inside does not link without them.
set -eu
way=$1
flags=
[ -z "$SANITIZE" ] || flags="-fsanitize=$SANITIZE"
here=$SOURCE_DIR/tests/package
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

# build DIRECTORY [CMAKE ARGUMENT...]
build() {
  directory=$1
  shift
  "$CMAKE" -S "$here/$way" -B "$directory" -G Ninja -DCMAKE_CXX_COMPILER="$CXX" \
    -DCMAKE_CXX_COMPILER_LAUNCHER="$LAUNCHER" -DCMAKE_CXX_FLAGS="$flags" -DBUILD_SHARED_LIBS="$SHARED" "$@"
  "$CMAKE" --build "$directory" --parallel 2 --target consumer
  "$directory/consumer"
}

case $way in
  find_package)
    "$CMAKE" --install "$BUILD_DIR" --prefix "$prefix" >/dev/null
    build "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix"
    ;;
  pkg_config)
    "$CMAKE" --install "$BUILD_DIR" --prefix "$prefix" >/dev/null
    export PKG_CONFIG_PATH="$prefix/$LIBRARY_DIR/pkgconfig"
    # shellcheck disable=SC2046,SC2086 # the words of both are options
    "$CXX" -std=c++20 $flags "$here/consumer.cpp" -o "$scratch/consumer" $(pkg-config --cflags --libs rootprep-testing)
    LD_LIBRARY_PATH="$prefix/$LIBRARY_DIR" "$scratch/consumer"
    ;;
  testing)
    "$CMAKE" --install "$BUILD_DIR" --prefix "$prefix" >/dev/null
    "$CMAKE" -S "$here/testing" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CXX_COMPILER_LAUNCHER="$LAUNCHER" \
      -DCMAKE_CXX_FLAGS="$flags" -DCMAKE_PREFIX_PATH="$prefix"
    "$CMAKE" --build "$scratch/build" --parallel 2
    LD_LIBRARY_PATH="$prefix/$LIBRARY_DIR" ctest --test-dir "$scratch/build" --output-on-failure --no-tests=error
    ;;
  add_subdirectory)
    # Kept for the next run: this one builds the library anew.
    build "$BUILD_DIR/tests/package/consumer" -DROOTPREP_SOURCE_DIR="$SOURCE_DIR"
    ;;
  *)
    echo "run.sh: there is no way '$way'" >&2
    exit 2
    ;;
esac
