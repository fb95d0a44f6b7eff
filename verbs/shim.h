/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the verbs layer's C headers, as functions that Rust can call. */
#ifndef _USB4_ROCE_VERBS_SHIM_H
#define _USB4_ROCE_VERBS_SHIM_H

#include <rdma/ib_verbs.h>

struct ib_device *verbs_shim_ib_alloc_device(size_t size);

#endif
