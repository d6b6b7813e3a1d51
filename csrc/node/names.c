#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "sched/group.h"
#include "wire/limits.h"

typedef struct {
  uint32_t actor, gen;
} holder;

static holder holder_of(const node_entry *e) {
  holder h;
  memcpy(&h, e->value.p, sizeof h);
  return h;
}

/* An actor to which no handle is left can not be had by its name: the name is free. */
static int is_alive(const node *n, holder h) {
  if (h.actor & WR_GROUP_BIT) return wr_group_lives(&n->seg, h.actor & ~WR_GROUP_BIT, h.gen);
  if (h.actor >= WR_MAX_ACTORS) return 0;
  const wr_actor *a = &n->seg.actors[h.actor];
  uint64_t st = wr_load(&a->state);
  uint32_t phase = WR_ACTOR_PHASE(st);
  return WR_ACTOR_GEN(st) == h.gen && phase != WR_ACTOR_FREE && phase != WR_ACTOR_DEAD &&
         !wr_ref_unwanted(wr_load(&a->refs));
}

static int read_key(wr_cursor *c, wr_buf *key) {
  wr_bytes ns, name;
  if (wr_in_bytes(c, &ns) != WR_OK || wr_in_bytes(c, &name) != WR_OK) return WR_PROTO;
  if (ns.len > WR_MAX_NAME || name.len > WR_MAX_NAME || name.len == 0) return WR_INVAL;
  return node_key_make(key, ns, name);
}

/* The living holder of a name; one that died is forgotten. */
static node_entry *living(node *n, wr_bytes key) {
  node_entry *e = node_table_find(&n->names, key);
  if (!e || is_alive(n, holder_of(e))) return e;
  node_table_drop(&n->names, key);
  return NULL;
}

static void finish(node_proc *p, uint32_t id, int rc, wr_buf *out, wr_buf *key) {
  node_conn_answer(p->conn, id, rc, out);
  wr_buf_free(key);
}

void node_name_claim(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, out = {0};
  holder h = {0, 0};
  int rc = read_key(c, &key);
  if (rc == WR_OK && (wr_in_u32(c, &h.actor) != WR_OK || wr_in_u32(c, &h.gen) != WR_OK))
    rc = WR_PROTO;
  h.actor &= ~WR_ACTOR_BIT;
  if (h.actor & WR_GROUP_BIT) (void)wr_groups_know(&n->seg, h.actor & ~WR_GROUP_BIT, h.gen);
  if (rc == WR_OK && !is_alive(n, h)) rc = WR_INVAL;
  if (rc == WR_OK) {
    node_entry *e = living(n, node_key_view(&key));
    wr_out_array(&out, e ? 3 : 1);
    wr_out_uint(&out, e != NULL);
    if (e) {
      wr_out_uint(&out, holder_of(e).actor);
      wr_out_uint(&out, holder_of(e).gen);
    } else {
      const wr_bytes value = {(const uint8_t *)&h, sizeof h};
      rc = node_table_put(&n->names, node_key_view(&key), value);
    }
  }
  finish(p, id, rc, &out, &key);
}

void node_name_get(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, out = {0};
  int rc = read_key(c, &key);
  node_entry *e = rc == WR_OK ? living(n, node_key_view(&key)) : NULL;
  wr_out_array(&out, e ? 2 : 0);
  if (e) {
    wr_out_uint(&out, holder_of(e).actor);
    wr_out_uint(&out, holder_of(e).gen);
  }
  finish(p, id, rc, &out, &key);
}

void node_name_drop(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, out = {0};
  int rc = read_key(c, &key);
  wr_out_array(&out, 1);
  wr_out_bool(&out, rc == WR_OK && node_table_drop(&n->names, node_key_view(&key)));
  finish(p, id, rc, &out, &key);
}

typedef struct {
  const node *n;
  wr_buf *out;
  wr_bytes ns;
  int all;
  uint32_t count;
} listing;

static int list_one(node_entry *e, void *arg) {
  listing *l = arg;
  wr_bytes ns, name;
  holder h = holder_of(e);
  if (!is_alive(l->n, h)) return 1;
  if (h.actor & WR_GROUP_BIT) return 0; /* listed elsewhere */
  node_key_split(e->key, &ns, &name);
  if (!l->all && (ns.len != l->ns.len || (ns.len && memcmp(ns.p, l->ns.p, ns.len) != 0))) return 0;
  l->count++;
  if (!l->out) return 0;
  wr_out_array(l->out, 4);
  wr_out_str(l->out, (const char *)ns.p, ns.len);
  wr_out_str(l->out, (const char *)name.p, name.len);
  wr_out_uint(l->out, h.actor);
  wr_out_uint(l->out, h.gen);
  return 0;
}

void node_name_list(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, items = {0}, out = {0};
  listing l = {.n = n, .out = &items, .all = wr_in_is_nil(c)};
  int rc = l.all ? WR_OK : wr_in_bytes(c, &l.ns);
  if (rc == WR_OK) node_table_each(&n->names, list_one, &l);
  wr_out_array(&out, l.count);
  wr_buf_append(&out, items.data, items.len);
  if (items.failed) rc = WR_NOMEM;
  wr_buf_free(&items);
  finish(p, id, rc, &out, &key);
}

static int is_held_by(node_entry *e, void *arg) {
  const holder *h = arg, have = holder_of(e);
  return have.actor == h->actor && have.gen == h->gen;
}

void node_names_forget(node *n, uint32_t actor, uint32_t gen) {
  holder h = {actor & ~WR_ACTOR_BIT, gen};
  node_table_each(&n->names, is_held_by, &h);
}
