/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C headers the base uses from Rust.
 *
 * Everything declared by them is visible as crate::base::bindings::<name>.
 */
#include <linux/bvec.h>
#include <linux/crc32.h>
#include <linux/kthread.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/xxhash.h>

#include "layout.h"
#include "shim.h"
