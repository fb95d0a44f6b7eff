/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of rails. */

/* Two modules may not have events of the same name in one system. */
#ifndef USB4_ROCE_TRACE_SYSTEM
#define USB4_ROCE_TRACE_SYSTEM usb4_roce
#endif

#undef TRACE_SYSTEM
#define TRACE_SYSTEM USB4_ROCE_TRACE_SYSTEM

#if !defined(_USB4_ROCE_STREAM_ADAPTER_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _USB4_ROCE_STREAM_ADAPTER_TRACE_H

#include <linux/tracepoint.h>

/* What trace.rs beside this makes of a rail's state. */
#define usb4_roce_show_rail_state(state)					\
	__print_symbolic(state,							\
			 { 0, "detached" },					\
			 { 1, "removed" },					\
			 { 2, "failed" },					\
			 { 3, "greeting" },					\
			 { 4, "up" },						\
			 { 5, "closing" })

TRACE_EVENT(usb4_roce_rail_state,
	TP_PROTO(u32 rail, const char *name, u32 state),
	TP_ARGS(rail, name, state),
	TP_STRUCT__entry(
		__field(u32, rail)
		__field(u32, state)
		__string(name, name)
	),
	TP_fast_assign(
		__entry->rail = rail;
		__entry->state = state;
		__assign_str(name);
	),
	TP_printk("rail=%u name=%s %s", __entry->rail, __get_str(name),
		  usb4_roce_show_rail_state(__entry->state))
);

TRACE_EVENT(usb4_roce_frame_lost,
	TP_PROTO(u32 rail, const char *name, u32 seq),
	TP_ARGS(rail, name, seq),
	TP_STRUCT__entry(
		__field(u32, rail)
		__field(u32, seq)
		__string(name, name)
	),
	TP_fast_assign(
		__entry->rail = rail;
		__entry->seq = seq;
		__assign_str(name);
	),
	TP_printk("rail=%u name=%s seq=%u", __entry->rail, __get_str(name), __entry->seq)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
