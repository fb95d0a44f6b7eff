/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The structs which Rust allocates, embeds or looks into.
 *
 * bindgen (clang) evaluates these sizes into the Rust bindings; Kbuild turns them into assertions
 * which the kernel's own compiler checks when it compiles shim.c. A layout that differs between
 * the two stops the build.
 */
#define RUST_LAYOUT_SIZE(type) SIZE_##type = sizeof(struct type)

enum rust_layout {
	RUST_LAYOUT_SIZE(file),
	RUST_LAYOUT_SIZE(iov_iter),
	RUST_LAYOUT_SIZE(kvec),
	RUST_LAYOUT_SIZE(path),
	RUST_LAYOUT_SIZE(poll_table_struct),
	RUST_LAYOUT_SIZE(wait_queue_entry),
	RUST_LAYOUT_SIZE(wait_queue_head),
};
