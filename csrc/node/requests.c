#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "wire/messages.h"

static void answer_uint(node_proc *p, uint32_t id, int rc, uint32_t v) {
  wr_buf b = {0};
  wr_out_array(&b, 1);
  wr_out_uint(&b, v);
  node_conn_answer(p->conn, id, rc, &b);
}

static void on_want(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t pool;
  (void)p;
  (void)id;
  if (wr_in_u32(c, &pool) == WR_OK) node_pool_wanted(n, pool);
}

static void on_pool(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf env = {0};
  int eager = 0;
  (void)n;
  int rc = node_env_parse(&env, c);
  node_pool *pool = NULL;
  if (rc == WR_OK)
    pool = node_pool_get(p->job, &env, &rc);
  else
    wr_buf_free(&env);
  answer_uint(p, id, rc, pool ? node_pool_name(pool) : 0);
  if (!pool || wr_in_bool(c, &eager) != WR_OK || !eager) return;
  pool->eager = 1;
  node_pool_fill(pool);
}

/* 0: the pool has gone since it was asked for; no shape has that number. */
static void on_shape(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t name, ticket = 0;
  int rc = wr_in_u32(c, &name);
  node_pool *pool = rc == WR_OK ? node_pool_named(n, name) : NULL;
  if (pool) {
    pool->leaving = 0;
    rc = node_shape_get(n, pool->idx, c, &ticket);
  }
  answer_uint(p, id, rc, ticket);
}

static void on_detach(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  (void)c;
  p->exiting = 1;
  if (p->role == WR_ROLE_WORKER) {
    wr_buf b = {0};
    wr_out_array(&b, 0);
    node_conn_reply(p->conn, id, &b);
    return;
  }
  p->job->detach_id = id;
  if (!n->ending) node_job_end(p->job, "the driver left the session");
}

static void on_exiting(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_bytes reason;
  (void)n;
  (void)id;
  p->exiting = 1;
  if (wr_in_bytes(c, &reason) == WR_OK && reason.len)
    snprintf(p->reason, sizeof p->reason, "%.*s", (int)(reason.len < 100 ? reason.len : 100),
             (const char *)reason.p);
}

static void on_session(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  (void)n;
  (void)c;
  node_send_welcome(p->conn, id, p->job, p);
}

static const struct {
  uint32_t type;
  uint32_t fields; /* at least */
  node_handler *handle;
} handlers[] = {
    {WR_MSG_DETACH, 0, on_detach},          {WR_MSG_WANT, 1, on_want},
    {WR_MSG_ACTOR_UP, 1, node_actor_up},    {WR_MSG_POOL_REG, 1, on_pool},
    {WR_MSG_SHAPE_REG, 2, on_shape},        {WR_MSG_NAME_CLAIM, 4, node_name_claim},
    {WR_MSG_NAME_GET, 2, node_name_get},    {WR_MSG_NAME_LIST, 1, node_name_list},
    {WR_MSG_NAME_DROP, 2, node_name_drop},  {WR_MSG_KILL_ACTOR, 3, node_kill_actor},
    {WR_MSG_INTERRUPT, 5, node_interrupt},  {WR_MSG_KV_PUT, 4, node_kv_put},
    {WR_MSG_KV_GET, 2, node_kv_get},        {WR_MSG_KV_DEL, 3, node_kv_del},
    {WR_MSG_KV_KEYS, 2, node_kv_keys},      {WR_MSG_STATS, 0, node_stats},
    {WR_MSG_EXITING, 1, on_exiting},        {WR_MSG_SESSION, 0, on_session},
    {WR_MSG_RESOURCES, 1, node_resources_find}, {WR_MSG_GROUP_REMOVE, 2, node_group_remove},
    {WR_MSG_ROOM, 2, node_on_room},         {WR_MSG_FETCH, 2, node_on_fetch},
    {WR_MSG_REMADE, 0, node_on_remade},
};

/* The whole body is checked before a handler sees any of it. */
static int open_body(wr_cursor *c, uint32_t fields) {
  wr_cursor all = *c;
  uint32_t n;
  if (wr_in_skip(&all) != WR_OK || wr_in_array(c, &n) != WR_OK) return WR_PROTO;
  return n >= fields ? WR_OK : WR_PROTO;
}

static void dispatch(node_proc *p, const wr_head *h, const uint8_t *body) {
  wr_cursor c = wr_cursor_of(body, h->len);
  p->n->requests++;
  for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
    if (handlers[i].type != h->type) continue;
    if (open_body(&c, handlers[i].fields) == WR_OK)
      handlers[i].handle(p->n, p, h->id, &c);
    else
      node_conn_error(p->conn, h->id, WR_PROTO, wr_status_text(WR_PROTO));
    return;
  }
  node_conn_error(p->conn, h->id, WR_PROTO, "unknown request");
}

void node_on_message(node_conn *c, const wr_head *h, const uint8_t *body) {
  node_proc *p = c->owner;
  if (!p->dead) dispatch(p, h, body);
}
