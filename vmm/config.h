/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SPMVM_CONFIG_H
#define SPMVM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi/figures.h"
#include "devices/virtio/net_options.h"
#include "vmm/base/error.h"
#include "vmm/base/log.h"
#include "vmm/base/node_set.h"
#include "vmm/host_nodes.h"
#include "vmm/memory/backend.h"

/*
 * The description of a machine: first as the options said it, piece by piece (config_raw), then checked as a whole and completed with defaults
 * (config). Both are plain data. From config_from() on the description is const.
 */
#define CONFIG_CPUS_MAX    255u /* APIC ids below 255 keep every guest in the range that needs no interrupt remapping */
#define CONFIG_SPM_MAX     1024u
#define CONFIG_MEM_MAX     256u
#define CONFIG_ID_MAX      63u /* characters: a letter, then letters, digits, '-', '_' and '.' */
#define CONFIG_DEVICES_MAX 32u /* options that ask for a virtio device */
#define CONFIG_PORTS_MAX   7u  /* with those of a command */
#define CONFIG_RW_MAX      8u  /* --rw */
/* All virtio devices of a machine: those, a command's shares and its console, virtio-mem and the random number generator */
#define CONFIG_VIRTIO_MAX       (CONFIG_DEVICES_MAX + 1 + CONFIG_RW_MAX + 1 + 2)
#define CONFIG_TIMEOUT_MAX      31536000u /* seconds: a year */
#define CONFIG_ACCELS_MAX       256u      /* --accel */
#define CONFIG_MEM_DEFAULT      GIB
#define CONFIG_DISTANCE_LOCAL   10u
#define CONFIG_DISTANCE_DEFAULT 20u
/*
 * What RAM gets when others have figures and it has none: so much for each unit of distance, and this bandwidth (100G)
 * at any.
 */
#define CONFIG_RAM_LATENCY_STEP 10000u  /* ps */
#define CONFIG_RAM_BANDWIDTH    102400u /* MB/s */
#define CONFIG_CACHE_LINE       64u

/* What a machine gives up before its guest runs (vmm/sandbox.h). */
enum sandbox_mode {
	SANDBOX_DEFAULT, /* as on, and a warning where the host lacks something of it */
	SANDBOX_OFF,
	SANDBOX_LOG, /* forbidden system calls are logged by the kernel, and done */
	SANDBOX_ON
};

enum serial_mode {
	SERIAL_DEFAULT, /* as typed only: SERIAL_STDIO, or with a command SERIAL_NONE */
	SERIAL_STDIO,
	SERIAL_STDERR, /* output only; of --console with a command */
	SERIAL_FILE,
	SERIAL_NONE
};

enum config_device_kind { CONFIG_BLK, CONFIG_NET, CONFIG_SHARE, CONFIG_VSOCK, CONFIG_PORT, CONFIG_MEM, CONFIG_RNG };

/* What a console port is connected to: files that its option names, or a stream of the command that the guest runs (vmm/workbench.h). */
enum config_stream { STREAM_FILES, STREAM_STDIN, STREAM_STDOUT, STREAM_STDERR, STREAM_CONTROL, STREAM_END };

/*
 * A virtio device, as its option said it; what the option does not have is NULL or zero. Strings are heap, owned. All --port together are one
 * console device of the guest's.
 */
struct config_device {
	enum config_device_kind kind;
	char *option;   /* "--blk disk.img", as typed, for messages */
	char *title;    /* "--blk path=disk.img", however it was typed, for the plan; NULL for a command's */
	char *path;     /* --blk: the image; --share: the folder */
	char *name;     /* --blk: the serial number; --share: the tag; --net: the tap interface; --port: the name */
	char *socket;   /* --share: of a virtiofsd that runs; --port: of a program that listens */
	char *in, *out; /* --port: files or pipes */
	enum config_stream stream; /* --port, and the command's own */
	bool read_only;            /* --blk, --share */
	bool overlaid;             /* --share: it lies below an overlay in the guest */
	uint64_t cid;              /* --vsock */
	struct net_options *net;   /* --net; heap, owned */
};

/* --metrics: where the machine's counters are written. */
enum metrics_format { METRICS_JSON, METRICS_OPENMETRICS };
struct config_metrics {
	char *path; /* heap, of raw; NULL when not given */
	enum metrics_format format;
	uint64_t interval; /* ms; 0: once, at the end */
};

/* A cache before the memory of a node (ACPI 6.5 §5.2.28.5); size 0 when there is none. */
struct config_cache {
	uint64_t size;
	uint32_t line;      /* bytes */
	bool complex;       /* indexed in a complex way; otherwise direct mapped */
	bool write_through; /* otherwise write back */
};

/* --------------------------------------------------------------------- as typed */

/* One --mem or --spm; unset keys are zero and their has_ flag is false. */
struct raw_memory {
	const char *argument; /* as typed, for messages; borrowed from argv */
	uint64_t size;
	uint32_t node;
	bool has_node;
	struct backend_source source;
	char *path;                     /* mem-path=, heap, owned; source borrows it */
	bool has_policy;                /* without it, host nodes mean HOST_POLICY_BIND */
	uint32_t figures[ACPI_FIGURES]; /* from CPUs; 0 when not given */
	struct config_cache cache;
	uint64_t address; /* --spm only, like the rest */
	bool has_address;
	char id[CONFIG_ID_MAX + 1]; /* empty when not given */
	bool mixed;
};

struct raw_numa {
	const char *argument;
	uint32_t node;
	struct {
		uint64_t words[4];
	} cpus; /* a set of CPU numbers 0..255 */
};

struct raw_distance {
	const char *argument;
	uint32_t from, to;
	uint8_t distance;
};

/* Where figures for HMAT come from that no option gives: from nowhere, from the host's kernel, or measured (--hmat). */
enum hmat_source { HMAT_GIVEN, HMAT_HOST, HMAT_MEASURE };

struct memory_figures {
	uint32_t figures[ACPI_FIGURES];
};

struct raw_perf { /* --perf: figures between two nodes */
	const char *argument;
	uint32_t from, to;
	uint32_t figures[ACPI_FIGURES];
};

struct raw_accel {
	const char *argument;
	char id[CONFIG_ID_MAX + 1];
	uint32_t node;
	bool has_node;
	char block[CONFIG_ID_MAX + 1]; /* node-of=; empty when not given */
};

struct raw_file { /* --file PATH[:GUEST_PATH] */
	const char *argument;
};

/* An option as typed; for the description that plan writes (vmm/config_json.h). */
struct raw_option {
	const char *name;     /* without the dashes; static */
	const char *argument; /* borrowed from argv or from texts */
};

/*
 * Everything that the command line said, and what was asked of the host because of it. Arrays are heap, owned; strings are borrowed from argv but for those of
 * extra_modules.
 */
struct config_raw {
	struct raw_memory *mem, *spm;
	size_t mem_count, spm_count;
	struct raw_numa *numa;
	size_t numa_count;
	struct raw_distance *distances;
	size_t distance_count;
	bool host_distances; /* --distance host */
	enum hmat_source hmat;
	struct raw_perf *perfs;
	size_t perf_count;
	struct raw_accel *accels;
	size_t accel_count;
	struct raw_file *files;
	size_t file_count;
	const char **rw; /* --rw */
	size_t rw_count;
	char *const *command; /* behind "--": words, NULL-terminated; borrowed from argv; NULL when not given */
	char **extra_modules; /* --module: names, heap, owned */
	size_t extra_module_count;
	struct config_device *devices; /* in the order of the command line */
	size_t device_count;
	struct raw_option *described; /* those that say what the machine is, with those of --config */
	size_t described_count;
	char **texts; /* arguments out of the file of --config; heap, owned */
	size_t text_count;
	struct config_metrics metrics;
	bool no_rng;                                             /* --rng off */
	uint64_t hotplug;                                        /* 0 when not given */
	uint32_t cpus;                                           /* 0 when not given */
	uint64_t maxmem;                                         /* 0 when not given */
	const char *kernel, *initrd, *append, *modules, *script; /* NULL when not given */
	const char *kernel_cache;                                /* a folder, "off", or NULL when not given */
	enum serial_mode serial;
	const char *serial_path; /* of SERIAL_FILE */
	enum log_level log_level;
	enum sandbox_mode sandbox;
	unsigned phys_bits; /* plan only: 0 when not given */
	uint64_t timeout;   /* --timeout: seconds, 0 when not given */
	char *qmp;          /* --qmp: the socket's path, heap, owned; NULL when not given */
	bool console;       /* --console: the kernel's messages are shown */
	bool keep_packed;   /* --kernel-unpack off */
	bool force;         /* --force: boot even on a software KVM backend */
	/* of the host; borrowed. NULL: it was not asked */
	const struct host_nodes *host; /* for host_distances and HMAT_HOST */
	const struct memory_figures
		*measured; /* for HMAT_MEASURE: a row of all mem, then all spm, for each node with CPUs */
};

void config_raw_init(struct config_raw *raw);
void config_raw_release(struct config_raw *raw);

/* Frees what a device owns. Takes a zeroed one too. */
void config_device_release(struct config_device *device);

/* --------------------------------------------------------------------- as checked */

struct config_memory {
	char option[CONFIG_ID_MAX +
		    16];            /* how messages name it: "--spm id=hbm0", "--mem number 2", "--mem" when alone */
	char id[CONFIG_ID_MAX + 1]; /* "hbm0"; "spm0", "ram0" by default; unique */
	uint64_t size;
	uint32_t node;
	struct backend_source source; /* its path is raw's */
	uint32_t figures[ACPI_FIGURES];
	struct config_cache cache;
	uint64_t address; /* --spm only */
	bool has_address;
	bool mixed;
};

/*
 * An accelerator: no more than a device of the ACPI namespace in a node, for a driver to bind to and for figures to
 * start from.
 */
struct config_accel {
	char id[CONFIG_ID_MAX + 1];
	uint32_t node;
	bool has_block;
	uint32_t block_node; /* of the block that is its own */
};

struct config {
	struct config_memory *mem, *spm; /* at least one mem; heap, owned */
	size_t mem_count, spm_count;
	uint32_t cpu_count;  /* at least 1 */
	uint32_t *cpu_nodes; /* the node of each CPU; heap, owned */
	/* nodes are 0 .. node_count - 1 without a gap: those with CPUs, then those with accelerators, then others */
	uint32_t node_count;
	uint32_t cpu_node_count;     /* those with CPUs */
	uint32_t initiator_count;    /* those with CPUs or accelerators */
	uint8_t *distances;          /* node_count * node_count, row "from"; heap, owned */
	struct config_accel *accels; /* by node; heap, owned */
	size_t accel_count;
	/*
	 * How fast each node's memory is, for HMAT: of each kind initiator_count * node_count, row "from"; heap, owned.
	 * NULL, all of them, when neither figures nor caches are given.
	 */
	uint32_t *figures[ACPI_FIGURES];
	uint64_t maxmem;  /* 0 or at least what RAM and blocks come to */
	uint64_t room;    /* what --maxmem leaves for hotplug; 0 when there is none */
	uint64_t hotplug; /* bytes of the room that the guest is asked to take at the start */
	const char *kernel, *initrd, *append, *modules, *script; /* borrowed; NULL when not given */
	const char *kernel_cache;                                /* a folder, "off", or NULL for the user's own one */
	const char *const *files;                                /* heap array, owned; strings borrowed */
	size_t file_count;
	char *const *command;  /* to run in the guest on the host's files; borrowed; NULL when there is none */
	const char *const *rw; /* folders that it may write to; borrowed */
	size_t rw_count;
	uint64_t timeout;           /* seconds after which the guest is ended; 0: never */
	bool console;               /* show the kernel's messages */
	char *const *extra_modules; /* --module; borrowed from raw */
	size_t extra_module_count;
	struct config_device *devices; /* heap array, owned; what is in them is borrowed from raw */
	size_t device_count;
	struct config_metrics metrics; /* its path is raw's */
	enum serial_mode serial;
	const char *serial_path;
	const char *qmp; /* the control socket's path, borrowed from raw; NULL without one */
	enum log_level log_level;
	enum sandbox_mode sandbox;
	unsigned phys_bits; /* 0 when not given */
	bool keep_packed;   /* the kernel unpacks itself in the guest */
	bool force;
	const struct raw_option *described; /* what it was made from, as typed; borrowed from raw */
	size_t described_count;
	/* what the user should know although it is no error, such as a mixed node; heap array of heap strings, owned */
	char **warnings;
	size_t warning_count;
};

/*
 * Checks the whole description and completes it: pure, no host is asked (what it says is in raw). EXIT_STATUS_CONFIG for a machine that cannot be; the caller
 * owns *config on success, and the strings that it borrows (those of raw) outlive it. On failure nothing is left to release.
 *
 * The rules (what Linux makes of a table that breaks them is in the README):
 *
 *   sizes       at most 2^52 bytes, a multiple of 2 MiB and of hugetlb=; --maxmem at least their sum
 *   nodes       each has CPUs or memory or both, the numbers have no gap, and those with CPUs come first, because Linux
 *               numbers nodes in that order
 *   RAM         1 GiB on node 0 when there is no --mem
 *   SPM blocks  have a node of their own: refused, naming both owners, when the node has RAM, CPUs or another block, unless each
 *               block there says mixed=on, which then is a warning. This is policy, not specification: ACPI's HMAT describes
 *               performance by proximity domain, so blocks that share one lose their own figures.
 *   CPUs        each is in exactly one node; without --numa all are in node 0
 *   figures     belong to nodes: those of --mem and --spm hold from all nodes with CPUs, --perf is for one pair. When
 *               there are any, RAM without gets CONFIG_RAM_LATENCY_STEP for each unit of distance and
 *               CONFIG_RAM_BANDWIDTH: Linux's memory tiers use none at all when RAM has none. All of a kind have a unit
 *               in common in which the table can hold them (acpi_figure_unit)
 *               --hmat adds those that nobody gives; where they have no unit in common, they and those of RAM without are
 *               rounded down to what the table can tell
 *   accels      are in nodes behind those with CPUs and before all others, which is again how Linux numbers them
 *   distances   11 to 254 between different nodes (20 when nothing is said), 10 and only 10 to itself; one direction implies the
 *               other unless both are given (ACPI 6.5 §5.2.17); with --distance host, those of the host nodes behind a
 *               pair of which nothing is said
 *   ids         unique over all memory; "ram0", "spm0" and so on by position when none is given
 *   policy      policy= needs host-nodes=, and bind is the default with them; mem-path= excludes fd=
 *   devices     --maxmem with room in it brings a virtio-mem device; a random number generator comes last unless --rng off; at most one --vsock; tags and serial numbers differ
 *   command     brings shares of the host's root and of each --rw, and ports for its streams; the console is not connected then unless --console or --serial say
 *               so. It excludes what only a shell or script could use: --script, --file, --initrd
 *   boot        --initrd replaces the built-in initramfs, so it excludes --modules, --module, --script and --file
 */
int config_from(struct config *config, const struct config_raw *raw, struct error *err);

void config_release(struct config *config);

#endif
