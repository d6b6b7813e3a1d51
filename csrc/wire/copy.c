/* Large copies, past the caches.
 *
 * How they are made fastest depends on the processor: stores to eight pages side by side keep more
 * banks of the memory busy and win a third on one, and lose half and more on another; on a third
 * the instruction that copies strings beats all stores, as long as source and target lie alike.  So
 * the first copies of a process try the ways in turn, block by block, and the one with the fastest
 * block is kept, and what is left then is shared with other cores.  A processor without AVX copies
 * as the C library does. */
#include <string.h>

#include "os/os.h"
#include "shm/atomic.h"
#include "wire/copy_shared.h"
#include "wire/value.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define STREAM_FROM ((size_t)8 << 20) /* below this the caches serve the reader */
#define LINE ((size_t)64)
#define LANE ((size_t)4096)
#define LANES_BYTES (8 * LANE)
#define AHEAD 512
#define BLOCK ((size_t)1 << 20) /* of a trial */
#define TRIALS 8u               /* blocks of each way */

#define WITH_AVX __attribute__((target("avx")))

WITH_AVX static inline void stream_line(uint8_t *dst, const uint8_t *src) {
  __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)src);
  __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(src + 32));
  _mm256_stream_si256((__m256i *)(void *)dst, a);
  _mm256_stream_si256((__m256i *)(void *)(dst + 32), b);
}

/* Each: dst is aligned to a line, n a multiple of LANES_BYTES. */
WITH_AVX static void side_by_side(uint8_t *dst, const uint8_t *src, size_t n) {
  for (size_t block = 0; block < n; block += LANES_BYTES)
    for (size_t at = block; at < block + LANE; at += 2 * LINE)
      for (size_t lane = at; lane < at + LANES_BYTES; lane += LANE) {
        __builtin_prefetch(src + lane + 2 * LINE);
        __builtin_prefetch(src + lane + 3 * LINE);
        stream_line(dst + lane, src + lane);
        stream_line(dst + lane + LINE, src + lane + LINE);
      }
}

WITH_AVX static void one_after_the_other(uint8_t *dst, const uint8_t *src, size_t n) {
  for (size_t at = 0; at < n; at += LINE) {
    __builtin_prefetch(src + at + AHEAD);
    stream_line(dst + at, src + at);
  }
}

static void as_the_processor_does(uint8_t *dst, const uint8_t *src, size_t n) {
  __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

static wr_copy_way *const ways[] = {side_by_side, one_after_the_other, as_the_processor_does};
enum { WAYS = sizeof ways / sizeof *ways };

/* Threads that copy at the same time may count a block twice or not at all: it is but a choice. */
static wr_a32 tried;         /* blocks so far; at TRIALS * WAYS the choice is made */
static wr_a64 least[WAYS];   /* ns of the fastest block; 0: none yet */

static uint32_t fastest(void) {
  uint32_t best = 0;
  for (uint32_t k = 1; k < WAYS; k++)
    if (wr_load(&least[k]) < wr_load(&least[best])) best = k;
  return best;
}

static void try_block(uint32_t k, uint8_t *dst, const uint8_t *src) {
  uint64_t start = wr_os_now_ns();
  ways[k](dst, src, BLOCK);
  uint64_t taken = wr_os_now_ns() - start, so_far = wr_load(&least[k]);
  if (!so_far || taken < so_far) wr_store(&least[k], taken);
}

static void copy_streaming(uint8_t *dst, const uint8_t *src, size_t n) {
  size_t done = 0;
  uint32_t i = wr_load32(&tried);
  for (; i < TRIALS * WAYS && n - done >= BLOCK; done += BLOCK) {
    try_block(i % WAYS, dst + done, src + done);
    wr_store32(&tried, ++i);
  }
  wr_copy_shared(ways[fastest()], dst + done, src + done, n - done);
}
#endif

void wr_copy_large(uint8_t *dst, const uint8_t *src, size_t n) {
#if defined(__x86_64__)
  if (n >= STREAM_FROM && __builtin_cpu_supports("avx")) {
    size_t before = -(uintptr_t)dst % LINE, bulk = (n - before) / LANES_BYTES * LANES_BYTES;
    memcpy(dst, src, before);
    copy_streaming(dst + before, src + before, bulk);
    dst += before + bulk, src += before + bulk, n -= before + bulk;
  }
#endif
  if (n) memcpy(dst, src, n);
}
