/* base/failpoint.h - named places where a hostile build can die or stall.
 * WHIPRAY_FAILPOINT="name[@n]=kill|segv|exit|stop" arms one place: at its n-th passing (1 if
 * absent) the process does what the action says.  Release builds compile the places away. */
#ifndef WR_BASE_FAILPOINT_H
#define WR_BASE_FAILPOINT_H

#ifdef WR_HOSTILE
void wr_failpoint(const char *name);
void wr_failpoint_arm(const char *spec); /* NULL disarms; a malformed spec is ignored */
/* Called at every place that is passed, by whichever thread; NULL: nobody is.  For simulations. */
extern void (*wr_failpoint_hook)(const char *name);
#define WR_FAILPOINT(name) wr_failpoint(name)
#else
#define WR_FAILPOINT(name) ((void)0)
#endif

#endif
