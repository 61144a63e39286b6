/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/metrics_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/base/io.h"
#include "vmm/metrics_json.h"

int metrics_file_open(struct metrics_file *file, const struct config_metrics *config, struct error *err)
{
	const int append = config->format == METRICS_JSON ? O_APPEND : 0;
	struct stat status;

	*file = (struct metrics_file){.fd = -1, .config = config};
	if (config->path == NULL)
		return 0;
	/* jansson reads /dev/urandom for its first object: not when the process may open files no more */
	json_object_seed(0);
	/* O_NONBLOCK: a FIFO is refused below, not waited for */
	file->fd = open(config->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | append, 0666);
	if (file->fd < 0)
		return error_set(
			err, EXIT_STATUS_HOST, errno,
			"--metrics path=%s: cannot open it for writing: %s; name a file that can be made there",
			config->path, strerror(errno));
	if (io_status(file->fd, &status) == 0 && S_ISREG(status.st_mode))
		return 0;
	metrics_file_release(file);
	return error_set(err, EXIT_STATUS_HOST, EINVAL, "--metrics path=%s: not a regular file; name one",
			 config->path);
}

void metrics_file_release(struct metrics_file *file)
{
	io_close(&file->fd);
}

/* 0 or -errno; then what was written of the line is taken back. */
static int append(int fd, const void *bytes, size_t size)
{
	struct stat before;
	ssize_t done;

	if (io_status(fd, &before) < 0)
		return -errno;
	done = write(fd, bytes, size);
	if (done == (ssize_t)size)
		return 0;
	/* EFBIG, ENOSPC and the like come with the next write only */
	return done < 0 ? -errno : ftruncate(fd, before.st_size) < 0 ? -errno : -ENOSPC;
}

static int replace(int fd, const void *bytes, size_t size)
{
	ssize_t done = ftruncate(fd, 0);

	if (done == 0)
		done = pwrite(fd, bytes, size, 0);
	if (done == (ssize_t)size)
		return 0;
	return done < 0 ? -errno : -ENOSPC;
}

static int write_json(int fd, const struct metrics *metrics)
{
	json_t *json = metrics_json(metrics);
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT) : NULL;
	size_t size = text != NULL ? strlen(text) : 0;
	int code = -ENOMEM;

	if (text != NULL) {
		text[size] = '\n'; /* in the place of the closing zero */
		code = append(fd, text, size + 1);
	}
	free(text);
	json_decref(json);
	return code;
}

static int write_text(int fd, const struct metrics *metrics)
{
	struct buf text = {0};
	int code = -ENOMEM;

	metrics_text(metrics, &text);
	if (!buf_failed(&text))
		code = replace(fd, text.data, text.size);
	buf_release(&text);
	return code;
}

void metrics_file_write(struct metrics_file *file, const struct metrics *metrics, const struct log *log)
{
	int code = file->config->format == METRICS_JSON ? write_json(file->fd, metrics) : write_text(file->fd, metrics);

	if (code < 0)
		log_limited(log, &file->log_limit, LOG_WARN, "--metrics path=%s: cannot be written: %s",
			    file->config->path, strerror(-code));
}
