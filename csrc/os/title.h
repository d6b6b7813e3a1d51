/* os/title.h - what `ps` shows of a process. */
#ifndef WR_OS_TITLE_H
#define WR_OS_TITLE_H

/* Overwrites the arguments that this process was started with, as far as there is room; one thread
 * at a time.  Without /proc nothing happens. */
void wr_os_set_title(const char *text);

#endif
