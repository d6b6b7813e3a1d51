#include "base/assert.h"
#include "base/mem.h"
#include "client/internal.h"
#include "os/os.h"
#include "sched/deps.h"
#include "store/exports.h"
#include "store/objects.h"
#include "store/refs.h"

int wr_ref_list(const wr_id *refs, uint32_t n, wr_idx small[64], wr_idx **list) {
  *list = n <= 64 ? small : wr_alloc(n * sizeof **list);
  if (!*list) return WR_NOMEM;
  for (uint32_t i = 0; i < n; i++) (*list)[i] = refs[i].idx;
  return WR_OK;
}

int wr_value_reserve(wr_client *c, wr_idx idx, size_t len, const wr_id *refs, uint32_t nrefs,
                     uint8_t **dst) {
  wr_idx small[64], *list = NULL;
  int rc = wr_ref_list(refs, nrefs, small, &list);
  if (rc < 0) return rc;
  wr_lock(c);
  rc = wr_objects_reserve(&c->self, idx, len, list, nrefs, dst);
  wr_unlock(c);
  if (list != small) wr_free(list);
  return rc;
}

void wr_value_discard(wr_client *c, wr_idx idx) {
  wr_lock(c);
  wr_objects_discard(&c->self, idx);
  wr_unlock(c);
}

void wr_value_mark_failed(wr_client *c, wr_idx idx) {
  wr_obj(&c->seg, idx)->flags |= WR_VAL_FAILED;
}

int wr_object_create(wr_client *c, wr_id *out) {
  if (WR_UNLIKELY(wr_over(c))) return WR_CLOSED;
  wr_lock(c);
  int rc = wr_objects_create(&c->self, WR_REF_CREATOR, &out->idx, &out->gen);
  wr_unlock(c);
  return rc;
}

int wr_object_seal(wr_client *c, wr_idx idx, int is_error, uint16_t flags) {
  wr_lock(c);
  int rc = wr_objects_seal(&c->self, idx, is_error, flags);
  wr_deps_release(&c->self, idx);
  wr_unlock(c);
  return rc;
}

int wr_export_find(wr_client *c, const uint8_t *bytes, size_t len, wr_id *out) {
  wr_idx i = wr_exports_find(&c->seg, bytes, len);
  if (i) *out = (wr_id){i, wr_gen_of(&c->seg, i)};
  return i != 0;
}

int wr_export_seal(wr_client *c, wr_id id, const uint8_t *bytes, size_t len) {
  int rc = wr_object_seal(c, id.idx, 0, WR_VAL_FUNC);
  if (rc == WR_OK) wr_exports_note(&c->seg, id.idx, bytes, len);
  return rc;
}

#define WR_OBJ_VIEWABLE (0xFu | (uint32_t)WR_OBJ_PLACE_MASK)

static int why_not(uint64_t st) {
  if (WR_OBJ_PHASE(st) == WR_OBJ_PENDING) return WR_AGAIN;
  if (WR_OBJ_PHASE(st) != WR_OBJ_READY) return WR_STALE;
  return WR_OBJ_PLACE(st) == WR_IN_LOST ? WR_LOST : WR_AWAY;
}

int wr_value_view(wr_client *c, wr_id id, wr_view *out) {
  const wr_object *o = wr_obj(&c->seg, id.idx);
  uint64_t st = wr_load(&o->state);
  uint32_t phase = (uint32_t)st & WR_OBJ_VIEWABLE; /* READY or ERROR: its value is in memory */
  if (WR_OBJ_GEN(st) != id.gen) return WR_STALE;
  if (phase != WR_OBJ_READY && phase != WR_OBJ_ERROR) return why_not(st);
  out->flags = o->flags;
  out->is_error = phase == WR_OBJ_ERROR;
  out->is_block = (o->flags & WR_VAL_BLOCK) != 0;
  if (!out->is_block) {
    out->data = o->v.bytes;
    out->len = o->len;
    out->refs = NULL;
    out->nrefs = 0;
    return WR_OK;
  }
  out->data = wr_at(&c->seg, o->v.b.off);
  out->len = o->v.b.len;
  out->nrefs = o->v.b.nrefs;
  out->refs = out->nrefs ? ((const wr_pins *)wr_at(&c->seg, o->v.b.block))->idx : NULL;
  atomic_thread_fence(memory_order_acquire); /* it may have gone and been made again meanwhile */
  return WR_LIKELY(wr_load_relaxed(&o->state) == st) ? WR_OK : WR_AWAY;
}

int wr_value_keep(wr_client *c, wr_id id) {
  wr_view v;
  if (c->conn && c->conn->owns_daemon) return WR_OK; /* nobody is left who could write there */
  if (wr_value_view(c, id, &v) != WR_OK || !v.is_block) return WR_OK;
  return wr_os_privatize((void *)(uintptr_t)v.data, v.len);
}
