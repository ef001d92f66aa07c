/* A container that connects before all else. Arguments: address, port. Prints what the server says, or the error. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
	char said[100] = "";
	int made = socket(AF_INET, SOCK_STREAM, 0);

	inet_aton(argv[1], &to.sin_addr);
	if (connect(made, (struct sockaddr *)&to, sizeof(to)) < 0)
		printf("[\"errno\", %d]\n", errno);
	else if (read(made, said, sizeof(said) - 1) > 0)
		fputs(said, stdout);
	return 0;
}
