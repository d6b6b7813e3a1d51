#include <string.h>

#include "base/status.h"
#include "node/node.h"
#include "wire/limits.h"

#define KV_LIMIT ((size_t)1 << 30) /* bytes of all keys and values */

static int read_key(wr_cursor *c, wr_buf *key) {
  wr_bytes ns, k;
  if (wr_in_bytes(c, &ns) != WR_OK || wr_in_bytes(c, &k) != WR_OK) return WR_PROTO;
  if (ns.len > WR_MAX_NAME || k.len > WR_MAX_KEY) return WR_INVAL;
  return node_key_make(key, ns, k);
}

static void finish(node_proc *p, uint32_t id, int rc, wr_buf *out, wr_buf *key) {
  node_conn_answer(p->conn, id, rc, out);
  wr_buf_free(key);
}

void node_kv_put(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, out = {0};
  wr_bytes value;
  int overwrite, rc = read_key(c, &key);
  if (rc == WR_OK && (wr_in_bytes(c, &value) != WR_OK || wr_in_bool(c, &overwrite) != WR_OK))
    rc = WR_PROTO;
  if (rc == WR_OK && n->kv.bytes + value.len > KV_LIMIT) rc = WR_FULL;
  if (rc == WR_OK) {
    int existed = node_table_find(&n->kv, node_key_view(&key)) != NULL;
    if (!existed || overwrite) rc = node_table_put(&n->kv, node_key_view(&key), value);
    wr_out_array(&out, 1);
    wr_out_bool(&out, existed);
  }
  finish(p, id, rc, &out, &key);
}

void node_kv_get(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, out = {0};
  int rc = read_key(c, &key);
  node_entry *e = rc == WR_OK ? node_table_find(&n->kv, node_key_view(&key)) : NULL;
  wr_out_array(&out, e ? 1 : 0);
  if (e) wr_out_bin(&out, e->value.p, e->value.len);
  finish(p, id, rc, &out, &key);
}

typedef struct {
  wr_bytes prefix;
  size_t skip; /* bytes of the namespace in front of the key */
  wr_buf *out; /* NULL: drop what matches */
  uint32_t count;
} search;

static int match(node_entry *e, void *arg) {
  search *s = arg;
  if (e->key.len < s->prefix.len || memcmp(e->key.p, s->prefix.p, s->prefix.len) != 0) return 0;
  s->count++;
  if (!s->out) return 1;
  wr_out_bin(s->out, e->key.p + s->skip, e->key.len - s->skip);
  return 0;
}

void node_kv_del(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, out = {0};
  int by_prefix = 0, rc = read_key(c, &key);
  uint32_t dropped = 0;
  if (rc == WR_OK && wr_in_bool(c, &by_prefix) != WR_OK) rc = WR_PROTO;
  if (rc == WR_OK && by_prefix) {
    search s = {.prefix = node_key_view(&key)};
    node_table_each(&n->kv, match, &s);
    dropped = s.count;
  } else if (rc == WR_OK) {
    dropped = (uint32_t)node_table_drop(&n->kv, node_key_view(&key));
  }
  wr_out_array(&out, 1);
  wr_out_uint(&out, dropped);
  finish(p, id, rc, &out, &key);
}

void node_kv_keys(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  wr_buf key = {0}, items = {0}, out = {0};
  wr_bytes ns, name;
  search s = {.out = &items};
  int rc = read_key(c, &key);
  if (rc == WR_OK) {
    s.prefix = node_key_view(&key);
    node_key_split(s.prefix, &ns, &name);
    s.skip = s.prefix.len - name.len;
    node_table_each(&n->kv, match, &s);
  }
  wr_out_array(&out, s.count);
  wr_buf_append(&out, items.data, items.len);
  if (items.failed) rc = WR_NOMEM;
  wr_buf_free(&items);
  finish(p, id, rc, &out, &key);
}
