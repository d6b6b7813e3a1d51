/* Values on disk: asking whiprayd for them, and for room. */
#include "client/internal.h"
#include "store/objects.h"
#include "store/refs.h"
#include "wire/messages.h"
#include "wire/pack.h"

int wr_view_hold(wr_client *c, wr_id id) {
  wr_lock(c);
  int rc = wr_view_take(&c->self, id.idx, id.gen);
  wr_unlock(c);
  return rc;
}

void wr_view_unhold(wr_client *c, wr_id id) {
  wr_lock(c);
  wr_view_drop(&c->self, id.idx);
  wr_unlock(c);
}

static void tell(wr_client *c, uint32_t type, const uint64_t *fields, uint32_t n) {
  wr_buf b = {0};
  wr_out_array(&b, n);
  for (uint32_t i = 0; i < n; i++) wr_out_uint(&b, fields[i]);
  if (!b.failed) (void)wr_rpc_hint(c, type, b.data, b.len);
  wr_buf_free(&b);
}

void wr_room_ask(wr_client *c, uint64_t bytes, uint64_t waited_ns) {
  const uint64_t fields[] = {bytes, waited_ns};
  tell(c, WR_MSG_ROOM, fields, 2);
}

typedef struct {
  wr_client *c;
  wr_id id;
  int remade; /* waits for a task that makes the value again, not for the disk */
} awaited;

static uint32_t place_of(wr_client *c, wr_id id) {
  return WR_OBJ_PLACE(wr_load(&wr_obj(&c->seg, id.idx)->state));
}

int wr_value_remade(wr_client *c, wr_id id) { return place_of(c, id) == WR_IN_REMAKING; }

static int is_back(void *arg) {
  const awaited *w = arg;
  uint64_t st = wr_load(&wr_obj(&w->c->seg, w->id.idx)->state);
  uint32_t place = WR_OBJ_PLACE(st);
  return wr_client_ended(w->c) || WR_OBJ_GEN(st) != w->id.gen || place == WR_IN_MEMORY ||
         place == WR_IN_LOST || (place == WR_IN_REMAKING) != w->remade;
}

static int look(void *arg) {
  const awaited *w = arg;
  return wr_objects_watch_value(&w->c->seg, w->id.idx, w->id.gen, w->c->slot) != 0 || is_back(arg);
}

int wr_value_fetch(wr_client *c, wr_id id, int64_t deadline_ns) {
  awaited a = {c, id, wr_value_remade(c, id)};
  wr_waiter w = {look, is_back, &a};
  const uint64_t fields[] = {id.idx, id.gen};
  tell(c, WR_MSG_FETCH, fields, 2);
  if (a.remade) return wr_wait_until(c, &w, deadline_ns); /* that task may need our CPU */
  /* Tasks that would run meanwhile would want their arguments in memory, too. */
  return wr_wait_busy(c, &w, deadline_ns);
}
