#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Copyright The rootprep authors
#
# usage: run.sh find_package|pkg_config|add_subdirectory|testing, with the environment that tests/package/CMakeLists.txt gives
#
# Builds and runs consumer.cpp in one way; with `testing`, the tests of docs/testing.md.
set -eu
way=$1
here=$SOURCE_DIR/tests/package
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix

# build DIRECTORY [CMAKE ARGUMENT...]
build() {
  directory=$1
  shift
  "$CMAKE" -S "$here/$way" -B "$directory" -G Ninja -DCMAKE_CXX_COMPILER="$CXX" \
    -DCMAKE_CXX_COMPILER_LAUNCHER="$LAUNCHER" -DBUILD_SHARED_LIBS="$SHARED" "$@"
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
    # shellcheck disable=SC2046 # its words are options
    "$CXX" -std=c++20 "$here/consumer.cpp" -o "$scratch/consumer" $(pkg-config --cflags --libs rootprep-testing)
    LD_LIBRARY_PATH="$prefix/$LIBRARY_DIR" "$scratch/consumer"
    ;;
  testing)
    "$CMAKE" --install "$BUILD_DIR" --prefix "$prefix" >/dev/null
    "$CMAKE" -S "$here/testing" -B "$scratch/build" -G Ninja -DCMAKE_CXX_COMPILER="$CXX" -DCMAKE_CXX_COMPILER_LAUNCHER="$LAUNCHER" \
      -DCMAKE_PREFIX_PATH="$prefix"
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
