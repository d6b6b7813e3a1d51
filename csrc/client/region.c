/* Regions: memory of the store in which arrays lie that will be put without a copy.
 *
 * A region is a loose run of this process whose pages are mapped a second time, for the array
 * alone.  When it is put, the array's mapping becomes a private one of the same pages, copy on
 * write, and the run becomes the value: its owner goes on writing, and nobody sees it, neither
 * other processes nor readers in this one, who have the mapping of the segment.
 *
 * What the array has not written since then it still reads from the run.  So the process holds a
 * view of the object while the array lives: the memory is neither freed nor used for anything else.
 *
 *   before the elements   list of what the value refers to, head of the value, its smaller parts
 *   the elements          at a page border; alone mapped a second time
 *   behind them           parts of the value that come later
 *
 * Regions outlive the client, in arrays that live on.  Before a session is left, and before a fork,
 * they get pages of their own.
 *
 * Lock order: the lock of the regions, then that of a client. */
#include <string.h>

#include "base/assert.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "client/internal.h"
#include "os/os.h"
#include "store/heap.h"
#include "store/objects.h"
#include "store/refs.h"

#define SHARE 2 /* of the store, for the regions of one process that are not put: one part in 2 */
#define ROOM 4  /* and one part in 4 of the store is left to values, by whatever is in use */
#define BESIDE 128 /* room before and behind the elements: one part in 128 of them each, and more */

/* Invariants: the pages of an OPEN region are shared, and its run is loose; those of all others are
 * private.  A PUT region's id has its run, and this process has a view of it.  An APART region's
 * run is still loose.  An OWN region has nothing in any session: its client is NULL. */
enum state { OPEN, PUTTING, PUT, APART, OWN };

typedef struct {
  uint8_t *data;
  size_t size;      /* as asked for; the mapping is whole pages */
  uint64_t run, at; /* offsets of the run and of the elements */
  uint64_t whole;   /* bytes of the run that count */
  wr_client *c;
  wr_id id;
  enum state state;
} region;

static struct {
  wr_mutex lock;
  region *v;
  uint32_t n, cap;
  wr_map32 places; /* of each in v, by its address */
} all;

static uint64_t pages(uint64_t len) {
  uint64_t page = wr_os_page();
  return (len + page - 1) / page * page;
}

/* Regions are no smaller than a chunk, so each has a number of its own. */
static uint32_t key_of(const void *p) { return (uint32_t)((uintptr_t)p / WR_CHUNK) + 1; }

static region *find(const void *p) {
  const uint32_t *place = wr_map32_get(&all.places, key_of(p));
  return place && all.v[*place].data == p ? &all.v[*place] : NULL;
}

static int enlist(const region *r) {
  uint32_t key = key_of(r->data);
  region *v = wr_vec_room(all.v, all.n, &all.cap, sizeof *v);
  if (!v) return WR_NOMEM;
  all.v = v;
  if (!key || wr_map32_get(&all.places, key)) return WR_LIMIT;
  int rc = wr_map32_put(&all.places, key, all.n);
  if (rc == WR_OK) all.v[all.n++] = *r;
  return rc;
}

static void delist(region *r) {
  wr_map32_del(&all.places, key_of(r->data));
  const region *last = &all.v[--all.n];
  if (r == last) return;
  *r = *last;
  (void)wr_map32_put(&all.places, key_of(r->data), (uint32_t)(r - all.v)); /* is there: no growth */
}

/* ---- making ---------------------------------------------------------------------------------- */

static int take_run(wr_client *c, region *r) {
  uint64_t store = c->seg.store_chunks * WR_CHUNK, beside = pages(r->size / BESIDE);
  if (r->size < WR_CHUNK || r->size > store / SHARE || wr_over(c)) return WR_FULL;
  r->whole = WR_LOOSE_HEAD + beside + pages(r->size) + beside;
  wr_lock(c);
  int rc = c->region_bytes + r->whole > store / SHARE ||
                   wr_loose_crowded(c, r->whole, c->seg.store_chunks - c->seg.store_chunks / ROOM)
               ? WR_FULL
               : wr_heap_loose(&c->self, r->whole, &r->run);
  if (rc == WR_OK) c->region_bytes += r->whole;
  wr_unlock(c);
  r->at = r->run + WR_LOOSE_HEAD + beside;
  return rc;
}

static void drop_run(region *r) {
  wr_lock(r->c);
  wr_heap_drop(&r->c->self, r->run);
  r->c->region_bytes -= r->whole;
  wr_unlock(r->c);
}

/* Pages that are there are mapped at once.  Those that are not are zero, and made as large ones:
 * that takes less time than a fault for each small one, and nearly none when it is put. */
void wr_region_prepare(wr_client *c, void *p, int zeroed) {
  wr_mutex_lock(&all.lock);
  const region *found = find(p);
  uint64_t at = found ? found->at : 0, end = found ? at + found->size : 0;
  wr_mutex_unlock(&all.lock);
  uint8_t *here = p;
  for (uint64_t used, next; at < end; at = next) {
    if (wr_os_next_data(c->seg.fd, at, &used) != WR_OK || used > end) used = end;
    if (wr_os_next_hole(c->seg.fd, used, &next) != WR_OK || next > end) next = end;
    wr_os_make_large(here, used - at);
    here += used - at;
    if (next > used) wr_os_map_used(here, next - used);
    if (zeroed) memset(here, 0, next - used);
    here += next - used;
  }
}

void *wr_region_alloc(wr_client *c, size_t size) {
  region r = {.size = size, .c = c};
  void *data = NULL;
  if (take_run(c, &r) != WR_OK) return NULL;
  WR_FAILPOINT("region.made");
  int rc = wr_os_map_large(c->seg.fd, r.at, pages(size), &data);
  r.data = data;
  wr_mutex_lock(&all.lock);
  if (rc == WR_OK) rc = enlist(&r);
  wr_mutex_unlock(&all.lock);
  if (rc == WR_OK) return data;
  wr_os_unmap(data, pages(size));
  drop_run(&r);
  return NULL;
}

size_t wr_region_size(const void *p) {
  if ((uintptr_t)p % wr_os_page()) return 0;
  wr_mutex_lock(&all.lock);
  const region *r = find(p);
  size_t size = r ? r->size : 0;
  wr_mutex_unlock(&all.lock);
  return size;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void let_go(region *r) {
  if (r->state == PUT) {
    wr_lock(r->c);
    wr_view_drop(&r->c->self, r->id.idx);
    wr_unlock(r->c);
  } else {
    drop_run(r);
  }
}

void wr_region_free(void *p) {
  wr_mutex_lock(&all.lock);
  region *r = find(p), gone;
  if (r) {
    gone = *r;
    delist(r);
    wr_os_unmap(p, pages(gone.size));
    if (gone.c) let_go(&gone);
  }
  wr_mutex_unlock(&all.lock);
}

/* `still`: nobody writes to the session's memory from now on, so its pages need not be copied. */
static int part(region *r, int still) {
  int rc = WR_OK;
  if (r->state == OPEN || r->state == PUTTING) {
    rc = wr_os_map_snapshot(r->c->seg.fd, r->at, pages(r->size), r->data);
    if (rc == WR_OK) r->state = APART;
  }
  if (rc == WR_OK && !still) rc = wr_os_own_pages(r->data, pages(r->size));
  if (rc != WR_OK) return rc;
  if (!still) let_go(r);
  r->c = NULL;
  r->state = OWN;
  return rc;
}

int wr_regions_leave(wr_client *c) {
  int rc = WR_OK, still = c->conn && c->conn->owns_daemon;
  wr_mutex_lock(&all.lock);
  for (uint32_t i = 0; i < all.n && rc == WR_OK; i++)
    if (all.v[i].c == c) rc = part(&all.v[i], still);
  wr_mutex_unlock(&all.lock);
  return rc;
}

void wr_regions_before_fork(void) {
  wr_mutex_lock(&all.lock);
  for (uint32_t i = 0; i < all.n; i++)
    if (all.v[i].c) (void)part(&all.v[i], 0);
  wr_mutex_unlock(&all.lock);
}

void wr_regions_in_child(void) {
  all.lock = (wr_mutex){0}; /* of a thread that is not here */
  for (uint32_t i = 0; i < all.n; i++) all.v[i].c = NULL;
}

void wr_regions_forget(const wr_client *c) {
  wr_mutex_lock(&all.lock);
  for (uint32_t i = 0; i < all.n; i++)
    if (all.v[i].c == c) all.v[i].c = NULL;
  wr_mutex_unlock(&all.lock);
}

void wr_regions_count(uint32_t *open, uint32_t *put) {
  *open = *put = 0;
  wr_mutex_lock(&all.lock);
  for (uint32_t i = 0; i < all.n; i++) {
    *open += all.v[i].c && all.v[i].state != PUT;
    *put += all.v[i].c && all.v[i].state == PUT;
  }
  wr_mutex_unlock(&all.lock);
}

/* ---- putting --------------------------------------------------------------------------------- */

/* What lies behind `len` elements must not be the array's. */
static int fits(const region *r, const wr_region_value *v) {
  uint64_t before = r->at - r->run, behind = r->run + r->whole - r->at;
  if (v->head > before || wr_objects_pins_size(v->nrefs) > before - v->head) return 0;
  if (v->head + v->len == v->total) return v->len <= r->size && v->len >= r->size / 2;
  return v->len == r->size && v->total - v->head <= behind;
}

uint8_t *wr_region_begin(wr_client *c, void *p, const wr_region_value *v) {
  uint8_t *dst = NULL;
  wr_mutex_lock(&all.lock);
  region *r = find(p);
  if (r && r->c == c && r->state == OPEN && fits(r, v)) {
    r->state = PUTTING;
    dst = wr_at(&c->seg, r->at - v->head);
  }
  wr_mutex_unlock(&all.lock);
  return dst;
}

static int adopt(wr_client *c, region *r, wr_idx idx, const wr_region_value *v) {
  wr_idx small[64], *list = NULL;
  int rc = wr_ref_list(v->refs, v->nrefs, small, &list);
  if (rc < 0) return rc;
  wr_lock(c);
  rc = wr_objects_adopt(&c->self, idx, r->run, r->at - v->head, v->total, list, v->nrefs);
  if (rc == WR_OK) c->region_bytes -= r->whole;
  wr_unlock(c);
  if (list != small) wr_free(list);
  return rc;
}

/* The view comes first: nothing is undone when it can not be had.  Until the run is given away
 * the value is not there, so a death before leaves a pending object and a loose run. */
static int put(wr_client *c, region *r, wr_id id, const wr_region_value *v) {
  wr_lock(c);
  int rc = wr_view_take(&c->self, id.idx, id.gen);
  wr_unlock(c);
  r->state = OPEN;
  if (rc != WR_OK) return rc;
  WR_FAILPOINT("region.held");
  rc = wr_os_map_snapshot(c->seg.fd, r->at, pages(r->size), r->data);
  if (rc == WR_OK) {
    r->state = APART;
    WR_FAILPOINT("region.private");
    rc = adopt(c, r, id.idx, v);
  }
  if (rc == WR_OK) {
    r->state = PUT;
    r->id = id;
    return rc;
  }
  wr_lock(c);
  wr_view_drop(&c->self, id.idx);
  wr_unlock(c);
  return rc;
}

static region *begun(const wr_client *c, const void *p) {
  region *r = find(p);
  return r && r->c == c && r->state == PUTTING ? r : NULL;
}

int wr_region_put(wr_client *c, void *p, wr_id id, const wr_region_value *v) {
  wr_mutex_lock(&all.lock);
  region *r = begun(c, p);
  int rc = r ? put(c, r, id, v) : WR_STATE;
  wr_mutex_unlock(&all.lock);
  return rc;
}

int wr_region_give(wr_client *c, void *p, wr_idx idx, const wr_region_value *v) {
  wr_mutex_lock(&all.lock);
  region *r = begun(c, p);
  int rc = r ? adopt(c, r, idx, v) : WR_STATE;
  if (r && rc != WR_OK) r->state = OPEN;
  if (rc == WR_OK) {
    wr_os_unmap(p, pages(r->size));
    delist(r);
  }
  wr_mutex_unlock(&all.lock);
  return rc;
}
