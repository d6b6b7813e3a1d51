/* os/cgroup.h - the control groups that this process is in, of either version of them. */
#ifndef WR_OS_CGROUP_H
#define WR_OS_CGROUP_H

/* Calls visit with the directory of the process's group in the hierarchy of `controller`, such as
 * "memory", and with that of each group above it; NULL: the unified hierarchy.  Where the system
 * shows less of the hierarchy than the group's name says, as in a container, some of them are not
 * there.  `top` is put in front of every path: "" but in tests. */
void wr_os_cgroup_walk(const char *top, const char *controller,
                       void (*visit)(const char *dir, void *arg), void *arg);

#endif
