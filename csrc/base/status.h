/* base/status.h - result codes of every engine call.
 * 0 is success; failures are negative.  One table (status.c) gives each code a name and a text. */
#ifndef WR_BASE_STATUS_H
#define WR_BASE_STATUS_H

enum {
  WR_OK = 0,
  WR_NOMEM = -1,     /* private memory exhausted */
  WR_FULL = -2,      /* the object store has no room for the value */
  WR_TIMEOUT = -3,   /* the deadline passed first */
  WR_INTR = -4,      /* a signal arrived: let the caller run its handlers and come back */
  WR_CLOSED = -5,    /* not attached, or the session has ended */
  WR_INVAL = -6,     /* an argument is out of range */
  WR_STALE = -7,     /* the id names a record that has been reused or freed */
  WR_LIMIT = -8,     /* a table of the segment (processes, actors, shapes, records) is full */
  WR_IO = -9,        /* a system call failed; errno says why */
  WR_PROTO = -10,    /* a peer sent something that is not a valid message */
  WR_VERSION = -11,  /* the segment or the peer is of another version */
  WR_DENIED = -12,   /* a peer of another user, or a wrong token */
  WR_AGAIN = -13,    /* nothing to do now; try again after a wake-up */
  WR_EXISTS = -14,   /* the name is taken */
  WR_NOTFOUND = -15, /* no such name or record */
  WR_DEAD = -16,     /* the actor or process has died */
  WR_STATE = -17,    /* the record is not in a state that allows this */
  WR_AWAY = -18,     /* the value is on disk: it has to be fetched first */
  WR_LOST = -19      /* the value was on disk, and is not there any more */
};

const char *wr_status_name(int code);
const char *wr_status_text(int code);

#endif
