/* SPDX-License-Identifier: GPL-2.0 */

/*
 * What the programs here have in common: a TCP connection over which the two ends exchange addresses and keep step, contents that tell
 * where a byte belongs, and time.
 */

#ifndef PAIR_H
#define PAIR_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define die(...)                                                                                                       \
	do {                                                                                                           \
		fprintf(stderr, __VA_ARGS__);                                                                          \
		fputc('\n', stderr);                                                                                   \
		exit(1);                                                                                               \
	} while (0)

/* Seconds of a clock that only goes on. */
static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* The byte at `index` of the message `seed`: neighbours differ, and so do the same places of two messages. */
static inline uint8_t content(uint64_t seed, uint64_t index)
{
	uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull + index * 0xbf58476d1ce4e5b9ull;

	return (x ^ x >> 29) >> 16;
}

static inline void fill(void *data, size_t size, uint64_t seed)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)data)[i] = content(seed, i);
}

/* Ends the program unless `data` is the message `seed`. */
static inline void check(const void *data, size_t size, uint64_t seed, const char *what)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t found = ((const uint8_t *)data)[i];

		if (found != content(seed, i))
			die("%s: byte %zu of %zu of message %llu is %u in place of %u", what, i, size,
			    (unsigned long long)seed, found, content(seed, i));
	}
}

/* A connection to the other end: accepted at `port` if `address` is NULL. */
static inline int meet(const char *address, int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int one = 1, listener, connection = socket(AF_INET, SOCK_STREAM, 0);

	if (connection < 0)
		die("no socket");
	if (address) {
		if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
			die("%s is no address", address);
		if (connect(connection, (struct sockaddr *)&at, sizeof(at)))
			die("cannot connect to %s:%d", address, port);
		return connection;
	}
	listener = connection;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) || listen(listener, 1))
		die("cannot listen at port %d", port);
	connection = accept(listener, NULL, NULL);
	if (connection < 0)
		die("nobody connects");
	close(listener);
	return connection;
}

static inline void send_all(int to, const void *data, size_t size)
{
	if (send(to, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		die("the other end is gone");
}

static inline void receive_all(int from, void *data, size_t size)
{
	if (recv(from, data, size, MSG_WAITALL) != (ssize_t)size)
		die("the other end is gone");
}

/* Gives `mine` for the other end's `theirs`, both of `size` bytes. */
static inline void swap(int with, const void *mine, void *theirs, size_t size)
{
	send_all(with, mine, size);
	receive_all(with, theirs, size);
}

#endif
