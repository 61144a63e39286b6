/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/qmp/server.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "vmm/base/clock.h"
#include "vmm/base/io.h"
#include "vmm/qmp/events.h"
#include "vmm/qmp/session.h"

enum {
	READ_MAX = 4096,  /* bytes of a client at a time */
	SENT_MAX = 65536, /* bytes that were sent and still take memory */
	EVENTS_MAX = QMP_CLIENTS_MAX + 1,
	OVERFLOW_UID = 65534 /* user_namespaces(7) */
};

struct qmp_client {
	int fd; /* owned */
	struct qmp_session session;
	uint8_t input[READ_MAX]; /* read and not taken yet: from taken to filled */
	size_t taken, filled;
	struct buf output; /* not sent yet: from sent on */
	size_t sent;
	uint32_t watched; /* epoll's events */
	bool gone;        /* to be let go at the end of the turn */
};

struct qmp_server {
	struct sockaddr_un address;
	bool bound;
	dev_t device; /* of the socket's file, */
	ino_t inode;  /* to know it again; 0 when it is not known */
	int folder;   /* that it is in; -1 when unset */
	int listen_fd, epoll_fd;
	uid_t user;     /* who started the machine */
	bool listening; /* listen_fd is watched */
	bool in_turn;
	struct qmp_client *clients[QMP_CLIENTS_MAX];
	struct machine_control control;
};

/* ---------------------------------------------------------------------------------------------- clients */

static bool has_output(const struct qmp_client *client)
{
	return client->sent < client->output.size;
}

/* Sends what the socket takes. */
static void flush(struct qmp_client *client)
{
	struct buf *output = &client->output;

	while (!client->gone && has_output(client)) {
		/* not send(): that would be one more system call, and SIGPIPE is ignored (machine_run.c) */
		ssize_t count = write(client->fd, output->data + client->sent, output->size - client->sent);

		if (count >= 0)
			client->sent += (size_t)count;
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			client->gone = true;
	}
	if (!has_output(client)) {
		client->gone = client->gone || buf_failed(output);
		buf_release(output);
		client->sent = 0;
	} else if (client->sent > SENT_MAX) {
		output->size -= client->sent;
		memmove(output->data, output->data + client->sent, output->size);
		client->sent = 0;
	}
	if (output->size - client->sent > QMP_OUTPUT_MAX)
		client->gone = true;
}

/* Waits for room when there is something to say, for its turn when there is something to take, else for input. */
static void watch(const struct qmp_server *server, struct qmp_client *client)
{
	uint32_t events = has_output(client) || client->taken < client->filled ? EPOLLOUT : EPOLLIN;
	struct epoll_event event = {.events = events, .data.ptr = client};

	if (!client->gone && events != client->watched &&
	    epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, client->fd, &event) < 0)
		client->gone = true;
	client->watched = events;
}

static void receive(struct qmp_client *client)
{
	ssize_t count = read(client->fd, client->input, sizeof(client->input));

	client->taken = 0;
	client->filled = count > 0 ? (size_t)count : 0;
	if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR))
		client->gone = true;
}

/* A client's turn. */
static void serve(struct qmp_client *client, struct machine *machine)
{
	flush(client);
	if (!client->gone && !has_output(client) && client->taken == client->filled)
		receive(client);
	/* one command and no more: others wait, and devices */
	if (!client->gone && !has_output(client) && client->taken < client->filled) {
		client->taken += qmp_session_take(&client->session, client->input + client->taken,
						  client->filled - client->taken, machine, &client->output);
		flush(client);
	}
}

static void let_go(struct qmp_client *client)
{
	io_close(&client->fd);
	qmp_session_release(&client->session);
	buf_release(&client->output);
	free(client);
}

static void watch_listener(struct qmp_server *server)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

	if (!server->listening)
		server->listening = epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &event) == 0;
}

static void end_turn(struct qmp_server *server)
{
	for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
		struct qmp_client *client = server->clients[i];

		if (client == NULL)
			continue;
		watch(server, client);
		if (!client->gone)
			continue;
		let_go(client);
		server->clients[i] = NULL;
		watch_listener(server); /* there is a descriptor again */
	}
}

/* Says why to one who does not become a client. */
static int refuse(int fd, const char *why, int code)
{
	struct buf line = {0};

	qmp_line_error(&line, why);
	if (!buf_failed(&line))
		(void)!write(fd, line.data, line.size);
	buf_release(&line);
	close(fd);
	return code;
}

int qmp_server_add(struct qmp_server *server, int fd)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct qmp_client *client;
	size_t place = 0;

	while (place < QMP_CLIENTS_MAX && server->clients[place] != NULL)
		place++;
	if (place == QMP_CLIENTS_MAX)
		return refuse(fd, "there are 8 clients already; wait until one has gone", -EUSERS);
	client = calloc(1, sizeof(*client));
	event.data.ptr = client;
	if (client == NULL || epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		free(client);
		return refuse(fd, "no memory for another client", -ENOMEM);
	}
	client->fd = fd;
	client->watched = EPOLLIN;
	server->clients[place] = client;
	qmp_session_greet(&client->output);
	flush(client);
	return 0;
}

/* ---------------------------------------------------------------------------------------------- the socket */

/*
 * The socket's mode already lets in its owner and root alone. In a user namespace (the sandbox of one who is not root) root
 * is seen as the one whom nobody is mapped to.
 */
static bool may_enter(int fd, uid_t user)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == 0 || peer.uid == user || (user != 0 && peer.uid == OVERFLOW_UID));
}

static bool has_clients(const struct qmp_server *server)
{
	for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
		if (server->clients[i] != NULL)
			return true;
	}
	return false;
}

static void accept_one(struct qmp_server *server)
{
	int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		if (may_enter(fd, server->user))
			(void)qmp_server_add(server, fd);
		else
			(void)refuse(fd, "this machine is another user's", -EACCES);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED && has_clients(server)) {
		/* no descriptor: who waits there would keep the loop busy until a client goes */
		epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->listen_fd, NULL);
		server->listening = false;
	}
}

static void on_ready(void *context, struct machine *machine)
{
	struct qmp_server *server = context;
	struct epoll_event events[EVENTS_MAX];
	int count = epoll_wait(server->epoll_fd, events, EVENTS_MAX, 0);

	server->in_turn = true;
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr != NULL)
			serve(events[i].data.ptr, machine);
	}
	/* last: what is in events[] stays valid until here */
	for (int i = 0; i < count; i++) {
		if (events[i].data.ptr == NULL)
			accept_one(server);
	}
	server->in_turn = false;
	end_turn(server);
}

static void on_event(void *context, const struct machine_event *event)
{
	struct qmp_server *server = context;

	for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
		struct qmp_client *client = server->clients[i];

		if (client == NULL || client->gone || !client->session.negotiated)
			continue;
		qmp_line(&client->output, qmp_event(event));
		flush(client);
	}
	if (!server->in_turn)
		end_turn(server);
}

/*
 * Whether the file there is a socket at which nobody listens any more: what a killed machine leaves behind. It is
 * removed then, or 0 is not what this returns.
 */
static int remove_stale(const struct sockaddr_un *address, struct error *err)
{
	const char *path = address->sun_path;
	struct stat status;
	int fd, code;

	if (lstat(path, &status) < 0) {
		if (errno == ENOENT)
			return 0;
		return error_set(err, EXIT_STATUS_HOST, errno,
				 "--qmp unix:%s: cannot make a socket there: %s; use a path in a folder of yours", path,
				 strerror(errno));
	}
	if (!S_ISSOCK(status.st_mode))
		return error_set(err, EXIT_STATUS_HOST, EEXIST,
				 "--qmp unix:%s: there is a file, and it is no socket; use another path", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "--qmp: no socket: %s", strerror(errno));
	code = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? errno : 0;
	close(fd);
	if (code == 0 || code == EAGAIN)
		return error_set(err, EXIT_STATUS_HOST, EADDRINUSE,
				 "--qmp unix:%s: a running program listens there; use another path", path);
	if (code != ECONNREFUSED || (unlink(path) < 0 && errno != ENOENT))
		return error_set(err, EXIT_STATUS_HOST, EADDRINUSE,
				 "--qmp unix:%s: there is a socket that cannot be replaced: %s; use another path", path,
				 strerror(code != ECONNREFUSED ? code : errno));
	return 0;
}

/* fchmod() before bind() is what the file's mode comes from, with the umask, so it is never open to others. */
static int bind_at(struct qmp_server *server, struct error *err)
{
	const struct sockaddr *address = (const struct sockaddr *)&server->address;
	const char *path = server->address.sun_path;
	struct stat status;

	if (fchmod(server->listen_fd, 0600) < 0 || bind(server->listen_fd, address, sizeof(server->address)) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno,
				 "--qmp unix:%s: cannot make a socket there: %s; use a path in a folder of yours", path,
				 strerror(errno));
	server->bound = true;
	if (lstat(path, &status) == 0) {
		server->device = status.st_dev;
		server->inode = status.st_ino;
	}
	if (listen(server->listen_fd, QMP_CLIENTS_MAX) < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "--qmp unix:%s: cannot listen: %s", path,
				 strerror(errno));
	return 0;
}

/*
 * Machines that start at once must not take each other's new socket for a stale one: they go one after the other, by a
 * lock on the folder. Who cannot have it in time, because anyone may hold it, goes on without.
 */
static void lock_folder(int folder)
{
	enum { RETRY_NS = 10 * 1000 * 1000 };

	for (int i = 0; i < 50 && flock(folder, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK; i++)
		clock_pause(RETRY_NS);
}

/* Good for as long as the server: the process may have no paths any more when the socket is removed. -1 without it. */
static int open_folder(const char *path)
{
	char copy[sizeof(((struct sockaddr_un *)NULL)->sun_path)];

	const char *folder;
	int fd;

	memcpy(copy, path, strlen(path) + 1); /* as long as sun_path at most */
	folder = dirname(copy);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* one that may be written and not read will do, without the lock */
	return fd >= 0 ? fd : open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static const char *name_of(const struct qmp_server *server)
{
	const char *path = server->address.sun_path, *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

static int set_up(struct qmp_server *server, struct error *err)
{
	int code;

	server->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (server->listen_fd < 0 || server->epoll_fd < 0)
		return error_set(err, EXIT_STATUS_HOST, errno, "--qmp: no socket: %s", strerror(errno));
	server->folder = open_folder(server->address.sun_path);
	lock_folder(server->folder);
	code = remove_stale(&server->address, err);
	if (code == 0)
		code = bind_at(server, err);
	flock(server->folder, LOCK_UN);
	if (code < 0)
		return code;
	watch_listener(server);
	if (!server->listening)
		return error_set(err, EXIT_STATUS_HOST, errno, "--qmp: no socket: %s", strerror(errno));
	server->control = (struct machine_control){server->epoll_fd, on_ready, on_event, server, server->folder};
	return 0;
}

int qmp_server_open(struct qmp_server **server, const char *path, struct error *err)
{
	struct qmp_server *self = calloc(1, sizeof(*self));
	int code;

	if (self == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "--qmp: no memory");
	/* jansson reads /dev/urandom for its first object: not when the process may open files no more */
	json_object_seed(0);
	self->folder = -1;
	self->listen_fd = -1;
	self->epoll_fd = -1;
	self->user = geteuid();
	self->address.sun_family = AF_UNIX;
	if (strlen(path) < sizeof(self->address.sun_path)) {
		memcpy(self->address.sun_path, path, strlen(path) + 1);
		code = set_up(self, err);
	} else {
		code = error_set(err, EXIT_STATUS_CONFIG, ENAMETOOLONG,
				 "--qmp unix:%s: a socket's path has at most %zu bytes; use a shorter one", path,
				 sizeof(self->address.sun_path) - 1);
	}
	if (code < 0) {
		qmp_server_close(self);
		return code;
	}
	*server = self;
	return 0;
}

/* Unless another has taken its place. */
static void remove_socket(const struct qmp_server *server)
{
	struct stat status;

	if (!server->bound)
		return;
	if (server->inode == 0 || fstatat(server->folder, name_of(server), &status, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (status.st_dev == server->device && status.st_ino == server->inode))
		unlinkat(server->folder, name_of(server), 0);
}

void qmp_server_close(struct qmp_server *server)
{
	if (server == NULL)
		return;
	for (size_t i = 0; i < QMP_CLIENTS_MAX; i++) {
		if (server->clients[i] != NULL)
			let_go(server->clients[i]);
	}
	remove_socket(server);
	io_close(&server->folder);
	io_close(&server->listen_fd);
	io_close(&server->epoll_fd);
	free(server);
}

const struct machine_control *qmp_server_control(const struct qmp_server *server)
{
	return &server->control;
}
