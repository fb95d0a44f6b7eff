// SPDX-License-Identifier: GPL-2.0

/*
 * NCCL's IB transport between two hosts, in host memory: no GPU, no CUDA driver, no collective of NCCL's. The table `ncclNetIb` of NCCL's
 * static library is driven as NCCL's proxy thread drives it: requests of both directions in flight, receives posted ahead.
 *
 *     nccl-ib PORT [ADDRESS]		the end with an address connects to the other one
 */

#include <errno.h>
#include <stdarg.h>

#include "pair.h"

/* The interface of NCCL 2.22 to its networks (`ncclNet_v8_t`), which its packages have no header of. */

struct properties {
	char *name;
	char *pci_path;
	uint64_t guid;
	int pointer_support, registration_is_global, speed, port;
	float latency;
	int max_comms, max_receives, device_type, device_version;
};

typedef void (*logger)(int level, unsigned long flags, const char *file, int line, const char *format, ...);

struct network {
	const char *name;
	int (*init)(logger log);
	int (*devices)(int *count);
	int (*get_properties)(int device, struct properties *properties);
	int (*listen)(int device, void *handle, void **listener);
	int (*connect)(int device, void *handle, void **sender, void **offload);
	int (*accept)(void *listener, void **receiver, void **offload);
	int (*register_memory)(void *comm, void *data, size_t size, int type, void **memory);
	int (*register_dmabuf)(void *comm, void *data, size_t size, int type, uint64_t offset, int fd, void **memory);
	int (*deregister)(void *comm, void *memory);
	int (*isend)(void *sender, void *data, int size, int tag, void *memory, void **request);
	int (*irecv)(void *receiver, int count, void **data, int *sizes, int *tags, void **memory, void **request);
	int (*iflush)(void *receiver, int count, void **data, int *sizes, void **memory, void **request);
	int (*test)(void *request, int *done, int *sizes);
	int (*close_sender)(void *sender);
	int (*close_receiver)(void *receiver);
	int (*close_listener)(void *listener);
};

extern struct network ncclNetIb;

enum {
	HANDLE = 128,		/* bytes of a listener's address */
	HOST_MEMORY = 1,	/* NCCL_PTR_HOST */
	WARNING = 2,		/* NCCL_LOG_WARN */
	TAG = 7,
	IN_FLIGHT = 8,		/* NCCL_STEPS: what its proxy has in flight of a channel */
};

#define LARGEST (4u << 20)

static void nccl_says(int level, unsigned long flags, const char *file, int line, const char *format, ...)
{
	va_list arguments;

	(void)flags, (void)file, (void)line;
	va_start(arguments, format);
	fprintf(stderr, level == WARNING ? "NCCL WARN " : "NCCL INFO ");
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
}

static void ok(int result, const char *what)
{
	if (result)
		die("%s: ncclResult_t %d", what, result);
}

#define OK(call) ok(call, #call)

static struct network *const net = &ncclNetIb;
static void *sender, *receiver, *out_memory, *in_memory;
static uint8_t *out, *in;

/* A direction: what was begun, and what is over. */
struct direction {
	void *requests[IN_FLIGHT];
	unsigned begun, over;
};

static void *slot_of(uint8_t *buffers, unsigned message)
{
	return buffers + (size_t)(message % IN_FLIGHT) * LARGEST;
}

/* Whether the contents of messages are made and checked, which takes longer than to move them. */
enum contents { UNCHECKED, CHECKED };

static void begin_receive(struct direction *d, size_t size)
{
	void *data = slot_of(in, d->begun), **request = &d->requests[d->begun % IN_FLIGHT];
	/* The buffer may be longer than the message. */
	int sizes = LARGEST, tag = TAG;

	(void)size;
	OK(net->irecv(receiver, 1, &data, &sizes, &tag, &in_memory, request));
	d->begun += *request != NULL;
}

static void begin_send(struct direction *d, size_t size, uint64_t seed, enum contents contents)
{
	void *data = slot_of(out, d->begun), **request = &d->requests[d->begun % IN_FLIGHT];

	if (contents == CHECKED)
		fill(data, size, seed + d->begun);
	OK(net->isend(sender, data, (int)size, TAG, out_memory, request));
	/* The other end may not have asked for it yet. */
	d->begun += *request != NULL;
}

/* Whether the oldest request is over. */
static int is_over(struct direction *d, int *size)
{
	int done = 0;

	if (d->over == d->begun)
		return 0;
	OK(net->test(d->requests[d->over % IN_FLIGHT], &done, size));
	return done;
}

/*
 * Sends and receives so many messages, IN_FLIGHT of each direction at once. `mine` and `theirs` are what the messages of this end and of
 * the other one begin to be counted from.
 */
static void exchange(size_t size, unsigned count, uint64_t mine, uint64_t theirs, enum contents contents)
{
	struct direction sends = { 0 }, receives = { 0 };
	int got;

	while (sends.over < count || receives.over < count) {
		if (receives.begun < count && receives.begun - receives.over < IN_FLIGHT)
			begin_receive(&receives, size);
		if (sends.begun < count && sends.begun - sends.over < IN_FLIGHT)
			begin_send(&sends, size, mine, contents);
		sends.over += is_over(&sends, NULL);
		if (is_over(&receives, &got)) {
			if ((size_t)got != size)
				die("message %u has %d bytes in place of %zu", receives.over, got, size);
			if (contents == CHECKED) {
				void *data = slot_of(in, receives.over);

				check(data, size, theirs + receives.over, "receive");
				memset(data, 0, size);
			}
			receives.over++;
		}
	}
}

/* A sum over two hosts, as the first half of a ring's all-reduce: the halves go both ways at once, and the sums back. */
static void all_reduce(int rank)
{
	enum { ELEMENTS = LARGEST / 4 / sizeof(float) * 2 };
	size_t half = ELEMENTS / 2 * sizeof(float);
	static float values[ELEMENTS];
	int got;

	for (int i = 0; i < ELEMENTS; i++)
		values[i] = (float)(i % 1000) * (rank + 1);
	for (int step = 0; step < 2; step++) {
		struct direction s = { 0 }, r = { 0 };
		/* First the half that the other end sums, then the half that was summed here. */
		float *give = values + (step == 0 ? !rank : rank) * (ELEMENTS / 2);
		float *take = values + (step == 0 ? rank : !rank) * (ELEMENTS / 2);

		memcpy(out, give, half);
		while (!r.begun)
			begin_receive(&r, half);
		while (!s.begun)
			begin_send(&s, half, 0, UNCHECKED);
		while (!s.over || !r.over) {
			s.over += is_over(&s, NULL);
			r.over += is_over(&r, &got);
		}
		for (int i = 0; i < ELEMENTS / 2; i++)
			take[i] = step == 0 ? take[i] + ((float *)in)[i] : ((float *)in)[i];
	}
	for (int i = 0; i < ELEMENTS; i++)
		if (values[i] != (float)(i % 1000) * 3)
			die("sum %d is %f", i, values[i]);
	printf("all-reduce: %d sums right\n", ELEMENTS);
}

static void measure(int connection, size_t size, unsigned count)
{
	double began;
	char word = 0;

	exchange(size, IN_FLIGHT, 0, 0, UNCHECKED);
	swap(connection, &word, &word, 1);
	began = now();
	exchange(size, count, 0, 0, UNCHECKED);
	printf("%8zu bytes: %8.1f MB/s each way, %u messages in flight each way\n", size,
	       size * (double)count / (now() - began) / 1e6, IN_FLIGHT);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 0, 1, 8, 100, 4096, 4097, 65536, 100003, 1u << 20, LARGEST };
	static const size_t measured[] = { 4096, 65536, 524288, LARGEST };
	char handle[HANDLE] = "", other[HANDLE];
	struct properties properties;
	uint64_t mine, theirs;
	void *listener, *offload;
	int devices, rank, connection;
	const unsigned rounds = 3 * IN_FLIGHT;

	if (argc < 2)
		die("nccl-ib PORT [ADDRESS]");
	rank = argc > 2;
	connection = meet(argc > 2 ? argv[2] : NULL, atoi(argv[1]));
	OK(net->init(nccl_says));
	OK(net->devices(&devices));
	if (devices < 1)
		die("NCCL finds no device");
	OK(net->get_properties(0, &properties));
	printf("device %s, %d Mb/s, of %d\n", properties.name, properties.speed, devices);
	OK(net->listen(0, handle, &listener));
	swap(connection, handle, other, HANDLE);
	while (!sender || !receiver) {
		offload = NULL;
		if (!sender)
			OK(net->connect(0, other, &sender, &offload));
		offload = NULL;
		if (!receiver)
			OK(net->accept(listener, &receiver, &offload));
	}
	out = aligned_alloc(4096, (size_t)LARGEST * IN_FLIGHT);
	in = aligned_alloc(4096, (size_t)LARGEST * IN_FLIGHT);
	if (!out || !in)
		die("no memory");
	memset(in, 0, (size_t)LARGEST * IN_FLIGHT);
	memset(out, 0, (size_t)LARGEST * IN_FLIGHT);
	OK(net->register_memory(sender, out, (size_t)LARGEST * IN_FLIGHT, HOST_MEMORY, &out_memory));
	OK(net->register_memory(receiver, in, (size_t)LARGEST * IN_FLIGHT, HOST_MEMORY, &in_memory));

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		mine = 1000000 * (uint64_t)(rank + 1) + 1000 * i;
		theirs = 1000000 * (uint64_t)(!rank + 1) + 1000 * i;
		exchange(sizes[i], rounds, mine, theirs, CHECKED);
		printf("%8zu bytes: %u messages each way, contents right\n", sizes[i], rounds);
	}
	all_reduce(rank);
	for (size_t i = 0; i < sizeof(measured) / sizeof(*measured); i++)
		measure(connection, measured[i], measured[i] < LARGEST ? 400 : 80);

	OK(net->deregister(sender, out_memory));
	OK(net->deregister(receiver, in_memory));
	OK(net->close_sender(sender));
	OK(net->close_receiver(receiver));
	OK(net->close_listener(listener));
	printf("NCCL's IB transport, host memory; GPU collectives not run: ok\n");
	return 0;
}
