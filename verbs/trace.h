/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints of the way of a work request: taken from its queue, sent and received in segments, completed. */

/* Two modules may not have events of the same name in one system. */
#ifndef USB4_ROCE_TRACE_SYSTEM
#define USB4_ROCE_TRACE_SYSTEM usb4_roce
#endif

#undef TRACE_SYSTEM
#define TRACE_SYSTEM USB4_ROCE_TRACE_SYSTEM

#if !defined(_USB4_ROCE_VERBS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _USB4_ROCE_VERBS_TRACE_H

#include <linux/tracepoint.h>
#include <rdma/ib_cm.h>
#include <rdma/rdma_cm.h>
#include <trace/misc/rdma.h>

/* WcOpcode of verbs/abi/completion.rs. */
#define usb4_roce_show_opcode(opcode)						\
	__print_symbolic(opcode,						\
			 { 0, "SEND" },						\
			 { 1, "WRITE" },					\
			 { 2, "READ" },						\
			 { 3, "COMPARE_SWAP" },					\
			 { 4, "FETCH_ADD" },					\
			 { 5, "BIND_MW" },					\
			 { 6, "LOCAL_INV" },					\
			 { 8, "FLUSH" },					\
			 { 9, "ATOMIC_WRITE" },					\
			 { 10, "REG_MR" },					\
			 { 128, "RECV" },					\
			 { 129, "RECV_WRITE_IMM" })

/* Kind of verbs/trace.rs. */
#define usb4_roce_show_kind(kind)						\
	__print_symbolic(kind,							\
			 { 0, "request" },					\
			 { 1, "response" },					\
			 { 2, "ack" },						\
			 { 3, "unreliable" },					\
			 { 4, "datagram" })

TRACE_EVENT(usb4_roce_wqe,
	TP_PROTO(u32 qpn, u64 wr_id, u32 opcode, u32 length),
	TP_ARGS(qpn, wr_id, opcode, length),
	TP_STRUCT__entry(
		__field(u64, wr_id)
		__field(u32, qpn)
		__field(u32, opcode)
		__field(u32, length)
	),
	TP_fast_assign(
		__entry->wr_id = wr_id;
		__entry->qpn = qpn;
		__entry->opcode = opcode;
		__entry->length = length;
	),
	TP_printk("qpn=%u wr_id=%#llx %s length=%u", __entry->qpn, __entry->wr_id,
		  usb4_roce_show_opcode(__entry->opcode), __entry->length)
);

TRACE_EVENT(usb4_roce_segment_sent,
	TP_PROTO(u32 qpn, u32 kind, u32 psn, u32 length, u32 rail),
	TP_ARGS(qpn, kind, psn, length, rail),
	TP_STRUCT__entry(
		__field(u32, qpn)
		__field(u32, kind)
		__field(u32, psn)
		__field(u32, length)
		__field(u32, rail)
	),
	TP_fast_assign(
		__entry->qpn = qpn;
		__entry->kind = kind;
		__entry->psn = psn;
		__entry->length = length;
		__entry->rail = rail;
	),
	TP_printk("qpn=%u %s psn=%u length=%u rail=%u", __entry->qpn,
		  usb4_roce_show_kind(__entry->kind), __entry->psn, __entry->length, __entry->rail)
);

TRACE_EVENT(usb4_roce_segment_received,
	TP_PROTO(u32 qpn, u32 kind, u32 psn, u32 length),
	TP_ARGS(qpn, kind, psn, length),
	TP_STRUCT__entry(
		__field(u32, qpn)
		__field(u32, kind)
		__field(u32, psn)
		__field(u32, length)
	),
	TP_fast_assign(
		__entry->qpn = qpn;
		__entry->kind = kind;
		__entry->psn = psn;
		__entry->length = length;
	),
	TP_printk("qpn=%u %s psn=%u length=%u", __entry->qpn,
		  usb4_roce_show_kind(__entry->kind), __entry->psn, __entry->length)
);

TRACE_EVENT(usb4_roce_cqe,
	TP_PROTO(u32 qpn, u64 wr_id, u32 opcode, u32 status, u32 length),
	TP_ARGS(qpn, wr_id, opcode, status, length),
	TP_STRUCT__entry(
		__field(u64, wr_id)
		__field(u32, qpn)
		__field(u32, opcode)
		__field(u32, status)
		__field(u32, length)
	),
	TP_fast_assign(
		__entry->wr_id = wr_id;
		__entry->qpn = qpn;
		__entry->opcode = opcode;
		__entry->status = status;
		__entry->length = length;
	),
	TP_printk("qpn=%u wr_id=%#llx %s %s length=%u", __entry->qpn, __entry->wr_id,
		  usb4_roce_show_opcode(__entry->opcode), rdma_show_wc_status(__entry->status),
		  __entry->length)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
