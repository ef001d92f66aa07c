/* The load generator: a server, and a client that times each operation by the monotonic clock.
 *
 *   load serve PORT    answers TCP and UDP until it is killed
 *   load ask           reads orders on stdin: WORK ADDRESS PORT COUNT REQUEST RESPONSE RATE
 *                      and prints, for each, one JSON array: the nanoseconds of each operation
 *
 *   load until ADDRESS PORT    connects until that succeeds, and prints when, in ns of the same
 * clock
 *
 * WORK is one of the table `works`. REQUEST and RESPONSE are sizes in bytes, at least 8: a request
 * begins with both sizes, so that the server needs no settings. For `http` they mean nothing.
 *
 * With RATE 0 an operation begins when the one before has ended. Else RATE operations are due a
 * second, and each is timed from when it was due: what it waits for those before it counts.
 *
 * Any error ends the process with a message: there is no figure of a run in which something failed.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define WARM_UP 20

char buffer[BUFFER];

void check(int succeeded, const char *what)
{
	if (!succeeded)
		err(1, "%s", what);
}

void set(int fd, int level, int option)
{
	check(!setsockopt(fd, level, option, &(int){1}, sizeof(int)), "setsockopt");
}

void send_all(int fd, size_t left)
{
	for (char *from = buffer; left;) {
		ssize_t sent = send(fd, from, left, MSG_NOSIGNAL);
		check(sent > 0, "send");
		from += sent;
		left -= sent;
	}
}

static struct sockaddr_in server;
static struct sizes sizes;
static int rate;

/* A reply that does not come within 5 s is an error. */
static int patient(int type)
{
	struct timeval patience = {.tv_sec = 5};
	int fd = socket(AF_INET, type, 0);

	check(!setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), "SO_RCVTIMEO");
	return fd;
}

static int opened(int type)
{
	int fd = patient(type);

	check(!connect(fd, (void *)&server, sizeof(server)), "connect");
	return fd;
}

static int tcp(void)
{
	int fd = opened(SOCK_STREAM);

	set(fd, IPPROTO_TCP, TCP_NODELAY);
	return fd;
}

static int connected_udp(void)
{
	return opened(SOCK_DGRAM);
}

static int unconnected_udp(void)
{
	return patient(SOCK_DGRAM);
}

static void exchange(int fd)
{
	memcpy(buffer, &sizes, sizeof(sizes));
	send_all(fd, sizes.request);
	check(recv(fd, buffer, sizes.response, MSG_WAITALL) == sizes.response, "recv");
}

static void exchange_unconnected(int fd)
{
	check(sendto(fd, buffer, sizes.request, 0, (void *)&server, sizeof(server)) > 0, "sendto");
	check(recv(fd, buffer, BUFFER, 0) == sizes.request, "recv");
}

static void exchange_http(int fd)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: server.app\r\n\r\n",
			  tail[] = "\r\n\r\nok";
	size_t received = 0;

	check(send(fd, request, sizeof(request) - 1, 0) == sizeof(request) - 1, "send");
	do {
		ssize_t size = recv(fd, buffer + received, BUFFER - 1 - received, 0);

		check(size > 0, "recv");
		received += size;
		buffer[received] = 0;
	} while (!strstr(buffer, tail));
	if (strncmp(buffer, "HTTP/1.1 200 ", 13))
		errx(1, "not 200: %s", buffer);
}

/* Until the server has closed: it must have accepted the connection, so that its queue stays short.
 */
static void close_both(int fd)
{
	check(!shutdown(fd, SHUT_WR), "shutdown");
	check(recv(fd, buffer, BUFFER, 0) == 0, "the server closes");
	close(fd);
}

static void close_at_once(int fd)
{
	close(fd);
}

static const struct work {
	const char *name;
	int (*open)(void);
	void (*exchange)(int fd);	 /* none: only the connection is timed */
	void (*close_each_time)(int fd); /* none: one connection for all operations */
} works[] = {
    {"connect", tcp, NULL, close_both},
    {"connect-exchange", tcp, exchange, close_at_once},
    {"exchange", tcp, exchange, NULL},
    {"http", tcp, exchange_http, NULL},
    {"http-connect", tcp, exchange_http, close_at_once},
    {"udp-connected", connected_udp, exchange, NULL},
    {"udp-unconnected", unconnected_udp, exchange_unconnected, NULL},
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ull + time.tv_nsec;
}

/* When an operation begins: now, or when it is due. */
static uint64_t begin(uint64_t due)
{
	struct timespec until = {due / 1000000000, due % 1000000000};

	if (!rate)
		return now();
	check(!clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL), "clock_nanosleep");
	return due;
}

static uint64_t operation(const struct work *work, int kept, uint64_t began)
{
	uint64_t took;
	int fd = work->close_each_time ? work->open() : kept;

	if (work->exchange)
		work->exchange(fd);
	took = now() - began;
	if (work->close_each_time)
		work->close_each_time(fd);
	return took;
}

static void run(const struct work *work, int count)
{
	int kept = work->close_each_time ? -1 : work->open();

	for (int i = 0; i < WARM_UP; i++)
		operation(work, kept, now());
	/* Printed afterwards: a write would disturb the next operation. */
	uint64_t *times = calloc(count, sizeof(*times)), begun = now();
	for (int i = 0; i < count; i++)
		times[i] = operation(work, kept, begin(begun + i * 1000000000ull / (rate ?: 1)));
	for (int i = 0; i < count; i++)
		printf("%c%llu", i ? ',' : '[', (unsigned long long)times[i]);
	puts("]");
	fflush(stdout);
	free(times);
	if (kept >= 0)
		close(kept);
}

static void ask(void)
{
	char name[32], address[32];
	int port, count;

	/* Timers end when they are due, not 50 us later. */
	check(!prctl(PR_SET_TIMERSLACK, 1), "PR_SET_TIMERSLACK");

	while (scanf("%31s %31s %d %d %u %u %d", name, address, &port, &count, &sizes.request,
		     &sizes.response, &rate) == 7) {
		const struct work *work = works, *last = works + sizeof(works) / sizeof(*works);

		while (work < last && strcmp(work->name, name))
			work++;
		server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
		if (work == last || !inet_aton(address, &server.sin_addr) || count < 1 ||
		    sizes.request > BUFFER || sizes.response > BUFFER || rate < 0)
			errx(1, "cannot do %s %s", name, address);
		run(work, count);
	}
}

static void until_connected(const char *address, int port)
{
	int fd, refused;

	server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	check(inet_aton(address, &server.sin_addr), "an IPv4 address");
	do {
		fd = patient(SOCK_STREAM);
		refused = connect(fd, (void *)&server, sizeof(server));
		check(!refused || errno == ECONNREFUSED, "connect");
		close(fd);
		/* The agent, which is waited for, may have no other CPU. */
		if (refused)
			usleep(200);
	} while (refused);
	printf("%llu\n", (unsigned long long)now());
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		serve(atoi(argv[2]));
	else if (argc == 4 && !strcmp(argv[1], "until"))
		until_connected(argv[2], atoi(argv[3]));
	else if (argc == 2 && !strcmp(argv[1], "ask"))
		ask();
	else
		errx(2, "usage: load serve PORT | load ask | load until ADDRESS PORT");
	return 0;
}
