#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/node.h"
#include "os/io.h"
#include "os/os.h"
#include "os/spawn.h"
#include "wire/messages.h"

/* A connection that has not said yet who it is. */

static void on_driver_hangup(node_conn *c) {
  node_proc *p = c->owner;
  node_conn_close(c);
  p->conn = NULL;
  if (p->pidfd >= 0 && !p->dead)
    node_job_end(p->job, "the driver's connection was lost"); /* swept once the kernel says dead */
  else
    node_proc_died(p, -1);
}

static int refuse(node_conn *c, uint32_t id, int rc, const char *text) {
  node_conn_error(c, id ? id : 1, rc, text);
  node_conn_drain(c, INT64_C(100000000));
  node_conn_close(c);
  return rc;
}

/* Gives the driver of a new job its slot and pool. */
static int admit(node *n, node_job *job, node_conn *c, uint32_t id) {
  wr_buf no_env = {0};
  node_proc *p;
  int rc = node_proc_new(n, WR_ROLE_DRIVER, job, NULL, &p);
  if (rc == WR_LIMIT) return refuse(c, id, rc, "the session has no room for another process");
  if (rc != WR_OK) return refuse(c, id, rc, wr_status_text(rc));
  job->driver = p;
  job->slot = p->slot;
  job->pool = node_pool_get(job, &no_env, &rc);
  if (!job->pool) return refuse(c, id, rc, "the session has no room for another job");
  job->pool->eager = job->cfg.eager;
  p->conn = c;
  c->owner = p;
  c->on_message = node_on_message;
  c->on_hangup = on_driver_hangup;
  rc = node_proc_watch(p, (int)job->cfg.driver_pid);
  if (rc == WR_OK) rc = node_send_welcome(c, id, job, p);
  if (rc == WR_OK) return rc;
  char why[320], text[400];
  wr_os_describe_failure(rc, why, sizeof why);
  snprintf(text, sizeof text, "a driver could not be admitted: %s", why);
  node_note("%s", text);
  node_conn_error(c, id ? id : 1, rc, text);
  node_conn_drain(c, INT64_C(100000000));
  return rc;
}

static int parse(node_config *cfg, wr_cursor *cur, char *text, size_t cap) {
  const char *wrong = "?";
  wr_cursor all = *cur;
  memset(cfg, 0, sizeof *cfg);
  int rc = wr_in_skip(&all);
  if (rc == WR_OK) rc = node_config_parse(cfg, cur, &wrong);
  if (rc != WR_OK) snprintf(text, cap, "the configuration is malformed at %s", wrong);
  return rc;
}

static void use_peer_pid(node_conn *c, node_config *cfg) {
  unsigned uid;
  int pid = 0;
  if (wr_os_peer_uid(c->fd, &uid, &pid) == WR_OK && pid > 0) cfg->driver_pid = (uint32_t)pid;
}

/* ---- the owner, over the inherited socket ---------------------------------------------------- */

static void on_config(node_conn *c, const wr_head *h, const uint8_t *body) {
  node *n = c->owner;
  node_config cfg;
  char text[512] = "expected a configuration";
  wr_cursor cur = wr_cursor_of(body, h->len);
  int rc = h->type == WR_MSG_CONFIG ? parse(&cfg, &cur, text, sizeof text) : WR_PROTO;
  if (rc == WR_OK) {
    use_peer_pid(c, &cfg);
    rc = node_session_open(n, &cfg, text, sizeof text);
  }
  node_job *job = rc == WR_OK ? node_job_new(n, &cfg) : NULL;
  if (!job) {
    refuse(c, h->id, rc != WR_OK ? rc : WR_NOMEM, text);
    node_session_close(n);
    uv_stop(n->loop);
    return;
  }
  job->owner = !job->cfg.standing;
  node_listen(n); /* before WELCOME: a program may pass the path on at once */
  if (admit(n, job, c, h->id) != WR_OK) {
    node_session_close(n);
    uv_stop(n->loop);
    return;
  }
  node_pool_fill(job->pool);
  node_session_clean_stale(n);
}

static void on_owner_gone(node_conn *c) {
  node *n = c->owner;
  node_conn_close(c);
  uv_stop(n->loop);
}

int node_owner_arrived(node *n, int fd) {
  return node_conn_open(n->loop, fd, n, on_config, on_owner_gone) ? WR_OK : WR_IO;
}

/* ---- others, over the listening socket ------------------------------------------------------- */

static void on_hello(node_conn *c, const wr_head *h, const uint8_t *body) {
  node *n = c->owner;
  node_config cfg;
  char text[256] = "expected a greeting";
  wr_cursor cur = wr_cursor_of(body, h->len);
  uint32_t fields, version, role;
  if (h->type != WR_MSG_HELLO || wr_in_array(&cur, &fields) != WR_OK || fields < 3 ||
      wr_in_u32(&cur, &version) != WR_OK || wr_in_u32(&cur, &role) != WR_OK) {
    refuse(c, h->id, WR_PROTO, text);
  } else if (version != WR_PROTOCOL_VERSION) {
    refuse(c, h->id, WR_VERSION, "the session runs another version of whipray");
  } else if (role != WR_ROLE_DRIVER) {
    refuse(c, h->id, WR_INVAL, "only drivers may join");
  } else if (parse(&cfg, &cur, text, sizeof text) != WR_OK) {
    refuse(c, h->id, WR_PROTO, text);
    node_config_free(&cfg);
  } else {
    use_peer_pid(c, &cfg);
    node_job *job = n->ending ? NULL : node_job_new(n, &cfg);
    node_config_free(&cfg); /* what the job did not take over */
    if (!job)
      refuse(c, h->id, n->ending ? WR_CLOSED : WR_NOMEM, "the session is ending");
    else if (admit(n, job, c, h->id) == WR_OK)
      node_pool_fill(job->pool);
    else if (job->driver)
      node_proc_died(job->driver, -1);
    else
      node_job_drop(job);
  }
}

static void on_stranger_gone(node_conn *c) { node_conn_close(c); }

void node_stranger_arrived(node *n, int fd) {
  node_conn_open(n->loop, fd, n, on_hello, on_stranger_gone);
}
