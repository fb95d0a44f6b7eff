// SPDX-License-Identifier: GPL-2.0

// Gloo's collectives between two hosts over its ibverbs transport, with every element of the results checked, and figures.
//
//     gloo-check GID PORT [ADDRESS]	the end with an address connects to the other one

#include <gloo/allgather_ring.h>
#include <gloo/allreduce_halving_doubling.h>
#include <gloo/allreduce_ring_chunked.h>
#include <gloo/barrier_all_to_all.h>
#include <gloo/broadcast_one_to_all.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/ibverbs/device.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "pair.h"
}

constexpr int ranks = 2;
constexpr int rounds = 5;

// What the ends tell each other to get connected, over a TCP connection: both wait for as much as they give.
class Store : public gloo::rendezvous::Store {
public:
	explicit Store(int connection) : connection_(connection) {}

	void set(const std::string &key, const std::vector<char> &value) override
	{
		known_[key] = value;
		put(key.data(), key.size());
		put(value.data(), value.size());
	}

	std::vector<char> get(const std::string &key) override
	{
		while (!known_.count(key)) {
			auto name = take();
			known_[std::string(name.begin(), name.end())] = take();
		}
		return known_[key];
	}

	void wait(const std::vector<std::string> &keys) override
	{
		for (const auto &key : keys)
			get(key);
	}

	void wait(const std::vector<std::string> &keys, const std::chrono::milliseconds &) override
	{
		wait(keys);
	}

private:
	void put(const void *data, uint64_t size)
	{
		send_all(connection_, &size, sizeof(size));
		if (size)
			send_all(connection_, data, size);
	}

	std::vector<char> take()
	{
		uint64_t size;

		receive_all(connection_, &size, sizeof(size));
		std::vector<char> data(size);
		if (size)
			receive_all(connection_, data.data(), size);
		return data;
	}

	int connection_;
	std::map<std::string, std::vector<char>> known_;
};

using Context = std::shared_ptr<gloo::rendezvous::Context>;

// Algorithms stay to the end: one that is done may not have heard yet that its last messages were sent, and its buffers may not go before.
static std::vector<std::shared_ptr<gloo::Algorithm>> algorithms;

template <typename Algorithm, typename... Arguments> static Algorithm &make(Arguments &&...arguments)
{
	auto algorithm = std::make_shared<Algorithm>(std::forward<Arguments>(arguments)...);

	algorithms.push_back(algorithm);
	return *algorithm;
}

// Memory that algorithms use, which stays as long as they.
static std::vector<float> &room(size_t elements)
{
	static std::vector<std::unique_ptr<std::vector<float>>> rooms;

	rooms.push_back(std::make_unique<std::vector<float>>(elements));
	return *rooms.back();
}

static float element(int rank, size_t i, int round)
{
	return static_cast<float>(i % 4096 + round) * (rank + 1);
}

static void fill(std::vector<float> &data, int rank, int round)
{
	for (size_t i = 0; i < data.size(); i++)
		data[i] = element(rank, i, round);
}

template <typename Algorithm> static void all_reduce(const char *name, const Context &context, size_t elements)
{
	auto &data = room(elements);
	auto &barrier = make<gloo::BarrierAllToAll>(context);
	auto &algorithm = make<Algorithm>(context, std::vector<float *>{ data.data() }, static_cast<int>(elements));
	double took = 0;

	for (int round = 0; round < rounds; round++) {
		fill(data, context->rank, round);
		barrier.run();
		double began = now();
		algorithm.run();
		took += now() - began;
		for (size_t i = 0; i < elements; i++)
			if (data[i] != element(0, i, round) + element(1, i, round))
				die("%s of %zu: sum %zu is %f in round %d", name, elements, i, data[i], round);
	}
	if (context->rank == 0)
		printf("%s %8zu bytes: sums right, %9.1f us, %7.1f MB/s\n", name, elements * sizeof(float),
		       took / rounds * 1e6, elements * sizeof(float) * rounds / took / 1e6);
}

static void broadcast(const Context &context, size_t elements)
{
	auto &data = room(elements);

	for (int round = 0; round < rounds; round++) {
		int root = round % ranks;

		fill(data, context->rank, round);
		make<gloo::BroadcastOneToAll<float>>(context, std::vector<float *>{ data.data() },
						     static_cast<int>(elements), root)
			.run();
		for (size_t i = 0; i < elements; i++)
			if (data[i] != element(root, i, round))
				die("broadcast of %zu: element %zu is %f", elements, i, data[i]);
	}
	if (context->rank == 0)
		printf("broadcast %8zu bytes: contents right\n", elements * sizeof(float));
}

static void all_gather(const Context &context, size_t elements)
{
	auto &data = room(elements), &all = room(elements * ranks);
	auto &algorithm = make<gloo::AllgatherRing<float>>(context, std::vector<const float *>{ data.data() }, all.data(),
							   static_cast<int>(elements));
	auto &barrier = make<gloo::BarrierAllToAll>(context);

	for (int round = 0; round < rounds; round++) {
		fill(data, context->rank, round);
		std::fill(all.begin(), all.end(), -1.0f);
		// The other end writes to where this one still looks, or clears.
		barrier.run();
		algorithm.run();
		for (size_t i = 0; i < all.size(); i++)
			if (all[i] != element(i / elements, i % elements, round))
				die("all-gather of %zu: element %zu is %f", elements, i, all[i]);
	}
	if (context->rank == 0)
		printf("all-gather %8zu bytes: contents right\n", elements * sizeof(float));
}

int main(int argc, char **argv)
{
	if (argc < 3)
		die("gloo-check GID PORT [ADDRESS]");
	int rank = argc > 3;
	int connection = meet(argc > 3 ? argv[3] : nullptr, atoi(argv[2]));
	gloo::transport::ibverbs::attr attributes;
	attributes.name = "usb4_roce0";
	attributes.port = 1;
	attributes.index = atoi(argv[1]);
	auto device = gloo::transport::ibverbs::CreateDevice(attributes);
	auto context = std::make_shared<gloo::rendezvous::Context>(rank, ranks);
	Store store(connection);
	context->connectFullMesh(store, device);
	printf("rank %d of %d over %s\n", rank, ranks, device->str().c_str());
	for (size_t elements : { 16, 1000, 65536, 1 << 20, 4 << 20 }) {
		all_reduce<gloo::AllreduceHalvingDoubling<float>>("all-reduce by halves", context, elements);
		all_reduce<gloo::AllreduceRingChunked<float>>("all-reduce by a ring", context, elements);
		broadcast(context, elements);
		all_gather(context, elements);
	}
	make<gloo::BarrierAllToAll>(context).run();
	printf("gloo-check: ok\n");
	fflush(stdout);
	_exit(0);
}
