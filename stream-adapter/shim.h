/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the stream adapter's C headers, as functions that Rust can call. */
#ifndef _USB4_ROCE_STREAM_ADAPTER_SHIM_H
#define _USB4_ROCE_STREAM_ADAPTER_SHIM_H

#include <linux/kthread.h>

struct task_struct *stream_shim_kthread_run(int (*thread)(void *data), void *data,
					    const char *name);

#endif
