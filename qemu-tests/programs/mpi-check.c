// SPDX-License-Identifier: GPL-2.0

/* An MPI program whose every result is checked: sums of an all-reduce, contents of an all-to-all and of messages both ways, and figures. */

#include <mpi.h>

#include "pair.h"

#define LARGEST (4u << 20)

static int rank, ranks;

static void *room(size_t size)
{
	void *data = malloc(size ? size : 1);

	if (!data)
		die("no memory");
	return data;
}

static void all_reduce(int elements)
{
	double *mine = room(elements * sizeof(double)), *sums = room(elements * sizeof(double)), began, took;
	const int rounds = elements > 100000 ? 4 : 20;

	for (int round = 0; round < rounds; round++) {
		for (int i = 0; i < elements; i++)
			mine[i] = (double)(i % 4096 + round) * (rank + 1);
		MPI_Allreduce(mine, sums, elements, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
		for (int i = 0; i < elements; i++)
			if (sums[i] != (double)(i % 4096 + round) * ranks * (ranks + 1) / 2)
				die("all-reduce of %d: sum %d is %f in round %d", elements, i, sums[i], round);
	}
	MPI_Barrier(MPI_COMM_WORLD);
	began = now();
	for (int round = 0; round < rounds; round++)
		MPI_Allreduce(mine, sums, elements, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
	took = (now() - began) / rounds;
	if (rank == 0)
		printf("all-reduce %9zu bytes: sums right, %9.1f us, %7.1f MB/s\n", elements * sizeof(double), took * 1e6,
		       elements * sizeof(double) / took / 1e6);
	free(mine);
	free(sums);
}

static void all_to_all(int size)
{
	uint8_t *out = room((size_t)size * ranks), *in = room((size_t)size * ranks);

	for (int round = 0; round < 5; round++) {
		for (int to = 0; to < ranks; to++)
			fill(out + (size_t)to * size, size, round * 10000 + rank * 100 + to);
		memset(in, 0, (size_t)size * ranks);
		MPI_Alltoall(out, size, MPI_BYTE, in, size, MPI_BYTE, MPI_COMM_WORLD);
		for (int from = 0; from < ranks; from++)
			check(in + (size_t)from * size, size, round * 10000 + from * 100 + rank, "all-to-all");
	}
	if (rank == 0)
		printf("all-to-all %9d bytes: contents right\n", size);
	free(out);
	free(in);
}

/* Several messages both ways at once, of which none may get into another's place. */
static void both_ways(int size)
{
	enum { MESSAGES = 8 };
	int other = rank ^ 1;
	MPI_Request requests[2 * MESSAGES];
	uint8_t *out = room((size_t)size * MESSAGES), *in = room((size_t)size * MESSAGES);

	if (other >= ranks)
		return;
	for (int i = 0; i < MESSAGES; i++) {
		fill(out + (size_t)i * size, size, rank * 100 + i);
		/* Received the other way round than they are sent. */
		MPI_Irecv(in + (size_t)(MESSAGES - 1 - i) * size, size, MPI_BYTE, other, MESSAGES - 1 - i, MPI_COMM_WORLD,
			  &requests[i]);
	}
	for (int i = 0; i < MESSAGES; i++)
		MPI_Isend(out + (size_t)i * size, size, MPI_BYTE, other, i, MPI_COMM_WORLD, &requests[MESSAGES + i]);
	MPI_Waitall(2 * MESSAGES, requests, MPI_STATUSES_IGNORE);
	for (int i = 0; i < MESSAGES; i++)
		check(in + (size_t)i * size, size, other * 100 + i, "both ways");
	if (rank == 0)
		printf("both ways  %9d bytes: %d messages each way, contents right\n", size, MESSAGES);
	free(out);
	free(in);
}

static void ping_pong(int size)
{
	const int rounds = size > 65536 ? 20 : 200;
	uint8_t *data = room(size);
	double began = now(), took;

	if (rank > 1)
		return;
	for (int round = -2; round < rounds; round++) {
		if (round == 0)
			began = now();
		if (rank == 0)
			MPI_Send(data, size, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
		MPI_Recv(data, size, MPI_BYTE, !rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		if (rank == 1)
			MPI_Send(data, size, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
	}
	took = (now() - began) / rounds / 2;
	if (rank == 0)
		printf("ping-pong  %9d bytes: %9.1f us one way, %7.1f MB/s\n", size, took * 1e6, size / took / 1e6);
	free(data);
}

int main(int argc, char **argv)
{
	char name[MPI_MAX_PROCESSOR_NAME];
	int length;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &ranks);
	MPI_Get_processor_name(name, &length);
	printf("rank %d of %d on %s\n", rank, ranks, name);
	fflush(stdout);
	for (unsigned elements = 1; elements * sizeof(double) <= LARGEST; elements *= 16)
		all_reduce(elements);
	all_reduce(LARGEST / sizeof(double));
	for (unsigned size = 1; size <= LARGEST / 4; size *= 32)
		all_to_all(size);
	for (unsigned size = 1; size <= LARGEST / 4; size *= 32)
		both_ways(size);
	for (unsigned size = 8; size <= LARGEST; size *= 8)
		ping_pong(size);
	MPI_Finalize();
	if (rank == 0)
		printf("mpi-check: ok\n");
	return 0;
}
