/* What server and client of the load generator have in common. */
#ifndef LOAD_H
#define LOAD_H

#include <stddef.h>
#include <stdint.h>

#define BUFFER (1 << 20)

/* At the beginning of each request. */
struct sizes {
	uint32_t request;
	uint32_t response;
};

extern char buffer[BUFFER];

/* End the process with a message that has errno. */
void check(int succeeded, const char *what);
void set(int fd, int level, int option);
/* Send so many bytes of the buffer. */
void send_all(int fd, size_t left);

/* Answer on TCP and UDP until killed. */
void serve(int port);

#endif
