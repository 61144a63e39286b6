/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/base/buf.h"
#include "vmm/base/keyval.h"
#include "vmm/option_values.h"

enum { TAG_MAX = 36, SERIAL_MAX = 20, PORT_NAME_MAX = 63 }; /* the first two: virtio 1.2 §5.11.4 and §5.2.6 */

/* One key of a device's option. */
struct key {
	const char *name;
	int (*parse)(struct config_device *device, struct token value, struct error *err);
};

static int copy_text(char **place, struct token value, size_t max, struct error *err)
{
	if (max > 0 && strlen(value.text) > max)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%.40s' is longer than %zu bytes (column %zu); shorten it", value.text, max,
				 value.column);
	return option_text(place, value.text, err);
}

static int key_path(struct config_device *device, struct token value, struct error *err)
{
	return copy_text(&device->path, value, 0, err);
}

static int key_read_only(struct config_device *device, struct token value, struct error *err)
{
	return parse_on_off(value, &device->read_only, err);
}

static int key_serial_number(struct config_device *device, struct token value, struct error *err)
{
	return copy_text(&device->name, value, SERIAL_MAX, err);
}

static int key_tag(struct config_device *device, struct token value, struct error *err)
{
	return copy_text(&device->name, value, TAG_MAX, err);
}

static int key_socket(struct config_device *device, struct token value, struct error *err)
{
	return copy_text(&device->socket, value, 0, err);
}

static int key_port_name(struct config_device *device, struct token value, struct error *err)
{
	return copy_text(&device->name, value, PORT_NAME_MAX, err);
}

static int key_in(struct config_device *device, struct token value, struct error *err)
{
	return copy_text(&device->in, value, 0, err);
}

static int key_out(struct config_device *device, struct token value, struct error *err)
{
	return copy_text(&device->out, value, 0, err);
}

static int key_cid(struct config_device *device, struct token value, struct error *err)
{
	/* 0 to 2 have meanings of their own and 2^32 - 1 is VMADDR_CID_ANY (vsock(7)) */
	return parse_number(value, 3, UINT32_MAX - 1, &device->cid, err);
}

static int key_mode(struct config_device *device, struct token value, struct error *err)
{
	if (strcmp(value.text, "user") != 0)
		return error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "'%.40s' is no network (column %zu); use user or tap=NAME", value.text, value.column);
	device->net->kind = NET_USER;
	return 0;
}

static int key_tap(struct config_device *device, struct token value, struct error *err)
{
	const char *name;
	int code = net_tap_parse(value, &name, err);

	device->net->kind = NET_TAP;
	return code < 0 ? code : copy_text(&device->name, value, 0, err);
}

static int key_mac(struct config_device *device, struct token value, struct error *err)
{
	device->net->has_mac = true;
	return net_mac_parse(value, device->net->mac, err);
}

static int key_vhost(struct config_device *device, struct token value, struct error *err)
{
	bool on = true;
	int code = parse_on_off(value, &on, err);

	device->net->vhost = on ? NET_VHOST_ON : NET_VHOST_OFF;
	return code;
}

static int key_forward(struct config_device *device, struct token value, struct error *err)
{
	return net_forwards_parse(value, device->net, err);
}

static const struct key BLK_KEYS[] = {{"path", key_path}, {"ro", key_read_only}, {"id", key_serial_number}, {0}};
static const struct key NET_KEYS[] = {{"mode", key_mode},   {"tap", key_tap},         {"mac", key_mac},
				      {"vhost", key_vhost}, {"forward", key_forward}, {0}};
static const struct key SHARE_KEYS[] = {
	{"path", key_path}, {"tag", key_tag}, {"ro", key_read_only}, {"socket", key_socket}, {0}};
static const struct key PORT_KEYS[] = {
	{"name", key_port_name}, {"in", key_in}, {"out", key_out}, {"socket", key_socket}, {0}};
static const struct key VSOCK_KEYS[] = {{"cid", key_cid}, {0}};

static int unknown_key(struct token key, const struct key *keys, struct error *err)
{
	char known[128] = "";

	for (; keys->name != NULL; keys++) {
		const char *separator = known[0] == '\0' ? "" : keys[1].name != NULL ? ", " : " or ";
		size_t used = strlen(known);

		snprintf(known + used, sizeof(known) - used, "%s%s", separator, keys->name);
	}
	return error_set(err, EXIT_STATUS_USAGE, EINVAL, "unknown key '%.40s' (column %zu); use %s", key.text,
			 key.column, known);
}

static int enter_pair(struct config_device *device, const struct keyval_pair *pair, const struct key *keys,
		      struct error *err)
{
	for (const struct key *key = keys; key->name != NULL; key++) {
		if (strcmp(key->name, pair->key.text) == 0)
			return key->parse(device, pair->value, err);
	}
	return unknown_key(pair->key, keys, err);
}

/* All keys and values, those that may be left out too; NULL when memory runs out. */
static char *title_of(const char *name, const struct keyval *keyval)
{
	struct buf text = {0};

	buf_printf(&text, "--%s ", name);
	for (size_t i = 0; i < keyval->count; i++)
		buf_printf(&text, "%s%s=%s", i > 0 ? "," : "", keyval->pairs[i].key.text, keyval->pairs[i].value.text);
	buf_u8(&text, '\0');
	return (char *)buf_steal(&text, &(size_t){0});
}

static int parse_device(struct config_device *device, const char *name, const char *argument, const char *implied_key,
			const struct key *keys, struct error *err)
{
	struct keyval keyval;
	int code;

	if (asprintf(&device->option, "--%s %s", name, argument) < 0) {
		device->option = NULL;
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the command line");
	}
	code = keyval_parse(&keyval, argument, implied_key, err);
	if (code < 0)
		return code;
	device->title = title_of(name, &keyval);
	if (device->title == NULL)
		code = error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the command line");
	for (size_t i = 0; code == 0 && i < keyval.count; i++)
		code = enter_pair(device, &keyval.pairs[i], keys, err);
	keyval_release(&keyval);
	return code;
}

/* Enters a device that was parsed well (code 0), and takes it over; releases it otherwise. Returns what came of it. */
static int add_device(struct options *options, struct config_device *device, int code, struct error *err)
{
	struct config_raw *raw = &options->raw;
	struct config_device *place = NULL;

	if (code == 0 && raw->device_count == CONFIG_DEVICES_MAX)
		code = error_set(err, EXIT_STATUS_USAGE, E2BIG, "more than %u virtio devices", CONFIG_DEVICES_MAX);
	if (code == 0)
		place = option_grow(&raw->devices, raw->device_count, sizeof(*place), err);
	if (place == NULL) {
		config_device_release(device);
		return code < 0 ? code : -ENOMEM;
	}
	*place = *device;
	raw->device_count++;
	return 0;
}

int option_blk(struct options *options, const char *argument, struct error *err)
{
	struct config_device device = {.kind = CONFIG_BLK};
	int code = parse_device(&device, "blk", argument, "path", BLK_KEYS, err);

	if (code == 0 && device.path == NULL)
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL, "path is missing; add path=FILE");
	return add_device(options, &device, code, err);
}

int option_net(struct options *options, const char *argument, struct error *err)
{
	struct config_device device = {.kind = CONFIG_NET, .net = calloc(1, sizeof(*device.net))};
	int code;

	if (device.net == NULL)
		return error_set(err, EXIT_STATUS_HOST, ENOMEM, "no memory for the command line");
	device.net->kind = NET_USER;
	code = parse_device(&device, "net", argument, "mode", NET_KEYS, err);
	if (code == 0 && device.net->kind == NET_TAP && device.net->forward_count > 0)
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "forward= is for user networking; use --net user,forward=...");
	return add_device(options, &device, code, err);
}

int option_share(struct options *options, const char *argument, struct error *err)
{
	struct config_device device = {.kind = CONFIG_SHARE};
	int code = parse_device(&device, "share", argument, "path", SHARE_KEYS, err);

	if (code == 0 && device.name == NULL)
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "tag is missing; add tag=NAME, by which the guest mounts it");
	if (code == 0 && (device.path == NULL) == (device.socket == NULL))
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "give either a folder to share or socket=PATH of a virtiofsd that runs");
	return add_device(options, &device, code, err);
}

int option_vsock(struct options *options, const char *argument, struct error *err)
{
	struct config_device device = {.kind = CONFIG_VSOCK};
	int code = parse_device(&device, "vsock", argument, "cid", VSOCK_KEYS, err);

	if (code == 0 && device.cid == 0)
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL, "cid is missing; add cid=N, 3 or more");
	return add_device(options, &device, code, err);
}

int option_port(struct options *options, const char *argument, struct error *err)
{
	struct config_device device = {.kind = CONFIG_PORT};
	int code = parse_device(&device, "port", argument, "name", PORT_KEYS, err);

	if (code == 0 && device.name == NULL)
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL, "name is missing; add name=NAME");
	if (code == 0 && (device.socket == NULL) == (device.in == NULL && device.out == NULL))
		code = error_set(err, EXIT_STATUS_USAGE, EINVAL,
				 "give either in=PATH and out=PATH (or one of them) or socket=PATH");
	return add_device(options, &device, code, err);
}

int option_rng(struct options *options, const char *argument, struct error *err)
{
	bool on = true;
	int code = parse_on_off((struct token){argument, 1}, &on, err);

	options->raw.no_rng = !on;
	return code;
}
