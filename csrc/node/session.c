#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "os/files.h"
#include "os/os.h"
#include "os/spawn.h"
#include "wire/messages.h"

#define SUN_PATH 108
#define STALE_AGE_S 10 /* younger directories may belong to a daemon that has not locked them yet */

/* ---- the directory --------------------------------------------------------------------------- */

static const char *temp_dir(const node_config *cfg) {
  const char *const names[] = {"WHIPRAY_TMPDIR", "RAY_TMPDIR", "XDG_RUNTIME_DIR"};
  if (cfg->temp_dir.len > 1) return node_text(&cfg->temp_dir);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    const char *value = getenv(names[i]);
    if (value && value[0] == '/' && wr_os_dir_age_s(value) >= 0) return value;
  }
  return "/tmp";
}

static int make_dir(const char *path, char *err, size_t cap) {
  int rc = wr_os_private_dir(path);
  if (rc == WR_DENIED)
    snprintf(err, cap, "%s is not a directory that belongs to this user alone", path);
  else if (rc != WR_OK)
    snprintf(err, cap, "cannot make the directory %s: %s (WHIPRAY_TMPDIR names another place)",
             path, strerror(errno));
  return rc;
}

static int make_session_dir(node *n, const node_config *cfg, char *err, size_t cap) {
  const char *top = temp_dir(cfg);
  char sub[160];
  int base = snprintf(n->base_dir, sizeof n->base_dir, "%s/whipray-%u", top, wr_os_uid());
  int len = snprintf(n->dir, sizeof n->dir, "%s/session_%lld_%d", n->base_dir,
                     (long long)wr_os_wall_seconds(), wr_os_pid());
  if (base < 0 || len < 0 || (size_t)base >= sizeof n->base_dir || len + 6 > SUN_PATH) {
    snprintf(err, cap, "the path %s is too long for a unix socket (limit %d bytes); "
             "WHIPRAY_TMPDIR names another place", top, SUN_PATH - 1);
    return WR_INVAL;
  }
  int rc = wr_os_dir_age_s(top) < 0 ? wr_os_mkdir(top) : WR_OK;
  if (rc != WR_OK && rc != WR_EXISTS) {
    snprintf(err, cap, "cannot make the directory %s: %s", top, strerror(errno));
    return rc;
  }
  rc = make_dir(n->base_dir, err, cap);
  if (rc == WR_OK) rc = make_dir(n->dir, err, cap);
  if (rc != WR_OK) return rc;
  snprintf(sub, sizeof sub, "%s/logs", n->dir);
  return make_dir(sub, err, cap);
}

static void write_pid(node *n) {
  char path[160], text[32];
  snprintf(path, sizeof path, "%s/pid", n->dir);
  n->lock_fd = wr_os_lock_file(path, 1);
  int len = snprintf(text, sizeof text, "%d\n", wr_os_pid());
  if (n->lock_fd >= 0) wr_os_write_some(n->lock_fd, text, (size_t)len);
}

typedef struct {
  const char *base, *own;
} stale;

static void clean_one(const char *name, void *arg) {
  const stale *s = arg;
  char path[400];
  snprintf(path, sizeof path, "%s/%s", s->base, name);
  if (strcmp(path, s->own) == 0 || wr_os_dir_age_s(path) < STALE_AGE_S) return;
  char pid_file[420];
  snprintf(pid_file, sizeof pid_file, "%s/pid", path);
  int fd = wr_os_lock_file(pid_file, 0);
  if (fd >= 0 || fd == WR_NOTFOUND) wr_os_remove_tree(path);
  wr_os_close(fd);
}

void node_clean_stale_in(const char *base, const char *own) {
  stale s = {base, own};
  wr_os_list_dir(base, "session_", clean_one, &s);
}

void node_session_clean_stale(node *n) { node_clean_stale_in(n->base_dir, n->dir); }

static void open_log(node *n) {
  snprintf(n->log_path, sizeof n->log_path, "%s/logs/whiprayd.log", n->dir);
  int fd = getenv("WHIPRAY_DAEMON_OUTPUT") ? -1 : wr_os_open_append(n->log_path);
  if (fd >= 0) wr_os_redirect_output(fd);
  wr_os_close(fd);
}

/* ---- the segment ----------------------------------------------------------------------------- */

static uint64_t store_size(const node_config *cfg) {
  uint64_t limit = UINT64_C(1) << 30;
  if (cfg->store_bytes) return cfg->store_bytes;
  wr_os_memory_limit(&limit);
  return limit / 10 * 3;
}

static int make_segment(node *n, const node_config *cfg, char *err, size_t cap) {
  wr_seg_config sc = {.heap_bytes = store_size(cfg),
                      .more_bytes = node_growth_room(),
                      .cpus = (uint32_t)wr_os_cpu_count()};
  if (wr_os_random(n->session, sizeof n->session) != WR_OK) return WR_IO;
  memcpy(sc.session, n->session, sizeof sc.session);
  int rc = wr_seg_create(&n->seg, &sc);
  if (rc == WR_OK) return rc;
  char why[320];
  wr_os_describe_failure(rc, why, sizeof why);
  snprintf(err, cap, "cannot make the shared memory of the session (%llu MiB for objects): %s",
           (unsigned long long)(sc.heap_bytes >> 20), why);
  return rc;
}

static void take_own_slot(node *n) {
  wr_proc *me = &n->seg.procs[NODE_SLOT];
  me->started_ns = wr_os_now_ns();
  me->job = 0;
  wr_store32(&me->pid, (uint32_t)wr_os_pid());
  snprintf(me->title, sizeof me->title, "whiprayd");
  wr_store(&me->state, WR_PROC_STATE(WR_PROC_LIVE, WR_ROLE_DAEMON, 0, 1));
  if (wr_load32(&n->seg.h->proc_high) <= NODE_SLOT) wr_store32(&n->seg.h->proc_high, NODE_SLOT + 1);
  n->next_slot = NODE_SLOT + 1;
}

static void actor_died(void *ctx, uint32_t actor, uint32_t gen, int restarting) {
  if (restarting) return;
  node_names_forget(ctx, actor, gen);
  node_groups_of_actor(ctx, actor, gen);
}

static void end_process(void *ctx, uint32_t slot, const char *reason) {
  node_proc *p = node_proc_find(ctx, slot);
  if (p) node_proc_kill(p, reason);
}

static void interrupt(void *ctx, uint32_t slot, wr_idx task, uint32_t gen, int force) {
  (void)node_tell_cancelled(ctx, slot, task, gen, force);
}

static void sweeper_wants(void *ctx, uint32_t pool) { node_pool_wanted(ctx, pool); }

int node_session_open(node *n, const node_config *cfg, char *err, size_t cap) {
  int rc = make_session_dir(n, cfg, err, cap);
  if (rc != WR_OK) return rc;
  write_pid(n);
  open_log(n);
  rc = make_segment(n, cfg, err, cap);
  if (rc != WR_OK) return rc;
  take_own_slot(n);
  rc = wr_sweeper_init(&n->sweeper, &n->seg, NODE_SLOT, actor_died, n);
  if (rc != WR_OK) {
    snprintf(err, cap, "%s", wr_status_text(rc));
    return rc;
  }
  n->sweeper.kill_process = end_process;
  n->sweeper.interrupt = interrupt;
  n->sweeper.self.want = sweeper_wants;
  n->sweeper.self.want_ctx = n;
  n->num_cpus = cfg->num_cpus >= 0 ? cfg->num_cpus : (double)n->seg.h->cpus;
  uint32_t cores = n->seg.h->cpus, asked = (uint32_t)n->num_cpus;
  if ((double)asked < n->num_cpus) asked++;
  n->keep_workers = asked < cores ? asked : cores;
  if (cfg->idle_workers) n->keep_workers = cfg->idle_workers;
  node_resources_init(n, cfg);
  rc = node_memory_open(n);
  return rc == WR_OK ? node_spill_open(n, cfg) : rc;
}

void node_session_close(node *n) {
  node_listen_close(n);
  node_spill_close(n);
  node_remake_close(n);
  if (n->dir[0]) wr_os_remove_tree(n->dir);
  wr_os_close(n->lock_fd);
  n->lock_fd = -1;
}

int node_send_welcome(node_conn *c, uint32_t id, const node_job *job, const node_proc *p) {
  const node *n = p->n;
  wr_buf b = {0};
  wr_out_array(&b, 9);
  wr_out_uint(&b, p->slot);
  wr_out_uint(&b, p->gen);
  wr_out_bin(&b, n->session, sizeof n->session);
  wr_out_text(&b, n->dir);
  wr_out_double(&b, n->num_cpus);
  wr_out_uint(&b, (uint64_t)wr_os_pid());
  wr_out_uint(&b, job->pool ? job->pool->idx : 0);
  wr_out_uint(&b, job->slot);
  wr_out_text(&b, job->cfg.ns);
  int rc = WR_NOMEM, fd = wr_os_dup(n->seg.fd);
  if (!b.failed && fd >= 0) rc = node_conn_send(c, WR_MSG_WELCOME, id, b.data, b.len, &fd, 1);
  wr_buf_free(&b);
  return rc;
}
