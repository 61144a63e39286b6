/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/options.h"

static const char USAGE[] =
	"spmvm " SPMVM_VERSION ": boots a Linux kernel in a KVM microVM with specific-purpose memory (SPM)\n"
	"\n"
	"Usage:\n"
	"  spmvm [run] [OPTIONS]                boot a machine; its console is the terminal\n"
	"  spmvm [run] [OPTIONS] -- COMMAND...  run a command in a machine, on the host's files\n"
	"  spmvm plan [OPTIONS]                 show the machine's memory and tables; needs no KVM\n"
	"  spmvm doctor [OPTIONS]               show what this host and a kernel lack, and what to do\n"
	"  spmvm ctl PATH [COMMAND [KEY=VALUE...]]\n"
	"                                       give a machine with --qmp unix:PATH a command; without one,\n"
	"                                       list its commands; wait [EVENT] shows what happens to it\n"
	"\n"
	"Options are written --option VALUE or --option=VALUE. SIZE is bytes, or a number with K, M, G or T\n"
	"(powers of 1024). LIST is such as 0-3,5. plan takes the options of run too, except --force;\n"
	"doctor takes --kernel, --modules, --format and --log.\n";

static const char MEMORY[] =
	"\n"
	"Memory (every size is a multiple of 2M, at most 4096T)\n"
	"  --mem SIZE                     RAM on node 0; default 1G\n"
	"  --mem size=SIZE[,node=N]       RAM on node N (0 to 1023, default 0); up to 256 times\n"
	"  --spm size=SIZE,node=N         a block of SPM, which Linux keeps for drivers; up to 1024 times\n"
	"      addr=GPA                   its guest-physical address; default: above all RAM, in order\n"
	"      id=NAME                    its name, up to 63 characters; default spm0, spm1, ...\n"
	"      mixed=on|off               may share its node with RAM, CPUs or other blocks; default off\n"
	"  --mem and --spm also take, for the host's side:\n"
	"      host-nodes=LIST            take the memory from these NUMA nodes of the host (0 to 1023)\n"
	"      policy=bind|preferred|interleave\n"
	"                                 how to use the host-nodes; default bind\n"
	"      hugetlb=2M|1G              huge pages from the host's pool; default: ordinary pages\n"
	"      prealloc=on|off            get all of it before the start; default off\n"
	"      mem-path=FILE              a file of any file system, made if it is not there, and kept; or a\n"
	"                                 device-dax such as /dev/dax0.0; default: memory of spmvm's own\n"
	"      fd=N                       a memfd, file or device-dax, open as descriptor N (3 or higher)\n"
	"  and figures for the guest's HMAT, which tells how fast memory is:\n"
	"      latency=TIME               from all nodes with CPUs; ns, or with ps, ns or us behind it, up to\n"
	"                                 4294967295ps; read-latency= and write-latency= where they differ\n"
	"      bandwidth=SIZE             each second, a multiple of 1M below 4096T, such as 800G; also\n"
	"                                 read-bandwidth= and write-bandwidth=; default: none, but when other\n"
	"                                 memory has figures, RAM has 10ns for each unit of distance and 100G\n"
	"      cache=SIZE                 a cache before all memory of the node; default: none\n"
	"      cache-line=BYTES           of its lines, 1 to 65535; default 64\n"
	"      cache-mapping=direct|complex\n"
	"                                 default direct\n"
	"      cache-policy=write-back|write-through\n"
	"                                 default write-back\n"
	"  --maxmem SIZE                  RAM, blocks and room for hotplug together; default: no such room\n"
	"  --hotplug SIZE                 how much of that room the guest is asked to take; default 0;\n"
	"                                 SIGUSR1 asks for all of it, SIGUSR2 for this much again\n";

static const char CONFIGURATION[] =
	"\n"
	"A machine in a file\n"
	"  --config FILE                  the machine that spmvm plan --format json wrote: its memory, CPUs,\n"
	"                                 nodes and devices; more devices and what is no part of it, such as\n"
	"                                 --kernel and --append, may stand beside\n";

static const char PROCESSORS[] =
	"\n"
	"Processors and NUMA (nodes are numbered from 0 without gaps, nodes with CPUs first)\n"
	"  --cpus N                       1 to 255; default 1\n"
	"  --numa node=N,cpus=LIST        puts CPUs on a node, repeatable; default: all on node 0\n"
	"  --distance A:B=D               11 to 254, from node A to B, and back unless B:A is given too;\n"
	"                                 repeatable; default 20\n"
	"  --distance host                those of the host nodes that the nodes' memory is bound to with\n"
	"                                 host-nodes=N; --distance A:B=D beside it overrides\n"
	"  --perf from=A,to=B,KEY=VALUE,...\n"
	"                                 how fast B's memory is from node A, with --spm's keys for figures,\n"
	"                                 which it overrides; repeatable\n"
	"  --hmat host                    figures that are not given are those of the host nodes that memory\n"
	"                                 is bound to with host-nodes=N, from all nodes with CPUs\n"
	"  --hmat measure                 they are measured before the start, 0.2 s for each kind of memory\n"
	"  --accel id=NAME[,node=N][,node-of=SPM_ID]\n"
	"                                 an accelerator, a device SPMV0001 of ACPI's: on node N, or on that\n"
	"                                 of the block that is its own; figures from its node come from\n"
	"                                 --perf; up to 256 times, and nodes with CPUs come before its node\n"
	"                                 and all others behind\n";

static const char DEVICES[] =
	"\n"
	"Devices (virtio; the built initramfs has their drivers)\n"
	"  --blk FILE[,ro=on][,id=NAME]   a raw image or block device; repeatable\n"
	"  --net user[,forward=PROTOCOL:HOST_PORT:GUEST_PORT][,mac=MAC][,vhost=on|off]\n"
	"                                 network without privileges, through passt; forwards joined by '+'\n"
	"  --net tap=NAME[,mac=MAC][,vhost=on|off]\n"
	"                                 a tap interface that is there\n"
	"                                 vhost=: frames go past spmvm, by passt's vhost-user or the kernel's\n"
	"                                 vhost-net (on insists; by default they do where there is one)\n"
	"  --share PATH,tag=NAME[,ro=on]  a folder of the host, through virtiofsd; socket=PATH instead of\n"
	"                                 a folder uses one that runs\n"
	"  --vsock cid=N                  a socket to the host, 3 to 4294967294\n"
	"  --port name=NAME[,in=PATH][,out=PATH]\n"
	"                                 an exact byte stream between files or pipes and the guest's\n"
	"                                 /dev/virtio-ports/NAME; socket=PATH connects to a program instead;\n"
	"                                 up to 7\n"
	"  --rng on|off                   random numbers; default on\n";

static const char WORKBENCH[] =
	"\n"
	"Running a command (-- COMMAND [ARGUMENT...])\n"
	"  It runs as root of the guest, in the current folder, with this environment. It sees the host's\n"
	"  files; what it writes to them is gone afterwards. Its stdin, stdout, stderr and exit status are\n"
	"  spmvm's (128+N for signal N). SIGINT, SIGQUIT, SIGTERM and SIGHUP are handed to it; when one comes\n"
	"  twice, or 5 seconds after SIGTERM or SIGHUP, the machine ends.\n"
	"  --rw PATH                      a folder in which its writes are real; up to 8 times\n"
	"  --timeout SECONDS              end the machine after that long, with status 124\n"
	"  --console                      show the kernel's messages, with a command on stderr\n";

static const char BOOT[] =
	"\n"
	"Boot\n"
	"  --kernel FILE                  a bzImage; default: the newest /boot/vmlinuz-*\n"
	"  --kernel-unpack on|off         unpack the kernel before the start, which is faster, and place it\n"
	"                                 at random (--append nokaslr: not); off: it does both; default on\n"
	"  --kernel-cache DIR|off         where unpacked kernels are kept, at most 4 and 1G, those used last;\n"
	"                                 default: spmvm in $XDG_CACHE_HOME or ~/.cache\n"
	"  --initrd FILE                  an initramfs; default: one is built with a shell and SPM's modules\n"
	"  --append TEXT                  added to the kernel's command line\n"
	"  --modules DIR                  where the built initramfs's modules come from; default: those of\n"
	"                                 the kernel's version, beside the kernel or in /lib/modules\n"
	"  --module NAME[,NAME...]        more kernel modules for the built initramfs, with what they depend\n"
	"                                 on, loaded in this order; repeatable\n"
	"  --script FILE                  run by the built initramfs instead of a shell, for its status\n"
	"  --file PATH[:GUEST_PATH]       put a file into the built initramfs; repeatable\n"
	"  --serial stdio|file:PATH|none  where the console goes; default stdio\n"
	"  --force                        boot on a KVM that is emulated in software, too (run only)\n";

static const char PLAN[] =
	"\n"
	"Plan\n"
	"  --format FORMAT                text (default), json, svg: a drawing, dts or dtb: the device tree\n"
	"                                 that the guest gets, as source or as it is; doctor: text or json\n"
	"  --tables DIR                   write the ACPI tables to DIR, one file each\n"
	"  --diff A B                     print what differs between two plans that --format json wrote (- is\n"
	"                                 stdin); the status is that of diff: 0 same, 1 different, 2 trouble\n"
	"  --phys-bits N                  the guest's physical address bits, 36 to 52; default: this host's\n"
	"\n"
	"Control\n"
	"  --qmp unix:PATH[,server=on]    listen at a socket for commands of the QEMU Machine Protocol, from\n"
	"                                 this user and root; spmvm ctl gives them\n"
	"\n"
	"Other\n"
	"  --metrics FILE[,interval=SECONDS][,format=json|openmetrics]\n"
	"                                 what the machine has counted: at its end, and every SECONDS (0.1 to\n"
	"                                 86400); json (default) adds a line each, openmetrics keeps the last\n"
	"  --sandbox on|log|off           what spmvm gives up before the guest runs: files, network,\n"
	"                                 privileges, system calls. Default: all that this host can; on: an\n"
	"                                 error when it lacks some; log: forbidden calls are only logged\n"
	"  --log error|warn|info|debug    what is told on stderr; default info\n"
	"  --help, -h                     this text\n"
	"  --version                      the version\n";

static const char EXAMPLES[] =
	"\n"
	"Examples\n"
	"  What numactl and a test of your own see of a block of 8G:\n"
	"    spmvm --spm size=8G,node=1 -- numactl -H\n"
	"    spmvm --spm size=8G,node=1 --rw results -- ./my-test < input > output\n"
	"  A guest with 2G of RAM and one block of 8G as node 1:\n"
	"    spmvm --kernel vmlinuz --mem 2G --spm size=8G,node=1\n"
	"  Two blocks from huge pages of two host nodes, the second one farther away:\n"
	"    spmvm --kernel vmlinuz --spm size=4G,node=1,id=hbm0,hugetlb=2M,host-nodes=0 \\\n"
	"      --spm size=4G,node=2,id=hbm1,hugetlb=2M,host-nodes=1 --distance 0:2=40\n"
	"  Two nodes with two CPUs and 1G each, and a block with its own; run a script and end:\n"
	"    spmvm --kernel vmlinuz --cpus 4 --numa node=0,cpus=0-1 --numa node=1,cpus=2-3 \\\n"
	"      --mem 1G --mem size=1G,node=1 --spm size=2G,node=2 --script test.sh\n"
	"  What such a machine looks like, without booting it:\n"
	"    spmvm plan --mem 2G --spm size=8G,node=1 --tables /tmp/tables\n"
	"\n"
	"On the console, Ctrl-A x quits and Ctrl-A Ctrl-A types a Ctrl-A.\n";

void options_help(FILE *out)
{
	static const struct {
		enum exit_status status;
		const char *meaning;
	} STATUSES[] = {
		{EXIT_STATUS_OK, "the guest powered off or reset"},
		{EXIT_STATUS_INTERNAL, "a fault of spmvm itself"},
		{EXIT_STATUS_USAGE, "the command line cannot be understood"},
		{EXIT_STATUS_CONFIG, "the machine asked for cannot exist"},
		{EXIT_STATUS_HOST, "the host lacks something: KVM, memory, huge pages, a permission"},
		{EXIT_STATUS_IMAGE, "the kernel, the initramfs or the command line cannot be booted"},
		{EXIT_STATUS_GUEST_CRASH, "the guest panicked or triple-faulted, or KVM cannot go on"},
		{EXIT_STATUS_GUEST_MEMORY, "the guest's kernel killed the command for want of memory"},
		{EXIT_STATUS_BACKING, "the host's memory behind the guest broke or was taken away"},
		{EXIT_STATUS_SANDBOX, "the sandbox met a system call that it forbids"},
		{EXIT_STATUS_TIMEOUT, "--timeout was up"},
	};

	fputs(USAGE, out);
	fputs(MEMORY, out);
	fputs(PROCESSORS, out);
	fputs(DEVICES, out);
	fputs(CONFIGURATION, out);
	fputs(WORKBENCH, out);
	fputs(BOOT, out);
	fputs(PLAN, out);
	fputs(EXAMPLES, out);
	fputs("\nExit status\n", out);
	for (size_t i = 0; i < sizeof(STATUSES) / sizeof(STATUSES[0]); i++)
		fprintf(out, "  %-6d %s\n", STATUSES[i].status, STATUSES[i].meaning);
	fprintf(out, "  %d+N  ended by signal N\nWith a command or --script, what that ended with.\n",
		EXIT_STATUS_SIGNAL);
}
