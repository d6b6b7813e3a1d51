/* Giving memory back.  Freed chunks of the heap stay warm for the next value; once the heap has
 * been quiet for a while, the pages of free chunks beyond a reserve are returned to the system.
 *
 * A chunk is claimed while its pages go, as a run without an owner, so that nobody else takes it.
 * Work is done in small steps: the loop also has to notice deaths. */
#include "base/status.h"
#include "node/node.h"
#include "os/os.h"

#define LOOK_MS 5000u
#define STEP_MS 1u
#define STEP_CHUNKS (UINT64_C(16) * 1024 * 1024 / WR_CHUNK)
#define RESERVE_CHUNKS (UINT64_C(64) * 1024 * 1024 / WR_CHUNK)

static void on_look(uv_timer_t *timer);

/* What changes whenever the heap is at work: chunks in use, and tasks done. */
static uint64_t activity(node *n) {
  uint64_t sum = wr_heap_chunks_used(&n->seg) << 40;
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++)
    if (n->procs[i]) sum += wr_load_relaxed(&n->seg.procs[i].tasks_done) + 1;
  return sum;
}

/* Claims free chunks from `at` on, at most a step of them; returns how many. */
static uint64_t claim(node *n, uint64_t at, uint64_t end) {
  uint64_t k = 0, word = WR_HEAP_WORD(WR_HEAP_RUN, NODE_SLOT, 0, 0);
  while (k < STEP_CHUNKS && at + k < end) {
    uint64_t none = 0;
    if (!wr_cas(&n->seg.heap_table[at + k], &none, word)) break;
    k++;
  }
  return k;
}

static void unclaim(node *n, uint64_t at, uint64_t count) {
  for (uint64_t k = 0; k < count; k++) wr_store(&n->seg.heap_table[at + k], 0);
}

/* Next chunk from `at` on whose pages are there; `end` if none is. */
static uint64_t next_present(node *n, uint64_t at, uint64_t end) {
  uint64_t heap = n->seg.heap_off, off = heap + at * WR_CHUNK;
  if (at >= end || wr_os_next_data(n->seg.fd, off, &off) != WR_OK) return end;
  uint64_t chunk = (off - heap) / WR_CHUNK;
  return chunk < end ? chunk : end;
}

/* One step; 0 when the end of the used part has been reached. */
static int step(node *n) {
  uint64_t end = wr_load(&n->seg.h->heap_high);
  if (end > n->seg.heap_chunks) end = n->seg.heap_chunks;
  uint64_t at = next_present(n, n->trim_at, end), got = at < end ? claim(n, at, end) : 0;
  if (at >= end) return 0;
  if (got && n->trim_kept < RESERVE_CHUNKS)
    n->trim_kept += got;
  else if (got)
    (void)wr_os_punch(n->seg.fd, n->seg.heap_off + at * WR_CHUNK, got * WR_CHUNK);
  unclaim(n, at, got);
  n->trim_at = at + (got ? got : 1);
  return 1;
}

static void on_step(uv_timer_t *timer) {
  node *n = timer->data;
  if (!n->ending && activity(n) == n->trim_seen) {
    if (step(n)) {
      uv_timer_start(timer, on_step, STEP_MS, 0);
      return;
    }
    n->trim_left = wr_os_allocated(n->seg.fd);
  }
  uv_timer_start(timer, on_look, LOOK_MS, 0);
}

/* A pass begins when nothing has changed since the last look and pages have come since the last
 * pass. */
static void on_look(uv_timer_t *timer) {
  node *n = timer->data;
  uint64_t now = activity(n), pages = wr_os_allocated(n->seg.fd);
  int quiet = now == n->trim_seen && pages == n->trim_pages;
  n->trim_seen = now;
  n->trim_pages = pages;
  if (quiet && pages > n->trim_left) {
    n->trim_at = n->trim_kept = 0;
    on_step(timer);
  } else {
    uv_timer_start(timer, on_look, LOOK_MS, 0);
  }
}

void node_trim_init(node *n) {
  uv_timer_init(n->loop, &n->trim);
  n->trim.data = n;
  uv_timer_start(&n->trim, on_look, LOOK_MS, 0);
}
