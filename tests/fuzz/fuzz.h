/* tests/fuzz/fuzz.h - what the fuzz targets share.
 *
 * A target is one fuzz_<topic>.c with LLVMFuzzerTestOneInput.  `make fuzz` links it with libFuzzer;
 * `make test` links it with replay.c, which needs no clang: it runs the committed corpus and some
 * thousands of inputs made from it.  Everything is compiled as whiprayd is (shm/guard.h), with
 * tiny buffers, assertions and sanitizers.  A finding is a crash, a report or a hang. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input as a stream of decisions; after its end all of them are 0. */
typedef struct {
  const uint8_t *p, *end;
} fuzz_input;

static inline uint64_t fuzz_take(fuzz_input *in, size_t n) {
  uint64_t v = 0;
  size_t left = (size_t)(in->end - in->p);
  if (n > left) n = left;
  if (n) memcpy(&v, in->p, n);
  in->p += n;
  return v;
}
static inline uint8_t fuzz_u8(fuzz_input *in) { return (uint8_t)fuzz_take(in, 1); }
static inline uint16_t fuzz_u16(fuzz_input *in) { return (uint16_t)fuzz_take(in, 2); }
static inline uint32_t fuzz_u32(fuzz_input *in) { return (uint32_t)fuzz_take(in, 4); }
static inline uint64_t fuzz_u64(fuzz_input *in) { return fuzz_take(in, 8); }
static inline int fuzz_more(const fuzz_input *in) { return in->p < in->end; }

#endif
