/* sched/group.h - placement groups: resources taken from the ledger all at once, or not at all.
 *
 *   MAKING -> TAKING -> CREATED -> REMOVING -> REMOVED -> (made again)
 *             TAKING <-> PENDING -> REMOVING
 *
 * Whoever makes a group tries to take its resources at once; a group that finds them taken waits,
 * and whoever gives resources back tries for those that wait.  In MAKING, TAKING and REMOVING the
 * group is in the hands of the process in its state, and a sweep goes on where that one died.
 *
 * A group is removed by anybody, unless the daemon knows it (WR_GF_KNOWN: work has been or may be
 * started in it): then users have to be ended first, see sched/group_end.h. */
#ifndef WR_SCHED_GROUP_H
#define WR_SCHED_GROUP_H

#include "store/refs.h"

/* Why work in a group that has gone fails: the code of its errors, and what they say. */
#define WR_GROUP_GONE "TASK_GROUP_REMOVED"
#define WR_GROUP_GONE_TEXT "the task's placement group has been removed"

typedef struct {
  uint32_t n;
  wr_need need[WR_SHAPE_RESOURCES];
} wr_bundle_spec;

typedef struct {
  const wr_bundle_spec *bundles;
  uint32_t n;
  uint32_t flags; /* WR_GF_DETACHED, INFEASIBLE */
  uint16_t strategy;
  const char *name;
} wr_group_spec;

/* Makes a group and takes its resources if they are free.  WR_LIMIT: too many groups, bundles or
 * kinds of resources. */
int wr_groups_create(wr_self *me, const wr_group_spec *spec, uint32_t *idx, uint32_t *gen);
/* WR_OK: removed, now or before.  WR_AGAIN: only the daemon can do it. */
int wr_groups_remove(wr_self *me, uint32_t idx, uint32_t gen);
/* Resources may have been given back: tries for the groups that wait, the oldest first. */
void wr_groups_retry(wr_self *me);
/* Phase of the group, REMOVED when it has been forgotten; asks for a wake-up when it changes. */
uint32_t wr_groups_watch(wr_seg *s, uint32_t idx, uint32_t gen);
/* Object obj, whose value is written, is to be sealed by whoever creates (or removes) the group.
 * WR_STATE: another one is there, *other; WR_STALE: the group is not pending. */
int wr_groups_set_ready(wr_self *me, uint32_t idx, uint32_t gen, wr_idx obj, uint64_t *other);

/* For the daemon.  Marks the group as known; 0: it is removed, or about to be. */
int wr_groups_know(wr_seg *s, uint32_t idx, uint32_t gen);
/* The group is REMOVING under this process and has no user left: the last steps. */
void wr_groups_finish(wr_self *me, uint32_t idx);
/* Goes on where process `slot` died. */
void wr_groups_sweep(wr_self *me, uint32_t slot);
/* For the audit: what the groups have taken of a resource. */
int64_t wr_groups_reserved(const wr_seg *s, uint32_t res);

/* Does it stand, so that work may begin in it? */
static inline int wr_group_open(const wr_seg *s, uint32_t idx, uint32_t gen) {
  uint64_t st = wr_load(&s->groups[idx % WR_MAX_GROUPS].state);
  return WR_GROUP_GEN(st) == gen && WR_GROUP_PHASE(st) == WR_GROUP_CREATED &&
         !(WR_GROUP_FLAGS(st) & WR_GF_DOOMED);
}
/* Does it stand, or may yet? */
static inline int wr_group_lives(const wr_seg *s, uint32_t idx, uint32_t gen) {
  uint64_t st = wr_load(&s->groups[idx % WR_MAX_GROUPS].state);
  uint32_t phase = WR_GROUP_PHASE(st);
  return WR_GROUP_GEN(st) == gen && phase != WR_GROUP_FREE && phase < WR_GROUP_REMOVING &&
         !(WR_GROUP_FLAGS(st) & WR_GF_DOOMED);
}

#endif
