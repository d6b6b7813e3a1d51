/* node/table.h - a hash table from bytes to bytes, for names and the key-value store. */
#ifndef WR_NODE_TABLE_H
#define WR_NODE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "wire/pack.h"
#include "wire/unpack.h"

typedef struct node_entry {
  struct node_entry *next;
  uint64_t hash;
  wr_bytes key, value; /* point behind the entry */
} node_entry;

typedef struct {
  node_entry **buckets;
  size_t n, cap; /* cap: 0 or a power of two */
  uint64_t seed;
  size_t bytes; /* of all keys and values */
} node_table;

node_entry *node_table_find(const node_table *t, wr_bytes key);
int node_table_put(node_table *t, wr_bytes key, wr_bytes value); /* replaces; WR_OK, WR_NOMEM */
int node_table_drop(node_table *t, wr_bytes key);                /* 1: it was there */
/* Calls visit for each entry; when it returns 1 the entry is dropped. */
void node_table_each(node_table *t, int (*visit)(node_entry *e, void *arg), void *arg);
void node_table_free(node_table *t);

/* Keys are names in a namespace: the length of that, the namespace, the name. */
int node_key_make(wr_buf *key, wr_bytes ns, wr_bytes name); /* WR_OK, WR_NOMEM */
void node_key_split(wr_bytes key, wr_bytes *ns, wr_bytes *name);
static inline wr_bytes node_key_view(const wr_buf *key) { return (wr_bytes){key->data, key->len}; }

#endif
