/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kernel_image.h"
#include "tests/unit/scratch_folder.h"

#include <jansson.h>

#include "vmm/doctor.h"

static const struct log QUIET = {.level = LOG_ERROR, .fd = STDERR_FILENO};

/* The report as text; free() it. */
static char *text_of(const struct doctor_report *report)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	doctor_text(report, out);
	fclose(out);
	return text;
}

static struct doctor_report *report_new(void)
{
	struct doctor_report *report = calloc(1, sizeof(*report));

	assert_non_null(report);
	return report;
}

/* ------------------------------------------------------------------------------------------------- the views */

static void text_is_aligned_and_wrapped(void **state)
{
	struct doctor_report *report = report_new();
	struct finding *finding;
	char *text, *line;

	(void)state;
	finding_add(&report->host, FINDING_OK, "KVM", "kvm_amd: %d bits", 48);
	finding = finding_add(&report->host, FINDING_LOST, "huge pages",
			      "a text of some length that has to be broken at a blank somewhere about here, %s",
			      "and goes on below where it started");
	finding_remedy(finding, "as root: echo %d > somewhere", 512);
	finding_add(&report->kernel, FINDING_OK, "modules", "/%0110d", 0);
	text = text_of(report);
	assert_non_null(
		strstr(text, "Host\n  ok  KVM              kvm_amd: 48 bits\n"
			     "  --  huge pages       a text of some length that has to be broken at a blank somewhere "
			     "about here,\n"
			     "                       and goes on below where it started\n"
			     "      -> as root: echo 512 > somewhere\n\nKernel\n  ok  modules          /000"));
	assert_non_null(strstr(text, "\nA machine with SPM can be booted here.\n"));
	for (line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 100 || strstr(line, "/000") != NULL);
	free(text);
	free(report);
}

static void assert_verdict(const struct doctor_report *report, enum exit_status status, const char *verdict)
{
	char *text = text_of(report);
	size_t length = strlen(text), end = strlen(verdict);

	assert_int_equal(doctor_status(report), status);
	assert_true(length > end);
	assert_string_equal(text + length - end, verdict);
	free(text);
}

static void the_verdict_is_by_what_is_missing(void **state)
{
	struct doctor_report *report = report_new();

	(void)state;
	finding_add(&report->host, FINDING_LOST, "passt", "not installed");
	finding_add(&report->kernel, FINDING_LOST, "virtio-blk", "n");
	assert_verdict(report, EXIT_STATUS_OK, "A machine with SPM can be booted here.\n");
	finding_add(&report->kernel, FINDING_UNKNOWN, "HMAT", "?");
	assert_verdict(report, EXIT_STATUS_OK, "As far as is known, a machine with SPM can be booted here.\n");
	finding_add(&report->kernel, FINDING_MISSING, "soft reserve", "n");
	assert_verdict(report, EXIT_STATUS_IMAGE,
		       "No machine with SPM can be booted here, for want of: soft reserve (kernel)\n");
	finding_add(&report->host, FINDING_MISSING, "KVM", "none");
	assert_verdict(report, EXIT_STATUS_HOST,
		       "No machine with SPM can be booted here, for want of: KVM (host), soft reserve (kernel)\n");
	free(report);
}

static void json_says_the_same(void **state)
{
	struct doctor_report *report = report_new();
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	struct error err;
	json_t *json, *finding;

	(void)state;
	finding_remedy(finding_add(&report->host, FINDING_MISSING, "KVM", "\"none\""), "get one");
	finding_add(&report->kernel, FINDING_OK, "HMAT", "ACPI_HMAT=y");
	strcpy(report->kernel_path, "/boot/vmlinuz");
	strcpy(report->release, "6.1");
	assert_int_equal(doctor_json(report, out, &err), 0);
	fclose(out);
	json = json_loads(text, 0, NULL);
	assert_non_null(json);
	assert_int_equal(json_integer_value(json_object_get(json, "status")), EXIT_STATUS_HOST);
	assert_string_equal(json_string_value(json_object_get(json, "kernel")), "/boot/vmlinuz");
	assert_string_equal(json_string_value(json_object_get(json, "release")), "6.1");
	finding = json_array_get(json_object_get(json, "host"), 0);
	assert_string_equal(json_string_value(json_object_get(finding, "state")), "missing");
	assert_string_equal(json_string_value(json_object_get(finding, "text")), "\"none\"");
	assert_string_equal(json_string_value(json_object_get(finding, "remedy")), "get one");
	finding = json_array_get(json_object_get(json, "features"), 0);
	assert_string_equal(json_string_value(json_object_get(finding, "name")), "HMAT");
	assert_string_equal(json_string_value(json_object_get(finding, "state")), "ok");
	json_decref(json);
	free(text);
	free(report);
}

/* ----------------------------------------------------------------------------------------------- a kernel */

static const struct finding *finding_of(const struct findings *list, const char *name)
{
	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->items[i].name, name) == 0)
			return &list->items[i];
	}
	fail_msg("nothing is said of %s", name);
	return NULL;
}

static void assert_finding(const struct findings *list, const char *name, enum finding_state state, const char *text,
			   const char *remedy)
{
	const struct finding *finding = finding_of(list, name);

	assert_int_equal(finding->state, state);
	if (strstr(finding->text, text) == NULL)
		fail_msg("%s: \"%s\" is not in: %s", name, text, finding->text);
	assert_string_equal(finding->remedy, remedy);
}

static struct doctor_report *look(const struct scratch *scratch, const char *kernel, const char *modules)
{
	struct doctor_report *report = report_new();
	struct error err;

	assert_int_equal(doctor_look_at_kernel(report, scratch_path(scratch, kernel),
					       modules == NULL ? NULL : scratch_path(scratch, modules), &QUIET, &err),
			 0);
	return report;
}

static void a_kernel_is_looked_at(void **state)
{
	struct kernel_image image = image_new("code", 4);
	struct scratch scratch;
	struct doctor_report *report;

	(void)state;
	scratch_new(&scratch);
	scratch_file(&scratch, "vmlinuz", image.bytes, image.size);
	scratch_text(&scratch, "modules/modules.dep", "k/kmem.ko:\n");
	scratch_text(&scratch, "modules/modules.builtin", "k/virtio_blk.ko\n");

	/* nothing is known but what the modules' tables tell */
	report = look(&scratch, "vmlinuz", "modules");
	assert_string_equal(report->release, "6.1.0-test-amd64");
	assert_finding(
		&report->kernel, "configuration", FINDING_UNKNOWN, "none found",
		"put the kernel's .config beside it, named config-6.1.0-test-amd64, or build it with CONFIG_IKCONFIG=y");
	assert_finding(&report->kernel, "soft reserve", FINDING_UNKNOWN, "EFI_SOFT_RESERVE=?; for --spm", "");
	assert_finding(&report->kernel, "virtio-blk", FINDING_OK, "VIRTIO_BLK=y", "");
	assert_finding(&report->kernel, "virtio-mem", FINDING_LOST, "VIRTIO_MEM=n",
		       "build the kernel with CONFIG_VIRTIO_MEM=m");
	assert_int_equal(doctor_status(report), EXIT_STATUS_OK);
	free(report);

	scratch_text(&scratch, "config",
		     "CONFIG_DEV_DAX_KMEM=m\nCONFIG_MEMORY_HOTPLUG=y\nCONFIG_MEMORY_HOTREMOVE=y\n"
		     "CONFIG_DEV_DAX=m\nCONFIG_DEV_DAX_HMEM=m\nCONFIG_DEV_DAX_HMEM_DEVICES=y\n"
		     "CONFIG_VSOCKETS=m\n# CONFIG_ACPI_NUMA is not set\nCONFIG_NUMA=y\n");
	report = look(&scratch, "vmlinuz", "modules");
	assert_finding(&report->kernel, "configuration", FINDING_OK, "/config", "");
	assert_finding(&report->kernel, "kmem", FINDING_OK, "DEV_DAX_KMEM=m MEMORY_HOTPLUG=y MEMORY_HOTREMOVE=y", "");
	assert_finding(&report->kernel, "dax_hmem", FINDING_LOST, "DEV_DAX=m; for a /dev/dax",
		       "install the modules dax_hmem device_dax, or name their folder with --modules DIR");
	assert_finding(&report->kernel, "vsock", FINDING_LOST, "VSOCKETS=m VIRTIO_VSOCKETS=n",
		       "build the kernel with CONFIG_VIRTIO_VSOCKETS=m");
	assert_finding(&report->kernel, "ACPI NUMA", FINDING_MISSING, "NUMA=y ACPI_NUMA=n",
		       "build the kernel with CONFIG_ACPI_NUMA=y");
	assert_int_equal(doctor_status(report), EXIT_STATUS_IMAGE);
	free(report);

	/* no modules, and then a folder that is none */
	report = look(&scratch, "vmlinuz", NULL);
	assert_finding(&report->kernel, "modules", FINDING_LOST, "none of 6.1.0-test-amd64 found",
		       "install them, or name their folder with --modules DIR");
	assert_finding(&report->kernel, "kmem", FINDING_LOST, "DEV_DAX_KMEM=m",
		       "install the modules kmem, or name their folder with --modules DIR");
	free(report);
	report = look(&scratch, "vmlinuz", "nothing");
	assert_finding(&report->kernel, "modules", FINDING_LOST, "has no modules.dep and modules.builtin",
		       "name the folder with --modules DIR, or make the lists: depmod 6.1.0-test-amd64");
	free(report);
	scratch_remove(&scratch);
	image_free(&image);
}

static void what_is_no_kernel_is_a_finding(void **state)
{
	struct scratch scratch;
	struct doctor_report *report;

	(void)state;
	scratch_new(&scratch);
	report = look(&scratch, "missing", NULL);
	assert_int_equal(report->kernel.count, 1);
	assert_non_null(strstr(finding_of(&report->kernel, "kernel")->remedy, "/missing: No such file or directory"));
	assert_int_equal(doctor_status(report), EXIT_STATUS_IMAGE);
	free(report);
	scratch_remove(&scratch);
}

/* Whatever this host is: something is said about everything, and what is not there has a text. */
static void this_host_is_looked_at(void **state)
{
	static const char *const NAMES[] = {
		"KVM",           "KVM pre-fault",  "memory",  "host NUMA", "2M huge pages",
		"1G huge pages", "transparent 2M", "busybox", "virtiofsd", "user namespaces",
		"seccomp",       "Landlock",       "passt",   "tap",       "vhost-net",
		"vhost-vsock"};
	struct doctor_report *report = report_new();

	(void)state;
	doctor_look_at_host(&report->host);
	assert_int_equal(report->host.count, sizeof(NAMES) / sizeof(NAMES[0]));
	for (size_t i = 0; i < report->host.count; i++)
		assert_true(finding_of(&report->host, NAMES[i])->text[0] != '\0');
	if (finding_of(&report->host, "KVM")->state != FINDING_OK)
		assert_true(finding_of(&report->host, "KVM")->remedy[0] != '\0');
	free(report);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_aligned_and_wrapped),
		cmocka_unit_test(the_verdict_is_by_what_is_missing),
		cmocka_unit_test(json_says_the_same),
		cmocka_unit_test(a_kernel_is_looked_at),
		cmocka_unit_test(what_is_no_kernel_is_a_finding),
		cmocka_unit_test(this_host_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
