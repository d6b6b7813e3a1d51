/* Loose blocks: memory of the store in which a process's values are born.
 *
 * A block stands behind a head of one page, in which its process keeps notes that only it uses: the
 * size and a list through all its loose blocks.  The notes are gone once the block is given away,
 * since the front of the value comes to lie there.
 *
 * On a fork the child would share these pages with its parent, unlike all other memory of either.
 * So before a fork every block is mapped anew as a private copy on write: parent and child each go
 * on with what was there, and pages that neither writes are still not copied.  Such a block is not
 * given away any more, and its mapping is shared again when it is freed. */
#include "base/assert.h"
#include "base/failpoint.h"
#include "client/internal.h"
#include "os/os.h"
#include "store/heap.h"
#include "store/objects.h"

#define SHARE 8   /* of the store, for the loose blocks of one process: one part in 8 */
#define CROWDED 4 /* and none when more than one part in 4 of the store is in use, by whatever */
#define LOOK_NS UINT64_C(10000000)

typedef struct {
  uint64_t size;       /* of the run, head included */
  uint64_t prev, next; /* offsets of runs; 0: none */
  uint64_t is_private;
} notes;

static notes *notes_at(wr_client *c, uint64_t run) { return wr_at(&c->seg, run); }
static uint64_t run_of(wr_client *c, const void *p) { return wr_off(&c->seg, p) - WR_LOOSE_HEAD; }

static void enlist(wr_client *c, uint64_t run, uint64_t size) {
  *notes_at(c, run) = (notes){.size = size, .next = c->loose};
  if (c->loose) notes_at(c, c->loose)->prev = run;
  c->loose = run;
  c->loose_bytes += size;
}

static void delist(wr_client *c, uint64_t run) {
  const notes *n = notes_at(c, run);
  if (n->prev)
    notes_at(c, n->prev)->next = n->next;
  else
    c->loose = n->next;
  if (n->next) notes_at(c, n->next)->prev = n->prev;
  c->loose_bytes -= n->size;
}

/* Private arrays must not take the room of objects, which cannot go anywhere else. */
int wr_loose_crowded(wr_client *c, uint64_t more, uint64_t most) {
  uint64_t now = wr_os_now_ns(), chunks = more / WR_CHUNK + 1;
  if (now - c->loose_looked > LOOK_NS) {
    c->loose_looked = now;
    c->loose_used = wr_heap_chunks_used(&c->seg);
  }
  if (c->loose_used + chunks > most) return 1;
  c->loose_used += chunks;
  return 0;
}

void *wr_loose_alloc(wr_client *c, size_t size) {
  uint64_t run, share = c->seg.store_chunks * WR_CHUNK / SHARE, whole = size + WR_LOOSE_HEAD;
  if (size > share) return NULL;
  wr_lock(c);
  if (wr_loose_crowded(c, whole, c->seg.store_chunks / CROWDED)) whole = share + 1;
  int rc = c->loose_bytes + whole > share ? WR_FULL : wr_heap_loose(&c->self, whole, &run);
  if (rc == WR_OK) enlist(c, run, whole);
  wr_unlock(c);
  if (rc != WR_OK) return NULL;
  WR_FAILPOINT("loose.made");
  return wr_at(&c->seg, run + WR_LOOSE_HEAD);
}

size_t wr_loose_size(wr_client *c, const void *p) {
  return notes_at(c, run_of(c, p))->size - WR_LOOSE_HEAD;
}

void wr_loose_free(wr_client *c, void *p) {
  uint64_t run = run_of(c, p);
  wr_lock(c);
  notes n = *notes_at(c, run);
  delist(c, run);
  if (!n.is_private ||
      wr_os_map_over(c->seg.fd, run + WR_LOOSE_HEAD, n.size - WR_LOOSE_HEAD, p) == WR_OK)
    wr_heap_drop(&c->self, run); /* otherwise it stays until this process ends */
  wr_unlock(c);
}

int wr_loose_give(wr_client *c, void *p, wr_idx idx, size_t head, size_t len) {
  uint64_t run = run_of(c, p);
  WR_CHECK(head <= WR_LOOSE_HEAD - sizeof(notes));
  wr_lock(c);
  int rc = notes_at(c, run)->is_private ? WR_STATE : WR_OK;
  uint64_t off = wr_off(&c->seg, p) - head;
  if (rc == WR_OK) rc = wr_objects_adopt(&c->self, idx, run, off, len, NULL, 0);
  if (rc == WR_OK) delist(c, run);
  wr_unlock(c);
  return rc;
}

void wr_loose_before_fork(wr_client *c) {
  wr_lock(c);
  for (uint64_t run = c->loose; run; run = notes_at(c, run)->next) {
    notes *n = notes_at(c, run);
    uint64_t at = run + WR_LOOSE_HEAD;
    if (!n->is_private &&
        wr_os_map_snapshot(c->seg.fd, at, n->size - WR_LOOSE_HEAD, wr_at(&c->seg, at)) == WR_OK)
      n->is_private = 1;
  }
  wr_unlock(c);
}
