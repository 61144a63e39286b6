/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a program: counts and times its system calls up to the first KVM_RUN, says them in one line on stderr (see calls_mark.h)
 * and stops there. A call costs two readings of the clock more, far less than under strace. What libc calls on its own is not seen.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/calls_mark.h"

enum { NAMES_MAX = 64, BIG = 64 * 1024 };

static struct {
	const char *name;
	uint64_t count, ns;
} table[NAMES_MAX];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t main_at, thread_at;

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

/* What happens at once on several threads is counted in full on each of them. */
static void add(const char *name, uint64_t ns)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < NAMES_MAX; i++) {
		if (table[i].name == NULL)
			table[i].name = name;
		if (strcmp(table[i].name, name) == 0) {
			table[i].count++;
			table[i].ns += ns;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

/* The C library's names for the parameters start with underscores, which are not ours to use. */
/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/* A function that counts and times what the program would have called: the next object's function of this name. */
#define TIMED(type, name, label, parameters, arguments)                                                                \
	type name parameters                                                                                           \
	{                                                                                                              \
		static type(*next) parameters;                                                                         \
		uint64_t from;                                                                                         \
		type result;                                                                                           \
                                                                                                                       \
		if (next == NULL)                                                                                      \
			*(void **)&next = dlsym(RTLD_NEXT, #name);                                                     \
		from = now();                                                                                          \
		result = next arguments;                                                                               \
		add(label, now() - from);                                                                              \
		return result;                                                                                         \
	}

TIMED(int, memfd_create, "memfd_create", (const char *name, unsigned flags), (name, flags))
TIMED(int, ftruncate, "ftruncate", (int fd, off_t size), (fd, size))
TIMED(int, ftruncate64, "ftruncate", (int fd, off64_t size), (fd, size))
TIMED(int, madvise, "madvise", (void *at, size_t size, int advice), (at, size, advice))
TIMED(int, munmap, "munmap", (void *at, size_t size), (at, size))
TIMED(int, eventfd, "eventfd", (unsigned value, int flags), (value, flags))
TIMED(int, close, "close", (int fd), (fd))
TIMED(void *, mmap, (flags & MAP_ANONYMOUS) != 0 ? "mmap-anonymous" : "mmap-file",
      (void *at, size_t size, int protection, int flags, int fd, off_t offset),
      (at, size, protection, flags, fd, offset))
TIMED(ssize_t, read, size >= BIG ? "read-big" : "read-small", (int fd, void *to, size_t size), (fd, to, size))
TIMED(ssize_t, pread, size >= BIG ? "read-big" : "read-small", (int fd, void *to, size_t size, off_t offset),
      (fd, to, size, offset))
TIMED(ssize_t, pread64, size >= BIG ? "read-big" : "read-small", (int fd, void *to, size_t size, off64_t offset),
      (fd, to, size, offset))
TIMED(ssize_t, write, size >= BIG ? "write-big" : "write-small", (int fd, const void *from_at, size_t size),
      (fd, from_at, size))
TIMED(ssize_t, pwrite, size >= BIG ? "write-big" : "write-small",
      (int fd, const void *from_at, size_t size, off_t offset), (fd, from_at, size, offset))
TIMED(ssize_t, copy_file_range, "copy_file_range",
      (int in, off64_t *in_offset, int out, off64_t *out_offset, size_t size, unsigned flags),
      (in, in_offset, out, out_offset, size, flags))
TIMED(ssize_t, sendfile, "sendfile", (int out, int in, off_t *offset, size_t size), (out, in, offset, size))
TIMED(DIR *, opendir, "list-folder", (const char *path), (path))
TIMED(struct dirent *, readdir, "list-folder", (DIR * folder), (folder))
TIMED(int, closedir, "list-folder", (DIR * folder), (folder))

/* The mode is passed on also when the caller gave none: the kernel does not look at it then. */
#define TIMED_OPEN(name, before, next_arguments)                                                                       \
	int name before                                                                                                \
	{                                                                                                              \
		static int(*next) before;                                                                              \
		va_list arguments;                                                                                     \
		uint64_t from;                                                                                         \
		int mode, result;                                                                                      \
                                                                                                                       \
		if (next == NULL)                                                                                      \
			*(void **)&next = dlsym(RTLD_NEXT, #name);                                                     \
		va_start(arguments, flags);                                                                            \
		mode = va_arg(arguments, int);                                                                         \
		va_end(arguments);                                                                                     \
		from = now();                                                                                          \
		result = next next_arguments;                                                                          \
		add("open", now() - from);                                                                             \
		return result;                                                                                         \
	}

TIMED_OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
TIMED_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
TIMED_OPEN(openat, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))
TIMED_OPEN(openat64, (int folder, const char *path, int flags, ...), (folder, path, flags, mode))

/* The first thread is the boot processor's: from here to its KVM_RUN is the price of starting it. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument)
{
	static int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_create");
	if (thread_at == 0)
		thread_at = now();
	return next(thread, attributes, start, argument);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */

__attribute__((constructor)) static void note_main(void)
{
	main_at = now();
}

_Noreturn static void stop_at_run(void)
{
	uint64_t at = now();
	char line[8192];
	size_t used;

	pthread_mutex_lock(&lock);
	used = (size_t)snprintf(line, sizeof(line), CALLS_MARK "main=%" PRIu64 " run=%" PRIu64, main_at, at);
	if (thread_at != 0)
		used += (size_t)snprintf(line + used, sizeof(line) - used, " thread-start=1/%" PRIu64, at - thread_at);
	for (size_t i = 0; i < NAMES_MAX && table[i].name != NULL && used < sizeof(line); i++)
		used += (size_t)snprintf(line + used, sizeof(line) - used, " %s=%" PRIu64 "/%" PRIu64, table[i].name,
					 table[i].count, table[i].ns);
	if (used < sizeof(line))
		dprintf(STDERR_FILENO, "%s\n", line);
	for (;;)
		pause();
}

static const char *request_name(unsigned long request)
{
#define NAME(number)                                                                                                   \
	{                                                                                                              \
		number, #number                                                                                        \
	}
	static const struct {
		unsigned long number;
		const char *name;
	} names[] = {
		NAME(KVM_GET_API_VERSION),
		NAME(KVM_CHECK_EXTENSION),
		NAME(KVM_GET_VCPU_MMAP_SIZE),
		NAME(KVM_GET_SUPPORTED_CPUID),
		NAME(KVM_CREATE_VM),
		NAME(KVM_SET_IDENTITY_MAP_ADDR),
		NAME(KVM_SET_TSS_ADDR),
		NAME(KVM_ENABLE_CAP),
		NAME(KVM_CREATE_IRQCHIP),
		NAME(KVM_GET_IRQCHIP),
		NAME(KVM_SET_IRQCHIP),
		NAME(KVM_SET_GSI_ROUTING),
		NAME(KVM_SET_USER_MEMORY_REGION),
		NAME(KVM_IRQFD),
		NAME(KVM_IOEVENTFD),
		NAME(KVM_CREATE_VCPU),
		NAME(KVM_SET_CPUID2),
		NAME(KVM_SET_MSRS),
		NAME(KVM_GET_MSRS),
		NAME(KVM_GET_LAPIC),
		NAME(KVM_SET_LAPIC),
		NAME(KVM_GET_SREGS),
		NAME(KVM_SET_SREGS),
		NAME(KVM_SET_REGS),
		NAME(KVM_GET_REGS),
		NAME(KVM_SET_MP_STATE),
		NAME(KVM_X86_GET_MCE_CAP_SUPPORTED),
		NAME(KVM_X86_SETUP_MCE),
		NAME(KVM_SET_TSC_KHZ),
		NAME(KVM_GET_TSC_KHZ),
		NAME(KVM_SET_CLOCK),
		NAME(KVM_CREATE_PIT2),
	};
#undef NAME

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].number == request)
			return names[i].name;
	}
	return (request >> 8 & 0xff) == KVMIO ? "KVM_other" : "ioctl";
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*next)(int, unsigned long, ...);
	va_list arguments;
	uint64_t from;
	void *argument;
	int result;

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "ioctl");
	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (request == KVM_RUN)
		stop_at_run();
	from = now();
	result = next(fd, request, argument);
	add(request_name(request), now() - from);
	return result;
}
