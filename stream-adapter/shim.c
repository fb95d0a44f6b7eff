// SPDX-License-Identifier: GPL-2.0

#include <linux/build_bug.h>

#include "bindings_helper.h"
#include "layout_generated.h"

struct task_struct *stream_shim_kthread_run(int (*thread)(void *data), void *data,
					    const char *name)
{
	return kthread_run(thread, data, "%s", name);
}
