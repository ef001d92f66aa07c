/* The server: it answers each request with as many bytes as the request asks for. */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define DESCRIPTORS 1024

static struct request {
	struct sizes sizes;
	size_t received;
} requests[DESCRIPTORS];

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	check(fd < DESCRIPTORS && !epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static int bound(int type, int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, type, 0);

	set(fd, SOL_SOCKET, SO_REUSEADDR);
	check(!bind(fd, (void *)&address, sizeof(address)), "bind");
	check(type == SOCK_DGRAM || !listen(fd, 4096), "listen");
	return fd;
}

static void return_datagram(int fd)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);
	ssize_t size = recvfrom(fd, buffer, BUFFER, 0, (void *)&from, &length);

	check(size >= 0, "recvfrom");
	check(sendto(fd, buffer, size, 0, (void *)&from, length) == size, "sendto");
}

static void read_request(int fd)
{
	struct request *request = &requests[fd];
	ssize_t size = recv(fd, buffer, BUFFER, 0);

	if (size <= 0) {
		close(fd);
		return;
	}
	if (!request->received) {
		check(size >= (ssize_t)sizeof(struct sizes), "a request begins with its sizes");
		memcpy(&request->sizes, buffer, sizeof(struct sizes));
	}
	request->received += size;
	if (request->received == request->sizes.request) {
		request->received = 0;
		send_all(fd, request->sizes.response);
	}
}

void serve(int port)
{
	int epoll = epoll_create1(0), tcp = bound(SOCK_STREAM, port), udp = bound(SOCK_DGRAM, port);
	struct epoll_event event;

	watch(epoll, tcp);
	watch(epoll, udp);
	for (;;) {
		if (epoll_wait(epoll, &event, 1, -1) < 1)
			continue;
		if (event.data.fd == udp) {
			return_datagram(udp);
		} else if (event.data.fd == tcp) {
			int fd = accept(tcp, NULL, NULL);

			check(fd >= 0, "accept");
			set(fd, IPPROTO_TCP, TCP_NODELAY);
			requests[fd].received = 0;
			watch(epoll, fd);
		} else {
			read_request(event.data.fd);
		}
	}
}
