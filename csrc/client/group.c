#include <stdlib.h>

#include "client/internal.h"
#include "sched/group.h"
#include "sched/queue.h"
#include "wire/messages.h"
#include "wire/pack.h"

int wr_group_create(wr_client *c, const wr_group_spec *spec, wr_id *out) {
  if (wr_over(c)) return WR_CLOSED;
  wr_lock(c);
  int rc = wr_groups_create(&c->self, spec, &out->idx, &out->gen);
  wr_unlock(c);
  return rc;
}

static int ask_daemon(wr_client *c, wr_id group) {
  wr_buf body = {0};
  uint8_t *reply = NULL;
  size_t len;
  wr_out_array(&body, 2);
  wr_out_uint(&body, group.idx);
  wr_out_uint(&body, group.gen);
  int rc = body.failed ? WR_NOMEM : WR_OK;
  if (rc == WR_OK) rc = wr_rpc_call(c, WR_MSG_GROUP_REMOVE, body.data, body.len, &reply, &len);
  wr_buf_free(&body);
  free(reply);
  return rc;
}

int wr_group_remove(wr_client *c, wr_id group) {
  wr_lock(c);
  int rc = wr_groups_remove(&c->self, group.idx, group.gen);
  wr_unlock(c);
  return rc == WR_AGAIN ? ask_daemon(c, group) : rc;
}

typedef struct {
  wr_client *c;
  wr_id id;
  uint32_t phase;
} group_wait;

static int look(void *arg) {
  group_wait *w = arg;
  w->phase = wr_groups_watch(&w->c->seg, w->id.idx, w->id.gen);
  return w->phase == WR_GROUP_CREATED || w->phase == WR_GROUP_REMOVED;
}

static int sign(void *arg) { return wr_client_ended(((group_wait *)arg)->c) || look(arg); }

int wr_group_wait(wr_client *c, wr_id group, int64_t deadline_ns) {
  group_wait w = {c, group, 0};
  wr_waiter how = {look, sign, &w};
  int rc = look(&w) ? WR_OK : wr_wait_until(c, &how, deadline_ns);
  return rc == WR_OK ? (int)w.phase : rc;
}

int wr_group_ready(wr_client *c, wr_id group, wr_id obj, wr_id *other) {
  uint64_t there = 0;
  wr_lock(c);
  int rc = wr_groups_set_ready(&c->self, group.idx, group.gen, obj.idx, &there);
  if (rc == WR_STATE) {
    *other = (wr_id){(wr_idx)there, (uint32_t)(there >> 32)};
    if (wr_hold_take(&c->self, other->idx, other->gen, &other->gen) != WR_OK) rc = WR_STALE;
  }
  wr_unlock(c);
  return rc;
}
