/* Making and joining the segment, and waking who sleeps on it. */
#include "engine.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/status.h"
#include "os/os.h"

static void create(wr_seg *s) {
  wr_seg_config cfg = {.heap_bytes = 1 << 20, .cpus = 3, .session = "fifteen letters"};
  CHECK_EQ(wr_seg_create(s, &cfg), WR_OK);
}

static int descriptor_is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(a_new_segment_says_what_it_is) {
  wr_seg s;
  create(&s);
  CHECK_EQ(s.h->magic, WR_SEGMENT_MAGIC);
  CHECK_EQ(s.h->version, WR_SEGMENT_VERSION);
  CHECK_EQ(s.h->cpus, 3);
  CHECK_EQ(s.h->daemon_pid, (uint32_t)getpid());
  CHECK_MEM(s.h->session, "fifteen letters", 16);
  CHECK_EQ(s.heap_chunks, 16);
  CHECK_EQ(s.h->size, s.h->heap + s.heap_chunks * WR_CHUNK);
  CHECK_EQ(WR_REC_KIND(wr_load(&s.rec_table[0])), WR_REC_CELLS); /* idx 0 is nil */
  CHECK_EQ(wr_load32(&s.h->rec_high), 1);
  int fd = s.fd;
  wr_seg_detach(&s);
  CHECK(!descriptor_is_open(fd));
  CHECK(s.base == NULL && s.fd == -1);
  wr_seg_detach(&s); /* twice does no harm */
}

TEST(areas_follow_one_another) {
  wr_seg s;
  create(&s);
  const struct {
    uint64_t at, bytes;
  } areas[] = {{0, sizeof(wr_header)},
               {s.h->procs, sizeof(wr_proc) * WR_MAX_PROCS},
               {s.h->actors, sizeof(wr_actor) * WR_MAX_ACTORS},
               {s.h->pools, sizeof(wr_pool) * WR_MAX_POOLS},
               {s.h->shapes, sizeof(wr_shape) * WR_MAX_SHAPES},
               {s.h->resources, sizeof(wr_resource) * WR_MAX_RESOURCES},
               {s.h->rec_table, 8ull * WR_REC_CHUNKS},
               {s.h->rec_freed, 4ull * WR_REC_CHUNKS},
               {s.h->heap_table, 8 * s.heap_chunks},
               {s.h->heap_freed, 4 * s.heap_chunks},
               {s.h->rings, 8ull * wr_ring_words(WR_MAX_SHAPES)},
               {s.h->recs, (uint64_t)WR_REC_CHUNKS * WR_CHUNK},
               {s.h->heap, s.heap_chunks * WR_CHUNK},
               {s.h->size, 0}};
  for (size_t i = 1; i < sizeof areas / sizeof *areas; i++) {
    CHECK_GE(areas[i].at, areas[i - 1].at + areas[i - 1].bytes);
    CHECK_EQ(areas[i].at % 4096, 0);
  }
  CHECK(s.h->recs % WR_CHUNK == 0 && s.h->heap % WR_CHUNK == 0);
  wr_seg_detach(&s);
}

TEST(heaps_are_rounded_up_and_never_empty) {
  wr_seg s;
  wr_seg_config cfg = {.heap_bytes = WR_CHUNK + 1};
  CHECK_EQ(wr_seg_create(&s, &cfg), WR_OK);
  CHECK_EQ(s.heap_chunks, 2);
  CHECK_EQ(s.h->cpus, 1);
  wr_seg_detach(&s);
  cfg.heap_bytes = 0;
  CHECK_EQ(wr_seg_create(&s, &cfg), WR_INVAL);
  cfg.heap_bytes = UINT64_MAX / 2;
  CHECK_EQ(wr_seg_create(&s, &cfg), WR_INVAL);
  CHECK_EQ(s.fd, -1);
  wr_seg_detach(&s);
}

/* Two mappings of one segment: at different addresses, with the same things at the same offsets. */
TEST(an_attached_process_finds_everything) {
  wr_seg a, b;
  create(&a);
  CHECK_EQ(wr_seg_attach(&b, dup(a.fd)), WR_OK);
  CHECK(a.base != b.base);
  CHECK_EQ(b.heap_chunks, a.heap_chunks);
  CHECK_EQ(b.store_chunks, a.heap_chunks);
  wr_store(&a.procs[7].state, 1);
  wr_store(&a.actors[8].state, 2);
  wr_store32(&a.pools[9].state, 3);
  wr_store32(&a.shapes[10].state, 4);
  wr_store(&a.resources[11].avail, 5);
  wr_store(&a.rec_table[12], 6);
  wr_store32(&a.rec_freed[13], 7);
  wr_store(&a.heap_table[14], 8);
  wr_store32(&a.heap_freed[15], 9);
  wr_store(&wr_obj(&a, 5000)->state, 10);
  a.heap[16] = 11;
  CHECK_EQ(wr_load(&b.procs[7].state), 1);
  CHECK_EQ(wr_load(&b.actors[8].state), 2);
  CHECK_EQ(wr_load32(&b.pools[9].state), 3);
  CHECK_EQ(wr_load32(&b.shapes[10].state), 4);
  CHECK_EQ(wr_load(&b.resources[11].avail), 5);
  CHECK_EQ(wr_load(&b.rec_table[12]), 6);
  CHECK_EQ(wr_load32(&b.rec_freed[13]), 7);
  CHECK_EQ(wr_load(&b.heap_table[14]), 8);
  CHECK_EQ(wr_load32(&b.heap_freed[15]), 9);
  CHECK_EQ(wr_load(&wr_task_at(&b, 5000)->ret.state), 10);
  CHECK_EQ(b.heap[16], 11);
  CHECK_EQ(wr_off(&b, &b.heap[16]), wr_off(&a, &a.heap[16]));
  CHECK(wr_at(&b, wr_off(&a, &a.procs[7])) == (void *)&b.procs[7]);
  wr_seg_detach(&a);
  CHECK_EQ(wr_load(&b.procs[7].state), 1); /* lives as long as somebody maps it */
  wr_seg_detach(&b);
}

TEST(references_of_actors_and_objects_are_found_by_idx) {
  wr_seg s;
  create(&s);
  CHECK(wr_refs(&s, 5 | WR_ACTOR_BIT) == &s.actors[5].refs);
  CHECK(wr_refs(&s, 5) == &wr_obj(&s, 5)->refs);
  CHECK_EQ(wr_rec_chunk(1023), 0);
  CHECK_EQ(wr_rec_chunk(1024), 1);
  wr_seg_detach(&s);
}

/* What the attaching of a segment with one field changed gives. */
static int attach_with(void (*change)(wr_header *h)) {
  wr_seg a, b;
  create(&a);
  change(a.h);
  int fd = dup(a.fd), rc = wr_seg_attach(&b, fd);
  CHECK(rc == WR_OK || (b.base == NULL && b.fd == -1 && descriptor_is_open(fd)));
  if (rc == WR_OK)
    wr_seg_detach(&b);
  else
    close(fd);
  wr_seg_detach(&a);
  return rc;
}

static void nothing(wr_header *h) { (void)h; }
static void other_magic(wr_header *h) { h->magic++; }
static void other_version(wr_header *h) { h->version++; }
static void other_header(wr_header *h) { h->header_size += 64; }
static void other_heap(wr_header *h) { h->heap_chunks++; }
static void other_rings(wr_header *h) { h->rings += 4096; }

TEST(segments_of_another_make_are_refused) {
  CHECK_EQ(attach_with(nothing), WR_OK);
  CHECK_EQ(attach_with(other_magic), WR_PROTO);
  CHECK_EQ(attach_with(other_version), WR_VERSION);
  CHECK_EQ(attach_with(other_header), WR_VERSION);
  CHECK_EQ(attach_with(other_heap), WR_VERSION);
  CHECK_EQ(attach_with(other_rings), WR_VERSION);
}

TEST(what_is_no_segment_is_refused) {
  wr_seg s;
  int small = wr_os_memfd_create("small", 64), zeros = wr_os_memfd_create("zeros", 1 << 20);
  CHECK_EQ(wr_seg_attach(&s, small), WR_PROTO);
  CHECK_EQ(wr_seg_attach(&s, zeros), WR_PROTO);
  CHECK_LT(wr_seg_attach(&s, -1), 0);
  close(small);
  close(zeros);
}

/* ---- waking -------------------------------------------------------------------------------- */

/* Sleeps once as a waiter does; returns when woken. */
static void sleep_once(wr_self *me, void *arg) {
  wr_proc *p = me->p;
  uint32_t seen = wr_load32(&p->events);
  wr_store32(&p->waiting, *(int *)arg ? 1 : 0);
  wr_store32(&p->park, 1);
  wr_fence();
  while (wr_load32(&p->events) == seen) wr_os_futex_wait(&p->park, 1, -1);
}

static int parked(void *arg) { return wr_load32(arg) == 1; }

static int sleeper(engine *e, uint32_t slot, int waiting) {
  int pid = engine_peer(e, slot, sleep_once, &waiting);
  check_until(parked, (void *)&e->s.procs[slot].park);
  return pid;
}

TEST(one_process_is_woken) {
  engine e;
  engine_open(&e, 1 << 20);
  int a = sleeper(&e, 2, 0), b = sleeper(&e, 3, 0);
  wr_wake(&e.s, 2);
  check_join(a);
  CHECK(wr_load32(&e.s.procs[2].park) == 0 && wr_load32(&e.s.procs[2].events) == 1);
  CHECK(wr_load32(&e.s.procs[3].park) == 1 && wr_load32(&e.s.procs[3].events) == 0);
  wr_wake(&e.s, 3);
  check_join(b);
  wr_wake(&e.s, 0); /* nobody */
  wr_wake(&e.s, WR_MAX_PROCS);
  CHECK_EQ(wr_load32(&e.s.procs[0].events), 0);
  engine_close(&e);
}

TEST(those_that_wait_for_objects_are_woken) {
  engine e;
  engine_open(&e, 1 << 20);
  int a = sleeper(&e, 2, 1), b = sleeper(&e, 3, 0), c = sleeper(&e, 4, 1);
  wr_wake_waiting(&e.s);
  check_join(a);
  check_join(c);
  CHECK_EQ(wr_load32(&e.s.procs[3].events), 0);
  wr_wake_all(&e.s);
  check_join(b);
  engine_close(&e);
}

TEST(the_end_of_the_session_wakes_everybody) {
  engine e;
  engine_open(&e, 1 << 20);
  int a = sleeper(&e, 2, 1), b = sleeper(&e, 3, 0);
  CHECK_EQ(wr_load32(&e.s.h->ended), 0);
  wr_seg_end(&e.s, "over");
  CHECK_EQ(wr_load32(&e.s.h->ended), 1);
  check_join(a);
  check_join(b);
  engine_close(&e);
}
