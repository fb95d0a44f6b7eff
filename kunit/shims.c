// SPDX-License-Identifier: GPL-2.0
/*
 * The driver's C shims once more: an object file can be part of one module only.
 */

#include "../stream-adapter/shim.c"
#include "../verbs/shim.c"
#include "../verbs/rdma/shim.c"
