/* os/files.h - directories and small files of a session.  Same rules as os/os.h. */
#ifndef WR_OS_FILES_H
#define WR_OS_FILES_H

#include <stddef.h>
#include <stdint.h>

/* Makes the directory with mode 0700, or accepts one that is there, is no symbolic link and belongs
 * to this user and nobody else may write to; WR_DENIED otherwise. */
int wr_os_private_dir(const char *path);
int wr_os_mkdir(const char *path); /* mode 0700; WR_EXISTS */
/* Removes a directory and all below it without following links; best effort. */
void wr_os_remove_tree(const char *path);
/* Opens and locks a file for this process alone; the descriptor, or WR_AGAIN: someone holds it. */
int wr_os_lock_file(const char *path, int create);
int wr_os_open_append(const char *path); /* made with mode 0600 */
int wr_os_write_some(int fd, const void *buf, size_t len); /* bytes or WR_IO */
/* The last bytes of a file, NUL terminated. */
void wr_os_read_tail(const char *path, char *out, size_t cap);
int64_t wr_os_dir_age_s(const char *path); /* seconds since its last change; < 0: not there */
int64_t wr_os_wall_seconds(void);
/* Calls visit for every name in the directory that starts with prefix. */
int wr_os_list_dir(const char *path, const char *prefix, void (*visit)(const char *name, void *arg),
                   void *arg);
void wr_os_redirect_output(int fd); /* makes fd the standard output and error */
char **wr_os_environment(void);     /* borrowed */
int wr_os_random(void *out, size_t n);

/* Files of values.  Create makes a file that is not there yet, mode 0600: a descriptor.  WR_IO with
 * errno set; wr_os_disk_is_full tells whether an errno says so. */
int wr_os_create_file(const char *path);
int wr_os_open_file(const char *path); /* for reading */
int wr_os_write_at(int fd, const void *buf, size_t len, uint64_t off); /* all of it */
int wr_os_read_at(int fd, void *buf, size_t len, uint64_t off); /* likewise; WR_CLOSED: the end */
void wr_os_remove_file(const char *path);
/* Bytes of the file system. */
int wr_os_disk_room(const char *path, uint64_t *free, uint64_t *all);
int wr_os_disk_is_full(int error);
int wr_os_error_passes(int error); /* something was short: the same call may go well later */
int wr_os_disk_full(void); /* WR_IO, with the errno of a full disk */

#endif
