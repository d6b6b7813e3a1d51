/* The store grows for a value that is as large as itself, since no spilling makes room for that;
 * and when nothing else helps: it is full of values that are viewed, so that too little of it may
 * go to disk, and somebody waits for room.  Those who hold the views may let go of them soon, so
 * they are given a while; what has been granted is taken back once the values fit into the store
 * again.  The machine's memory is the limit, as for everything else that processes take.
 *
 * `heap_limit` is a hint that this alone writes: what somebody claims beyond it after it has been
 * lowered is memory like any other. */
#include <stdlib.h>

#include "base/status.h"
#include "node/node.h"
#include "os/os.h"
#include "store/heap.h"

#define GRACE_NS UINT64_C(1000000000) /* for views to go */
#define GAP_NS UINT64_C(500000000)    /* clients ask again more often than that */
#define LOOK_NS UINT64_C(500000000)   /* between looks at what is in use */
#define WRITE_NS UINT64_C(5000000000) /* after that what was granted is written, or never will be */
#define LEAST (UINT64_C(32) << 20)    /* bytes at once */
#define SLACK 16u                     /* one part in so many of the store is free when it shrinks */

uint64_t node_growth_room(void) {
  uint64_t bytes = 0;
  const char *fixed = getenv("WHIPRAY_FIXED_STORE");
  if (fixed && *fixed && *fixed != '0') return 0;
  return wr_os_memory_limit(&bytes) == WR_OK ? bytes : 0;
}

int node_is_grown(const node *n) { return wr_load(&n->seg.h->heap_limit) > n->seg.store_chunks; }

/* Has there been too little to spill for so long that views will not go by themselves?  Once the
 * store has grown, that is known until enough can be spilled again. */
static int is_stuck(node *n, int enough) {
  uint64_t now = wr_os_now_ns();
  if (enough || (!node_is_grown(n) && now - n->growth.asked > GAP_NS)) n->growth.since = now;
  n->growth.asked = now;
  return now - n->growth.since >= GRACE_NS;
}

int node_grow(node *n, uint64_t bytes, int enough) {
  uint64_t limit = wr_load(&n->seg.h->heap_limit), store = n->seg.store_chunks * WR_CHUNK;
  if (limit >= n->seg.heap_chunks || !is_stuck(n, enough)) return 0;
  if (bytes < LEAST) bytes = LEAST;
  if (bytes > store) bytes = store;
  if (!node_memory_has(n, bytes)) return 0;
  uint64_t to = limit + (bytes + WR_CHUNK - 1) / WR_CHUNK;
  if (to > n->seg.heap_chunks) to = n->seg.heap_chunks;
  if (!node_is_grown(n))
    node_note("the store of %llu MiB is full of values that are viewed: it grows",
              (unsigned long long)(store >> 20));
  wr_store(&n->seg.h->heap_limit, to);
  return 1;
}

/* Bytes that have been granted to others just now and are not written yet. */
static uint64_t owed(node *n, uint64_t there) {
  if (n->growth.due <= there || wr_os_now_ns() - n->growth.granted > WRITE_NS) n->growth.due = 0;
  return n->growth.due ? n->growth.due - there : 0;
}

int node_grow_for(node *n, uint64_t bytes) {
  uint64_t limit = wr_load(&n->seg.h->heap_limit), there = wr_os_allocated(n->seg.fd);
  uint64_t chunks = bytes / WR_CHUNK + 2; /* its head, too */
  if (limit > n->seg.heap_chunks || chunks > n->seg.heap_chunks - limit) return 0;
  bytes += owed(n, there);
  if (!node_memory_has(n, bytes)) return 0;
  if (!node_is_grown(n))
    node_note("a value of %llu MiB is larger than the store of %llu MiB: it grows",
              (unsigned long long)(chunks * WR_CHUNK >> 20),
              (unsigned long long)(n->seg.store_chunks * WR_CHUNK >> 20));
  n->growth.due = there + bytes;
  n->growth.granted = wr_os_now_ns();
  wr_store(&n->seg.h->heap_limit, limit + chunks);
  return 1;
}

uint64_t node_shrink(node *n) {
  uint64_t now = wr_os_now_ns(), most = n->seg.store_chunks - n->seg.store_chunks / SLACK;
  if (!node_is_grown(n) || now - n->growth.looked < LOOK_NS) return 0;
  n->growth.looked = now;
  uint64_t used = wr_heap_chunks_used(&n->seg);
  if (used <= most) {
    wr_store(&n->seg.h->heap_limit, n->seg.store_chunks);
    n->growth.due = 0;
  }
  return used > most ? (used - most) * WR_CHUNK : 0;
}
