// SPDX-License-Identifier: GPL-2.0
/*
 * What modinfo and sysfs show as the module's version. The kernel crate's module! has no field for it.
 */

#include <linux/module.h>

MODULE_VERSION(USB4_ROCE_VERSION);
