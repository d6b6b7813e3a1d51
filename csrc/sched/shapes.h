/* sched/shapes.h - numbers of shapes: given to demands, and taken back when nobody uses them.
 *
 * Single writer: only whiprayd calls this, from its loop.  Users of a shape are the tasks and
 * actors that have it, and processes with a claim for it or on their way to one.  Others may know
 * of it by a ticket.  Who builds a task looks at the ticket's round once the task is seen, who
 * claims looks at the shape's state once his intent is seen; so when a shape is CLOSING, a new
 * round has begun, and a look at all users finds none, there will be none. */
#ifndef WR_SCHED_SHAPES_H
#define WR_SCHED_SHAPES_H

#include "store/refs.h"

/* Shape i, whose pool, needs and place are written, may be used. */
void wr_shape_open(wr_seg *s, uint32_t i);
/* Nobody uses it any more. */
void wr_shape_free(wr_seg *s, uint32_t i);
/* Its job has ended: nobody will run a task of it any more.  0 for WR_SHAPE_ACTOR. */
int wr_shape_closed(const wr_seg *s, uint32_t i);
/* Frees all that have no user; how many.  `settle` makes what others have stored before it visible
 * here, and what has been stored here visible to whatever they load after it. */
uint32_t wr_shapes_reclaim(wr_self *me, void (*settle)(void));

#endif
