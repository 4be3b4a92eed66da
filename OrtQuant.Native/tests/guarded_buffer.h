// Memory whose neighbours on both sides fault: a kernel that reads or writes one byte too far crashes at the access.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <new>

namespace ortq::testing {

class GuardedBuffer {
 public:
  /// Where the bytes lie in their pages: against the page after them, or `offset` bytes after the page before them.
  enum class Placement { kEnd, kBegin };

  GuardedBuffer(size_t bytes, Placement placement, size_t offset = 0) : bytes_(bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inner = (bytes + offset + page - 1) / page * page + page;
    mapped_bytes_ = inner + 2 * page;
    void* mapped = mmap(nullptr, mapped_bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    mapped_ = static_cast<uint8_t*>(mapped);
    if (mprotect(mapped_ + page, inner, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
    data_ = placement == Placement::kEnd ? mapped_ + page + inner - bytes : mapped_ + page + offset;
  }
  GuardedBuffer(GuardedBuffer&& other) noexcept
      : mapped_(other.mapped_), mapped_bytes_(other.mapped_bytes_), data_(other.data_), bytes_(other.bytes_) {
    other.mapped_ = nullptr;
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(GuardedBuffer&&) = delete;
  ~GuardedBuffer() {
    if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
  }

  uint8_t* data() const { return data_; }
  size_t size() const { return bytes_; }

 private:
  uint8_t* mapped_;
  size_t mapped_bytes_;
  uint8_t* data_;
  size_t bytes_;
};

}  // namespace ortq::testing
