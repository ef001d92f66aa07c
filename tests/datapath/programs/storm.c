// SPDX-License-Identifier: Apache-2.0
/*
 * Connects UDP sockets to frontends in turn, and reads from its own address which backend each
 * got: to a local address the kernel goes from that same address. Compiled and run by
 * test_storm.py.
 *
 * Arguments: how many, which of the 1000 to begin with. Frontend n is 10.96.0.0 + n, its backends
 * are 10.1.0.0 + 2n and + 2n + 1. Prints how many reached a backend of their own, how many the
 * frontend itself (it had no row), how many were refused, and how many anything else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FRONTENDS 1000
#define FRONTEND  0x0a600000u
#define BACKEND	  0x0a010000u

static long reached, untouched, refused, wrong;

/* Connects a socket to a frontend and counts where it got. */
static void connect_to(int sock, unsigned frontend)
{
	struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct sockaddr_in here;
	socklen_t length = sizeof(here);
	unsigned from;

	there.sin_addr.s_addr = htonl(FRONTEND + frontend);
	if (connect(sock, (struct sockaddr *)&there, sizeof(there))) {
		if (errno == ECONNREFUSED)
			refused++;
		else
			wrong++;
		return;
	}
	getsockname(sock, (struct sockaddr *)&here, &length);
	from = ntohl(here.sin_addr.s_addr);
	if (from - BACKEND == 2 * frontend || from - BACKEND == 2 * frontend + 1)
		reached++;
	else if (from == FRONTEND + frontend)
		untouched++;
	else
		wrong++;
}

int main(int count, char **arguments)
{
	long rounds = atol(arguments[1]);
	unsigned next = atoi(arguments[2]);
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	int sock = socket(AF_INET, SOCK_DGRAM, 0);

	for (long round = 0; round < rounds; round++) {
		/* A socket keeps its backend, so that it has to be another one now and then. */
		if (round % 16 == 0) {
			close(sock);
			sock = socket(AF_INET, SOCK_DGRAM, 0);
		}
		next = (next * 1103515245 + 12345) & 0x7fffffff;
		connect_to(sock, (next >> 8) % FRONTENDS);
		connect(sock, &nobody, sizeof(nobody));
	}
	printf("[%ld, %ld, %ld, %ld]\n", reached, untouched, refused, wrong);
	return 0;
}
