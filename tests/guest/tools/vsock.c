/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vsock listen PORT | vsock connect CID PORT: a stream over AF_VSOCK (vsock(7)). The one that listens takes one connection and writes what comes to
 * standard output; the one that connects sends its standard input. Runs on the host and in the guest.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* linux/vm_sockets.h, which musl's headers do not come with */
struct vsock_address {
	sa_family_t family;
	uint16_t reserved;
	uint32_t port, cid;
	uint8_t zero[4];
};

#define CID_ANY UINT32_MAX

static int copy(int from, int to)
{
	char bytes[65536];
	ssize_t got;

	while ((got = read(from, bytes, sizeof(bytes))) > 0) {
		for (ssize_t done = 0; done < got;) {
			ssize_t put = write(to, bytes + done, (size_t)(got - done));

			if (put < 0)
				return -1;
			done += put;
		}
	}
	return (int)got;
}

static int number(const char *text)
{
	return (int)strtoul(text, NULL, 0);
}

int main(int argc, char *argv[])
{
	struct vsock_address address = {.family = AF_VSOCK};
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), code = -1;

	if (fd < 0) {
		perror("vsock: socket");
		return 1;
	}
	if (argc == 3 && strcmp(argv[1], "listen") == 0) {
		address.cid = CID_ANY;
		address.port = (uint32_t)number(argv[2]);
		if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0) {
			int peer = accept(fd, NULL, NULL);

			code = peer < 0 ? -1 : copy(peer, STDOUT_FILENO);
		}
	} else if (argc == 4 && strcmp(argv[1], "connect") == 0) {
		address.cid = (uint32_t)number(argv[2]);
		address.port = (uint32_t)number(argv[3]);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			code = copy(STDIN_FILENO, fd);
	} else {
		fprintf(stderr, "usage: vsock listen PORT | vsock connect CID PORT\n");
		return 2;
	}
	if (code < 0)
		perror("vsock");
	return code < 0;
}
