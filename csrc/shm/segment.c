#include "shm/segment.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/status.h"
#include "os/os.h"
#include "shm/ring.h"

static uint64_t align_up(uint64_t v, uint64_t to) { return (v + to - 1) / to * to; }

/* Offsets of all areas, from the sizes alone: creator and joiners compute the same. */
static void lay_out(wr_header *h, uint64_t heap_chunks) {
  uint64_t at = align_up(sizeof *h, 4096);
  h->procs = at;
  at = align_up(at + sizeof(wr_proc) * WR_MAX_PROCS, 4096);
  h->actors = at;
  at = align_up(at + sizeof(wr_actor) * WR_MAX_ACTORS, 4096);
  h->pools = at;
  at = align_up(at + sizeof(wr_pool) * WR_MAX_POOLS, 4096);
  h->shapes = at;
  at = align_up(at + sizeof(wr_shape) * WR_MAX_SHAPES, 4096);
  h->resources = at;
  at = align_up(at + sizeof(wr_resource) * WR_MAX_RESOURCES, 4096);
  h->groups = at;
  at = align_up(at + sizeof(wr_group) * WR_MAX_GROUPS, 4096);
  h->bundles = at;
  at = align_up(at + sizeof(wr_bundle) * WR_MAX_BUNDLES, 4096);
  h->rec_table = at;
  at = align_up(at + sizeof(wr_a64) * WR_REC_CHUNKS, 4096);
  h->rec_freed = at;
  at = align_up(at + sizeof(wr_a32) * WR_REC_CHUNKS, 4096);
  h->heap_table = at;
  at = align_up(at + sizeof(wr_a64) * heap_chunks, 4096);
  h->heap_freed = at;
  at = align_up(at + sizeof(wr_a32) * heap_chunks, 4096);
  h->exports = at;
  at = align_up(at + sizeof(wr_a64) * WR_MAX_EXPORTS, 4096);
  h->rings = at;
  at = align_up(at + wr_ring_words(WR_MAX_SHAPES) * 8, WR_CHUNK);
  h->recs = at;
  at += (uint64_t)WR_REC_CHUNKS * WR_CHUNK;
  h->heap = at;
  h->heap_chunks = heap_chunks;
  h->size = at + heap_chunks * WR_CHUNK;
}

static void point(wr_seg *s, const wr_header *h) {
  s->size = h->size;
  s->rings_off = h->rings;
  s->recs_off = h->recs;
  s->heap_off = h->heap;
  s->procs = wr_at(s, h->procs);
  s->actors = wr_at(s, h->actors);
  s->pools = wr_at(s, h->pools);
  s->shapes = wr_at(s, h->shapes);
  s->resources = wr_at(s, h->resources);
  s->groups = wr_at(s, h->groups);
  s->bundles = wr_at(s, h->bundles);
  s->rec_table = wr_at(s, h->rec_table);
  s->rec_freed = wr_at(s, h->rec_freed);
  s->heap_table = wr_at(s, h->heap_table);
  s->heap_freed = wr_at(s, h->heap_freed);
  s->exports = wr_at(s, h->exports);
  s->recs = wr_at(s, h->recs);
  s->heap = wr_at(s, h->heap);
  s->heap_chunks = h->heap_chunks;
  s->store_chunks = h->store_chunks;
}

int wr_seg_create(wr_seg *s, const wr_seg_config *cfg) {
  memset(s, 0, sizeof *s);
  s->fd = -1;
  wr_header plan = {0};
  uint64_t chunks = align_up(cfg->heap_bytes, WR_CHUNK) / WR_CHUNK;
  if (chunks == 0 || chunks > UINT32_MAX / 2) return WR_INVAL;
  uint64_t more = cfg->more_bytes / WR_CHUNK, most = UINT32_MAX / 2 - chunks;
  lay_out(&plan, chunks + (more < most ? more : most));
  plan.store_chunks = chunks;
  int fd = wr_os_memfd_create("whipray", plan.size);
  if (fd < 0) return fd;
  void *base;
  int rc = wr_os_map(fd, 0, plan.size, 1, &base);
  if (rc < 0) {
    wr_os_close(fd);
    return rc;
  }
  s->fd = fd;
  s->base = base;
  s->h = base;
  *s->h = plan;
  s->h->version = WR_SEGMENT_VERSION;
  s->h->header_size = sizeof(wr_header);
  s->h->cpus = cfg->cpus ? cfg->cpus : 1;
  s->h->start_ns = wr_os_now_ns();
  s->h->daemon_pid = (uint32_t)wr_os_pid();
  memcpy(s->h->session, cfg->session, sizeof s->h->session);
  point(s, &plan);
  wr_store(&s->rec_table[0], WR_REC_WORD(WR_REC_CELLS, 1)); /* idx 0 is nil: never handed out */
  wr_store32(&s->h->rec_high, 1);
  wr_store(&s->h->heap_limit, chunks);
  wr_store32(&s->h->proc_high, 1);
  s->h->magic = WR_SEGMENT_MAGIC;
  return WR_OK;
}

int wr_seg_attach(wr_seg *s, int fd) {
  memset(s, 0, sizeof *s);
  s->fd = -1;
  uint64_t size = 0;
  int rc = wr_os_memfd_size(fd, &size);
  if (rc < 0) return rc;
  if (size < sizeof(wr_header)) return WR_PROTO;
  void *base;
  rc = wr_os_map(fd, 0, size, 1, &base);
  if (rc < 0) return rc;
  wr_header plan = {0};
  const wr_header *h = base;
  int ok = h->magic == WR_SEGMENT_MAGIC && h->version == WR_SEGMENT_VERSION;
  if (ok) lay_out(&plan, h->heap_chunks);
  plan.store_chunks = h->store_chunks;
  if (!ok || plan.size != size || h->header_size != sizeof(wr_header) ||
      plan.store_chunks > plan.heap_chunks || h->recs != plan.recs ||
      h->heap != plan.heap || h->rings != plan.rings) {
    rc = h->magic == WR_SEGMENT_MAGIC ? WR_VERSION : WR_PROTO;
    wr_os_unmap(base, size);
    return rc;
  }
  s->fd = fd;
  s->base = base;
  s->h = base;
  point(s, &plan);
  return WR_OK;
}

void wr_seg_detach(wr_seg *s) {
  if (s->base) wr_os_unmap(s->base, s->size);
  if (s->fd >= 0) wr_os_close(s->fd);
  memset(s, 0, sizeof *s);
  s->fd = -1;
}

/* Pairs with the sleeper, which reads events, checks its condition, sets park, reads events again
 * and then sleeps while park is set: either it sees the event or we see it parked.  It has to sleep
 * on the word that wakers clear: one that is late clears it for an event that the sleeper has
 * counted already, and the next waker would make no call for a sleeper on another word.  Several
 * threads of a process may sleep; every event wakes all of them. */
void wr_wake(wr_seg *s, uint32_t slot) {
  if (slot == 0 || slot >= WR_MAX_PROCS) return;
  atomic_fetch_add(&s->procs[slot].events, 1);
  wr_a32 *park = &s->procs[slot].park;
  if (!wr_load32(park) || !wr_swap32(park, 0)) return;
  atomic_store_explicit(&s->procs[slot].waker_cpu, (uint32_t)wr_os_cpu(), memory_order_relaxed);
  WR_FAILPOINT("wake.cleared");
  wr_os_futex_wake(park, 1 << 30);
}

static void wake_where(wr_seg *s, int waiting_only) {
  wr_fence();
  uint32_t high = wr_load32(&s->h->proc_high);
  for (uint32_t i = 1; i <= high && i < WR_MAX_PROCS; i++)
    if (!waiting_only || wr_load32(&s->procs[i].waiting)) wr_wake(s, i);
}

/* Says it to the kernel whatever the word is: a cleared word may be all that a dead waker did. */
void wr_wake_stranded(wr_seg *s) {
  wr_fence();
  uint32_t high = wr_load32(&s->h->proc_high);
  for (uint32_t i = 1; i <= high && i < WR_MAX_PROCS; i++) {
    wr_proc *p = &s->procs[i];
    if (WR_PROC_PHASE(wr_load(&p->state)) != WR_PROC_LIVE) continue;
    atomic_fetch_add(&p->events, 1);
    wr_swap32(&p->park, 0);
    wr_os_futex_wake(&p->park, 1 << 30);
  }
}

const char *wr_seg_end_reason(const wr_seg *s) {
  return s->h->end_reason[0] ? s->h->end_reason : "whiprayd, the session's daemon, has died";
}

void wr_wake_waiting(wr_seg *s) { wake_where(s, 1); }
void wr_wake_all(wr_seg *s) { wake_where(s, 0); }

void wr_seg_end(wr_seg *s, const char *reason) {
  if (reason) snprintf(s->h->end_reason, sizeof s->h->end_reason, "%s", reason);
  wr_store32(&s->h->ended, 1);
  wr_wake_all(s);
}
