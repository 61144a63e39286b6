/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/doctor.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/kernel_features.h"
#include "vmm/kernel_files.h"

struct finding *finding_add(struct findings *list, enum finding_state state, const char *name, const char *format, ...)
{
	struct finding *finding = &list->items[list->count];
	va_list args;

	assert(list->count < FINDINGS_MAX);
	list->count++;
	*finding = (struct finding){.state = state, .name = name};
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
	return finding;
}

void finding_remedy(struct finding *finding, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(finding->remedy, sizeof(finding->remedy), format, args);
	va_end(args);
}

bool findings_have(const struct findings *list, enum finding_state state)
{
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].state == state)
			return true;
	}
	return false;
}

/* ---------------------------------------------------------------------------------------------- the kernel */

static void look_at_feature(struct findings *list, const struct kernel_feature *feature,
			    const struct kernel_config *config)
{
	static const char *const SIGNS[] = {[KERNEL_OPTION_UNKNOWN] = "?",
					    [KERNEL_OPTION_NO] = "n",
					    [KERNEL_OPTION_LOST] = "m",
					    [KERNEL_OPTION_MODULE] = "m",
					    [KERNEL_OPTION_YES] = "y"};
	enum kernel_option worst = kernel_feature_ask(feature, config);
	struct buf all = {0}, set = {0}, modules = {0};
	struct finding *finding;

	for (size_t i = 0; i < KERNEL_FEATURE_OPTIONS && feature->options[i].name != NULL; i++) {
		const char *name = feature->options[i].name, *module = feature->options[i].module;
		enum kernel_option option = kernel_config_option(config, name, module);

		buf_printf(&all, "%s%s=%s", i > 0 ? " " : "", name, SIGNS[option]);
		if (option == KERNEL_OPTION_NO)
			buf_printf(&set, " CONFIG_%s=%s", name, module != NULL ? "m" : "y");
		if (option == KERNEL_OPTION_LOST)
			buf_printf(&modules, " %s", module);
	}
	buf_u8(&all, 0);
	buf_u8(&set, 0);
	buf_u8(&modules, 0);
	if (buf_failed(&all) || buf_failed(&set) || buf_failed(&modules)) {
		finding_add(list, FINDING_UNKNOWN, feature->name, "out of memory");
	} else if (worst == KERNEL_OPTION_YES || worst == KERNEL_OPTION_MODULE) {
		finding_add(list, FINDING_OK, feature->name, "%s", (const char *)all.data);
	} else if (worst == KERNEL_OPTION_UNKNOWN) {
		finding_add(list, FINDING_UNKNOWN, feature->name, "%s; for %s", (const char *)all.data, feature->why);
	} else {
		finding =
			finding_add(list, (feature->needs & KERNEL_NEEDS_OF_SPM) != 0 ? FINDING_MISSING : FINDING_LOST,
				    feature->name, "%s; for %s", (const char *)all.data, feature->why);
		if (worst == KERNEL_OPTION_LOST)
			finding_remedy(finding, "install the modules%s, or name their folder with --modules DIR",
				       (const char *)modules.data);
		else
			finding_remedy(finding, "build the kernel with%s", (const char *)set.data);
	}
	buf_release(&all);
	buf_release(&set);
	buf_release(&modules);
}

/* Where the kernel's options are known from. */
static void look_at_config(struct findings *list, const struct kernel_config *config, const char *release)
{
	static const char *const FROM[] = {[KERNEL_CONFIG_TEXT] = "",
					   [KERNEL_CONFIG_IN_KERNEL] = "in the kernel: ",
					   [KERNEL_CONFIG_IN_MODULE] = "in its module: "};
	struct finding *finding;

	if (config->source != KERNEL_CONFIG_NONE) {
		finding_add(list, FINDING_OK, "configuration", "%s%s", FROM[config->source], config->place);
		return;
	}
	finding = finding_add(list, FINDING_UNKNOWN, "configuration", "none found; %s",
			      config->has_modules ? "what can be a module is known from modules.dep"
						  : "nothing is known of this kernel");
	finding_remedy(finding,
		       "put the kernel's .config beside it, named config-%s, or build it with CONFIG_IKCONFIG=y",
		       release[0] != '\0' ? release : "VERSION");
}

static int look_at_image(struct doctor_report *report, const struct bzimage *image, const char *modules,
			 const struct log *log, struct error *err)
{
	struct findings *list = &report->kernel;
	struct kernel_config config;
	char folder[PATH_MAX];
	int code;

	snprintf(report->release, sizeof(report->release), "%s", image->release);
	if (modules == NULL && kernel_find_modules(image->path, image->release, folder) == 0)
		modules = folder;
	code = kernel_config_load(&config, image, modules, true, log, err);
	if (code == 0) {
		look_at_config(list, &config, image->release);
		if (config.has_modules)
			finding_add(list, FINDING_OK, "modules", "%s", modules);
		else if (modules != NULL)
			finding_remedy(finding_add(list, FINDING_LOST, "modules",
						   "%s has no modules.dep and modules.builtin", modules),
				       "name the folder with --modules DIR, or make the lists: depmod %s",
				       image->release);
		else
			finding_remedy(finding_add(list, FINDING_LOST, "modules",
						   "none of %s found: what the kernel has as "
						   "a module is not there",
						   image->release),
				       "install them, or name their folder with --modules DIR");
		for (size_t i = 0; i < KERNEL_FEATURE_COUNT; i++)
			look_at_feature(list, &KERNEL_FEATURES[i], &config);
	}
	kernel_config_release(&config);
	return code;
}

int doctor_look_at_kernel(struct doctor_report *report, const char *kernel, const char *modules, const struct log *log,
			  struct error *err)
{
	struct bzimage image;
	struct error why;
	int code = 0;

	if (kernel != NULL)
		snprintf(report->kernel_path, sizeof(report->kernel_path), "%s", kernel);
	else if (kernel_find_newest("/boot", report->kernel_path, &why) < 0)
		code = -ENOENT;
	if (code == 0)
		code = bzimage_open(&image, report->kernel_path, &why);
	if (code < 0) {
		finding_remedy(finding_add(&report->kernel, FINDING_MISSING, "kernel", "none that can be booted"), "%s",
			       why.text);
		return 0;
	}
	code = look_at_image(report, &image, modules, log, err);
	bzimage_release(&image);
	return code;
}

/* --------------------------------------------------------------------------------------------- the command */

enum exit_status doctor_status(const struct doctor_report *report)
{
	if (findings_have(&report->host, FINDING_MISSING))
		return EXIT_STATUS_HOST;
	return findings_have(&report->kernel, FINDING_MISSING) ? EXIT_STATUS_IMAGE : EXIT_STATUS_OK;
}

int doctor(const char *kernel, const char *modules, enum plan_format format, const struct log *log, FILE *out,
	   int *status, struct error *err)
{
	struct doctor_report *report = calloc(1, sizeof(*report));
	int code;

	if (report == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "out of memory");
	doctor_look_at_host(&report->host);
	code = doctor_look_at_kernel(report, kernel, modules, log, err);
	if (code == 0 && format == PLAN_JSON)
		code = doctor_json(report, out, err);
	else if (code == 0)
		doctor_text(report, out);
	if (code == 0)
		*status = (int)doctor_status(report);
	free(report);
	return code;
}
