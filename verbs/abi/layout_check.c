// SPDX-License-Identifier: GPL-2.0
/* Compile-time proof that the offsets in this directory are those of the kernel's headers. */

#include <linux/build_bug.h>
#include <linux/stddef.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/ib_verbs.h>
#include <rdma/rdma_user_rxe.h>

/* queue_layout.rs */
static_assert(offsetof(struct rxe_queue_buf, log2_elem_size) == 0);
static_assert(offsetof(struct rxe_queue_buf, index_mask) == 4);
static_assert(offsetof(struct rxe_queue_buf, producer_index) == 128);
static_assert(offsetof(struct rxe_queue_buf, consumer_index) == 256);
static_assert(offsetof(struct rxe_queue_buf, data) == 384);

/* send_wqe.rs */
static_assert(offsetof(struct rxe_send_wqe, wr.wr_id) == 0);
static_assert(offsetof(struct rxe_send_wqe, wr.opcode) == 12);
static_assert(offsetof(struct rxe_send_wqe, wr.send_flags) == 16);
static_assert(offsetof(struct rxe_send_wqe, wr.ex.imm_data) == 20);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.rdma.remote_addr) == 24);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.rdma.rkey) == 32);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.atomic.remote_addr) == 24);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.atomic.compare_add) == 32);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.atomic.swap) == 40);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.atomic.rkey) == 48);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.flush.remote_addr) == 24);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.flush.rkey) == 36);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.flush.type) == 40);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.flush.level) == 41);
static_assert(offsetof(struct rxe_send_wqe, wr.ex.invalidate_rkey) == 20);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.mw.addr) == 24);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.mw.length) == 32);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.mw.mr_lkey) == 40);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.mw.mw_rkey) == 44);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.mw.rkey) == 48);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.mw.access) == 52);
static_assert(offsetof(struct rxe_send_wqe, dma.length) == 184);
static_assert(offsetof(struct rxe_send_wqe, dma.num_sge) == 196);
static_assert(offsetof(struct rxe_send_wqe, dma.sge) == 208);
static_assert(offsetof(struct rxe_send_wqe, dma.inline_data) == 208);
static_assert(offsetof(struct rxe_send_wqe, dma.atomic_wr) == 208);

/* datagram_wqe.rs */
static_assert(offsetof(struct rxe_send_wqe, wr.wr.ud.remote_qpn) == 24);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.ud.remote_qkey) == 28);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.ud.pkey_index) == 32);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.ud.ah_num) == 36);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.ud.av.dmac) == 58);
static_assert(offsetof(struct rxe_send_wqe, wr.wr.ud.av.grh.dgid) == 64);
static_assert(IB_UVERBS_WR_RDMA_WRITE == 0);
static_assert(IB_UVERBS_WR_RDMA_WRITE_WITH_IMM == 1);
static_assert(IB_UVERBS_WR_SEND == 2);
static_assert(IB_UVERBS_WR_SEND_WITH_IMM == 3);
static_assert(IB_UVERBS_WR_RDMA_READ == 4);
static_assert(IB_UVERBS_WR_ATOMIC_CMP_AND_SWP == 5);
static_assert(IB_UVERBS_WR_ATOMIC_FETCH_AND_ADD == 6);
static_assert(IB_UVERBS_WR_LOCAL_INV == 7);
static_assert(IB_UVERBS_WR_BIND_MW == 8);
static_assert(IB_UVERBS_WR_SEND_WITH_INV == 9);
static_assert(IB_UVERBS_WR_FLUSH == 14);
static_assert(IB_UVERBS_WR_ATOMIC_WRITE == 15);
static_assert(IB_WR_REG_MR == 0x20);
static_assert(IB_FLUSH_GLOBAL == 1);
static_assert(IB_FLUSH_PERSISTENT == 2);
static_assert(IB_FLUSH_RANGE == 0);
static_assert(IB_FLUSH_MR == 1);

/* scatter.rs, receive_wqe.rs */
static_assert(sizeof(struct rxe_sge) == 16);
static_assert(offsetof(struct rxe_sge, length) == 8);
static_assert(offsetof(struct rxe_sge, lkey) == 12);
static_assert(offsetof(struct rxe_recv_wqe, wr_id) == 0);
static_assert(offsetof(struct rxe_recv_wqe, dma.num_sge) == 28);
static_assert(offsetof(struct rxe_recv_wqe, dma.sge) == 40);

/* completion.rs */
static_assert(sizeof(struct ib_uverbs_wc) == 48);
static_assert(offsetof(struct ib_uverbs_wc, status) == 8);
static_assert(offsetof(struct ib_uverbs_wc, opcode) == 12);
static_assert(offsetof(struct ib_uverbs_wc, byte_len) == 20);
static_assert(offsetof(struct ib_uverbs_wc, ex.imm_data) == 24);
static_assert(offsetof(struct ib_uverbs_wc, ex.invalidate_rkey) == 24);
static_assert(IB_UVERBS_WC_BIND_MW == 5);
static_assert(IB_UVERBS_WC_LOCAL_INV == 6);
static_assert(offsetof(struct ib_uverbs_wc, qp_num) == 28);
static_assert(offsetof(struct ib_uverbs_wc, src_qp) == 32);
static_assert(offsetof(struct ib_uverbs_wc, wc_flags) == 36);
static_assert(IB_UVERBS_WC_COMP_SWAP == 3);
static_assert(IB_UVERBS_WC_FETCH_ADD == 4);
static_assert(IB_UVERBS_WC_FLUSH == 8);
static_assert(IB_UVERBS_WC_ATOMIC_WRITE == 9);
static_assert(IB_WC_REG_MR == 10);
static_assert(offsetof(struct ib_uverbs_wc, port_num) == 46);

/* response.rs */
static_assert(sizeof(struct mminfo) == 16);
static_assert(offsetof(struct mminfo, size) == 8);
static_assert(sizeof(struct rxe_create_cq_resp) == 16);
static_assert(sizeof(struct rxe_resize_cq_resp) == 16);
static_assert(sizeof(struct rxe_create_qp_resp) == 32);
static_assert(offsetof(struct rxe_create_qp_resp, sq_mi) == 16);
static_assert(sizeof(struct rxe_create_srq_resp) == 24);
static_assert(offsetof(struct rxe_create_srq_resp, srq_num) == 16);
static_assert(sizeof(struct rxe_create_ah_resp) == 8);
static_assert(sizeof(struct rxe_modify_srq_cmd) == 8);
