// SPDX-License-Identifier: GPL-2.0

#include <linux/build_bug.h>
#include <linux/kconfig.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "bindings_helper.h"
#include "layout_generated.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

/*
 * Writes what can be written without waiting, by the rights of who has opened the file: some security modules ask anew when
 * others write, and the caller may be any process that posts requests. override_creds() is inline.
 */
ssize_t stream_shim_try_write(struct file *file, struct iov_iter *from)
{
	const struct cred *callers = override_creds(file->f_cred);
	ssize_t written = vfs_iter_write(file, from, NULL, RWF_NOWAIT);

	revert_creds(callers);
	return written;
}

/* Whether the stream driver has opened the file. */
bool stream_shim_is_stream(const struct file *file)
{
	const struct module *owner = file->f_op->owner;

	if (IS_BUILTIN(CONFIG_USB4_STREAM))
		return !owner;
	return owner && !strcmp(owner->name, "thunderbolt_stream");
}

struct device *stream_shim_find_child(struct device *parent, const char *name)
{
	return device_find_child_by_name(parent, name);
}

/*
 * The driver may leave the device at any time. Its name stays until an RCU grace period after that, in which its module
 * is freed. The lock of the device would do as well, but who holds that may be waiting for us.
 */
bool stream_shim_is_driven_by(const struct device *dev, const char *name)
{
	const struct device_driver *driver;
	bool is_driven;

	rcu_read_lock();
	driver = READ_ONCE(dev->driver);
	is_driven = driver && !strcmp(driver->name, name);
	rcu_read_unlock();
	return is_driven;
}

/* Lanes of the direction that has fewer. */
static u32 lanes(enum tb_link_width width)
{
	return width == TB_LINK_WIDTH_DUAL ? 2 : 1;
}

/* Mb/s each way of the cable to another host; 0 if the device is none. */
u32 stream_shim_xdomain_rate(struct device *dev)
{
	const struct tb_xdomain *xd = tb_to_xdomain(dev);

	return xd ? xd->link_speed * lanes(xd->link_width) * 1000 : 0;
}

bool stream_shim_is_xdomain(struct device *dev)
{
	return tb_to_xdomain(dev);
}

/*
 * Stops what another host that is not there any more still has to do; it would then do it in memory that is not its
 * own any more.
 */
void stream_shim_xdomain_stop_if_gone(struct device *dev)
{
	struct tb_xdomain *xd = tb_to_xdomain(dev);

	/* Found to be gone, and maybe forgotten by its bus as well. */
	if (!xd || !(READ_ONCE(xd->is_unplugged) || !device_is_registered(dev)))
		return;
	cancel_delayed_work_sync(&xd->state_work);
	/* The one above begins it. */
	cancel_delayed_work_sync(&xd->properties_changed_work);
}

/* Copies the UUID of another host's router, once it is known; it does not change then. */
bool stream_shim_xdomain_uuid(struct device *dev, u8 *uuid)
{
	const struct tb_xdomain *xd = tb_to_xdomain(dev);
	const uuid_t *remote = xd ? READ_ONCE(xd->remote_uuid) : NULL;

	if (remote)
		memcpy(uuid, remote, sizeof(*remote));
	return remote;
}

static ssize_t show_of(const struct attribute_group *const *group, struct device *dev,
		       const char *name, char *page)
{
	struct device_attribute *attribute;
	struct attribute *const *attr;

	for (; group && *group; group++) {
		for (attr = (*group)->attrs; attr && *attr; attr++) {
			if (strcmp((*attr)->name, name))
				continue;
			attribute = container_of(*attr, struct device_attribute, attr);
			return attribute->show ? attribute->show(dev, attribute, page) : -EACCES;
		}
	}
	return -ENOENT;
}

/* Shows the named sysfs attribute of a device, whoever has given it that; -ENOENT if there is none of that name. */
ssize_t stream_shim_show_attribute(struct device *dev, const char *name, char *page)
{
	ssize_t len = show_of(dev->groups, dev, name, page);

	if (len == -ENOENT && dev->type)
		len = show_of(dev->type->groups, dev, name, page);
	if (len == -ENOENT && dev->bus)
		len = show_of(dev->bus->dev_groups, dev, name, page);
	return len;
}

void stream_shim_trace_rail_state(u32 rail, const char *name, u32 state)
{
	trace_usb4_roce_rail_state(rail, name, state);
}

void stream_shim_trace_frame_lost(u32 rail, const char *name, u32 seq)
{
	trace_usb4_roce_frame_lost(rail, name, seq);
}
