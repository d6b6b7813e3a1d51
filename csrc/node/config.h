/* node/config.h - what a driver tells the daemon about its job: a msgpack map with these keys.
 *   num_cpus float | resources {name: float} | object_store_memory int bytes (0: a share of memory)
 *   python str (program) | sys_path [str] | cwd str | env {str: str} (for every worker of the job)
 *   preload [str] modules that every worker has from its start
 *   imports [str] modules that workers are likely to need: imported after the first has started
 *   log_to_driver bool | namespace str | temp_dir str | idle_workers int (0: as many as CPUs)
 *   driver_pid int | spill bool (default true) | spill_dir str (default: the session's directory)
 *   eager bool (workers are kept ready; true if absent)
 *   standing bool: the session does not end with the driver that starts it
 * Unknown keys are ignored; a known key of the wrong type is an error.  A joining driver's
 * num_cpus, resources, object_store_memory, temp_dir, spill and spill_dir mean nothing. */
#ifndef WR_NODE_CONFIG_H
#define WR_NODE_CONFIG_H

#include "shm/layout.h"
#include "wire/limits.h"
#include "wire/pack.h"
#include "wire/unpack.h"

typedef struct {
  char name[sizeof((wr_resource *)0)->name];
  double amount;
} node_quantity;

typedef struct {
  double num_cpus;
  uint64_t store_bytes;
  node_quantity resources[WR_MAX_RESOURCES];
  uint32_t nresources;
  wr_buf python, cwd, temp_dir, spill_dir; /* NUL terminated text */
  wr_buf sys_path, preload, imports; /* entries one after the other, each NUL terminated */
  wr_buf env;                        /* "NAME=value", each NUL terminated */
  char ns[WR_MAX_NAME];
  int log_to_driver, eager, standing;
  uint32_t idle_workers;
  uint32_t driver_pid;
  int no_spill;
} node_config;

/* On failure *wrong names the key. */
int node_config_parse(node_config *cfg, wr_cursor *c, const char **wrong);
void node_config_free(node_config *cfg);

/* A map of text to text as "NAME=value\0"...; WR_PROTO for names with '=' or NUL inside. */
int node_env_parse(wr_buf *out, wr_cursor *c);
const char *node_text(const wr_buf *b); /* "" when empty */

#endif
