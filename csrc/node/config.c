#include "node/config.h"

#include <string.h>

#include "base/status.h"
#include "wire/limits.h"

const char *node_text(const wr_buf *b) { return b->len ? (const char *)b->data : ""; }

static int has_nul(wr_bytes s) { return s.len && memchr(s.p, 0, s.len) != NULL; }

static int append_text(wr_buf *out, wr_bytes s) {
  if (has_nul(s)) return WR_PROTO;
  if (wr_buf_append(out, s.p, s.len) != WR_OK || wr_buf_append(out, "", 1) != WR_OK)
    return WR_NOMEM;
  return WR_OK;
}

static int parse_text(wr_buf *out, wr_cursor *c) {
  wr_bytes s;
  if (wr_in_is_nil(c)) return wr_in_skip(c);
  if (wr_in_bytes(c, &s) != WR_OK) return WR_PROTO;
  out->len = 0;
  return append_text(out, s);
}

static int parse_list(wr_buf *out, wr_cursor *c) {
  uint32_t n;
  wr_bytes s;
  if (wr_in_array(c, &n) != WR_OK || n > WR_MAX_LIST) return WR_PROTO;
  for (uint32_t i = 0; i < n; i++) {
    if (wr_in_bytes(c, &s) != WR_OK) return WR_PROTO;
    int rc = append_text(out, s);
    if (rc != WR_OK) return rc;
  }
  return WR_OK;
}

int node_env_parse(wr_buf *out, wr_cursor *c) {
  uint32_t n;
  wr_bytes name, value;
  if (wr_in_map(c, &n) != WR_OK || n > WR_MAX_ENV) return WR_PROTO;
  for (uint32_t i = 0; i < n; i++) {
    if (wr_in_bytes(c, &name) != WR_OK || wr_in_bytes(c, &value) != WR_OK) return WR_PROTO;
    if (name.len == 0 || memchr(name.p, '=', name.len) || has_nul(name) || has_nul(value))
      return WR_PROTO;
    if (wr_buf_append(out, name.p, name.len) != WR_OK || wr_buf_append(out, "=", 1) != WR_OK)
      return WR_NOMEM;
    int rc = append_text(out, value);
    if (rc != WR_OK) return rc;
  }
  return WR_OK;
}

static int parse_resources(node_config *cfg, wr_cursor *c) {
  uint32_t n;
  wr_bytes name;
  if (wr_in_map(c, &n) != WR_OK || n > WR_MAX_RESOURCES / 2) return WR_PROTO;
  for (uint32_t i = 0; i < n; i++) {
    node_quantity *q = &cfg->resources[cfg->nresources];
    if (wr_in_bytes(c, &name) != WR_OK || wr_in_double(c, &q->amount) != WR_OK) return WR_PROTO;
    if (name.len == 0 || name.len >= sizeof q->name || has_nul(name)) return WR_PROTO;
    if (!(q->amount >= 0)) return WR_PROTO; /* also refuses NaN */
    memcpy(q->name, name.p, name.len);
    q->name[name.len] = 0;
    cfg->nresources++;
  }
  return WR_OK;
}

static int parse_namespace(node_config *cfg, wr_cursor *c) {
  wr_bytes s;
  if (wr_in_is_nil(c)) return wr_in_skip(c);
  if (wr_in_bytes(c, &s) != WR_OK || s.len >= sizeof cfg->ns || has_nul(s)) return WR_PROTO;
  memcpy(cfg->ns, s.p, s.len);
  cfg->ns[s.len] = 0;
  return WR_OK;
}

static int parse_cpus(node_config *cfg, wr_cursor *c) {
  if (wr_in_double(c, &cfg->num_cpus) != WR_OK) return WR_PROTO;
  return cfg->num_cpus >= 0 && cfg->num_cpus <= 100000 ? WR_OK : WR_PROTO;
}

static int parse_spill(node_config *cfg, wr_cursor *c) {
  int on;
  if (wr_in_bool(c, &on) != WR_OK) return WR_PROTO;
  cfg->no_spill = !on;
  return WR_OK;
}

static int is_key(wr_bytes key, const char *name) {
  return key.len == strlen(name) && memcmp(key.p, name, key.len) == 0;
}

static int parse_item(node_config *cfg, wr_bytes key, wr_cursor *c, const char **name) {
#define KEY(text, call) \
  if (is_key(key, *name = text)) return call
  KEY("num_cpus", parse_cpus(cfg, c));
  KEY("resources", parse_resources(cfg, c));
  KEY("object_store_memory", wr_in_uint(c, &cfg->store_bytes));
  KEY("python", parse_text(&cfg->python, c));
  KEY("sys_path", parse_list(&cfg->sys_path, c));
  KEY("cwd", parse_text(&cfg->cwd, c));
  KEY("env", node_env_parse(&cfg->env, c));
  KEY("preload", parse_list(&cfg->preload, c));
  KEY("imports", parse_list(&cfg->imports, c));
  KEY("log_to_driver", wr_in_bool(c, &cfg->log_to_driver));
  KEY("namespace", parse_namespace(cfg, c));
  KEY("temp_dir", parse_text(&cfg->temp_dir, c));
  KEY("spill", parse_spill(cfg, c));
  KEY("spill_dir", parse_text(&cfg->spill_dir, c));
  KEY("idle_workers", wr_in_u32(c, &cfg->idle_workers));
  KEY("driver_pid", wr_in_u32(c, &cfg->driver_pid));
  KEY("eager", wr_in_bool(c, &cfg->eager));
  KEY("standing", wr_in_bool(c, &cfg->standing));
#undef KEY
  *name = "?";
  return wr_in_skip(c);
}

int node_config_parse(node_config *cfg, wr_cursor *c, const char **wrong) {
  uint32_t n;
  wr_bytes key;
  memset(cfg, 0, sizeof *cfg);
  cfg->log_to_driver = cfg->eager = 1;
  cfg->num_cpus = -1;
  *wrong = "the map itself";
  if (wr_in_map(c, &n) != WR_OK) return WR_PROTO;
  for (uint32_t i = 0; i < n; i++) {
    if (wr_in_bytes(c, &key) != WR_OK) return WR_PROTO;
    int rc = parse_item(cfg, key, c, wrong);
    if (rc != WR_OK) return rc;
  }
  return WR_OK;
}

void node_config_free(node_config *cfg) {
  wr_buf *const all[] = {&cfg->python,  &cfg->cwd,     &cfg->temp_dir,
                         &cfg->sys_path, &cfg->preload, &cfg->imports,
                         &cfg->env,      &cfg->spill_dir};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) wr_buf_free(all[i]);
}
