/* os/io.h - descriptors that do not block, pipes, and several descriptors in one message.
 * Same rules as os/os.h. */
#ifndef WR_OS_IO_H
#define WR_OS_IO_H

#include <stddef.h>
#include <stdint.h>

#define WR_OS_MAX_FDS 4 /* in one message */

int wr_os_dup(int fd); /* closes on exec */
int wr_os_pipe(int fds[2]); /* read end first; both close on exec */
int wr_os_set_nonblocking(int fd);
/* Bytes moved (0: end of stream), WR_AGAIN, WR_CLOSED, WR_IO. */
int wr_os_read_some(int fd, void *buf, size_t len);
int wr_os_recv_some(int sock, void *buf, size_t len); /* does not wait, whatever the socket is */
/* Sends what fits now, the descriptors with the first byte: bytes sent, WR_AGAIN, WR_CLOSED or
 * WR_IO. */
int wr_os_send_some(int sock, const void *buf, size_t len, const int *fds, int nfds);
int wr_os_accept(int listener); /* a descriptor, WR_AGAIN or WR_IO */
/* Waits for input on one of two sockets or pipes: bit 1: a, bit 2: b; 0: the time is up or a signal
 * came; WR_IO. */
int wr_os_wait_either(int a, int b, int64_t timeout_ns);
void wr_os_write_byte(int fd);  /* best effort */
void wr_os_shutdown(int sock);  /* both ways: wakes whoever reads */

#endif
