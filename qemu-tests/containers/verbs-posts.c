// SPDX-License-Identifier: GPL-2.0
/*
 * Posts requests by each way that libibverbs has for it, and has the other end look at what arrives.
 *
 *	verbs-posts DEVICE GID-INDEX INTERFACE PORT		one end: the receiver
 *	verbs-posts DEVICE GID-INDEX INTERFACE PORT ADDRESS	the other one: the sender
 *
 * INTERFACE is `classic` (ibv_post_send) or `extended` (ibv_wr_*). In C, because the calls of the latter are inline
 * functions of the header: it is built against that of each version of rdma-core.
 *
 * Each case has a queue pair of its own, and its first request in each slot of the queue. The sender writes a line for
 * each:
 *
 *	OPERATION/PAYLOAD ok			completed, and all bytes are where they belong
 *	OPERATION/PAYLOAD refused: STATUS	completed with that status, and nothing has arrived
 *	OPERATION/PAYLOAD LOST			completed, and not all has arrived
 *	OPERATION/PAYLOAD FAILED: STATUS	an error, and something has arrived
 *
 * or, if the provider does not have the interface, `not offered`. The exit status says whether all cases were gone through.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <infiniband/verbs.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* Most elements or pieces of a request. */
#define MAX_PIECES 4
/* Inline data that a queue pair takes. */
#define MAX_INLINE 64
/* Memory of each end. */
#define MEMORY 65536
/* Where the sender's pieces are: apart, so that they have to be gathered. */
#define PIECE_DISTANCE 8192
/* Where the receiver's payload is to be, of an odd address. */
#define TARGET 1025
/* Requests that a queue takes; providers and drivers make it a power of two less one. */
#define DEPTH 7
/* Requests of a case that goes round the queue several times. */
#define ROUNDS 40
/* Longest wait for a completion, in seconds. */
#define PATIENCE 60
#define IMMEDIATE 0x12345678
/* What the receiver's memory is full of. */
#define BACKGROUND 0xee
/* Status of a request that was never posted. */
#define NOT_POSTED 1000

enum operation { SEND, SEND_IMM, WRITE, WRITE_IMM, READ, OPERATIONS };

static const char *const operation_names[] = { "send", "send_imm", "write", "write_imm", "read" };

/* How the payload is given. */
enum payload {
	NONE,		/* not at all */
	SGE,		/* one element */
	SGE_LIST,	/* several */
	INLINE,		/* inline, in one piece */
	INLINE_LIST,	/* inline, in several */
};

struct shape {
	const char *name;
	enum payload payload;
	unsigned int pieces;
	uint32_t lengths[MAX_PIECES];
};

static const struct shape shapes[] = {
	{ "nothing", NONE, 0, {} },
	{ "sge", SGE, 1, { 5000 } },
	{ "empty-sge", SGE, 1, { 0 } },
	{ "sge-list-of-equal", SGE_LIST, 3, { 700, 700, 700 } },
	{ "sge-list-short-first", SGE_LIST, 4, { 1, 4000, 17, 900 } },
	{ "sge-list-long-first", SGE_LIST, 3, { 5000, 3, 8 } },
	{ "sge-list-empty-first", SGE_LIST, 2, { 0, 333 } },
	{ "sge-list-of-one", SGE_LIST, 1, { 12 } },
	{ "inline-1", INLINE, 1, { 1 } },
	{ "inline-64", INLINE, 1, { 64 } },
	{ "inline-list", INLINE_LIST, 3, { 5, 40, 11 } },
	{ "inline-list-of-one", INLINE_LIST, 1, { 1 } },
	{ "inline-list-full", INLINE_LIST, 2, { 32, 32 } },
};

/* What each end tells the other of itself. */
struct introduction {
	union ibv_gid gid;
	uint64_t address;
	uint32_t rkey;
	uint32_t qpn;
	uint32_t mtu;
};

struct end {
	struct ibv_context *context;
	struct ibv_pd *pd;
	struct ibv_mr *mr;
	uint8_t *memory;
	int gid_index;
	union ibv_gid gid;
	enum ibv_mtu mtu;
	bool extended;		/* it posts by ibv_wr_* */
	int peer;		/* a TCP connection */
	struct ibv_cq *cq;	/* of the case at hand, like what follows */
	struct ibv_qp *qp;
	struct introduction other;
};

static void fail(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, ": %s\n", strerror(errno));
	exit(1);
}

static void tell(int peer, const void *bytes, size_t length)
{
	if (write(peer, bytes, length) != (ssize_t)length)
		fail("tell the other end");
}

static void hear(int peer, void *bytes, size_t length)
{
	if (recv(peer, bytes, length, MSG_WAITALL) != (ssize_t)length)
		fail("hear of the other end");
}

/* The byte of the payload at `at`. None is that of the background. */
static uint8_t pattern(size_t at)
{
	return at % 199 + 1;
}

static uint32_t total(const struct shape *shape)
{
	uint32_t sum = 0;

	for (unsigned int i = 0; i < shape->pieces; i++)
		sum += shape->lengths[i];
	return sum;
}

static void create(struct end *end)
{
	struct ibv_qp_init_attr_ex attr = {
		.qp_type = IBV_QPT_RC,
		.cap = {
			.max_send_wr = DEPTH,
			.max_recv_wr = ROUNDS,
			.max_send_sge = MAX_PIECES,
			.max_recv_sge = 1,
			.max_inline_data = MAX_INLINE,
		},
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.pd = end->pd,
		.send_ops_flags = IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_SEND_WITH_IMM |
				  IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM |
				  IBV_QP_EX_WITH_RDMA_READ,
	};

	end->cq = ibv_create_cq(end->context, 2 * ROUNDS, NULL, NULL, 0);
	if (!end->cq)
		fail("create a completion queue");
	attr.send_cq = end->cq;
	attr.recv_cq = end->cq;
	if (!end->extended)
		attr.comp_mask = IBV_QP_INIT_ATTR_PD;
	end->qp = ibv_create_qp_ex(end->context, &attr);
	if (!end->qp)
		fail("create a queue pair");
}

static void connect_ends(struct end *end)
{
	const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
	struct introduction mine = {
		.gid = end->gid,
		.address = (uintptr_t)end->memory,
		.rkey = end->mr->rkey,
		.qpn = end->qp->qp_num,
		.mtu = end->mtu,
	};
	struct ibv_qp_attr attr = {
		.qp_state = IBV_QPS_INIT,
		.port_num = 1,
		.qp_access_flags = access,
	};

	if (ibv_modify_qp(end->qp, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS))
		fail("INIT");
	tell(end->peer, &mine, sizeof(mine));
	hear(end->peer, &end->other, sizeof(end->other));
	attr = (struct ibv_qp_attr) {
		.qp_state = IBV_QPS_RTR,
		.path_mtu = end->other.mtu < end->mtu ? end->other.mtu : end->mtu,
		.dest_qp_num = end->other.qpn,
		.max_dest_rd_atomic = 1,
		.min_rnr_timer = 1,
		.ah_attr = {
			.is_global = 1,
			.port_num = 1,
			.grh = { .dgid = end->other.gid, .sgid_index = end->gid_index, .hop_limit = 64 },
		},
	};
	if (ibv_modify_qp(end->qp, &attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
			  IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER))
		fail("RTR");
	attr = (struct ibv_qp_attr) {
		.qp_state = IBV_QPS_RTS,
		.timeout = 18,
		.retry_cnt = 7,
		.rnr_retry = 7,
		.max_rd_atomic = 1,
	};
	if (ibv_modify_qp(end->qp, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
			  IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC))
		fail("RTS");
}

static void destroy(struct end *end)
{
	if (ibv_destroy_qp(end->qp))
		fail("destroy a queue pair");
	if (ibv_destroy_cq(end->cq))
		fail("destroy a completion queue");
}

static void post_receive(struct end *end)
{
	struct ibv_sge sge = {
		.addr = (uintptr_t)end->memory + TARGET,
		.length = MEMORY - TARGET,
		.lkey = end->mr->lkey,
	};
	struct ibv_recv_wr wr = { .sg_list = &sge, .num_sge = 1 }, *bad;

	if (ibv_post_recv(end->qp, &wr, &bad))
		fail("post a receive");
}

/* Waits for a completion. */
static struct ibv_wc completion(struct end *end)
{
	time_t deadline = time(NULL) + PATIENCE;
	struct ibv_wc wc;
	int found;

	while ((found = ibv_poll_cq(end->cq, 1, &wc)) == 0) {
		if (time(NULL) > deadline) {
			errno = ETIMEDOUT;
			fail("wait for a completion");
		}
	}
	if (found < 0)
		fail("poll");
	return wc;
}

static void pieces_of(struct end *end, const struct shape *shape, struct ibv_sge *sges)
{
	for (unsigned int i = 0; i < shape->pieces; i++) {
		sges[i].addr = (uintptr_t)end->memory + i * PIECE_DISTANCE;
		sges[i].length = shape->lengths[i];
		sges[i].lkey = end->mr->lkey;
	}
}

static int post_classic(struct end *end, enum operation operation, const struct shape *shape)
{
	static const enum ibv_wr_opcode opcodes[] = {
		IBV_WR_SEND, IBV_WR_SEND_WITH_IMM, IBV_WR_RDMA_WRITE, IBV_WR_RDMA_WRITE_WITH_IMM, IBV_WR_RDMA_READ,
	};
	struct ibv_sge sges[MAX_PIECES];
	struct ibv_send_wr wr = {
		.wr_id = operation,
		.opcode = opcodes[operation],
		.send_flags = IBV_SEND_SIGNALED,
		.imm_data = htonl(IMMEDIATE),
		.sg_list = sges,
		.num_sge = shape->pieces,
		.wr.rdma = { .remote_addr = end->other.address + TARGET, .rkey = end->other.rkey },
	}, *bad;

	pieces_of(end, shape, sges);
	if (shape->payload == INLINE || shape->payload == INLINE_LIST)
		wr.send_flags |= IBV_SEND_INLINE;
	return ibv_post_send(end->qp, &wr, &bad);
}

static void build_extended(struct end *end, struct ibv_qp_ex *qp, enum operation operation, const struct shape *shape)
{
	uint64_t remote = end->other.address + TARGET;
	struct ibv_sge sges[MAX_PIECES];
	struct ibv_data_buf buffers[MAX_PIECES];

	pieces_of(end, shape, sges);
	for (unsigned int i = 0; i < shape->pieces; i++) {
		buffers[i].addr = (void *)(uintptr_t)sges[i].addr;
		buffers[i].length = sges[i].length;
	}
	qp->wr_id = operation;
	qp->wr_flags = IBV_SEND_SIGNALED;
	switch (operation) {
	case SEND:
		ibv_wr_send(qp);
		break;
	case SEND_IMM:
		ibv_wr_send_imm(qp, htonl(IMMEDIATE));
		break;
	case WRITE:
		ibv_wr_rdma_write(qp, end->other.rkey, remote);
		break;
	case WRITE_IMM:
		ibv_wr_rdma_write_imm(qp, end->other.rkey, remote, htonl(IMMEDIATE));
		break;
	default:
		ibv_wr_rdma_read(qp, end->other.rkey, remote);
	}
	switch (shape->payload) {
	case NONE:
		break;
	case SGE:
		ibv_wr_set_sge(qp, sges[0].lkey, sges[0].addr, sges[0].length);
		break;
	case SGE_LIST:
		ibv_wr_set_sge_list(qp, shape->pieces, sges);
		break;
	case INLINE:
		ibv_wr_set_inline_data(qp, buffers[0].addr, buffers[0].length);
		break;
	case INLINE_LIST:
		ibv_wr_set_inline_data_list(qp, shape->pieces, buffers);
		break;
	}
}

static int post_extended(struct end *end, enum operation operation, const struct shape *shape)
{
	struct ibv_qp_ex *qp = ibv_qp_to_qp_ex(end->qp);

	ibv_wr_start(qp);
	build_extended(end, qp, operation, shape);
	return ibv_wr_complete(qp);
}

/* Posts a request and waits for it. Gives its status. */
static uint32_t request(struct end *end, enum operation operation, const struct shape *shape)
{
	static const enum ibv_wc_opcode opcodes[] = {
		IBV_WC_SEND, IBV_WC_SEND, IBV_WC_RDMA_WRITE, IBV_WC_RDMA_WRITE, IBV_WC_RDMA_READ,
	};
	struct ibv_wc wc;
	int error = end->extended ? post_extended(end, operation, shape) : post_classic(end, operation, shape);

	if (error)
		return NOT_POSTED + error;
	wc = completion(end);
	if (wc.wr_id != operation || (wc.status == IBV_WC_SUCCESS && wc.opcode != opcodes[operation])) {
		errno = EPROTO;
		fail("%s/%s: a completion of another request", operation_names[operation], shape->name);
	}
	return wc.status;
}

/* Whether `memory` has the payload of that many bytes at `TARGET` and nothing else. */
static bool has_payload(const uint8_t *memory, uint32_t length)
{
	for (size_t at = 0; at < MEMORY; at++) {
		bool inside = at >= TARGET && at - TARGET < length;

		if (memory[at] != (inside ? pattern(at - TARGET) : BACKGROUND))
			return false;
	}
	return true;
}

/* Fills the sender's pieces with the payload, or, for a READ, with the background. */
static void fill_pieces(struct end *end, const struct shape *shape, enum operation operation)
{
	size_t at = 0;

	memset(end->memory, BACKGROUND, MEMORY);
	if (operation == READ)
		return;
	for (unsigned int i = 0; i < shape->pieces; i++)
		for (uint32_t byte = 0; byte < shape->lengths[i]; byte++)
			end->memory[i * PIECE_DISTANCE + byte] = pattern(at++);
}

/* Whether a READ has filled the pieces, or left them alone, and all around them. */
static bool pieces_have(struct end *end, const struct shape *shape, bool filled)
{
	size_t at = 0, place = 0;

	for (unsigned int i = 0; i < shape->pieces; i++) {
		for (; place < i * PIECE_DISTANCE; place++)
			if (end->memory[place] != BACKGROUND)
				return false;
		for (uint32_t byte = 0; byte < shape->lengths[i]; byte++, place++)
			if (end->memory[place] != (filled ? pattern(at++) : BACKGROUND))
				return false;
	}
	for (; place < MEMORY; place++)
		if (end->memory[place] != BACKGROUND)
			return false;
	return true;
}

static bool consumes_receive(enum operation operation)
{
	return operation == SEND || operation == SEND_IMM || operation == WRITE_IMM;
}

/* The receiver's part of a request that ended with `status`: whether all, or nothing, has arrived. */
static bool arrived(struct end *end, enum operation operation, uint32_t length, uint32_t status)
{
	bool success = status == IBV_WC_SUCCESS;
	struct ibv_wc wc;

	if (operation == READ)
		return true;
	if (!success)
		/* It has taken no receive, or that fails with the queue pair. */
		return has_payload(end->memory, 0) &&
		       (ibv_poll_cq(end->cq, 1, &wc) == 0 || wc.status != IBV_WC_SUCCESS);
	if (consumes_receive(operation)) {
		bool has_imm = operation != SEND;

		wc = completion(end);
		if (wc.status != IBV_WC_SUCCESS || wc.byte_len != length)
			return false;
		if (has_imm != !!(wc.wc_flags & IBV_WC_WITH_IMM) || (has_imm && wc.imm_data != htonl(IMMEDIATE)))
			return false;
		if (wc.opcode != (operation == WRITE_IMM ? IBV_WC_RECV_RDMA_WITH_IMM : IBV_WC_RECV))
			return false;
	}
	return has_payload(end->memory, length);
}

/* One request on the queue pair at hand. Gives whether it ended in one of the two ways that are right. */
static bool exchange(struct end *end, bool sender, enum operation operation, const struct shape *shape, uint32_t *status)
{
	char ready = 0, right;

	if (!sender) {
		memset(end->memory, BACKGROUND, MEMORY);
		if (operation == READ)
			for (size_t at = 0; at < total(shape); at++)
				end->memory[TARGET + at] = pattern(at);
		if (consumes_receive(operation))
			post_receive(end);
		tell(end->peer, &ready, 1);
		hear(end->peer, status, sizeof(*status));
		right = arrived(end, operation, total(shape), *status);
		tell(end->peer, &right, 1);
		return right;
	}
	fill_pieces(end, shape, operation);
	hear(end->peer, &ready, 1);
	*status = request(end, operation, shape);
	tell(end->peer, status, sizeof(*status));
	hear(end->peer, &right, 1);
	if (operation == READ)
		right = pieces_have(end, shape, *status == IBV_WC_SUCCESS);
	return right;
}

static const char *status_name(uint32_t status)
{
	return status >= NOT_POSTED ? strerror(status - NOT_POSTED) : ibv_wc_status_str(status);
}

/* Writes what has become of a case. */
static void report(const char *operation, const char *shape, uint32_t status, bool right)
{
	if (status == IBV_WC_SUCCESS)
		printf("%s/%s %s\n", operation, shape, right ? "ok" : "LOST");
	else
		printf("%s/%s %s: %s\n", operation, shape, right ? "refused" : "FAILED", status_name(status));
	fflush(stdout);
}

static void single_case(struct end *end, bool sender, enum operation operation, const struct shape *shape)
{
	uint32_t status;
	bool right;

	create(end);
	connect_ends(end);
	right = exchange(end, sender, operation, shape, &status);
	destroy(end);
	if (sender)
		report(operation_names[operation], shape->name, status, right);
}

/* Requests with and without payload by turns, several times round the queue: none takes what is left of another one. */
static void round_the_queue(struct end *end, bool sender)
{
	static const unsigned int chosen[] = { 4, 0, 9, 0, 0, 1, 2, 8, 5 };
	uint32_t status = IBV_WC_SUCCESS;
	bool right = true;

	create(end);
	connect_ends(end);
	for (unsigned int i = 0; i < ROUNDS && right && status == IBV_WC_SUCCESS; i++)
		right = exchange(end, sender, i % READ, &shapes[chosen[i % ARRAY_SIZE(chosen)]], &status);
	destroy(end);
	if (sender)
		report("all", "round-the-queue", status, right);
}

/* A request that was given up leaves nothing to the next one, but its data in the slot. */
static void after_abort(struct end *end, bool sender, const struct shape *shape)
{
	uint32_t status;
	bool right;

	create(end);
	connect_ends(end);
	if (sender) {
		struct ibv_qp_ex *qp = ibv_qp_to_qp_ex(end->qp);

		ibv_wr_start(qp);
		build_extended(end, qp, SEND, &shapes[4]);
		ibv_wr_abort(qp);
	}
	right = exchange(end, sender, SEND, shape, &status);
	destroy(end);
	if (sender)
		report("after-abort", shape->name, status, right);
}

static void all_cases(struct end *end, bool sender, bool extended)
{
	for (enum operation operation = SEND; operation < OPERATIONS; operation++)
		for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++) {
			bool is_inline = shapes[i].payload == INLINE || shapes[i].payload == INLINE_LIST;

			/* A READ has nowhere to go then. */
			if (operation != READ || !is_inline)
				single_case(end, sender, operation, &shapes[i]);
		}
	round_the_queue(end, sender);
	if (extended) {
		after_abort(end, sender, &shapes[3]);
		after_abort(end, sender, &shapes[0]);
	}
}

/* Whether the provider has the interface that the sender is to use. The receiver posts no requests, and needs none. */
static bool is_offered(struct end *end)
{
	struct ibv_qp_init_attr_ex attr = {
		.qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 1, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 },
		.comp_mask = IBV_QP_INIT_ATTR_PD | IBV_QP_INIT_ATTR_SEND_OPS_FLAGS,
		.pd = end->pd,
		.send_ops_flags = IBV_QP_EX_WITH_SEND,
	};
	struct ibv_cq *cq = ibv_create_cq(end->context, 1, NULL, NULL, 0);
	struct ibv_qp *qp;

	if (!cq)
		fail("create a completion queue");
	attr.send_cq = cq;
	attr.recv_cq = cq;
	qp = ibv_create_qp_ex(end->context, &attr);
	if (!qp && errno != EOPNOTSUPP && errno != ENOSYS)
		fail("create an extended queue pair");
	if (qp)
		ibv_destroy_qp(qp);
	ibv_destroy_cq(cq);
	return qp != NULL;
}

static void open_device(struct end *end, const char *name)
{
	struct ibv_device **devices = ibv_get_device_list(NULL);
	struct ibv_port_attr port;

	for (int i = 0; devices && devices[i]; i++)
		if (!strcmp(ibv_get_device_name(devices[i]), name))
			end->context = ibv_open_device(devices[i]);
	if (!end->context)
		fail("open %s", name);
	if (ibv_query_port(end->context, 1, &port))
		fail("query the port");
	end->mtu = port.active_mtu;
	if (ibv_query_gid(end->context, 1, end->gid_index, &end->gid))
		fail("query the GID");
	end->pd = ibv_alloc_pd(end->context);
	if (!end->pd)
		fail("allocate a protection domain");
	end->memory = aligned_alloc(4096, MEMORY);
	if (!end->memory)
		fail("allocate memory");
	end->mr = ibv_reg_mr(end->pd, end->memory, MEMORY,
			     IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ);
	if (!end->mr)
		fail("register memory");
}

/* A connection to the other end. */
static int reach(uint16_t port, const char *address)
{
	struct sockaddr_in there = { .sin_family = AF_INET, .sin_port = htons(port) };
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1, peer = listener;

	if (listener < 0)
		fail("socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (address) {
		if (inet_pton(AF_INET, address, &there.sin_addr) != 1)
			fail("address %s", address);
		if (connect(peer, (struct sockaddr *)&there, sizeof(there)))
			fail("connect to %s", address);
	} else {
		if (bind(listener, (struct sockaddr *)&there, sizeof(there)) || listen(listener, 1))
			fail("listen");
		peer = accept(listener, NULL, NULL);
		if (peer < 0)
			fail("accept");
	}
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return peer;
}

int main(int argc, char **argv)
{
	bool sender = argc == 6, extended;
	struct end end = {};
	char offered;

	if (argc < 5 || argc > 6) {
		fprintf(stderr, "usage: %s DEVICE GID-INDEX classic|extended PORT [ADDRESS]\n", argv[0]);
		return 2;
	}
	extended = !strcmp(argv[3], "extended");
	end.gid_index = atoi(argv[2]);
	open_device(&end, argv[1]);
	end.peer = reach(atoi(argv[4]), sender ? argv[5] : NULL);
	if (sender) {
		offered = !extended || is_offered(&end);
		tell(end.peer, &offered, 1);
		end.extended = extended;
	} else {
		hear(end.peer, &offered, 1);
	}
	if (!offered) {
		printf("not offered\n");
		return 0;
	}
	all_cases(&end, sender, extended);
	return 0;
}
