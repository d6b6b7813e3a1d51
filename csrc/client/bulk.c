/* Large values on their way into the store.
 *
 * Memory that this process has mapped is written by plain stores. Where a page has never been used,
 * a store costs a fault and the clearing of the page that it then overwrites: half of the time, and
 * more.  A write to the memfd needs neither.  It leaves the page unmapped here; when the memory is
 * used again its pages are mapped all at once, sixteen for a fault. */
#include "base/failpoint.h"
#include "base/mem.h"
#include "client/internal.h"
#include "os/files.h"
#include "os/os.h"
#include "wire/value.h"

#define WRITE_FROM ((size_t)32 << 10) /* below this one fault costs less than the call */
#ifdef WR_HOSTILE
#define PIECE ((size_t)64 << 10)
#else
#define PIECE ((size_t)1 << 20) /* the kernel lets one process at a time write */
#endif
#define ASK_FROM ((size_t)8 << 20) /* whiprayd may have given back what was mapped here */

typedef struct {
  uint64_t first, last;
} chunks;

/* `mapped` has a bit for each chunk: hints, for this process alone. */
static int are_mapped(const wr_client *c, chunks k) {
  for (uint64_t i = k.first; i <= k.last; i++)
    if (!(c->mapped[i / 64] & (uint64_t)1 << i % 64)) return 0;
  return 1;
}

static void note_mapped(wr_client *c, chunks k, int mapped) {
  for (uint64_t i = k.first; i <= k.last; i++) {
    uint64_t bit = (uint64_t)1 << i % 64;
    c->mapped[i / 64] = mapped ? c->mapped[i / 64] | bit : c->mapped[i / 64] & ~bit;
  }
}

static uint64_t file_offset(const wr_client *c, const uint8_t *p) {
  return (uint64_t)(p - (const uint8_t *)c->seg.base);
}

/* None of the pages that lie wholly in there has been used; those at the borders hold the heads of
 * blocks as well. */
static int never_used(const wr_client *c, const uint8_t *dst, size_t len) {
  uint64_t page = wr_os_page(), at = file_offset(c, dst), used;
  int rc = wr_os_next_data(c->seg.fd, (at + page - 1) / page * page, &used);
  return rc == WR_NOTFOUND || (rc == WR_OK && used + page > at + len);
}

int wr_value_is_fresh(wr_client *c, const uint8_t *dst, size_t len) {
  uint64_t at = (uint64_t)(dst - c->seg.heap);
  chunks k = {at / WR_CHUNK, (at + len - 1) / WR_CHUNK};
  if (k.last >= c->seg.heap_chunks) return 0;
  wr_lock(c);
  if (!c->mapped) c->mapped = wr_alloc(sizeof *c->mapped * ((size_t)c->seg.heap_chunks / 64 + 1));
  int known = c->mapped != NULL, mapped = known && are_mapped(c, k);
  int fresh = (!mapped || len >= ASK_FROM) && never_used(c, dst, len);
  if (known) note_mapped(c, k, !fresh);
  wr_unlock(c);
  if (!fresh && !mapped) wr_os_map_used(dst, len);
  return fresh;
}

void wr_value_write(wr_client *c, uint8_t *dst, const uint8_t *src, size_t n) {
  int rc = n < WRITE_FROM ? WR_AGAIN : WR_OK;
  for (size_t done = 0, k; done < n && rc == WR_OK; done += k) {
    k = n - done < PIECE ? n - done : PIECE;
    rc = wr_os_write_at(c->seg.fd, src + done, k, file_offset(c, dst + done));
    WR_FAILPOINT("bulk.piece");
  }
  if (rc != WR_OK) wr_copy_large(dst, src, n); /* a limit on the size of files, perhaps */
}
