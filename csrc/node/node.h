/* node/node.h - whiprayd's state and what its parts offer each other.
 *
 * One thread, one libuv loop.  Ownership: the node owns processes, jobs, pools and tables; a
 * job owns its fork server and its pools; a process owns its socket, pidfd and output pipes.
 * Everything read from the segment or a socket is input: checked before it is used. */
#ifndef WR_NODE_NODE_H
#define WR_NODE_NODE_H

#include <uv.h>

#include "node/config.h"
#include "node/conn.h"
#include "node/lines.h"
#include "node/table.h"
#include "sched/sweep.h"
#include "store/heap.h"

#define NODE_SLOT 1u /* the daemon's own */

/* The period of the looks that are worth a wake-up of an idle daemon: all at the same times.  A
 * cycle of waits is reported within two of them. */
#define NODE_LOOK_MS 800u

typedef struct node node;
typedef struct node_job node_job;
typedef struct node_pool node_pool;
typedef struct node_proc node_proc;
typedef struct node_server node_server;
typedef struct node_watch node_watch;

/* A descriptor in the loop; freed by the loop after node_watch_close. */
struct node_watch {
  uv_poll_t poll;
  int fd;
  void *owner;
  void (*ready)(void *owner);
};

typedef struct {
  node_proc *proc;
  int is_err;
  node_watch *watch; /* NULL: closed */
  node_lines lines;
} node_output;

/* A driver or worker; exists from the giving of its slot until its sweep. */
struct node_proc {
  node *n;
  uint32_t slot, gen;
  uint32_t role;
  node_job *job;
  node_pool *pool;     /* workers */
  node_server *server; /* the one that forked it; NULL when that one has died */
  int pid;             /* 0: not known yet */
  int pidfd;
  node_watch *watch;
  node_conn *conn;
  int dead, killed, exiting, is_actor, quitting;
  int job_over;         /* killed with its job: what it ran is cancelled, not run again */
  int asked;            /* dead, and its fork server has yet to say how much memory it had */
  uint64_t peak_rss;    /* bytes; 0: not known */
  uint32_t idle_checks; /* how often it was found idle without having worked in between */
  uint64_t idle_done;
  uint64_t awaited, told; /* what it slept for at the last look, and when its cycle was reported */
  char reason[128];     /* why the daemon killed it; "" when it did not */
  char *low_memory;     /* it was killed since memory is short: what its task's error says */
  int run_again;        /* ... and its task may be run again for that */
  char tail[512];       /* last line of its error output, to explain early deaths */
  int wait_status;
  node_output out, err;
  int log_fd;           /* -1: not open */
  uint64_t log_bytes;
  node_proc *next_dead;
};

struct node_pool {
  node_job *job;
  uint32_t idx;
  wr_buf env;     /* "NAME=value\0"... over the job's */
  int eager;      /* keeps workers ready even when nobody asked */
  int wanted;     /* someone asked for workers since the last look */
  uint32_t procs; /* live and starting */
  uint32_t made;  /* how many pools had been made before: tells apart uses of a number */
  int leaving;    /* nobody uses it: it ends with its last worker, unless somebody asks for it */
  uint32_t early_deaths, early_kills, failures; /* in a row; kills of fork servers among them */
  uint64_t not_before_ns; /* no new worker earlier, after failures */
  struct {
    uint64_t done;          /* tasks of its workers at the last look */
    int had_work;           /* ... and there were others */
    uint32_t pause, waited; /* looks to let go by before a turn, and those that have */
  } turn;
};

struct node_job {
  node *n;
  node_job *next;
  node_proc *driver; /* NULL: gone */
  uint32_t slot;     /* the driver's */
  int owner;         /* the session ends with it */
  int ended;         /* its driver has gone */
  int kept;          /* ... but a detached actor lives on, and with it what runs its tasks */
  uint32_t detach_id; /* request to answer when all has ended; 0: none */
  node_config cfg;
  node_server *server;
  node_pool *pool; /* of its own environment */
  uint32_t procs;  /* its workers */
  int no_slot_told; /* that a worker could not be had, for the session is full of processes */
  uint32_t servers_failed; /* in a row, by themselves and without a worker that began */
  uint64_t dropped_lines;
};

struct node_server {
  node *n;
  node_job *job;
  int pid, ready;
  node_watch *watch;
  node_conn *conn;
};

struct node {
  uv_loop_t *loop;
  wr_seg seg;
  wr_sweeper sweeper;
  uint8_t session[16];
  char base_dir[108], dir[108], log_path[160];
  int lock_fd;
  int listener;
  node_watch *listen_watch;
  int crowded;              /* nobody can be accepted now: the listener is not watched ... */
  uv_check_t after_events;  /* ... and looked at by these */
  uv_timer_t accept_again;
  double num_cpus;
  uint32_t keep_workers;
  node_job *jobs;
  node_pool *pools[WR_MAX_POOLS];
  uint32_t pools_made;
  node_proc *procs[WR_MAX_PROCS];
  uint32_t next_slot;
  node_proc *dead;  /* to be swept */
  uv_idle_t sweep;  /* runs while `dead` is not empty */
  node_proc *asked; /* dead, and to be swept as soon as their fork server has answered */
  uv_timer_t answers; /* limit on that wait; runs when the first one begins it */
  uv_timer_t review; /* retirement and retries; runs only while there is a reason */
  int reviewing;
  uv_timer_t groups; /* runs while a placement group waits for its users to end */
  uv_timer_t trim;
  uint64_t trim_seen, trim_pages; /* activity and bytes of the segment at the last look */
  uint64_t trim_at, trim_kept; /* chunks: how far the present pass is, and what it has spared */
  uint64_t trim_left;          /* bytes of the segment after the last pass */
  uv_timer_t cycles;   /* looks for processes that wait for each other */
  uv_timer_t patience; /* limit on the end of the session */
  uv_signal_t children, terminate;
  node_table names, kv;
  uint32_t nservers; /* fork servers that live */
  struct node_memory *memory;
  uint64_t memory_kills;
  struct node_spill *spill;
  struct {
    uint64_t since, asked, looked; /* when: too little could be spilled from then on; last; last */
    uint64_t granted, due; /* for one value: when, last; bytes of the segment then; 0: written */
  } growth;
  struct node_remakes *remakes;
  uv_timer_t remake_tick, lineage_look;
  uv_timer_t turns;
  uint32_t last_turn; /* the pool that had it */
  uint64_t remade_tasks; /* how often one was run again */
  uint64_t spilled_objects, spilled_bytes, restored_objects, restored_bytes;
  int ending, finished;
  char end_reason[512];
  uint64_t deaths, spawned, log_lines, requests;
};

/* daemon.c */
int node_run(int owner_fd); /* serves until the session ends; the exit code */
void node_end_session(node *n, const char *reason);
void node_maybe_finish(node *n); /* ends the loop when nothing is left to wait for */
void node_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* watch.c */
node_watch *node_watch_open(uv_loop_t *loop, int fd, void *owner, void (*ready)(void *owner));
void node_watch_close(node_watch *w); /* closes the descriptor too; NULL is fine */
void node_watch_pause(node_watch *w);
void node_watch_resume(node_watch *w);

/* listen.c */
void node_listen_init(node *n);
void node_listen(node *n);
void node_listen_close(node *n);

/* session.c */
int node_session_open(node *n, const node_config *cfg, char *err, size_t cap);
void node_session_close(node *n);
void node_session_clean_stale(node *n);
/* Removes what sessions that have died left in `base`; not what is in `own`. */
void node_clean_stale_in(const char *base, const char *own);
int node_send_welcome(node_conn *c, uint32_t id, const node_job *job, const node_proc *p);

/* procs.c */
/* WR_OK; WR_LIMIT: all slots are taken; WR_NOMEM. */
int node_proc_new(node *n, uint32_t role, node_job *job, node_pool *pool, node_proc **out);
int node_proc_watch(node_proc *p, int pid); /* the process runs: live from now on */
void node_proc_kill(node_proc *p, const char *reason);
void node_proc_died(node_proc *p, int wait_status); /* marks; the sweep follows soon */
void node_proc_release(node_proc *p);               /* without a sweep: never ran */
void node_proc_reaped(node *n, int pid, uint64_t peak_rss); /* the fork server's answer */
void node_proc_unanswered(node_proc *p);                    /* there will be none */
void node_procs_init(node *n);
void node_sweep_dead(uv_idle_t *idle);
node_proc *node_proc_find(node *n, uint32_t slot);

/* jobs.c */
node_job *node_job_new(node *n, node_config *cfg); /* takes over what cfg owns */
void node_job_drop(node_job *job); /* that never had a driver */
void node_job_end(node_job *job, const char *reason);
void node_job_fail(node_job *job, const char *reason); /* tells the driver, then ends what it can */
void node_job_worker_gone(node_job *job);
/* Nothing of the job runs any more; an ended one whose detached actors live is not over. */
int node_job_over(const node_job *job);
/* A worker that could not be killed with its job, since its process was not known yet, has become a
 * detached actor meanwhile: it stays.  1: this is one. */
int node_job_spares(node_proc *p);
/* Detached actors may have died: ends what was kept for them. */
void node_jobs_review(node *n);
void node_job_tell(node_job *job, uint32_t type, const char *text);

/* server.c */
int node_server_start(node_job *job); /* errno says why not */
void node_server_stop(node_server *s);
int node_server_spawn(node_job *job, node_proc *p, const int fds[3]);
void node_server_reap(node_server *s, int pid);

/* pools.c */
/* Numbers that nobody uses are given to others. */
node_pool *node_pool_get(node_job *job, wr_buf *env, int *rc); /* finds or makes; takes env */
void node_pool_free(node_pool *p);
void node_pool_left(node_pool *p); /* by one of its workers, which is gone */
/* What clients call the pool: another one of its number has another name. */
uint32_t node_pool_name(const node_pool *p);
node_pool *node_pool_named(const node *n, uint32_t name); /* NULL: it has gone */
void node_pool_fill(node_pool *p); /* starts what is missing */
void node_pool_wanted(node *n, uint32_t pool);
void node_pool_worker_failed(node_pool *p, const char *what);
void node_pool_worker_refused(node_pool *p, const char *what, int error); /* by the system */
void node_pool_worker_shot(node_pool *p, const char *what);
void node_pools_fill(node *n);
void node_pools_review_soon(node *n);
void node_pools_init(node *n);

/* cycles.c */
void node_cycles_init(node *n);

/* turns.c */
void node_turns_init(node *n);

/* trim.c */
void node_trim_init(node *n);

/* memory.c */
int node_memory_open(node *n);
void node_memory_forget(node *n, const node_proc *p); /* it is gone */
int node_memory_has(node *n, uint64_t bytes); /* without getting short of memory */

/* growth.c */
uint64_t node_growth_room(void); /* bytes that the store may grow by */
int node_is_grown(const node *n);
/* Somebody waits for so many bytes; enough: as much can be spilled.  1, or 0: it waits on. */
int node_grow(node *n, uint64_t bytes, int enough);
/* Grows at once for one value of so many bytes; 0: it may not, or memory is short. */
int node_grow_for(node *n, uint64_t bytes);
/* Every now and then: shrinks if what is in use fits into the store again; else how many bytes less
 * that would take. */
uint64_t node_shrink(node *n);

/* spill.c */
int node_spill_open(node *n, const node_config *cfg);
void node_spill_forget(node *n, wr_idx idx, uint32_t gen); /* what is on disk is of no use */
void node_spill_room(node *n, uint64_t bytes); /* we have found no room for so many */
void node_spill_close(node *n); /* waits for threads that read or write */
uint64_t node_spill_files(const node *n);

/* remake.c */
int node_remake_init(node *n); /* WR_OK or WR_NOMEM */
/* The value of an object in FILE or LOST can not be read: 1: its task makes it again, and its place
 * is REMAKING; 0: it will not: LOST, or an error; -1: there is no room to begin with that. */
int node_remake(node *n, wr_idx idx, uint32_t gen);
void node_remake_end_pool(node *n, uint32_t pool); /* all that was in it has ended */
void node_remake_close(node *n);

/* shapes.c */
void node_resources_init(node *n, const node_config *cfg);
int node_shape_get(node *n, uint32_t pool, wr_cursor *needs, uint32_t *ticket);
void node_shapes_free(node *n, uint32_t pool);
void node_shapes_free_group(node *n, uint32_t group, uint32_t gen);
uint32_t node_shape_runnable(node *n, uint32_t shape); /* queued tasks that could run now */

/* groups.c */
void node_groups_init(node *n);
void node_groups_of_job(node *n, uint32_t job); /* the job has ended: removes its groups */
void node_groups_of_actor(node *n, uint32_t actor, uint32_t gen); /* a detached actor is dead */

/* output.c */
int node_output_open(node_proc *p, int out_fd, int err_fd);
void node_output_begin(node_proc *p); /* its pid, which goes with each line, is known */
void node_output_close(node_proc *p); /* takes what is left first */

/* requests.c */
void node_on_message(node_conn *c, const wr_head *h, const uint8_t *body);
/* drivers.c */
void node_stranger_arrived(node *n, int fd); /* a connection that says who it is next */
int node_owner_arrived(node *n, int fd);

/* names.c, kv.c, actors.c: each answers one request */
typedef void node_handler(node *n, node_proc *p, uint32_t id, wr_cursor *c);
node_handler node_name_claim, node_name_get, node_name_list, node_name_drop;
node_handler node_kv_put, node_kv_get, node_kv_del, node_kv_keys;
node_handler node_on_room, node_on_fetch, node_on_remade;
/* Interrupts the process that runs the cancelled task, or kills it; 1: done. */
int node_tell_cancelled(node *n, uint32_t slot, uint32_t task, uint32_t gen, int force);
node_handler node_kill_actor, node_interrupt, node_actor_up, node_stats;
node_handler node_resources_find, node_group_remove;
void node_names_forget(node *n, uint32_t actor, uint32_t gen);

#endif
