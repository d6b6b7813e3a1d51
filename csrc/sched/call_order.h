/* sched/call_order.h - the order of calls on an actor when its mailbox is made anew.
 * For the sweep.  What clients have written into the calls is read once, before anything is sorted:
 * they may go on writing. */
#ifndef WR_SCHED_CALL_ORDER_H
#define WR_SCHED_CALL_ORDER_H

#include "shm/segment.h"

/* By submitter, and each one's in the order of their submission.  Without memory: as they are. */
void wr_calls_sort(const wr_seg *s, wr_idx *calls, uint32_t n);

#endif
