/* SPDX-License-Identifier: Apache-2.0 */
#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices/virtio/fs.h"
#include "devices/virtio/passt.h"
#include "vmm/base/io.h"
#include "vmm/base/parse.h"
#include "vmm/doctor.h"
#include "vmm/kernel_files.h"
#include "vmm/kvm/kvm.h"
#include "vmm/memory/host_memory.h"
#include "vmm/memory/huge_tmpfs.h"
#include "vmm/sandbox.h"

/* --------------------------------------------------------------------------------------------------- KVM */

/* Intel SDM vol. 2, CPUID leaf 1; AMD64 APM vol. 3, leaf 0x80000001. */
static bool cpu_has(unsigned leaf, unsigned ecx_bit)
{
	unsigned eax, ebx, ecx = 0, edx;

	return __get_cpuid(leaf, &eax, &ebx, &ecx, &edx) && (ecx >> ecx_bit & 1) != 0;
}

static bool cpu_virtualizes(void)
{
	enum { VMX = 5, SVM = 2 };

	return cpu_has(1, VMX) || cpu_has(0x80000001, SVM);
}

/* The hypervisor bit, which no processor sets. */
static bool in_a_machine(void)
{
	return cpu_has(1, 31);
}

static void look_at_pre_fault(struct findings *list, bool there)
{
	struct finding *finding = finding_add(list, there ? FINDING_OK : FINDING_LOST, "KVM pre-fault",
					      "%s; for a guest's first touch of memory with prealloc=on",
					      there ? "pages are in its page tables before the start"
						    : "pages enter its page tables one by one");

	if (!there)
		finding_remedy(finding, "use a host with Linux 6.11 or later, and hardware's nested paging");
}

static void look_at_kvm(struct findings *list)
{
	struct finding *finding;
	struct kvm_vm kvm;
	struct error why;

	kvm_init(&kvm);
	if (kvm_open(&kvm, NULL, &why) < 0) {
		finding = finding_add(list, FINDING_MISSING, "KVM", "cannot be used; the processor %s",
				      cpu_virtualizes() ? "could" : "shows neither svm nor vmx");
		finding_remedy(finding, "%s", why.text);
	} else if (!kvm.limits.hardware) {
		finding = finding_add(list, FINDING_MISSING, "KVM",
				      "a software backend (%s), which cannot run a stock Linux kernel",
				      kvm.limits.backend);
		finding_remedy(finding, "%s; or use the lab: tests/lab/run -- spmvm ...",
			       cpu_virtualizes() ? "load kvm_amd or kvm_intel instead: the processor has svm or vmx"
			       : in_a_machine()  ? "turn on nested virtualization in the hypervisor around this machine"
						 : "turn on virtualization in the firmware");
	} else {
		finding_add(list, FINDING_OK, "KVM", "%s%s: %u physical address bits, %u CPUs, %u memslots",
			    kvm.limits.backend, in_a_machine() ? ", nested" : "", kvm.limits.phys_bits,
			    kvm.limits.max_vcpus, kvm.limits.max_memslots);
	}
	look_at_pre_fault(list, kvm.limits.pre_fault);
	kvm_release(&kvm);
}

/* ------------------------------------------------------------------------------------------------- memory */

static void look_at_memory(struct findings *list)
{
	const uint64_t PLAIN_GUEST = GIB; /* the default --mem */
	const struct backend_source source = {0};
	struct host_room room;
	struct finding *finding;

	if (host_memory_room("", &source, &room) < 0) {
		finding_add(list, FINDING_UNKNOWN, "memory", "/proc/meminfo does not tell");
		return;
	}
	finding =
		finding_add(list, room.bytes < PLAIN_GUEST ? FINDING_LOST : FINDING_OK, "memory",
			    "%" PRIu64 " MiB to be had %s%s", room.bytes / MIB, room.where,
			    host_memory_is_strict("") ? "; strict overcommit: guests are populated at the start" : "");
	if (room.bytes < PLAIN_GUEST)
		finding_remedy(finding,
			       "a guest has 1G of RAM by default and takes it as it uses it; give it less with --mem");
}

static void look_at_nodes(struct findings *list)
{
	struct node_set nodes = host_memory_nodes("");
	char text[128];

	if (node_set_is_empty(&nodes)) {
		finding_add(list, FINDING_LOST, "host NUMA",
			    "this host's kernel knows no nodes; for host-nodes=, policy=");
		return;
	}
	host_memory_nodes_text(&nodes, text, sizeof(text));
	finding_add(list, FINDING_OK, "host NUMA", "nodes with memory, for host-nodes=: %s", text);
}

static void look_at_pool(struct findings *list, const char *name, const char *size, const char *pool, unsigned plenty)
{
	char folder[80], path[128];
	uint64_t total, left = 0;
	struct finding *finding;

	snprintf(folder, sizeof(folder), "/sys/kernel/mm/hugepages/hugepages-%s", pool);
	snprintf(path, sizeof(path), "%s/nr_hugepages", folder);
	if (io_read_number(path, &total) < 0) {
		finding_add(list, FINDING_LOST, name, "this host has none; for hugetlb=%s", size);
		return;
	}
	snprintf(path, sizeof(path), "%s/free_hugepages", folder);
	io_read_number(path, &left);
	finding = finding_add(list, left > 0 ? FINDING_OK : FINDING_LOST, name,
			      "%" PRIu64 " of %" PRIu64 " are free; for hugetlb=%s", left, total, size);
	if (left == 0)
		finding_remedy(finding, "as root: echo %" PRIu64 " > %s/nr_hugepages", total + plenty, folder);
}

/* Guest memory of ordinary pages is advised to be in huge pages (memory/backend.c), and the host says whether it listens. */
static void look_at_transparent_pages(struct findings *list)
{
	static const char NAME[] = "transparent 2M", FOLDER[] = "/sys/kernel/mm/transparent_hugepage";
	static const char WHY[] = "a faster start and fewer page faults";
	const enum host_huge huge = host_memory_huge("");
	struct finding *finding;
	int tmpfs;

	if (huge == HOST_HUGE_MEMFD) {
		finding_add(list, FINDING_OK, NAME, "guest memory is in huge pages; for %s", WHY);
		return;
	}
	if (access(FOLDER, F_OK) < 0) {
		finding_add(list, FINDING_LOST, NAME, "this host's kernel has no huge pages; for %s", WHY);
		return;
	}
	if (huge == HOST_HUGE_NEVER) {
		finding = finding_add(list, FINDING_LOST, NAME, "turned off on this host; for %s", WHY);
		finding_remedy(finding, "as root: echo madvise > %s/enabled; echo advise > %s/shmem_enabled", FOLDER,
			       FOLDER);
		return;
	}
	tmpfs = huge_tmpfs_open();
	if (tmpfs < 0) {
		finding = finding_add(list, FINDING_LOST, NAME,
				      "guest memory is in pages of 4K, as no tmpfs can be made for it (%s); for %s",
				      strerror(-tmpfs), WHY);
		finding_remedy(finding, "as root: echo advise > %s/shmem_enabled", FOLDER);
	} else {
		finding_add(list, FINDING_OK, NAME, "guest memory is in huge pages, of a tmpfs of its own; for %s",
			    WHY);
	}
	io_close(&tmpfs);
}

/* ------------------------------------------------------------------------------------------------- helpers */

static void look_at_device(struct findings *list, const char *name, const char *path, const char *module,
			   const char *why)
{
	struct finding *finding;
	int code = access(path, R_OK | W_OK) == 0 ? 0 : errno;

	finding = finding_add(list, code == 0 ? FINDING_OK : FINDING_LOST, name, "%s%s%s; for %s", path,
			      code == 0 ? "" : ": ", code == 0 ? "" : strerror(code), why);
	if (code == EACCES || code == EPERM)
		finding_remedy(finding, "be root or in the device's group (often kvm: usermod -aG kvm $USER)");
	else if (code != 0)
		finding_remedy(finding, "as root: modprobe %s", module);
}

static void look_at_program(struct findings *list, const char *name, const char *path, const char *why,
			    const char *remedy)
{
	struct finding *finding;

	if (path != NULL) {
		finding_add(list, FINDING_OK, name, "%s; for %s", path, why);
		return;
	}
	finding = finding_add(list, FINDING_LOST, name, "not installed; for %s", why);
	finding_remedy(finding, "%s", remedy);
}

/* Whether a user namespace can be made, and used for a mount: AppArmor lets some be made that can do nothing. 0 or errno. */
static int try_namespace(void)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return errno;
	if (child == 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(errno);
		_exit(0);
	}
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR)
			return errno;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

static bool sysctl_is(const char *path, uint64_t value)
{
	uint64_t found;

	return io_read_number(path, &found) == 0 && found == value;
}

static void look_at_namespaces(struct findings *list)
{
	static const char NAME[] = "user namespaces", WHY[] = "--share, -- COMMAND and --sandbox without being root";
	struct finding *finding;
	int code;

	if (geteuid() == 0) {
		finding_add(list, FINDING_OK, NAME, "not needed by root");
		return;
	}
	code = try_namespace();
	if (code == 0) {
		finding_add(list, FINDING_OK, NAME, "can be made; for %s", WHY);
		return;
	}
	finding = finding_add(list, FINDING_LOST, NAME, "%s; for %s", strerror(code), WHY);
	if (sysctl_is("/proc/sys/user/max_user_namespaces", 0))
		finding_remedy(finding, "as root: sysctl user.max_user_namespaces=1000");
	else if (sysctl_is("/proc/sys/kernel/unprivileged_userns_clone", 0))
		finding_remedy(finding, "as root: sysctl kernel.unprivileged_userns_clone=1");
	else if (sysctl_is("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1))
		finding_remedy(finding, "as root: sysctl kernel.apparmor_restrict_unprivileged_userns=0");
	else
		finding_remedy(finding, "run as root, or let the container around this make them");
}

/* What the sandbox is made of: see vmm/sandbox.h. Namespaces have a line of their own. */
static void look_at_sandbox(struct findings *list)
{
	const int version = sandbox_landlock_version();
	struct finding *finding;

	if (sandbox_has_filters()) {
		finding_add(list, FINDING_OK, "seccomp", "filters of system calls; for --sandbox");
	} else {
		finding = finding_add(list, FINDING_LOST, "seccomp", "no filters of system calls; for --sandbox");
		finding_remedy(finding, "a kernel with CONFIG_SECCOMP_FILTER=y");
	}
	if (version > 0) {
		finding_add(list, FINDING_OK, "Landlock", "version %d; for --sandbox", version);
	} else {
		finding = finding_add(list, FINDING_LOST, "Landlock", "not in this kernel, or not on; for --sandbox");
		finding_remedy(finding,
			       "CONFIG_SECURITY_LANDLOCK=y, and landlock in lsm= of the kernel's command line; "
			       "without it, namespaces keep files away");
	}
}

void doctor_look_at_host(struct findings *list)
{
	char passt[PATH_MAX];

	look_at_kvm(list);
	look_at_memory(list);
	look_at_nodes(list);
	look_at_pool(list, "2M huge pages", "2M", "2048kB", 512);
	look_at_pool(list, "1G huge pages", "1G", "1048576kB", 1);
	look_at_transparent_pages(list);
	look_at_program(list, "busybox", busybox_find(), "the guest's shell", "apt-get install busybox-static");
	look_at_program(list, "virtiofsd", virtio_fs_find_program(), "-- COMMAND, --share",
			"apt-get install virtiofsd, on Debian 12 qemu-system-common");
	look_at_namespaces(list);
	look_at_sandbox(list);
	look_at_program(list, "passt", passt_find(passt, sizeof(passt)) == 0 ? passt : NULL, "--net user",
			"apt-get install passt");
	look_at_device(list, "tap", "/dev/net/tun", "tun", "--net tap=");
	look_at_device(list, "vhost-net", "/dev/vhost-net", "vhost_net", "a faster --net tap=");
	look_at_device(list, "vhost-vsock", "/dev/vhost-vsock", "vhost_vsock", "--vsock");
}
