/* Large copies, past the caches.
 *
 * How they are made fastest depends on the processor: stores to eight pages side by side keep more
 * banks of the memory busy and win a third on one, and lose half and more on another; on a third
 * the instruction that copies strings beats all stores.  So the first copies of a process try the
 * ways in turn, block by block, and the one with the fastest block is kept. */
#include <string.h>

#include "os/os.h"
#include "shm/atomic.h"
#include "wire/value.h"

#if defined(__x86_64__)
#include <emmintrin.h>

#define STREAM_FROM ((size_t)8 << 20) /* below this the caches serve the reader */
#define LANE ((size_t)4096)
#define LANES_BYTES (8 * LANE)
#define STRIDE ((size_t)128)
#define AHEAD 512
#define BLOCK ((size_t)1 << 20) /* of a trial */
#define TRIALS 8u               /* blocks of each way */

static inline void stream_line(uint8_t *dst, const uint8_t *src) {
  __m128i a = _mm_loadu_si128((const __m128i *)(const void *)src);
  __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(src + 16));
  __m128i c = _mm_loadu_si128((const __m128i *)(const void *)(src + 32));
  __m128i d = _mm_loadu_si128((const __m128i *)(const void *)(src + 48));
  _mm_stream_si128((__m128i *)(void *)dst, a);
  _mm_stream_si128((__m128i *)(void *)(dst + 16), b);
  _mm_stream_si128((__m128i *)(void *)(dst + 32), c);
  _mm_stream_si128((__m128i *)(void *)(dst + 48), d);
}

static inline void stream_stride(uint8_t *dst, const uint8_t *src) {
  __builtin_prefetch(src + STRIDE);
  __builtin_prefetch(src + STRIDE + 64);
  stream_line(dst, src);
  stream_line(dst + 64, src + 64);
}

/* Each: dst is 16-byte aligned, n a multiple of LANES_BYTES. */
static void side_by_side(uint8_t *dst, const uint8_t *src, size_t n) {
  for (size_t block = 0; block < n; block += LANES_BYTES)
    for (size_t at = block; at < block + LANE; at += STRIDE)
      for (size_t lane = 0; lane < LANES_BYTES; lane += LANE)
        stream_stride(dst + at + lane, src + at + lane);
}

static void one_after_the_other(uint8_t *dst, const uint8_t *src, size_t n) {
  for (size_t at = 0; at < n; at += 64) {
    __builtin_prefetch(src + at + AHEAD);
    stream_line(dst + at, src + at);
  }
}

static void as_the_processor_does(uint8_t *dst, const uint8_t *src, size_t n) {
  __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

typedef void copy_way(uint8_t *dst, const uint8_t *src, size_t n);
static copy_way *const ways[] = {side_by_side, one_after_the_other, as_the_processor_does};
enum { WAYS = sizeof ways / sizeof *ways };

/* Threads that copy at the same time may count a block twice or not at all: it is but a choice. */
static wr_a32 tried;         /* blocks so far; at TRIALS * WAYS the choice is made */
static wr_a64 least[WAYS]; /* ns of the fastest block; 0: none yet */

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
  ways[fastest()](dst + done, src + done, n - done);
  _mm_sfence(); /* before the state word that says the value is there */
}
#endif

void wr_copy_large(uint8_t *dst, const uint8_t *src, size_t n) {
#if defined(__x86_64__)
  if (n >= STREAM_FROM && ((uintptr_t)dst & 15) == 0) {
    size_t bulk = n - n % LANES_BYTES;
    copy_streaming(dst, src, bulk);
    dst += bulk, src += bulk, n -= bulk;
  }
#endif
  if (n) memcpy(dst, src, n);
}
