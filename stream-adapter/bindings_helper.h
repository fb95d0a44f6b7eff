/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C headers the stream adapter uses from Rust.
 *
 * Everything declared by them is visible as crate::stream_adapter::bindings::<name>.
 */
#include <linux/bvec.h>
#include <linux/configfs.h>
#include <linux/crc32.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/poll.h>
#include <linux/reboot.h>
#include <linux/sched/signal.h>
#include <linux/suspend.h>
#include <linux/uio.h>
#include <linux/wait.h>
#include <linux/xxhash.h>

#include "layout.h"
#include "shim.h"
