// SPDX-License-Identifier: GPL-2.0

#include <linux/build_bug.h>

#include "bindings_helper.h"
#include "layout_generated.h"

struct ib_device *verbs_shim_ib_alloc_device(size_t size)
{
	return _ib_alloc_device(size, &init_net);
}
