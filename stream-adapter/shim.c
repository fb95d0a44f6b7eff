// SPDX-License-Identifier: GPL-2.0

#include <linux/build_bug.h>
#include <linux/string.h>
#include <linux/utsname.h>

#include "bindings_helper.h"
#include "layout_generated.h"

struct device *stream_shim_find_child(struct device *parent, const char *name)
{
	return device_find_child_by_name(parent, name);
}

/* Shows the named sysfs attribute of a device's own groups; -ENOENT if it has none of that name. */
ssize_t stream_shim_show_attribute(struct device *dev, const char *name, char *page)
{
	const struct attribute_group *const *group;
	struct device_attribute *attribute;
	struct attribute *const *attr;

	for (group = dev->groups; group && *group; group++) {
		for (attr = (*group)->attrs; attr && *attr; attr++) {
			if (strcmp((*attr)->name, name))
				continue;
			attribute = container_of(*attr, struct device_attribute, attr);
			return attribute->show ? attribute->show(dev, attribute, page) : -EACCES;
		}
	}
	return -ENOENT;
}

void stream_shim_host_name(char *name, size_t size)
{
	/* Not locked: uts_sem is not exported. A name that is just being changed may come out mixed. */
	strscpy_pad(name, init_uts_ns.name.nodename, size);
}

void stream_shim_smp_wmb(void)
{
	smp_wmb();
}

bool stream_shim_has_fast_crc32c(void)
{
	return crc32_optimizations() & CRC32C_OPTIMIZATION;
}
