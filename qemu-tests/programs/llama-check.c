// SPDX-License-Identifier: GPL-2.0

/*
 * llama.cpp's RPC between two hosts: the layers of a language model are on the other host, where their sums are done. What comes of it is
 * held against the same model's on this host.
 *
 *     llama-check serve ADDRESS:PORT	the host that computes, for ever
 *     llama-check ask ADDRESS:PORT	the host that asks it
 *
 * The model is a Llama of noise: what is said does not matter here, that it is the same does. llama.cpp takes RDMA by itself if both ends
 * have a device whose GID is their address, and TCP if not.
 */

#include <ggml-backend.h>
#include <ggml-rpc.h>
#include <gguf.h>
#include <llama.h>

#include <math.h>

#include "pair.h"

enum {
	VOCABULARY = 8192,
	EMBEDDING = 512,
	FEED_FORWARD = 1408,
	LAYERS = 6,
	HEADS = 8,
	PROMPT = 128,		/* tokens that are read */
	ANSWER = 64,		/* tokens that are said */
	CONTEXT = 256,
	ALL_LAYERS = 1000,
	NAME = 64,
};

/* The error that llama.cpp's own comparison of results allows: the mean square of differences by the mean square. */
#define TOLERANCE 1e-6

#define MODEL "/run/llama-check.gguf"

/* Numbers between -1 and 1, the same on every run. */
static float noise(void)
{
	static uint64_t state = 1;

	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (float)(int32_t)(state >> 32) / 2147483648.0f;
}

static struct gguf_context *model;
static struct ggml_context *tensors;

static void matrix(const char *name, int columns, int rows)
{
	struct ggml_tensor *tensor = ggml_new_tensor_2d(tensors, GGML_TYPE_F32, columns, rows);
	float *data = ggml_get_data_f32(tensor);
	/* Sums of so many products stay where they were. */
	float scale = sqrtf(3.0f / columns);

	for (size_t i = 0; i < (size_t)columns * rows; i++)
		data[i] = noise() * scale;
	ggml_set_name(tensor, name);
	gguf_add_tensor(model, tensor);
}

static void ones(const char *name)
{
	struct ggml_tensor *tensor = ggml_new_tensor_1d(tensors, GGML_TYPE_F32, EMBEDDING);

	for (int i = 0; i < EMBEDDING; i++)
		ggml_get_data_f32(tensor)[i] = 1;
	ggml_set_name(tensor, name);
	gguf_add_tensor(model, tensor);
}

static void write_model(void)
{
	static const struct {
		const char *name;
		int columns, rows;
	} matrices[] = {
		{ "attn_q", EMBEDDING, EMBEDDING },	 { "attn_k", EMBEDDING, EMBEDDING },
		{ "attn_v", EMBEDDING, EMBEDDING },	 { "attn_output", EMBEDDING, EMBEDDING },
		{ "ffn_gate", EMBEDDING, FEED_FORWARD }, { "ffn_up", EMBEDDING, FEED_FORWARD },
		{ "ffn_down", FEED_FORWARD, EMBEDDING },
	};
	struct ggml_init_params room = { .mem_size = 256u << 20 };
	char name[NAME];

	model = gguf_init_empty();
	tensors = ggml_init(room);
	gguf_set_val_str(model, "general.architecture", "llama");
	gguf_set_val_str(model, "tokenizer.ggml.model", "none");
	gguf_set_val_u32(model, "llama.vocab_size", VOCABULARY);
	gguf_set_val_u32(model, "llama.context_length", CONTEXT);
	gguf_set_val_u32(model, "llama.embedding_length", EMBEDDING);
	gguf_set_val_u32(model, "llama.feed_forward_length", FEED_FORWARD);
	gguf_set_val_u32(model, "llama.block_count", LAYERS);
	gguf_set_val_u32(model, "llama.attention.head_count", HEADS);
	gguf_set_val_f32(model, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
	matrix("token_embd.weight", EMBEDDING, VOCABULARY);
	matrix("output.weight", EMBEDDING, VOCABULARY);
	ones("output_norm.weight");
	for (int layer = 0; layer < LAYERS; layer++) {
		for (size_t i = 0; i < sizeof(matrices) / sizeof(*matrices); i++) {
			snprintf(name, sizeof(name), "blk.%d.%s.weight", layer, matrices[i].name);
			matrix(name, matrices[i].columns, matrices[i].rows);
		}
		snprintf(name, sizeof(name), "blk.%d.attn_norm.weight", layer);
		ones(name);
		snprintf(name, sizeof(name), "blk.%d.ffn_norm.weight", layer);
		ones(name);
	}
	if (!gguf_write_to_file(model, MODEL, false))
		die("cannot write %s", MODEL);
	gguf_free(model);
	ggml_free(tensors);
}

/* What the model says, and how sure it was of each token. */
struct answer {
	llama_token tokens[ANSWER];
	float *logits; /* of each token of the prompt, and of each of the answer but the last */
	double load, read, say; /* seconds */
};

#define LOGITS ((size_t)(PROMPT + ANSWER - 1) * VOCABULARY)

static llama_token best(const float *logits)
{
	llama_token found = 0;

	for (llama_token i = 1; i < VOCABULARY; i++)
		if (logits[i] > logits[found])
			found = i;
	return found;
}

/* Reads a prompt and says an answer, with all of the model on `device`, or on this host's processor if there is none. */
static struct answer ask(ggml_backend_dev_t device)
{
	struct llama_model_params how = llama_model_default_params();
	struct llama_context_params where = llama_context_default_params();
	ggml_backend_dev_t devices[] = { device, NULL };
	struct answer answer;
	struct llama_model *loaded;
	struct llama_context *context;
	struct llama_batch batch;
	double began = now();

	how.devices = devices;
	how.n_gpu_layers = device ? ALL_LAYERS : 0;
	loaded = llama_model_load_from_file(MODEL, how);
	if (!loaded)
		die("cannot load %s", MODEL);
	where.n_ctx = CONTEXT;
	where.n_batch = PROMPT;
	where.n_threads = 1;
	where.n_threads_batch = 1;
	context = llama_init_from_model(loaded, where);
	answer.logits = malloc(LOGITS * sizeof(float));
	if (!context || !answer.logits)
		die("no room for the model's state");
	answer.load = now() - began;

	batch = llama_batch_init(PROMPT, 0, 1);
	batch.n_tokens = PROMPT;
	for (int i = 0; i < PROMPT; i++) {
		batch.token[i] = (i * 2654435761u >> 7) % VOCABULARY;
		batch.pos[i] = i;
		batch.n_seq_id[i] = 1;
		batch.seq_id[i][0] = 0;
		batch.logits[i] = 1;
	}
	began = now();
	if (llama_decode(context, batch))
		die("cannot read the prompt");
	memcpy(answer.logits, llama_get_logits(context), (size_t)PROMPT * VOCABULARY * sizeof(float));
	answer.read = now() - began;

	began = now();
	answer.tokens[0] = best(answer.logits + (size_t)(PROMPT - 1) * VOCABULARY);
	for (int i = 1; i < ANSWER; i++) {
		float *logits = answer.logits + (size_t)(PROMPT + i - 1) * VOCABULARY;

		batch.n_tokens = 1;
		batch.token[0] = answer.tokens[i - 1];
		batch.pos[0] = PROMPT + i - 1;
		if (llama_decode(context, batch))
			die("cannot say token %d", i);
		memcpy(logits, llama_get_logits(context), VOCABULARY * sizeof(float));
		answer.tokens[i] = best(logits);
	}
	answer.say = now() - began;
	llama_batch_free(batch);
	llama_free(context);
	llama_model_free(loaded);
	return answer;
}

static void report(const char *where, const struct answer *answer)
{
	printf("%s: loaded in %.2f s, %.1f tokens/s read, %.1f tokens/s said\n", where, answer->load, PROMPT / answer->read,
	       (ANSWER - 1) / answer->say);
}

static ggml_backend_dev_t remote_device(const char *endpoint)
{
	ggml_backend_reg_t server = ggml_backend_rpc_add_server(endpoint);

	if (!server || !ggml_backend_reg_dev_count(server))
		die("%s has no device", endpoint);
	ggml_backend_register(server);
	return ggml_backend_reg_dev_get(server, 0);
}

int main(int argc, char **argv)
{
	ggml_backend_dev_t processor = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
	struct answer here, there;
	double differences = 0, squares = 0;

	if (argc != 3)
		die("llama-check serve|ask ADDRESS:PORT");
	if (!strcmp(argv[1], "serve")) {
		ggml_backend_rpc_start_server(argv[2], NULL, 1, 1, &processor);
		die("nothing is served at %s", argv[2]);
	}
	llama_backend_init();
	write_model();
	here = ask(NULL);
	there = ask(remote_device(argv[2]));
	report("here", &here);
	report("there", &there);
	for (size_t i = 0; i < LOGITS; i++) {
		double difference = (double)here.logits[i] - there.logits[i];

		differences += difference * difference;
		squares += (double)here.logits[i] * here.logits[i];
	}
	if (!(squares > 0) || !(differences / squares <= TOLERANCE))
		die("the other host's %zu logits differ by %g of %g", LOGITS, differences, squares);
	for (int i = 0; i < ANSWER; i++)
		if (here.tokens[i] != there.tokens[i])
			die("token %d is %d in place of %d", i, there.tokens[i], here.tokens[i]);
	printf("answer: %d tokens the same, %zu logits off by %.1e\n", ANSWER, LOGITS, differences / squares);
	printf("llama-check: ok\n");
	unlink(MODEL);
	return 0;
}
