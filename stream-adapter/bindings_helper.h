/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C headers the stream adapter uses from Rust.
 *
 * Everything declared by them is visible as crate::stream_adapter::bindings::<name>.
 */
#include <linux/configfs.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/namei.h>
#include <linux/path.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include "layout.h"
#include "shim.h"
