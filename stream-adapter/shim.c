// SPDX-License-Identifier: GPL-2.0

#include <linux/build_bug.h>

#include "bindings_helper.h"
#include "layout_generated.h"
