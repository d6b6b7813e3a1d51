/* One core does not use all of the memory's bandwidth.
 *
 * The caller and the threads that it starts take one piece after the other.  It does not wait for
 * a thread to begin: where all cores are busy it copies everything itself before they come, and
 * they find nothing left.  So what they share outlives the copy, until the last has looked. */
#include "wire/copy_shared.h"

#include "base/mem.h"
#include "base/status.h"
#include "os/os.h"
#include "shm/atomic.h"

#define SHARE_FROM ((size_t)6 << 20) /* below this the threads come too late to help */
#define MOST_CORES 4                 /* a guess: measured with two */

typedef struct {
  wr_copy_way *way;
  uint8_t *dst;
  const uint8_t *src;
  size_t n;
  uint32_t pieces;
  wr_a32 next;  /* the first piece that nobody has taken */
  wr_a32 left;  /* pieces that are not there yet; the caller sleeps on it */
  wr_a32 users; /* the last of them frees this */
} shared;

static void fence(void) {
#if defined(__x86_64__)
  __builtin_ia32_sfence(); /* stores past the caches are not ordered by anything else */
#endif
}

static void copy_pieces(shared *s) {
  uint32_t copied = 0;
  for (uint32_t k; (k = atomic_fetch_add(&s->next, 1)) < s->pieces; copied++) {
    size_t at = k * WR_COPY_PIECE, rest = s->n - at;
    s->way(s->dst + at, s->src + at, rest < WR_COPY_PIECE ? rest : WR_COPY_PIECE);
  }
  fence();
  if (copied && atomic_fetch_sub(&s->left, copied) == copied) wr_os_futex_wake(&s->left, 1);
}

static void leave(shared *s) {
  if (atomic_fetch_sub(&s->users, 1) == 1) wr_free(s);
}

static void help(void *arg) {
  copy_pieces(arg);
  leave(arg);
}

/* Asked once: it is read from files. */
static uint32_t helpers(void) {
  static wr_a32 known;
  uint32_t cores = wr_load32(&known);
  if (!cores) wr_store32(&known, cores = (uint32_t)wr_os_cpu_count());
  return (cores < MOST_CORES ? cores : MOST_CORES) - 1;
}

void wr_copy_shared(wr_copy_way *way, uint8_t *dst, const uint8_t *src, size_t n) {
  uint32_t want = n < SHARE_FROM ? 0 : helpers();
  shared *s = want ? wr_alloc(sizeof *s) : NULL;
  if (!s) {
    way(dst, src, n);
    fence();
    return;
  }
  uint32_t pieces = (uint32_t)((n + WR_COPY_PIECE - 1) / WR_COPY_PIECE);
  *s = (shared){way, dst, src, n, pieces, 0, pieces, want + 1};
  for (uint32_t k = 0; k < want; k++)
    if (wr_os_run_beside(help, s) != WR_OK) leave(s);
  copy_pieces(s);
  for (uint32_t left; (left = wr_load32(&s->left)) != 0;)
    (void)wr_os_futex_wait(&s->left, left, -1);
  leave(s);
}
