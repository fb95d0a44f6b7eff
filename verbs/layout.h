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
	RUST_LAYOUT_SIZE(ethtool_ops),
	RUST_LAYOUT_SIZE(ib_ah),
	RUST_LAYOUT_SIZE(ib_cq),
	RUST_LAYOUT_SIZE(ib_cq_init_attr),
	RUST_LAYOUT_SIZE(ib_device),
	RUST_LAYOUT_SIZE(ib_device_attr),
	RUST_LAYOUT_SIZE(ib_device_ops),
	RUST_LAYOUT_SIZE(ib_event),
	RUST_LAYOUT_SIZE(ib_mr),
	RUST_LAYOUT_SIZE(ib_pd),
	RUST_LAYOUT_SIZE(ib_port_attr),
	RUST_LAYOUT_SIZE(ib_port_immutable),
	RUST_LAYOUT_SIZE(ib_qp),
	RUST_LAYOUT_SIZE(ib_qp_attr),
	RUST_LAYOUT_SIZE(ib_qp_init_attr),
	RUST_LAYOUT_SIZE(ib_recv_wr),
	RUST_LAYOUT_SIZE(ib_send_wr),
	RUST_LAYOUT_SIZE(ib_srq),
	RUST_LAYOUT_SIZE(ib_srq_attr),
	RUST_LAYOUT_SIZE(ib_srq_init_attr),
	RUST_LAYOUT_SIZE(ib_ucontext),
	RUST_LAYOUT_SIZE(ib_udata),
	RUST_LAYOUT_SIZE(ib_umem),
	RUST_LAYOUT_SIZE(ib_wc),
	RUST_LAYOUT_SIZE(net_device),
	RUST_LAYOUT_SIZE(net_device_ops),
	RUST_LAYOUT_SIZE(page),
	RUST_LAYOUT_SIZE(rdma_ah_attr),
	RUST_LAYOUT_SIZE(rdma_hw_stats),
	RUST_LAYOUT_SIZE(rdma_stat_desc),
	RUST_LAYOUT_SIZE(scatterlist),
	RUST_LAYOUT_SIZE(sg_table),
	RUST_LAYOUT_SIZE(sk_buff),
	RUST_LAYOUT_SIZE(sk_buff_head),
	RUST_LAYOUT_SIZE(vm_area_struct),
	RUST_LAYOUT_SIZE(vm_operations_struct),
};
