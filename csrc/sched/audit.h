/* sched/audit.h - do the shared records of a quiescent session agree with each other?
 *
 * Quiescent: nobody is inside an engine call, and every dead process has been swept; tasks may run
 * or wait.  Read-only; any process that maps the segment may call it.  On a session that is busy
 * the counts are out of step, and what it reports means nothing. */
#ifndef WR_SCHED_AUDIT_H
#define WR_SCHED_AUDIT_H

#include <stddef.h>

#include "shm/segment.h"

#define WR_AUDIT_PHASES 9u /* of tasks, indexed by enum wr_task_phase */

typedef struct {
  uint64_t objects;     /* living ones, returns of tasks among them; exported functions apart */
  uint64_t lineage;     /* records that nothing but the lineage of others needs; no objects */
  uint64_t functions;   /* exported, kept until the session ends */
  uint64_t spilled;     /* of the objects: their value is not in memory */
  uint64_t value_bytes; /* of the values of living objects, exported functions apart */
  uint64_t nodes;       /* entries of waiting lists, stale ones too */
  uint64_t tasks[WR_AUDIT_PHASES];
  uint64_t actors;      /* records in use, of dead actors too */
  uint64_t holds;       /* entries of all hold tables */
  uint64_t rec_chunks, heap_chunks; /* in use */
  uint32_t violations;
} wr_audit;

/* Fills *out and writes the first violations into text (cap bytes, a line each).
 * Returns the number of violations, or WR_NOMEM. */
int wr_audit_session(wr_seg *s, wr_audit *out, char *text, size_t cap);

#endif
