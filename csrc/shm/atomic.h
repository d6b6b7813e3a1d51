/* shm/atomic.h - the few atomic shapes that shared records use.
 * All operations are on naturally aligned 32- or 64-bit words and are address free, so that they
 * work between processes.  Names carry the ordering; callers say which access they pair with. */
#ifndef WR_SHM_ATOMIC_H
#define WR_SHM_ATOMIC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint64_t wr_a64;
typedef _Atomic uint32_t wr_a32;

static inline uint64_t wr_load(const wr_a64 *p) {
  return atomic_load_explicit(p, memory_order_acquire);
}
static inline uint64_t wr_load_relaxed(const wr_a64 *p) {
  return atomic_load_explicit(p, memory_order_relaxed);
}
static inline void wr_store(wr_a64 *p, uint64_t v) {
  atomic_store_explicit(p, v, memory_order_release);
}
static inline void wr_store_relaxed(wr_a64 *p, uint64_t v) {
  atomic_store_explicit(p, v, memory_order_relaxed);
}
static inline uint32_t wr_load32(const wr_a32 *p) {
  return atomic_load_explicit(p, memory_order_acquire);
}
static inline void wr_store32(wr_a32 *p, uint32_t v) {
  atomic_store_explicit(p, v, memory_order_release);
}
/* sequentially consistent: a full barrier on both sides, in success and failure */
static inline bool wr_cas(wr_a64 *p, uint64_t *expected, uint64_t desired) {
  return atomic_compare_exchange_strong(p, expected, desired);
}
static inline bool wr_cas32(wr_a32 *p, uint32_t *expected, uint32_t desired) {
  return atomic_compare_exchange_strong(p, expected, desired);
}
static inline uint64_t wr_swap(wr_a64 *p, uint64_t v) { return atomic_exchange(p, v); }
static inline uint32_t wr_swap32(wr_a32 *p, uint32_t v) { return atomic_exchange(p, v); }
static inline void wr_fence(void) { atomic_thread_fence(memory_order_seq_cst); }

/* A hint: the line at p, which another processor may have written last, is about to be written. */
static inline void wr_expect_write(const void *p) {
#if defined(__x86_64__)
  __asm__ __volatile__("prefetchw %0" : : "m"(*(const char *)p));
#else
  __builtin_prefetch(p, 1);
#endif
}

static inline void wr_cpu_relax(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

#endif
