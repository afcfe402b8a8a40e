// SPDX-License-Identifier: Apache-2.0
// Copyright The rootprep authors
#pragma once

#include <utility>

#include "child/system_calls.hpp"
#include "rootprep/error.hpp"

namespace rootprep {

// A system call of the parent: as the child's, so that errors have one form and no call is a cancellation point of the C library.
template <class... Types>
long parent_call(long number, Types... arguments) noexcept {
  return child::invoke(linux_kernel(), number, arguments...);
}

// A descriptor of the parent, closed at the end of its scope.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Descriptor() { reset(-1); }

  int get() const noexcept { return fd_; }
  int release() noexcept { return std::exchange(fd_, -1); }
  void reset(int fd) noexcept {
    if (fd_ >= 0) (void)parent_call(SYS_close, fd_);  // pipes, eventfds, pidfds: nothing can be lost
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

inline Error failed_call(long number, long result) noexcept {
  return Error::from_errno(static_cast<int>(-result), static_cast<std::uint16_t>(number));
}

}  // namespace rootprep
