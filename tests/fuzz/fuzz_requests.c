/* Requests of a hostile client, well formed or not, between which it writes over the segment; then
 * it dies.  The daemon answers, refuses, or cuts it off. */
#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "scribble.h"
#include "store/refs.h"
#include "wire/messages.h"

enum { FIRST_SLOT = 20, MAX_STEPS = 40 };

static node_conn conns[3];
static const char *const texts[] = {"", "a", "CPU", "gpu", "memory", "name", "ns", "A=B"};

static void one_value(wr_buf *b, fuzz_input *in, int depth) {
  uint8_t kind = fuzz_u8(in) % 10, n;
  const char *text = texts[fuzz_u8(in) % (sizeof texts / sizeof texts[0])];
  switch (kind) {
    case 0: wr_out_uint(b, fuzz_u64(in)); break;
    case 1: wr_out_bool(b, fuzz_u8(in) & 1); break;
    case 2: wr_out_double(b, (double)(int8_t)fuzz_u8(in) / 4); break;
    case 3: wr_out_text(b, text); break;
    case 4: wr_out_bin(b, text, strlen(text)); break;
    case 5:
    case 6:
      n = fuzz_u8(in) % 4;
      if (depth > 2) n = 0;
      kind == 5 ? wr_out_map(b, n) : wr_out_array(b, n);
      for (uint8_t i = 0; i < n; i++) {
        if (kind == 5) wr_out_text(b, texts[fuzz_u8(in) % 8]);
        one_value(b, in, depth + 1);
      }
      break;
    case 7: wr_out_nil(b); break;
    default: wr_out_uint(b, fuzz_u8(in)); break;
  }
}

static void make_body(wr_buf *b, fuzz_input *in) {
  uint8_t how = fuzz_u8(in), n = how % 8;
  if (how & 0x80) {
    while (n-- && fuzz_more(in)) {
      uint64_t raw = fuzz_u64(in);
      wr_buf_append(b, &raw, sizeof raw);
    }
    return;
  }
  wr_out_array(b, n);
  while (n--) one_value(b, in, 0);
}

/* No worker is started: not soon, and there is no program for it. */
static void hold_pools(node *n) {
  for (uint32_t i = 0; i < WR_MAX_POOLS; i++)
    if (n->pools[i]) n->pools[i]->not_before_ns = UINT64_MAX;
}

static node_proc *add_proc(node *n, uint32_t role, node_job *job, node_pool *pool) {
  node_proc *p;
  if (node_proc_new(n, role, job, pool, &p) != WR_OK) __builtin_trap();
  p->conn = &conns[p->slot - FIRST_SLOT];
  *p->conn = (node_conn){.owner = p, .closed = 1}; /* it sends nothing */
  return p;
}

/* As if a value on disk could not be read. */
static void lose(node *n, uint32_t which) {
  wr_idx i = 1024u + which;
  node_remake(n, i, wr_gen_of(&n->seg, i));
}

static void request(node *n, uint32_t slot, fuzz_input *in) {
  node_proc *p = n->procs[slot];
  wr_buf body = {0};
  wr_head h = {.type = 3 + fuzz_u8(in) % 24u, .id = fuzz_u8(in)};
  make_body(&body, in);
  h.len = (uint32_t)body.len;
  if (p && p->conn) node_on_message(p->conn, &h, body.data);
  wr_buf_free(&body);
  hold_pools(n);
}

static void on_actor(void *ctx, uint32_t actor, uint32_t gen, int restarting) {
  if (!restarting) node_names_forget(ctx, actor, gen);
}

static void open_node(node *n, uv_loop_t *loop, int owner) {
  node_config cfg = {.num_cpus = 2};
  wr_buf env = {0};
  int rc;
  *n = (node){.loop = loop, .seg = *scribble_session(), .lock_fd = -1, .listener = -1,
              .next_slot = FIRST_SLOT, .num_cpus = 2, .keep_workers = 2};
  if (wr_sweeper_init(&n->sweeper, &n->seg, NODE_SLOT, on_actor, n) != WR_OK) __builtin_trap();
  uv_timer_init(loop, &n->patience);
  node_procs_init(n);
  node_pools_init(n);
  node_groups_init(n);
  if (node_remake_init(n) != WR_OK) __builtin_trap();
  wr_buf_append(&cfg.python, "/nowhere/python", 16);
  node_job *job = node_job_new(n, &cfg);
  job->driver = add_proc(n, WR_ROLE_DRIVER, job, NULL);
  job->slot = job->driver->slot;
  job->owner = owner;
  job->pool = node_pool_get(job, &env, &rc);
  hold_pools(n);
  (void)add_proc(n, WR_ROLE_WORKER, job, job->pool);
  (void)add_proc(n, WR_ROLE_WORKER, job, job->pool);
}

static void close_handle(uv_handle_t *h, void *arg) {
  (void)arg;
  if (!uv_is_closing(h)) uv_close(h, NULL);
}

static void close_node(node *n) {
  for (uint32_t i = 0; i < WR_MAX_PROCS; i++)
    wr_free(n->procs[i]);
  while (n->jobs) node_job_drop(n->jobs);
  node_table_free(&n->names);
  node_table_free(&n->kv);
  node_remake_close(n);
  wr_sweeper_close(&n->sweeper);
  uv_walk(n->loop, close_handle, NULL);
  while (uv_run(n->loop, UV_RUN_DEFAULT)) continue; /* also when it was stopped */
  if (uv_loop_close(n->loop) != 0) __builtin_trap();
}

static void die(node *n, uint32_t slot, int status) {
  node_proc *p = n->procs[slot];
  if (!p) return;
  p->conn = NULL;
  node_proc_died(p, status);
  hold_pools(n);
  for (int i = 0; i < 4; i++) uv_run(n->loop, UV_RUN_NOWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static node n;
  uv_loop_t loop;
  fuzz_input in = {data, data + size};
  uint8_t mode = fuzz_u8(&in);
  uv_loop_init(&loop);
  open_node(&n, &loop, mode & 1);
  for (int i = 0; i < MAX_STEPS && fuzz_more(&in) && !n.ending; i++) {
    uint8_t what = fuzz_u8(&in);
    uint32_t slot = FIRST_SLOT + what / 8 % 3;
    if (what % 8 < 2)
      scribble(&n.seg, &in);
    else if (what % 8 == 2 && slot != FIRST_SLOT)
      die(&n, slot, what);
    else if (what % 8 == 3)
      lose(&n, (uint32_t)fuzz_u8(&in) << 8 | fuzz_u8(&in));
    else
      request(&n, slot, &in);
  }
  if (!n.ending && (mode & 2)) die(&n, FIRST_SLOT, 9);
  close_node(&n);
  scribble_restore();
  return 0;
}
