#include "base/assert.h"
#include "base/failpoint.h"
#include "base/mem.h"
#include "client/internal.h"
#include "client/spin.h"
#include "os/os.h"
#include "sched/ledger.h"
#include "sched/queue.h"
#include "wire/messages.h"

static void want_workers(void *ctx, uint32_t pool);

static const atomic_int never; /* without a connection, as tests make a client */

int wr_client_new(wr_client **out, const wr_seg *seg, uint32_t slot, uint32_t gen, wr_conn *conn) {
  wr_client *c = wr_alloc(sizeof *c);
  if (!c) return WR_NOMEM;
  c->seg = *seg;
  c->conn = conn;
  c->cut_off = conn ? &conn->ended : &never;
  c->slot = slot;
  c->gen = gen;
  atomic_init(&c->spin_idle, WR_SPIN_MAX_NS);
  atomic_init(&c->spin_wait, WR_SPIN_MAX_NS);
  int rc = wr_self_init(&c->self, &c->seg, slot, gen);
  if (rc < 0) {
    wr_free(c);
    return rc;
  }
  uint64_t st = wr_load(&c->self.p->state);
  c->pool = WR_PROC_POOL(st);
  c->is_worker = WR_PROC_ROLE(st) == WR_ROLE_WORKER;
  c->self.want = want_workers;
  c->self.want_ctx = c;
  *out = c;
  return WR_OK;
}

void wr_client_free(wr_client *c) {
  wr_regions_forget(c);
  wr_self_close(&c->self);
  wr_vec32_free(&c->backlog.v);
  wr_limit_free(c);
  wr_pace_free(c);
  wr_free(c->mapped);
  wr_seg_detach(&c->seg);
  wr_free(c);
}

wr_conn *wr_client_conn(wr_client *c) { return c->conn; }
wr_seg *wr_client_seg(wr_client *c) { return &c->seg; }
uint32_t wr_client_slot(const wr_client *c) { return c->slot; }
int wr_client_actor(const wr_client *c, wr_id *id) {
  uint32_t actor = wr_load32(&c->self.p->actor);
  if (actor) *id = (wr_id){(actor - 1) | WR_ACTOR_BIT, c->actor_gen};
  return actor != 0;
}
int wr_client_ended(const wr_client *c) {
  return c->seg.h == NULL || wr_load32(&c->seg.h->ended) || atomic_load(c->cut_off);
}

/* While the daemon lives, it is only this process that has lost it. */
const char *wr_client_end_reason(const wr_client *c) {
  if (c->seg.h && !wr_load32(&c->seg.h->ended))
    return c->conn && c->conn->why[0] ? c->conn->why : "the connection to whiprayd was lost";
  return wr_seg_end_reason(&c->seg);
}

/* ---- parking -------------------------------------------------------------------------------- */

uint32_t wr_events(const wr_client *c) { return wr_load32(&c->self.p->events); }

int wr_park(wr_client *c, uint32_t seen, int64_t deadline_ns) {
  wr_proc *p = c->self.p;
  int64_t left = -1;
  if (deadline_ns >= 0) {
    left = deadline_ns - (int64_t)wr_os_now_ns();
    if (left <= 0) return WR_TIMEOUT;
  }
  wr_swap32(&p->park, 1); /* a full barrier: pairs with wr_wake */
  if (wr_events(c) != seen || wr_client_ended(c)) return WR_OK;
  WR_FAILPOINT("park.sleep");
  return wr_os_futex_wait(&p->park, 1, left);
}

/* ---- workers -------------------------------------------------------------------------------- */

static void want_workers(void *ctx, uint32_t pool) {
  wr_client *c = ctx;
  uint8_t body[8];
  size_t n = 0;
  body[n++] = 0x91; /* msgpack: array of one uint 16 */
  body[n++] = 0xcd;
  body[n++] = (uint8_t)(pool >> 8);
  body[n++] = (uint8_t)pool;
  (void)wr_rpc_notify(c, WR_MSG_WANT, body, n);
}
