// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#include "support/allocations.hpp"

#include <atomic>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define REPLACE_ALLOCATOR 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define REPLACE_ALLOCATOR 0
#endif
#endif
#if !defined(REPLACE_ALLOCATOR) && defined(__GLIBC__)
#define REPLACE_ALLOCATOR 1
#endif

namespace {

std::atomic<long> calls{0};
std::atomic<std::size_t> bytes{0};

#if REPLACE_ALLOCATOR
void count(std::size_t size) noexcept {
  ++calls;
  bytes += size;
}
#endif

}  // namespace

#if REPLACE_ALLOCATOR
// In place of the C library's, which operator new calls ("Replacing malloc" in the GNU C Library manual).
extern "C" {
void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
void* __libc_realloc(void* old, std::size_t size) noexcept;
void* __libc_memalign(std::size_t alignment, std::size_t size) noexcept;
void __libc_free(void* memory) noexcept;

void* malloc(std::size_t size) noexcept {
  count(size);
  return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) noexcept {
  count(number * size);
  return __libc_calloc(number, size);
}
void* realloc(void* old, std::size_t size) noexcept {
  count(size);
  return __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  count(size);
  return __libc_memalign(alignment, size);
}
void free(void* memory) noexcept {
  if (memory != nullptr) count(0);
  __libc_free(memory);
}
}
#endif

namespace test_support {

Allocations allocations() noexcept { return {calls.load(), bytes.load()}; }

}  // namespace test_support
