/* Spilling: values that found no room make whiprayd move others to disk, and who needs one of those
 * asks for it back.  When nothing may go and somebody still waits, the store grows (growth.c).
 *
 * What to spill: the values that were made or looked at least recently and that nobody views; see
 * store/away.h for how they move.  Writing happens on a thread while the value is still in memory
 * and may be read; only then does it leave.  What has been read back keeps its place on disk, so
 * that it need not be written again.  Nothing here waits, and nothing is owed to a client that
 * died: requests are hints that clients repeat. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "node/errand.h"
#include "node/node.h"
#include "node/pieces.h"
#include "node/spill_choice.h"
#include "node/spill_dir.h"
#include "node/spill_io.h"
#include "os/files.h"
#include "os/os.h"
#include "store/away.h"
#include "store/heap.h"

#define MARGIN 16u                /* one part in so many of the store is freed beyond the need */
#define READS 4u                  /* at once */
#define TICK_MS 50u
#define STARVED_NS UINT64_C(300000000) /* who waits longer has the next turn */
#define TURN_NS UINT64_C(1000000000)   /* at most; as long a pause follows if it has not helped */
#define AHEAD_NS UINT64_C(200000000) /* after a request more room is made than was asked for */
#define MAX_FETCHES 65536u
#define FETCH_LIFE_NS UINT64_C(5000000000) /* clients repeat what they want more often */
#define RETRY_NS UINT64_C(1000000000)      /* after a failed write */
#define READ_RETRY_NS UINT64_C(100000000) /* after a read for which something was short */
#define MAX_REFUSED 100u                  /* such reads in a row */
#define REVIEW_NS UINT64_C(1000000000)    /* between looks at all that is on disk, */
#define REVIEW_SHARE 1000u                /* and so many times as long as one takes */
#define MAX_NESTED 64u                    /* values inside values that are let go of at once */

typedef struct {
  node_errand errand;
  node *n;
  char path[NODE_FILE_PATH];
  node_file *file;
  node_spilled *v;
  size_t count;
  int again; /* the last one failed */
  int rc, error;
} write_job;

typedef struct {
  node_errand errand;
  node *n;
  char path[NODE_FILE_PATH];
  node_file *file;
  node_spilled v;
  uint8_t *dst;
  int rc;
} read_job;

typedef struct {
  wr_idx idx;
  uint32_t gen;
  uint64_t asked; /* when, last */
} fetch;

struct node_spill {
  node *n;
  node_pieces pieces;
  node_spill_dir dir;
  int off; /* spilling is switched off */
  write_job *writing;
  uint32_t reading;
  fetch *fetches;
  uint32_t nfetches, cap_fetches;
  int crowded;      /* nothing was free for a value to come back since the last tick */
  uint64_t want;    /* bytes asked for since the last pass */
  uint64_t largest; /* at once */
  uint64_t asking[WR_MAX_PROCS / 64]; /* slots that wait for room */
  uint64_t asked;                     /* when one did, last */
  uint64_t turn_ends;  /* of the slot that alone claims memory */
  uint64_t turn_after; /* no other turn before */
  uint64_t not_before;
  uint64_t read_after; /* and so for reads */
  uint32_t refused;    /* reads in a row for which something was short */
  uv_timer_t tick;
  node_errands errands;
  uint32_t dropped, sweeps; /* of the header, at the last review of the pieces */
  uint64_t review_at;       /* the next one, if nothing comes before */
  wr_a32 stop;
};

static node_spill_ctx ctx_of(node *n) {
  return (node_spill_ctx){n->session, &n->seg.h->spill_steps, &n->spill->stop};
}

static void tick_on(node *n);
static void step(node *n) { atomic_fetch_add(&n->seg.h->spill_steps, 1); }

/* Who waits for room, and sees no steps, is patient for as long as whiprayd had time to look. */
static void note_look(node *n) {
  const struct node_spill *sp = n->spill;
  int writes = sp->writing && !sp->writing->again;
  if (!writes && !sp->reading) atomic_fetch_add(&n->seg.h->spill_looks, 1);
}

static void in_trouble(node *n, int error, uint64_t bytes) {
  struct node_spill *sp = n->spill;
  wr_header *h = n->seg.h;
  uint64_t room = 0, all = 0;
  (void)wr_os_disk_room(sp->pieces.dir, &room, &all);
  wr_store(&h->spill_bytes, bytes);
  wr_store(&h->spill_free, room);
  wr_store(&h->spill_disk, all);
  if (wr_load32(&h->spill_trouble) != (uint32_t)error)
    node_note("cannot spill %llu bytes to %s, where %llu bytes are free: %s",
              (unsigned long long)bytes, sp->pieces.dir, (unsigned long long)room, strerror(error));
  wr_store32(&h->spill_trouble, (uint32_t)error);
  sp->not_before = wr_os_now_ns() + RETRY_NS;
}

static void out_of_trouble(node *n) {
  wr_store32(&n->seg.h->spill_trouble, 0);
  n->spill->not_before = 0;
}

static uint64_t bytes_of(const node_spilled *v, size_t count) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += v[i].len;
  return sum;
}

/* ---- who waits ------------------------------------------------------------------------------- */

static void wake_asking(node *n) {
  struct node_spill *sp = n->spill;
  for (uint32_t w = 0; w < WR_MAX_PROCS / 64; w++)
    for (; sp->asking[w]; sp->asking[w] &= sp->asking[w] - 1)
      wr_wake(&n->seg, w * 64 + (uint32_t)__builtin_ctzll(sp->asking[w]));
}

/* What is freed for a large value would be taken by smaller ones, of processes that come without
 * waiting.  So who has waited for long claims alone, for a while. */
static void give_turn(node *n, uint32_t slot, uint64_t waited_ns) {
  struct node_spill *sp = n->spill;
  uint64_t now = wr_os_now_ns();
  if (waited_ns < STARVED_NS || now < sp->turn_after || wr_load32(&n->seg.h->room_turn)) return;
  wr_store32(&n->seg.h->room_turn, slot);
  sp->turn_ends = now + TURN_NS;
  tick_on(n);
}

/* It has not helped, since too much is viewed, or the process has died. */
static void end_turn(node *n) {
  struct node_spill *sp = n->spill;
  uint64_t now = wr_os_now_ns();
  if (!wr_load32(&n->seg.h->room_turn) || now < sp->turn_ends) return;
  wr_store32(&n->seg.h->room_turn, 0);
  sp->turn_after = now + TURN_NS;
}

/* ---- leaving --------------------------------------------------------------------------------- */

/* Values whose bytes are on disk: their memory goes, unless somebody views them by now. */
static void evict(node *n, const node_spilled *v, size_t count) {
  wr_self *me = &n->sweeper.self;
  node_views views = {0};
  uint8_t *begun = wr_alloc(count + 1);
  if (!begun) return;
  for (size_t i = 0; i < count; i++)
    begun[i] = node_pieces_find(&n->spill->pieces, v[i].idx, v[i].gen) &&
               wr_away_begin(&n->seg, v[i].idx, v[i].gen);
  wr_away_settle();
  node_views_look(&views, &n->seg);
  for (size_t i = 0; i < count; i++) {
    if (!begun[i]) continue;
    node_piece *p = node_pieces_find(&n->spill->pieces, v[i].idx, v[i].gen);
    if (node_views_has(&views, v[i].idx) ||
        wr_away_leave(me, v[i].idx, v[i].gen, &p->refs) != WR_OK) {
      wr_away_stay(me, v[i].idx, v[i].gen);
    } else {
      n->spilled_objects++;
      n->spilled_bytes += v[i].len;
      step(n);
    }
  }
  wr_heap_make_room(me); /* what has been read back lies in spans of ours */
  node_views_free(&views);
  wr_free(begun);
}

/* ---- writing --------------------------------------------------------------------------------- */

static int pass(node *n, int may_grow);
static void keep_ahead(node *n);
static void serve_fetches(node *n);
static void add_fetch(node *n, wr_idx idx, uint32_t gen);

static void write_in_thread(void *arg) {
  write_job *job = arg;
  node_spill_ctx cx = ctx_of(job->n);
  if (job->again) cx.steps = NULL; /* or who waits for room would be patient for ever */
  job->rc = node_spill_write(&cx, job->path, job->v, job->count, &job->error);
}

static void note_pieces(node *n, const write_job *job) {
  for (size_t i = 0; i < job->count; i++) {
    const node_spilled *v = &job->v[i];
    node_piece p = {v->idx, v->gen, v->at, v->len, job->file, NULL};
    if (wr_away_wanted(&n->seg, v->idx, v->gen)) (void)node_pieces_add(&n->spill->pieces, &p);
  }
}

static void on_written(void *arg) {
  write_job *job = arg;
  node *n = job->n;
  struct node_spill *sp = n->spill;
  sp->writing = NULL;
  if (job->rc == WR_OK) {
    note_pieces(n, job);
    out_of_trouble(n);
    if (!n->ending) evict(n, job->v, job->count);
  } else if (!n->ending) {
    in_trouble(n, job->error ? job->error : EIO, bytes_of(job->v, job->count));
  }
  node_file_release(&sp->pieces, job->file);
  wr_free(job->v);
  wr_free(job);
  if (n->ending) return;
  serve_fetches(n);
  wake_asking(n);
  keep_ahead(n);
}

static void start_write(node *n, node_spilled *v, size_t count) {
  struct node_spill *sp = n->spill;
  write_job *job = wr_alloc(sizeof *job);
  node_file *file = job ? node_file_new(&sp->pieces) : NULL;
  if (!file) {
    wr_free(job);
    wr_free(v);
    return;
  }
  *job = (write_job){.n = n, .file = file, .v = v, .count = count, .again = sp->not_before != 0};
  job->errand = (node_errand){.owner = job, .work = write_in_thread, .done = on_written};
  node_file_path(&sp->pieces, file, job->path);
  sp->writing = job;
  tick_on(n);
  node_errand_run(&sp->errands, &job->errand);
}

/* ---- making room ----------------------------------------------------------------------------- */

/* What is in the store may stay there: even all of its room would not do. */
static int admit(node *n, uint64_t bytes) {
  n->spill->want = n->spill->largest = 0;
  if (!node_grow_for(n, bytes)) return 0;
  tick_on(n);
  wake_asking(n);
  return 1;
}

/* Makes room for what was asked for since the last time.  1: there is some already. */
static int pass(node *n, int may_grow) {
  struct node_spill *sp = n->spill;
  if (!sp->want || n->ending) return 0;
  if (may_grow && sp->largest >= n->seg.store_chunks * WR_CHUNK) return admit(n, sp->largest);
  if (sp->writing || sp->off) return 0;
  uint64_t want = sp->want, largest = sp->largest;
  uint64_t bytes = want + n->seg.store_chunks * WR_CHUNK / MARGIN;
  int grown = 0;
  node_choice c;
  sp->want = sp->largest = 0;
  node_choice_open(&c, &n->seg);
  node_spilled *clean = wr_alloc((c.n + 1u) * sizeof *clean);
  node_spilled *dirty = wr_alloc((c.n + 1u) * sizeof *dirty);
  size_t nclean = 0, ndirty = 0;
  if (clean && dirty)
    node_choice_take(&c, &sp->pieces, bytes, clean, &nclean, dirty, &ndirty);
  if (nclean) evict(n, clean, nclean);
  if (ndirty && wr_os_now_ns() >= sp->not_before) {
    if (node_spill_dir_check(&sp->dir, &sp->pieces) == WR_OK) {
      start_write(n, dirty, ndirty);
      dirty = NULL;
    } else {
      in_trouble(n, errno, bytes_of(dirty, ndirty));
    }
  }
  if (may_grow && !sp->reading) grown = node_grow(n, want, c.n && node_choice_room(&c) >= largest);
  if (grown) tick_on(n);
  if (grown || nclean) wake_asking(n);
  wr_free(clean);
  wr_free(dirty);
  node_choice_free(&c);
  return grown || nclean != 0;
}

static void need(node *n, uint64_t bytes) {
  if (bytes > n->spill->largest) n->spill->largest = bytes;
  uint64_t most = n->seg.store_chunks * WR_CHUNK;
  n->spill->want = bytes > most - n->spill->want ? most : n->spill->want + bytes;
}

/* Who fills the store will soon want more: the next values go to disk while it goes on. */
static void keep_ahead(node *n) {
  struct node_spill *sp = n->spill;
  uint64_t all = n->seg.store_chunks;
  if (sp->want || sp->writing || wr_os_now_ns() - sp->asked > AHEAD_NS) return;
  if (wr_heap_chunks_used(&n->seg) + 2 * (all / MARGIN) <= all) return;
  sp->want = 1; /* and the margin */
  (void)pass(n, 0);
}

/* ---- coming back ----------------------------------------------------------------------------- */

static void read_in_thread(void *arg) {
  read_job *job = arg;
  node_spill_ctx cx = ctx_of(job->n);
  job->rc = node_spill_read(&cx, job->path, &job->v, job->dst);
}

/* When there was no descriptor or no memory for a read, that says nothing about the file: it is
 * tried again, but not for ever, since somebody waits. */
static int worth_another(struct node_spill *sp, int rc) {
  if (rc == WR_OK) sp->refused = 0;
  if (rc != WR_IO) return 0;
  sp->read_after = wr_os_now_ns() + READ_RETRY_NS;
  return ++sp->refused <= MAX_REFUSED;
}

static void on_read(void *arg) {
  read_job *job = arg;
  node *n = job->n;
  int again = worth_another(n->spill, job->rc);
  n->spill->reading--;
  node_piece *p = node_pieces_find(&n->spill->pieces, job->v.idx, job->v.gen);
  wr_away_refs *none = NULL;
  wr_away_arrive(&n->sweeper.self, job->v.idx, job->v.gen,
                 job->rc == WR_OK ? WR_IN_MEMORY : WR_IN_FILE, p ? &p->refs : &none);
  if (job->rc == WR_OK) {
    n->restored_objects++;
    n->restored_bytes += job->v.len;
  } else if (again) {
    add_fetch(n, job->v.idx, job->v.gen);
  } else {
    node_note("the file %s does not hold object %u any more", job->path, job->v.idx);
    node_spill_forget(n, job->v.idx, job->v.gen);
    if (!n->ending) node_remake(n, job->v.idx, job->v.gen);
  }
  step(n);
  node_file_release(&n->spill->pieces, job->file);
  wr_free(job);
  if (!n->ending) serve_fetches(n);
}

static int start_read(node *n, const node_piece *p) {
  read_job *job = wr_alloc(sizeof *job);
  if (!job) return WR_NOMEM;
  uint8_t *dst;
  int rc = wr_away_return(&n->sweeper.self, p->idx, p->gen, p->len, p->refs, &dst);
  if (rc != WR_OK) {
    wr_free(job);
    return rc;
  }
  *job = (read_job){.n = n, .file = p->file, .dst = dst};
  job->v = (node_spilled){.idx = p->idx, .gen = p->gen, .len = p->len, .at = p->at};
  job->errand = (node_errand){.owner = job, .work = read_in_thread, .done = on_read};
  node_file_path(&n->spill->pieces, p->file, job->path);
  p->file->users++;
  n->spill->reading++;
  node_errand_run(&n->spill->errands, &job->errand);
  return WR_OK;
}

/* 1: the request stays. */
static int serve(node *n, const fetch *f) {
  struct node_spill *sp = n->spill;
  const wr_object *o = wr_obj(&n->seg, f->idx);
  uint64_t st = wr_load(&o->state);
  if (WR_OBJ_GEN(st) != f->gen || WR_OBJ_PHASE(st) != WR_OBJ_READY) return 0;
  if (WR_OBJ_PLACE(st) != WR_IN_FILE) /* 1: soon it will be there */
    return WR_OBJ_PLACE(st) == WR_IN_LEAVING || WR_OBJ_PLACE(st) == WR_IN_SHEDDING;
  const node_piece *p = node_pieces_find(&sp->pieces, f->idx, f->gen);
  if (!p) {
    return node_remake(n, f->idx, f->gen) < 0;
  }
  if (sp->reading >= READS || wr_os_now_ns() < sp->read_after) return 1;
  int rc = start_read(n, p);
  if (rc == WR_FULL) {
    need(n, p->len);
    n->spill->crowded = 1;
  }
  return rc != WR_OK && rc != WR_STALE;
}

static void serve_all(node *n) {
  struct node_spill *sp = n->spill;
  uint64_t now = wr_os_now_ns();
  uint32_t left = 0;
  for (uint32_t i = 0; i < sp->nfetches; i++) {
    fetch f = sp->fetches[i];
    if (now - f.asked < FETCH_LIFE_NS && serve(n, &f)) sp->fetches[left++] = f;
  }
  sp->nfetches = left;
}

static void serve_fetches(node *n) {
  serve_all(n);
  if (pass(n, 1)) serve_all(n);
}

static void add_fetch(node *n, wr_idx idx, uint32_t gen) {
  struct node_spill *sp = n->spill;
  uint64_t now = wr_os_now_ns();
  for (uint32_t i = 0; i < sp->nfetches; i++)
    if (sp->fetches[i].idx == idx && sp->fetches[i].gen == gen) {
      sp->fetches[i].asked = now;
      return;
    }
  if (sp->nfetches == MAX_FETCHES) return;
  fetch *v = wr_vec_room(sp->fetches, sp->nfetches, &sp->cap_fetches, sizeof *v);
  if (!v) return;
  sp->fetches = v;
  sp->fetches[sp->nfetches++] = (fetch){idx, gen, now};
}

/* ---- the clock ------------------------------------------------------------------------------- */

/* One that only lineage names is made again, should it be needed. */
static int still_wanted(void *ctx, const node_piece *p) {
  node *n = ctx;
  if (!wr_away_wanted(&n->seg, p->idx, p->gen)) return 0;
  if (!wr_ref_unwanted(wr_load(&wr_obj(&n->seg, p->idx)->refs))) return 1;
  wr_away_lose(&n->sweeper.self, p->idx, p->gen);
  return wr_away_wanted(&n->seg, p->idx, p->gen);
}

/* Once nobody views what made the store grow, it may go to disk as well. */
static void fit_again(node *n) {
  uint64_t excess = node_shrink(n);
  if (!excess || n->spill->want) return;
  need(n, excess);
  pass(n, 0);
  n->spill->want = n->spill->largest = 0;
}

/* Drops what nobody needs any more from the disk.  Nobody tells that a value has been freed that
 * had come back and left its copy there: there is a look without a reason every now and then. */
static void review(node *n) {
  struct node_spill *sp = n->spill;
  uint64_t start = wr_os_now_ns();
  int due = sp->pieces.n && start >= sp->review_at;
  for (uint32_t k = 0; k < MAX_NESTED; k++, due = 0) {
    uint32_t dropped = wr_load32(&n->seg.h->files_dropped), sweeps = wr_load32(&n->seg.h->sweeps);
    if (!due && dropped == sp->dropped && sweeps == sp->sweeps) return;
    sp->dropped = dropped;
    sp->sweeps = sweeps;
    node_pieces_review(&sp->pieces, still_wanted, n); /* they may refer to what is on disk, too */
    uint64_t now = wr_os_now_ns(), took = now - start;
    sp->review_at = now + (took * REVIEW_SHARE > REVIEW_NS ? took * REVIEW_SHARE : REVIEW_NS);
  }
}

static void on_tick(uv_timer_t *timer) {
  node *n = timer->data;
  struct node_spill *sp = n->spill;
  if (n->ending) return;
  review(n);
  if (sp->nfetches) serve_fetches(n);
  fit_again(n);
  keep_ahead(n);
  end_turn(n);
  if (sp->crowded) wr_wake_all(&n->seg); /* sleepers give up what they have and do not use */
  sp->crowded = 0;
  if (!sp->pieces.n && !sp->nfetches && !sp->writing && !node_is_grown(n) &&
      !wr_load32(&n->seg.h->room_turn))
    uv_timer_stop(timer);
}

static void tick_on(node *n) {
  uv_timer_t *t = &n->spill->tick;
  if (!uv_is_active((uv_handle_t *)t)) uv_timer_start(t, on_tick, TICK_MS, TICK_MS);
}

/* ---- requests -------------------------------------------------------------------------------- */

void node_on_room(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint64_t bytes, waited_ns;
  (void)id;
  if (wr_in_uint(c, &bytes) != WR_OK || wr_in_uint(c, &waited_ns) != WR_OK) return;
  if (n->ending || !n->spill) return;
  n->spill->asking[p->slot / 64] |= UINT64_C(1) << p->slot % 64;
  n->spill->asked = wr_os_now_ns();
  give_turn(n, p->slot, waited_ns);
  uint32_t turn = wr_load32(&n->seg.h->room_turn);
  if (turn && turn != p->slot) return;
  need(n, bytes);
  pass(n, 1);
  note_look(n);
}

void node_on_fetch(node *n, node_proc *p, uint32_t id, wr_cursor *c) {
  uint32_t idx, gen;
  (void)p;
  (void)id;
  if (wr_in_u32(c, &idx) != WR_OK || wr_in_u32(c, &gen) != WR_OK || n->ending || !n->spill) return;
  if (!idx || (idx & WR_ACTOR_BIT) || wr_rec_chunk(idx) >= wr_load32(&n->seg.h->rec_high)) return;
  add_fetch(n, idx, gen);
  tick_on(n);
  serve_fetches(n);
  note_look(n);
}

void node_spill_forget(node *n, wr_idx idx, uint32_t gen) {
  if (n->spill) node_pieces_forget(&n->spill->pieces, idx, gen);
}

void node_spill_room(node *n, uint64_t bytes) {
  if (!n->spill) return;
  need(n, bytes);
  pass(n, 1);
}

/* ---- life ------------------------------------------------------------------------------------ */

int node_spill_open(node *n, const node_config *cfg) {
  struct node_spill *sp = wr_alloc(sizeof *sp);
  if (!sp) return WR_NOMEM;
  memset(sp, 0, sizeof *sp);
  sp->n = n;
  sp->pieces.me = &n->sweeper.self;
  sp->off = cfg->no_spill;
  if (node_errands_open(&sp->errands, n->loop) != WR_OK) {
    wr_free(sp);
    return WR_IO;
  }
  uv_timer_init(n->loop, &sp->tick);
  sp->tick.data = n;
  n->spill = sp;
  node_spill_dir_open(&sp->dir, &sp->pieces, cfg, n->dir);
  snprintf(n->seg.h->spill_dir, sizeof n->seg.h->spill_dir, "%s", sp->pieces.dir);
  return WR_OK;
}

void node_spill_close(node *n) {
  struct node_spill *sp = n->spill;
  if (!sp) return;
  wr_store32(&sp->stop, 1);
  uv_ref((uv_handle_t *)&sp->errands.finished_some);
  while (sp->writing || sp->reading) uv_run(n->loop, UV_RUN_ONCE);
  node_errands_close(&sp->errands);
  uv_timer_stop(&sp->tick);
  node_spill_dir_close(&sp->dir, &sp->pieces);
  node_pieces_free(&sp->pieces);
}

uint64_t node_spill_files(const node *n) { return n->spill ? n->spill->pieces.nfiles : 0; }
