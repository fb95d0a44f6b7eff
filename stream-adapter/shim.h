/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the stream adapter's C headers, as names that Rust can use. */
#ifndef _USB4_ROCE_STREAM_ADAPTER_SHIM_H
#define _USB4_ROCE_STREAM_ADAPTER_SHIM_H

#include <linux/device.h>
#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <linux/namei.h>
#include <linux/thunderbolt.h>

static const unsigned int stream_shim_lookup_follow = LOOKUP_FOLLOW;
static const unsigned int stream_shim_epollin = (__force unsigned int)EPOLLIN;
static const unsigned int stream_shim_epollrdnorm = (__force unsigned int)EPOLLRDNORM;
static const unsigned int stream_shim_epollout = (__force unsigned int)EPOLLOUT;
static const unsigned int stream_shim_epollwrnorm = (__force unsigned int)EPOLLWRNORM;
static const unsigned int stream_shim_epollerr = (__force unsigned int)EPOLLERR;
static const unsigned int stream_shim_epollhup = (__force unsigned int)EPOLLHUP;
static const int stream_shim_rwf_nowait = (__force int)RWF_NOWAIT;

ssize_t stream_shim_try_write(struct file *file, struct iov_iter *from);
bool stream_shim_is_stream(const struct file *file);
struct device *stream_shim_find_child(struct device *parent, const char *name);
ssize_t stream_shim_show_attribute(struct device *dev, const char *name, char *page);
bool stream_shim_is_driven_by(const struct device *dev, const char *name);
u32 stream_shim_xdomain_rate(struct device *dev);
bool stream_shim_xdomain_uuid(struct device *dev, u8 *uuid);
bool stream_shim_is_xdomain(struct device *dev);
void stream_shim_xdomain_stop_if_gone(struct device *dev);
void stream_shim_trace_rail_state(u32 rail, const char *name, u32 state);
void stream_shim_trace_frame_lost(u32 rail, const char *name, u32 seq);

#endif
