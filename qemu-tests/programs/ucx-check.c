// SPDX-License-Identifier: GPL-2.0

/*
 * UCX's services between two hosts, with all that arrives checked: ucx_perftest checks nothing.
 *
 *     ucx-check WHAT PORT [ADDRESS]	the end with an address connects to the other one
 *
 * WHAT is tag, am, put, get or atomics. UCX_TLS and UCX_NET_DEVICES choose the transport, as for any program of UCX's.
 */

#include <ucp/api/ucp.h>

#include "pair.h"

enum {
	IN_FLIGHT = 8,
	ROUNDS = 3,
	AM = 3,			/* which active message */
	ADDITIONS = 300,
	SWAPS = 100,
};

#define LARGEST (4u << 20)

static const size_t sizes[] = { 0, 1, 8, 100, 2000, 4096, 8193, 30000, 65536, 100003, 1u << 20, LARGEST };

#define SIZES (sizeof(sizes) / sizeof(*sizes))

static int connection, rank;
static ucp_context_h context;
static ucp_worker_h worker;
static ucp_ep_h endpoint;
static uint8_t *in, *out;

static void ok(ucs_status_t status, const char *what)
{
	if (status != UCS_OK)
		die("%s: %s", what, ucs_status_string(status));
}

#define OK(call) ok(call, #call)

static uint8_t *slot(uint8_t *buffers, int message)
{
	return buffers + (size_t)message * LARGEST;
}

static uint64_t seed(int of, size_t size_index, int round, int message)
{
	return ((of * 100 + size_index) * 10 + round) * 100 + message;
}

/* Waits until the request is over; the other end may need this one meanwhile. */
static void finish(ucs_status_ptr_t request, const char *what)
{
	ucs_status_t status;

	if (!request)
		return;
	if (UCS_PTR_IS_ERR(request))
		ok(UCS_PTR_STATUS(request), what);
	while ((status = ucp_request_check_status(request)) == UCS_INPROGRESS)
		ucp_worker_progress(worker);
	ucp_request_free(request);
	ok(status, what);
}

/* Both ends get here before either goes on. */
static void barrier(void)
{
	char word = 0;

	send_all(connection, &word, 1);
	while (recv(connection, &word, 1, MSG_DONTWAIT) != 1)
		ucp_worker_progress(worker);
}

static const ucp_request_param_t plain;

static void flush(void)
{
	finish(ucp_ep_flush_nbx(endpoint, &plain), "flush");
}

static void tag(size_t s, int round)
{
	size_t size = sizes[s];
	void *sends[IN_FLIGHT], *receives[IN_FLIGHT];

	for (int i = 0; i < IN_FLIGHT; i++)
		fill(slot(out, i), size, seed(rank, s, round, i));
	/* In the last round all is there before it is asked for. */
	if (round == ROUNDS - 1)
		barrier();
	for (int i = 0; i < IN_FLIGHT && round < ROUNDS - 1; i++)
		receives[i] = ucp_tag_recv_nbx(worker, slot(in, i), size, i, ~0ull, &plain);
	for (int i = IN_FLIGHT - 1; i >= 0; i--)
		sends[i] = ucp_tag_send_nbx(endpoint, slot(out, i), size, i, &plain);
	for (int i = 0; i < IN_FLIGHT && round == ROUNDS - 1; i++)
		receives[i] = ucp_tag_recv_nbx(worker, slot(in, i), size, i, ~0ull, &plain);
	for (int i = 0; i < IN_FLIGHT; i++)
		finish(sends[i], "tag send");
	for (int i = 0; i < IN_FLIGHT; i++) {
		finish(receives[i], "tag receive");
		check(slot(in, i), size, seed(!rank, s, round, i), "tag");
	}
}

/* Where an active message belongs. */
struct header {
	uint64_t seed;
	int message;
};

static struct header am_headers[IN_FLIGHT];
static size_t am_sizes[IN_FLIGHT];
static ucs_status_ptr_t am_receives[IN_FLIGHT];
static int am_arrived;

static ucs_status_t am_arrives(void *argument, const void *header, size_t header_length, void *data, size_t length,
			       const ucp_am_recv_param_t *param)
{
	struct header h;

	(void)argument;
	if (header_length != sizeof(h))
		die("an active message has a header of %zu bytes", header_length);
	memcpy(&h, header, sizeof(h));
	if (h.message < 0 || h.message >= IN_FLIGHT || length > LARGEST)
		die("an active message has number %d and %zu bytes", h.message, length);
	am_headers[h.message] = h;
	am_sizes[h.message] = length;
	am_receives[h.message] = NULL;
	if (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)
		am_receives[h.message] = ucp_am_recv_data_nbx(worker, data, slot(in, h.message), length, &plain);
	else
		memcpy(slot(in, h.message), data, length);
	am_arrived++;
	return param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV ? UCS_INPROGRESS : UCS_OK;
}

static void am(size_t s, int round)
{
	size_t size = sizes[s];
	void *sends[IN_FLIGHT];
	struct header headers[IN_FLIGHT];

	for (int i = 0; i < IN_FLIGHT; i++) {
		headers[i] = (struct header){ .seed = seed(rank, s, round, i), .message = i };
		fill(slot(out, i), size, headers[i].seed);
		sends[i] = ucp_am_send_nbx(endpoint, AM, &headers[i], sizeof(headers[i]), slot(out, i), size, &plain);
	}
	for (int i = 0; i < IN_FLIGHT; i++)
		finish(sends[i], "active message");
	while (am_arrived < IN_FLIGHT)
		ucp_worker_progress(worker);
	for (int i = 0; i < IN_FLIGHT; i++) {
		finish(am_receives[i], "active message's data");
		if (am_sizes[i] != size || am_headers[i].seed != seed(!rank, s, round, i))
			die("active message %d: %zu bytes of %llu", i, am_sizes[i], (unsigned long long)am_headers[i].seed);
		check(slot(in, i), size, am_headers[i].seed, "active message");
	}
	am_arrived = 0;
}

/* Memory of the other end. */
struct lent {
	uint64_t address;
	size_t key_size;
	uint8_t key[512];
};

static ucp_rkey_h remote_key;
static uint64_t remote;

/* Lends `memory` to the other end, and learns of what it lends. */
static ucp_mem_h lend(void *memory, size_t size)
{
	ucp_mem_map_params_t params = {
		.field_mask = UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH,
		.address = memory,
		.length = size,
	};
	struct lent mine = { .address = (uintptr_t)memory }, theirs;
	ucp_mem_h handle;
	void *packed;

	OK(ucp_mem_map(context, &params, &handle));
	OK(ucp_rkey_pack(context, handle, &packed, &mine.key_size));
	if (mine.key_size > sizeof(mine.key))
		die("a key has %zu bytes", mine.key_size);
	memcpy(mine.key, packed, mine.key_size);
	ucp_rkey_buffer_release(packed);
	swap(connection, &mine, &theirs, sizeof(mine));
	OK(ucp_ep_rkey_unpack(endpoint, theirs.key, &remote_key));
	remote = theirs.address;
	return handle;
}

static void give_back(ucp_mem_h handle)
{
	barrier();
	ucp_rkey_destroy(remote_key);
	OK(ucp_mem_unmap(context, handle));
}

static void put(size_t s, int round)
{
	size_t size = sizes[s];
	void *puts[IN_FLIGHT];

	for (int i = 0; i < IN_FLIGHT; i++) {
		fill(slot(out, i), size, seed(rank, s, round, i));
		puts[i] = ucp_put_nbx(endpoint, slot(out, i), size, remote + (size_t)i * LARGEST, remote_key, &plain);
	}
	for (int i = 0; i < IN_FLIGHT; i++)
		finish(puts[i], "put");
	flush();
	barrier();
	for (int i = 0; i < IN_FLIGHT; i++) {
		check(slot(in, i), size, seed(!rank, s, round, i), "put");
		memset(slot(in, i), 0, size);
	}
	barrier();
}

static void get(size_t s, int round)
{
	size_t size = sizes[s];
	void *gets[IN_FLIGHT];

	for (int i = 0; i < IN_FLIGHT; i++)
		fill(slot(out, i), size, seed(rank, s, round, i));
	barrier();
	for (int i = 0; i < IN_FLIGHT; i++)
		gets[i] = ucp_get_nbx(endpoint, slot(in, i), size, remote + (size_t)i * LARGEST, remote_key, &plain);
	for (int i = 0; i < IN_FLIGHT; i++) {
		finish(gets[i], "get");
		check(slot(in, i), size, seed(!rank, s, round, i), "get");
	}
	barrier();
}

/* `op` with `operand` at the 8 bytes at `at` of the other end; gives what was there. For a comparison, `reply` is what to put there. */
static uint64_t atomic(ucp_atomic_op_t op, uint64_t operand, uint64_t at, uint64_t reply)
{
	ucp_request_param_t param = {
		.op_attr_mask = UCP_OP_ATTR_FIELD_DATATYPE | UCP_OP_ATTR_FIELD_REPLY_BUFFER,
		.datatype = ucp_dt_make_contig(8),
		.reply_buffer = &reply,
	};

	finish(ucp_atomic_op_nbx(endpoint, op, &operand, 1, at, remote_key, &param), "atomic operation");
	return reply;
}

/* Each end counts at the other one: what is fetched grows, and nothing is counted twice or lost. */
static void atomics(void)
{
	static uint64_t words[4] __attribute__((aligned(4096)));
	uint64_t last = 0, sum = 0, others, found;
	ucp_mem_h handle = lend(words, sizeof(words));
	double began, took;

	barrier();
	began = now();
	for (int i = 0; i < ADDITIONS; i++) {
		found = atomic(UCP_ATOMIC_OP_ADD, rank + 1, remote, 0);
		if (i && found <= last)
			die("fetch and add %d found %llu after %llu", i, (unsigned long long)found, (unsigned long long)last);
		last = found;
	}
	took = now() - began;
	barrier();
	/* Each end's word is added to by the other end alone. */
	if (words[0] != (uint64_t)ADDITIONS * (!rank + 1))
		die("%d additions made %llu", ADDITIONS, (unsigned long long)words[0]);
	printf("fetch-and-add: %d each way, %.1f us each, none lost\n", ADDITIONS, took / ADDITIONS * 1e6);

	for (int i = 0; i < SWAPS; i++) {
		found = atomic(UCP_ATOMIC_OP_CSWAP, i, remote + 8, i + 1);
		if (found != (uint64_t)i)
			die("compare and swap %d found %llu", i, (unsigned long long)found);
		/* One that does not match changes nothing. */
		found = atomic(UCP_ATOMIC_OP_CSWAP, i, remote + 8, ~0ull);
		if (found != (uint64_t)i + 1)
			die("compare and swap %d with another found %llu", i, (unsigned long long)found);
	}
	barrier();
	if (words[1] != SWAPS)
		die("%d swaps made %llu", SWAPS, (unsigned long long)words[1]);
	printf("compare-and-swap: %d each way, and as many refused\n", SWAPS);

	/* Each value that is swapped in comes out once, but for the last. */
	for (int i = 1; i <= SWAPS; i++)
		sum += atomic(UCP_ATOMIC_OP_SWAP, i, remote + 16, 0);
	barrier();
	swap(connection, &words[2], &others, sizeof(others));
	if (sum + others != (uint64_t)SWAPS * (SWAPS + 1) / 2)
		die("swaps brought %llu, and left %llu", (unsigned long long)sum, (unsigned long long)others);
	printf("swap: %d each way, none lost\n", SWAPS);
	give_back(handle);
}

static void start(void)
{
	ucp_params_t params = {
		.field_mask = UCP_PARAM_FIELD_FEATURES,
		.features = UCP_FEATURE_TAG | UCP_FEATURE_AM | UCP_FEATURE_RMA | UCP_FEATURE_AMO64,
	};
	ucp_worker_params_t worker_params = { 0 };
	ucp_am_handler_param_t handler = {
		.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_CB,
		.id = AM,
		.cb = am_arrives,
	};
	ucp_ep_params_t endpoint_params = { .field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS };
	ucp_address_t *address;
	ucp_config_t *config;
	size_t size, other;
	void *remote_address;

	OK(ucp_config_read(NULL, NULL, &config));
	OK(ucp_init(&params, config, &context));
	ucp_config_release(config);
	OK(ucp_worker_create(context, &worker_params, &worker));
	OK(ucp_worker_set_am_recv_handler(worker, &handler));
	OK(ucp_worker_get_address(worker, &address, &size));
	swap(connection, &size, &other, sizeof(size));
	remote_address = malloc(other);
	send_all(connection, address, size);
	receive_all(connection, remote_address, other);
	endpoint_params.address = remote_address;
	OK(ucp_ep_create(worker, &endpoint_params, &endpoint));
	ucp_worker_release_address(worker, address);
	free(remote_address);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(size_t size, int round);
		enum { NOTHING, WHAT_ARRIVES, WHAT_IS_SENT } lends;
	} services[] = {
		{ "tag", tag, NOTHING },
		{ "am", am, NOTHING },
		{ "put", put, WHAT_ARRIVES },
		{ "get", get, WHAT_IS_SENT },
	};
	const size_t room = (size_t)LARGEST * IN_FLIGHT;
	ucp_mem_h handle = NULL;
	int known = 0;

	if (argc < 3)
		die("ucx-check WHAT PORT [ADDRESS]");
	rank = argc > 3;
	connection = meet(argc > 3 ? argv[3] : NULL, atoi(argv[2]));
	start();
	in = aligned_alloc(4096, room);
	out = aligned_alloc(4096, room);
	if (!in || !out)
		die("no memory");
	memset(in, 0, room);
	memset(out, 0, room);
	if (!strcmp(argv[1], "atomics")) {
		atomics();
		known = 1;
	}
	for (size_t i = 0; i < sizeof(services) / sizeof(*services); i++) {
		if (strcmp(argv[1], services[i].name))
			continue;
		known = 1;
		if (services[i].lends != NOTHING)
			handle = lend(services[i].lends == WHAT_ARRIVES ? in : out, room);
		for (size_t s = 0; s < SIZES; s++) {
			for (int round = 0; round < ROUNDS; round++) {
				services[i].run(s, round);
				barrier();
			}
			printf("%s %8zu bytes: %d messages each way, contents right\n", argv[1], sizes[s], ROUNDS * IN_FLIGHT);
		}
		if (handle)
			give_back(handle);
	}
	if (!known)
		die("%s is no service", argv[1]);
	flush();
	barrier();
	finish(ucp_ep_close_nbx(endpoint, &plain), "close");
	barrier();
	ucp_worker_destroy(worker);
	ucp_cleanup(context);
	printf("ucx-check %s: ok\n", argv[1]);
	return 0;
}
