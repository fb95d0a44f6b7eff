// SPDX-License-Identifier: GPL-2.0
/*
 * What users in the kernel do with the verbs device that usb4_roce has registered: connections within this host, posted to,
 * polled and drained in every context that ib_core allows. A module of its own, because it is such a user.
 */

#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/module.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <net/ipv6.h>
#include <rdma/ib_cache.h>
#include <rdma/ib_verbs.h>
#include <rdma/rw.h>

/* The name is the device's, and not rxe's: its driver may be loaded as well. */
#define DEVICE_PREFIX "usb4_roce"
#define PORT 1
#define DEPTH 64
#define SGES 4
#define PATIENCE (20 * HZ)
#define REGION_PAGES 32
#define BYTES (REGION_PAGES * PAGE_SIZE)

static struct ib_device *device;

/* A work request, and how it ended. */
struct op {
	struct ib_cqe cqe;
	struct completion done;
	struct ib_wc wc;
};

/* One end of a connection. */
struct end {
	struct ib_cq *cq;
	struct ib_qp *qp;
};

struct link {
	struct ib_pd *pd;
	struct end ends[2];
};

static void op_done(struct ib_cq *cq, struct ib_wc *wc)
{
	struct op *op = container_of(wc->wr_cqe, struct op, cqe);

	op->wc = *wc;
	complete(&op->done);
}

static void op_init(struct op *op)
{
	op->cqe.done = op_done;
	init_completion(&op->done);
}

static void op_expect(struct kunit *test, struct op *op, enum ib_wc_status status)
{
	KUNIT_ASSERT_NE(test, wait_for_completion_timeout(&op->done, PATIENCE), 0UL);
	KUNIT_EXPECT_EQ(test, op->wc.status, status);
}

/* The GID of the host's IPv4 address. */
static void fill_path(struct kunit *test, struct ib_qp_attr *attr)
{
	const struct ib_gid_attr *gid;
	int index;

	for (index = 0; index < device->port_data[PORT].immutable.gid_tbl_len; index++) {
		gid = rdma_get_gid_attr(device, PORT, index);
		if (IS_ERR(gid))
			continue;
		if (ipv6_addr_v4mapped((struct in6_addr *)&gid->gid))
			break;
		rdma_put_gid_attr(gid);
	}
	KUNIT_ASSERT_LT(test, index, device->port_data[PORT].immutable.gid_tbl_len);
	attr->ah_attr.type = RDMA_AH_ATTR_TYPE_ROCE;
	rdma_ah_set_port_num(&attr->ah_attr, PORT);
	rdma_ah_set_grh(&attr->ah_attr, NULL, 0, index, 64, 0);
	rdma_ah_set_dgid_raw(&attr->ah_attr, (void *)gid->gid.raw);
	/* Nobody resolves it for users in the kernel. */
	KUNIT_EXPECT_EQ(test, 0, rdma_read_gid_l2_fields(gid, NULL, attr->ah_attr.roce.dmac));
	rdma_put_gid_attr(gid);
}

static void to_init(struct kunit *test, struct ib_qp *qp)
{
	struct ib_qp_attr attr = {
		.qp_state = IB_QPS_INIT,
		.port_num = PORT,
		.qp_access_flags = IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE |
				   IB_ACCESS_REMOTE_READ | IB_ACCESS_REMOTE_ATOMIC,
	};

	KUNIT_ASSERT_EQ(test, 0, ib_modify_qp(qp, &attr, IB_QP_STATE | IB_QP_PKEY_INDEX | IB_QP_PORT |
						IB_QP_ACCESS_FLAGS));
}

static void connect(struct kunit *test, struct ib_qp *qp, u32 peer)
{
	struct ib_qp_attr attr = {
		.qp_state = IB_QPS_RTR,
		.path_mtu = IB_MTU_4096,
		.dest_qp_num = peer,
		.rq_psn = 7,
		.max_dest_rd_atomic = 4,
		.min_rnr_timer = 12,
	};

	fill_path(test, &attr);
	KUNIT_ASSERT_EQ(test, 0, ib_modify_qp(qp, &attr, IB_QP_STATE | IB_QP_AV | IB_QP_PATH_MTU |
						IB_QP_DEST_QPN | IB_QP_RQ_PSN |
						IB_QP_MAX_DEST_RD_ATOMIC | IB_QP_MIN_RNR_TIMER));
	attr = (struct ib_qp_attr){
		.qp_state = IB_QPS_RTS,
		.sq_psn = 7,
		.timeout = 14,
		.retry_cnt = 7,
		.rnr_retry = 7,
		.max_rd_atomic = 4,
	};
	KUNIT_ASSERT_EQ(test, 0, ib_modify_qp(qp, &attr, IB_QP_STATE | IB_QP_SQ_PSN | IB_QP_TIMEOUT |
						IB_QP_RETRY_CNT | IB_QP_RNR_RETRY |
						IB_QP_MAX_QP_RD_ATOMIC));
}

static struct ib_qp *make_qp(struct kunit *test, struct ib_pd *pd, struct ib_cq *cq, struct ib_srq *srq)
{
	struct ib_qp_init_attr init = {
		.send_cq = cq,
		.recv_cq = cq,
		.srq = srq,
		.cap = {
			.max_send_wr = DEPTH,
			.max_recv_wr = srq ? 0 : DEPTH,
			.max_send_sge = SGES,
			.max_recv_sge = SGES,
		},
		.sq_sig_type = IB_SIGNAL_REQ_WR,
		.qp_type = IB_QPT_RC,
	};
	struct ib_qp *qp = ib_create_qp(pd, &init);

	KUNIT_ASSERT_FALSE(test, IS_ERR(qp));
	return qp;
}

static void link_open_with(struct kunit *test, struct link *link, enum ib_poll_context context,
			   struct ib_srq *srq)
{
	int i;

	for (i = 0; i < 2; i++) {
		struct end *end = &link->ends[i];

		end->cq = ib_alloc_cq(device, NULL, 4 * DEPTH, 0, context);
		KUNIT_ASSERT_FALSE(test, IS_ERR(end->cq));
		end->qp = make_qp(test, link->pd, end->cq, i ? srq : NULL);
		to_init(test, end->qp);
	}
	for (i = 0; i < 2; i++)
		connect(test, link->ends[i].qp, link->ends[!i].qp->qp_num);
}

static void link_open(struct kunit *test, struct link *link, enum ib_poll_context context)
{
	link->pd = ib_alloc_pd(device, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(link->pd));
	link_open_with(test, link, context, NULL);
}

static void link_close_ends(struct link *link)
{
	int i;

	for (i = 0; i < 2; i++) {
		ib_drain_qp(link->ends[i].qp);
		ib_destroy_qp(link->ends[i].qp);
		ib_free_cq(link->ends[i].cq);
	}
}

static void link_close(struct link *link)
{
	link_close_ends(link);
	ib_dealloc_pd(link->pd);
}

static struct ib_sge sge_of(struct link *link, void *memory, u32 length)
{
	return (struct ib_sge){
		.addr = ib_dma_map_single(device, memory, length, DMA_BIDIRECTIONAL),
		.length = length,
		.lkey = link->pd->local_dma_lkey,
	};
}

static int post_receive(struct end *end, struct op *op, struct ib_sge *sge)
{
	struct ib_recv_wr wr = { .wr_cqe = &op->cqe, .sg_list = sge, .num_sge = sge ? 1 : 0 };

	op_init(op);
	return ib_post_recv(end->qp, &wr, NULL);
}

static int post_send(struct end *end, struct op *op, struct ib_sge *sge)
{
	struct ib_send_wr wr = {
		.wr_cqe = &op->cqe,
		.sg_list = sge,
		.num_sge = sge ? 1 : 0,
		.opcode = IB_WR_SEND,
		.send_flags = IB_SEND_SIGNALED,
	};

	op_init(op);
	return ib_post_send(end->qp, &wr, NULL);
}

static int post_remote(struct end *end, struct op *op, enum ib_wr_opcode opcode, struct ib_sge *sge,
		       u64 address, u32 rkey)
{
	struct ib_rdma_wr wr = {
		.wr = {
			.wr_cqe = &op->cqe,
			.sg_list = sge,
			.num_sge = 1,
			.opcode = opcode,
			.send_flags = IB_SEND_SIGNALED,
		},
		.remote_addr = address,
		.rkey = rkey,
	};

	op_init(op);
	return ib_post_send(end->qp, &wr.wr, NULL);
}

static void *filled(struct kunit *test, u8 seed)
{
	u8 *memory = kunit_kmalloc(test, BYTES, GFP_KERNEL);
	size_t i;

	KUNIT_ASSERT_NOT_NULL(test, memory);
	for (i = 0; i < BYTES; i++)
		memory[i] = seed + i * 7 + (i >> 8);
	return memory;
}

/* --- posting in every context --- */

struct posting {
	struct timer_list timer;
	struct completion done;
	struct link *link;
	struct op *receive, *send;
	struct ib_sge *to, *from;
	int error;
};

static void do_post(struct posting *posting)
{
	posting->error = post_receive(&posting->link->ends[1], posting->receive, posting->to);
	if (!posting->error)
		posting->error = post_send(&posting->link->ends[0], posting->send, posting->from);
}

static void post_in_timer(struct timer_list *timer)
{
	struct posting *posting = container_of(timer, struct posting, timer);

	do_post(posting);
	complete(&posting->done);
}

enum where { IN_PROCESS, IN_SOFTIRQ, WITHOUT_INTERRUPTS, WHERES };

static void post_somewhere(struct posting *posting, enum where where)
{
	unsigned long flags;

	switch (where) {
	case IN_SOFTIRQ:
		init_completion(&posting->done);
		timer_setup_on_stack(&posting->timer, post_in_timer, 0);
		mod_timer(&posting->timer, jiffies + 1);
		wait_for_completion(&posting->done);
		timer_delete_sync(&posting->timer);
		timer_destroy_on_stack(&posting->timer);
		break;
	case WITHOUT_INTERRUPTS:
		local_irq_save(flags);
		do_post(posting);
		local_irq_restore(flags);
		break;
	default:
		do_post(posting);
	}
}

static void messages_arrive_wherever_they_are_posted(struct kunit *test)
{
	static const enum ib_poll_context contexts[] = { IB_POLL_SOFTIRQ, IB_POLL_WORKQUEUE };
	u8 *from = filled(test, 1), *to = filled(test, 0);
	int i, where;

	for (i = 0; i < ARRAY_SIZE(contexts); i++) {
		struct link link;

		link_open(test, &link, contexts[i]);
		for (where = 0; where < WHERES; where++) {
			struct ib_sge sges[] = { sge_of(&link, from, BYTES), sge_of(&link, to, BYTES) };
			struct op receive, send;
			struct posting posting = {
				.link = &link,
				.receive = &receive,
				.send = &send,
				.to = &sges[1],
				.from = &sges[0],
			};

			memset(to, 0, BYTES);
			post_somewhere(&posting, where);
			KUNIT_ASSERT_EQ(test, posting.error, 0);
			op_expect(test, &send, IB_WC_SUCCESS);
			op_expect(test, &receive, IB_WC_SUCCESS);
			KUNIT_EXPECT_EQ(test, receive.wc.byte_len, BYTES);
			KUNIT_EXPECT_PTR_EQ(test, receive.wc.qp, link.ends[1].qp);
			KUNIT_EXPECT_EQ(test, receive.wc.opcode, IB_WC_RECV);
			KUNIT_EXPECT_EQ(test, send.wc.opcode, IB_WC_SEND);
			KUNIT_EXPECT_MEMEQ(test, to, from, BYTES);
		}
		link_close(&link);
	}
}

/* Each completion of a receive posts the next one, and a message, from the handler. */
struct relay {
	struct ib_cqe receive, send;
	struct link *link;
	atomic_t left;
	struct completion done;
	int error;
};

static void relay_post(struct relay *relay)
{
	struct ib_recv_wr receive = { .wr_cqe = &relay->receive };
	struct ib_send_wr send = {
		.wr_cqe = &relay->send,
		.opcode = IB_WR_SEND,
		.send_flags = IB_SEND_SIGNALED,
	};

	relay->error = ib_post_recv(relay->link->ends[1].qp, &receive, NULL) ?:
		       ib_post_send(relay->link->ends[0].qp, &send, NULL);
}

static void relay_received(struct ib_cq *cq, struct ib_wc *wc)
{
	struct relay *relay = container_of(wc->wr_cqe, struct relay, receive);

	if (wc->status == IB_WC_SUCCESS && atomic_dec_return(&relay->left) > 0) {
		relay_post(relay);
		if (!relay->error)
			return;
	}
	complete(&relay->done);
}

static void relay_sent(struct ib_cq *cq, struct ib_wc *wc)
{
}

static void handlers_may_post(struct kunit *test)
{
	struct relay relay = {
		.receive.done = relay_received,
		.send.done = relay_sent,
		.left = ATOMIC_INIT(1000),
	};
	struct link link;

	link_open(test, &link, IB_POLL_SOFTIRQ);
	relay.link = &link;
	init_completion(&relay.done);
	relay_post(&relay);
	KUNIT_EXPECT_NE(test, wait_for_completion_timeout(&relay.done, PATIENCE), 0UL);
	KUNIT_EXPECT_EQ(test, relay.error, 0);
	KUNIT_EXPECT_EQ(test, atomic_read(&relay.left), 0);
	link_close(&link);
}

/* --- memory --- */

struct region {
	struct ib_mr *mr;
	struct scatterlist list[2];
};

/* Half of the memory, and then the other half: as one region. */
static void region_map(struct kunit *test, struct link *link, struct region *region, u8 *memory)
{
	region->mr = ib_alloc_mr(link->pd, IB_MR_TYPE_MEM_REG, REGION_PAGES);
	KUNIT_ASSERT_FALSE(test, IS_ERR(region->mr));
	sg_init_table(region->list, 2);
	sg_set_buf(&region->list[0], memory + BYTES / 2, BYTES / 2);
	sg_set_buf(&region->list[1], memory, BYTES / 2);
	KUNIT_ASSERT_EQ(test, 2, ib_dma_map_sg(device, region->list, 2, DMA_BIDIRECTIONAL));
	KUNIT_ASSERT_EQ(test, 2, ib_map_mr_sg(region->mr, region->list, 2, NULL, PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, region->mr->length, (u64)BYTES);
	ib_update_fast_reg_key(region->mr, ib_inc_rkey(region->mr->rkey));
}

static int region_register(struct end *end, struct op *op, struct region *region, int access)
{
	struct ib_reg_wr wr = {
		.wr = {
			.wr_cqe = &op->cqe,
			.opcode = IB_WR_REG_MR,
			.send_flags = IB_SEND_SIGNALED,
		},
		.mr = region->mr,
		.key = region->mr->rkey,
		.access = access,
	};

	op_init(op);
	return ib_post_send(end->qp, &wr.wr, NULL);
}

static int region_invalidate(struct end *end, struct op *op, struct region *region)
{
	struct ib_send_wr wr = {
		.wr_cqe = &op->cqe,
		.opcode = IB_WR_LOCAL_INV,
		.send_flags = IB_SEND_SIGNALED,
		.ex.invalidate_rkey = region->mr->rkey,
	};

	op_init(op);
	return ib_post_send(end->qp, &wr, NULL);
}

#define ALL_ACCESS (IB_ACCESS_LOCAL_WRITE | IB_ACCESS_REMOTE_WRITE | IB_ACCESS_REMOTE_READ)

static void memory_is_registered_by_requests(struct kunit *test)
{
	u8 *shared = filled(test, 3), *from = filled(test, 5), *to = filled(test, 0);
	struct ib_sge sges[2];
	struct region region;
	struct link link;
	struct op op;
	int round;

	link_open(test, &link, IB_POLL_WORKQUEUE);
	region_map(test, &link, &region, shared);
	sges[0] = sge_of(&link, from, BYTES);
	sges[1] = sge_of(&link, to, BYTES);
	for (round = 0; round < 3; round++) {
		struct op remote;
		u64 at = region.mr->iova;

		KUNIT_ASSERT_EQ(test, 0, region_register(&link.ends[0], &op, &region, ALL_ACCESS));
		op_expect(test, &op, IB_WC_SUCCESS);
		KUNIT_EXPECT_EQ(test, op.wc.opcode, IB_WC_REG_MR);
		KUNIT_ASSERT_EQ(test, 0, post_remote(&link.ends[1], &remote, IB_WR_RDMA_WRITE, &sges[0],
						     at, region.mr->rkey));
		op_expect(test, &remote, IB_WC_SUCCESS);
		KUNIT_EXPECT_MEMEQ(test, shared + BYTES / 2, from, BYTES / 2);
		KUNIT_EXPECT_MEMEQ(test, shared, from + BYTES / 2, BYTES / 2);
		memset(to, 0, BYTES);
		KUNIT_ASSERT_EQ(test, 0, post_remote(&link.ends[1], &remote, IB_WR_RDMA_READ, &sges[1],
						     at, region.mr->rkey));
		op_expect(test, &remote, IB_WC_SUCCESS);
		KUNIT_EXPECT_MEMEQ(test, to, from, BYTES);
		KUNIT_ASSERT_EQ(test, 0, region_invalidate(&link.ends[0], &op, &region));
		op_expect(test, &op, IB_WC_SUCCESS);
		KUNIT_EXPECT_EQ(test, op.wc.opcode, IB_WC_LOCAL_INV);
		from[round]++;
		ib_update_fast_reg_key(region.mr, ib_inc_rkey(region.mr->rkey));
	}
	/* The last key is not valid yet. */
	KUNIT_ASSERT_EQ(test, 0, post_remote(&link.ends[1], &op, IB_WR_RDMA_WRITE, &sges[0],
					     region.mr->iova, region.mr->rkey));
	op_expect(test, &op, IB_WC_REM_ACCESS_ERR);
	KUNIT_EXPECT_NE(test, shared[BYTES / 2 + 2], from[2]);
	ib_dereg_mr(region.mr);
	link_close(&link);
}

static void registrations_are_checked(struct kunit *test)
{
	/* Rights that need local write as well; pages that were not listed; a key of another region. */
	static const struct {
		int access;
		u64 more;
		u32 key;
	} wrong[] = {
		{ .access = IB_ACCESS_REMOTE_WRITE },
		{ .access = ALL_ACCESS, .more = 1 },
		{ .access = ALL_ACCESS, .key = 1 << 8 },
	};
	u8 *shared = filled(test, 3);
	int i;

	for (i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct region region;
		struct link link;
		struct op op;

		link_open(test, &link, IB_POLL_WORKQUEUE);
		region_map(test, &link, &region, shared);
		region.mr->length += wrong[i].more;
		region.mr->rkey ^= wrong[i].key;
		KUNIT_ASSERT_EQ(test, 0, region_register(&link.ends[0], &op, &region, wrong[i].access));
		op_expect(test, &op, IB_WC_MW_BIND_ERR);
		ib_dereg_mr(region.mr);
		link_close(&link);
	}
}

static void a_message_makes_a_key_invalid(struct kunit *test)
{
	u8 *shared = filled(test, 3);
	struct region region;
	struct link link;
	struct op op, receive;
	struct ib_send_wr wr = {
		.opcode = IB_WR_SEND_WITH_INV,
		.send_flags = IB_SEND_SIGNALED,
		.wr_cqe = &op.cqe,
	};

	link_open(test, &link, IB_POLL_WORKQUEUE);
	region_map(test, &link, &region, shared);
	KUNIT_ASSERT_EQ(test, 0, region_register(&link.ends[0], &op, &region, ALL_ACCESS));
	op_expect(test, &op, IB_WC_SUCCESS);
	KUNIT_ASSERT_EQ(test, 0, post_receive(&link.ends[0], &receive, NULL));
	op_init(&op);
	wr.ex.invalidate_rkey = region.mr->rkey;
	KUNIT_ASSERT_EQ(test, 0, ib_post_send(link.ends[1].qp, &wr, NULL));
	op_expect(test, &op, IB_WC_SUCCESS);
	op_expect(test, &receive, IB_WC_SUCCESS);
	KUNIT_EXPECT_TRUE(test, receive.wc.wc_flags & IB_WC_WITH_INVALIDATE);
	KUNIT_EXPECT_EQ(test, receive.wc.ex.invalidate_rkey, region.mr->rkey);
	/* Who does not know that the peer has done so may say it too. */
	KUNIT_ASSERT_EQ(test, 0, region_invalidate(&link.ends[0], &op, &region));
	op_expect(test, &op, IB_WC_SUCCESS);
	/* Another key than its last one is nobody's. */
	ib_update_fast_reg_key(region.mr, ib_inc_rkey(region.mr->rkey));
	KUNIT_ASSERT_EQ(test, 0, region_invalidate(&link.ends[0], &op, &region));
	op_expect(test, &op, IB_WC_MW_BIND_ERR);
	ib_dereg_mr(region.mr);
	link_close(&link);
}

/* Users list the next pages before they ask to end what is registered, and register again what was. */
static void pages_are_listed_ahead(struct kunit *test)
{
	u8 *first = filled(test, 3), *second = filled(test, 4), *from = filled(test, 5);
	struct region region, next = {};
	struct ib_sge sge;
	struct link link;
	struct op op, remote;
	int round;

	link_open(test, &link, IB_POLL_WORKQUEUE);
	region_map(test, &link, &region, first);
	sge = sge_of(&link, from, BYTES);
	KUNIT_ASSERT_EQ(test, 0, region_register(&link.ends[0], &op, &region, ALL_ACCESS));
	op_expect(test, &op, IB_WC_SUCCESS);
	sg_init_one(next.list, second, BYTES);
	KUNIT_ASSERT_EQ(test, 1, ib_dma_map_sg(device, next.list, 1, DMA_BIDIRECTIONAL));
	for (round = 0; round < 3; round++) {
		u8 *to = round ? second : first + BYTES / 2;
		u64 at = region.mr->iova;

		/* The old pages are the key's until it is registered anew. */
		if (!round)
			KUNIT_ASSERT_EQ(test, 1, ib_map_mr_sg(region.mr, next.list, 1, NULL, PAGE_SIZE));
		memset(to, 0, BYTES / 2);
		KUNIT_ASSERT_EQ(test, 0, post_remote(&link.ends[1], &remote, IB_WR_RDMA_WRITE, &sge, at,
						     region.mr->rkey));
		op_expect(test, &remote, IB_WC_SUCCESS);
		KUNIT_EXPECT_MEMEQ(test, to, from, BYTES / 2);
		KUNIT_ASSERT_EQ(test, 0, region_invalidate(&link.ends[0], &op, &region));
		op_expect(test, &op, IB_WC_SUCCESS);
		KUNIT_ASSERT_EQ(test, 0, region_register(&link.ends[0], &op, &region, ALL_ACCESS));
		op_expect(test, &op, IB_WC_SUCCESS);
	}
	ib_dereg_mr(region.mr);
	/* As many as fit, if not all do. */
	region.mr = ib_alloc_mr(link.pd, IB_MR_TYPE_MEM_REG, REGION_PAGES / 2);
	KUNIT_ASSERT_FALSE(test, IS_ERR(region.mr));
	KUNIT_EXPECT_EQ(test, 1, ib_map_mr_sg(region.mr, region.list, 2, NULL, PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, region.mr->length, (u64)BYTES / 2);
	ib_dereg_mr(region.mr);
	link_close(&link);
}

static void no_peer_gets_all_memory(struct kunit *test)
{
	struct ib_pd *pd = ib_alloc_pd(device, IB_PD_UNSAFE_GLOBAL_RKEY);

	KUNIT_EXPECT_EQ(test, PTR_ERR_OR_ZERO(pd), -EOPNOTSUPP);
}

static void words_are_exchanged(struct kunit *test)
{
	u64 *words = (u64 *)filled(test, 3), *answer = (u64 *)filled(test, 0);
	struct region region;
	struct ib_atomic_wr wr = {
		.wr = {
			.opcode = IB_WR_ATOMIC_FETCH_AND_ADD,
			.send_flags = IB_SEND_SIGNALED,
			.num_sge = 1,
		},
		.compare_add = 5,
	};
	struct ib_sge sge;
	struct link link;
	struct op op;
	u64 before;

	link_open(test, &link, IB_POLL_WORKQUEUE);
	region_map(test, &link, &region, (u8 *)words);
	KUNIT_ASSERT_EQ(test, 0, region_register(&link.ends[0], &op, &region,
						 ALL_ACCESS | IB_ACCESS_REMOTE_ATOMIC));
	op_expect(test, &op, IB_WC_SUCCESS);
	sge = sge_of(&link, answer, sizeof(u64));
	wr.wr.sg_list = &sge;
	wr.wr.wr_cqe = &op.cqe;
	wr.remote_addr = region.mr->iova + BYTES / 2;
	wr.rkey = region.mr->rkey;
	before = words[0];
	op_init(&op);
	KUNIT_ASSERT_EQ(test, 0, ib_post_send(link.ends[1].qp, &wr.wr, NULL));
	op_expect(test, &op, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, *answer, before);
	KUNIT_EXPECT_EQ(test, words[0], before + 5);
	wr.wr.opcode = IB_WR_ATOMIC_CMP_AND_SWP;
	wr.compare_add = before + 5;
	wr.swap = 77;
	op_init(&op);
	KUNIT_ASSERT_EQ(test, 0, ib_post_send(link.ends[1].qp, &wr.wr, NULL));
	op_expect(test, &op, IB_WC_SUCCESS);
	KUNIT_EXPECT_EQ(test, words[0], 77ULL);
	ib_dereg_mr(region.mr);
	link_close(&link);
}

/* --- ends --- */

#define UNDER_WAY 16

/* Work is under way when both ends are drained. What was lent is freed afterwards, and poisoned by the allocator. */
static void drained_queues_touch_nothing(struct kunit *test)
{
	int round;

	for (round = 0; round < 8; round++) {
		struct op *ops = kunit_kcalloc(test, 2 * UNDER_WAY, sizeof(*ops), GFP_KERNEL);
		u8 *from = kmalloc(BYTES, GFP_KERNEL), *to = kmalloc(BYTES, GFP_KERNEL);
		struct ib_sge sges[2];
		struct link link;
		int i;

		KUNIT_ASSERT_TRUE(test, ops && from && to);
		link_open(test, &link, IB_POLL_WORKQUEUE);
		sges[0] = sge_of(&link, from, BYTES);
		sges[1] = sge_of(&link, to, BYTES);
		for (i = 0; i < UNDER_WAY; i++) {
			KUNIT_ASSERT_EQ(test, 0, post_receive(&link.ends[1], &ops[i], &sges[1]));
			KUNIT_ASSERT_EQ(test, 0, post_send(&link.ends[0], &ops[UNDER_WAY + i], &sges[0]));
		}
		ib_drain_qp(link.ends[round % 2].qp);
		ib_drain_qp(link.ends[!(round % 2)].qp);
		for (i = 0; i < 2 * UNDER_WAY; i++) {
			KUNIT_EXPECT_TRUE(test, try_wait_for_completion(&ops[i].done));
			KUNIT_EXPECT_TRUE(test, ops[i].wc.status == IB_WC_SUCCESS ||
						ops[i].wc.status == IB_WC_WR_FLUSH_ERR ||
						ops[i].wc.status == IB_WC_RETRY_EXC_ERR);
		}
		kfree(from);
		kfree(to);
		link_close(&link);
	}
}

/* A region goes while the peer writes to it: nobody writes to its pages afterwards. */
static void regions_end_under_writes(struct kunit *test)
{
	int round;

	for (round = 0; round < 8; round++) {
		struct op *ops = kunit_kcalloc(test, UNDER_WAY, sizeof(*ops), GFP_KERNEL);
		u8 *shared = kmalloc(BYTES, GFP_KERNEL), *from = filled(test, 9);
		struct region region;
		struct ib_sge sge;
		struct link link;
		struct op op;
		int i;

		KUNIT_ASSERT_TRUE(test, ops && shared);
		link_open(test, &link, IB_POLL_WORKQUEUE);
		region_map(test, &link, &region, shared);
		KUNIT_ASSERT_EQ(test, 0, region_register(&link.ends[0], &op, &region, ALL_ACCESS));
		op_expect(test, &op, IB_WC_SUCCESS);
		sge = sge_of(&link, from, BYTES);
		for (i = 0; i < UNDER_WAY; i++)
			KUNIT_ASSERT_EQ(test, 0, post_remote(&link.ends[1], &ops[i], IB_WR_RDMA_WRITE, &sge,
							     region.mr->iova, region.mr->rkey));
		if (round % 2) {
			KUNIT_ASSERT_EQ(test, 0, region_invalidate(&link.ends[0], &op, &region));
			op_expect(test, &op, IB_WC_SUCCESS);
			kfree(shared);
			ib_dereg_mr(region.mr);
		} else {
			ib_dereg_mr(region.mr);
			kfree(shared);
		}
		for (i = 0; i < UNDER_WAY; i++)
			KUNIT_ASSERT_NE(test, wait_for_completion_timeout(&ops[i].done, PATIENCE), 0UL);
		link_close(&link);
	}
}

static void what_was_never_connected_is_drained(struct kunit *test)
{
	struct ib_pd *pd = ib_alloc_pd(device, 0);
	struct ib_cq *cq = ib_cq_pool_get(device, 2 * DEPTH, -1, IB_POLL_WORKQUEUE);
	struct ib_qp *qp;

	KUNIT_ASSERT_FALSE(test, IS_ERR(pd));
	KUNIT_ASSERT_FALSE(test, IS_ERR(cq));
	qp = make_qp(test, pd, cq, NULL);
	to_init(test, qp);
	ib_drain_qp(qp);
	ib_destroy_qp(qp);
	ib_cq_pool_put(cq, 2 * DEPTH);
	ib_dealloc_pd(pd);
}

static void receives_are_shared(struct kunit *test)
{
	struct ib_srq_init_attr init = { .attr = { .max_wr = DEPTH, .max_sge = 1 } };
	u8 *from = filled(test, 1), *to = filled(test, 0);
	struct ib_recv_wr wr = { .num_sge = 1 };
	struct ib_sge sges[2];
	struct op receive, send;
	struct ib_srq *srq;
	struct link link;

	link.pd = ib_alloc_pd(device, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(link.pd));
	srq = ib_create_srq(link.pd, &init);
	KUNIT_ASSERT_FALSE(test, IS_ERR(srq));
	link_open_with(test, &link, IB_POLL_WORKQUEUE, srq);
	sges[0] = sge_of(&link, from, BYTES);
	sges[1] = sge_of(&link, to, BYTES);
	op_init(&receive);
	wr.wr_cqe = &receive.cqe;
	wr.sg_list = &sges[1];
	KUNIT_ASSERT_EQ(test, 0, ib_post_srq_recv(srq, &wr, NULL));
	KUNIT_ASSERT_EQ(test, 0, post_send(&link.ends[0], &send, &sges[0]));
	op_expect(test, &send, IB_WC_SUCCESS);
	op_expect(test, &receive, IB_WC_SUCCESS);
	KUNIT_EXPECT_MEMEQ(test, to, from, BYTES);
	link_close_ends(&link);
	ib_destroy_srq(srq);
	ib_dealloc_pd(link.pd);
}

static void queues_have_a_size(struct kunit *test)
{
	struct ib_pd *pd = ib_alloc_pd(device, 0);
	struct ib_cq *cq = ib_alloc_cq(device, NULL, 4 * DEPTH, 0, IB_POLL_WORKQUEUE);
	struct ib_recv_wr receive = {};
	struct ib_sge sges[SGES + 1] = {};
	struct op op;
	struct ib_qp *qp;
	int posted;

	op_init(&op);
	receive.wr_cqe = &op.cqe;
	KUNIT_ASSERT_FALSE(test, IS_ERR(pd));
	KUNIT_ASSERT_FALSE(test, IS_ERR(cq));
	qp = make_qp(test, pd, cq, NULL);
	to_init(test, qp);
	for (posted = 0; !ib_post_recv(qp, &receive, NULL); posted++)
		KUNIT_ASSERT_LT(test, posted, 4 * DEPTH);
	KUNIT_EXPECT_GE(test, posted, DEPTH);
	receive.sg_list = sges;
	receive.num_sge = ARRAY_SIZE(sges);
	KUNIT_EXPECT_EQ(test, -EINVAL, ib_post_recv(qp, &receive, NULL));
	/* Nothing may be sent before there is a connection. */
	KUNIT_EXPECT_EQ(test, -EINVAL, post_send(&(struct end){ .qp = qp }, &op, NULL));
	ib_destroy_qp(qp);
	ib_free_cq(cq);
	ib_dealloc_pd(pd);
}

static int find_device(struct ib_device *candidate)
{
	if (!device && !strncmp(dev_name(&candidate->dev), DEVICE_PREFIX, strlen(DEVICE_PREFIX)))
		device = candidate;
	return 0;
}

static void lose_device(struct ib_device *gone, void *data)
{
	if (device == gone)
		device = NULL;
}

static struct ib_client client = {
	.name = "usb4_roce_kernel_user",
	.add = find_device,
	.remove = lose_device,
};

static int suite_begin(struct kunit_suite *suite)
{
	int ret = ib_register_client(&client);

	if (!ret && !device) {
		ib_unregister_client(&client);
		pr_err("there is no device %s*: load usb4_roce first\n", DEVICE_PREFIX);
		ret = -ENODEV;
	}
	return ret;
}

static void suite_end(struct kunit_suite *suite)
{
	if (device)
		ib_unregister_client(&client);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(messages_arrive_wherever_they_are_posted),
	KUNIT_CASE(handlers_may_post),
	KUNIT_CASE(memory_is_registered_by_requests),
	KUNIT_CASE(registrations_are_checked),
	KUNIT_CASE(a_message_makes_a_key_invalid),
	KUNIT_CASE(pages_are_listed_ahead),
	KUNIT_CASE(no_peer_gets_all_memory),
	KUNIT_CASE(words_are_exchanged),
	KUNIT_CASE(drained_queues_touch_nothing),
	KUNIT_CASE(regions_end_under_writes),
	KUNIT_CASE(what_was_never_connected_is_drained),
	KUNIT_CASE(receives_are_shared),
	KUNIT_CASE(queues_have_a_size),
	{}
};

static struct kunit_suite suite = {
	.name = "usb4_roce_kernel_user_of_device",
	.suite_init = suite_begin,
	.suite_exit = suite_end,
	.test_cases = cases,
};
kunit_test_suite(suite);

MODULE_DESCRIPTION("Tests of usb4_roce as users in the kernel see it");
MODULE_LICENSE("GPL");
