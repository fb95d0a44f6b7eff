/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the stream adapter's C headers, as names that Rust can use. */
#ifndef _USB4_ROCE_STREAM_ADAPTER_SHIM_H
#define _USB4_ROCE_STREAM_ADAPTER_SHIM_H

#include <linux/namei.h>

static const unsigned int stream_shim_lookup_follow = LOOKUP_FOLLOW;

#endif
