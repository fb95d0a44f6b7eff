/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the verbs layer's C headers, as functions that Rust can call. */
#ifndef _USB4_ROCE_VERBS_SHIM_H
#define _USB4_ROCE_VERBS_SHIM_H

#include <linux/etherdevice.h>
#include <rdma/ib_verbs.h>

/* What the stack has left undone on a frame. Positions count from its first byte. */
struct verbs_shim_undone {
	/* SKB_GSO_..., if it is to be cut, else 0. */
	u32 segment_type;
	/* Bytes of payload in each segment. */
	u16 segment_payload;
	/* Where what the checksum covers begins, and from there on, where the checksum is. */
	u16 checksum_start;
	u16 checksum_offset;
	bool checksum_due;
};

struct net_device *verbs_shim_netdev_alloc(size_t priv_size, const char *name,
					   unsigned int tx_queues, unsigned int rx_queues,
					   unsigned int longest_frame);
netdev_features_t verbs_shim_netdev_without_offloads(netdev_features_t features);
void *verbs_shim_netdev_priv(struct net_device *dev);
bool verbs_shim_netdev_running(const struct net_device *dev);
void verbs_shim_netdev_start_queues(struct net_device *dev);
void verbs_shim_netdev_stop_queues(struct net_device *dev);
void verbs_shim_netdev_stop_queue(struct net_device *dev, u16 index);
void verbs_shim_netdev_wake_queue(struct net_device *dev, u16 index);
bool verbs_shim_netdev_queue_stopped(const struct net_device *dev, u16 index);
void verbs_shim_netdev_count_tx(struct net_device *dev, unsigned int len);
void verbs_shim_netdev_count_tx_dropped(struct net_device *dev);
void verbs_shim_netdev_count_rx_dropped(struct net_device *dev);
bool verbs_shim_current_is_background(void);
void verbs_shim_smp_mb(void);
void verbs_shim_skb_queue_init(struct sk_buff_head *queue);
u32 verbs_shim_skb_hash(struct sk_buff *skb);
struct sk_buff *verbs_shim_skb_clone(struct sk_buff *skb);
void verbs_shim_skb_consume(struct sk_buff *skb);
void verbs_shim_skb_drop(struct sk_buff *skb);
void verbs_shim_skb_undone(const struct sk_buff *skb, struct verbs_shim_undone *undone);
bool verbs_shim_skb_may_be_sent_in_place(const struct sk_buff *skb);
unsigned int verbs_shim_skb_frag_count(const struct sk_buff *skb);
struct page *verbs_shim_skb_frag(const struct sk_buff *skb, unsigned int index, u32 *offset,
				 u32 *len);
struct page *verbs_shim_virt_to_page(const void *address, u32 *offset);
struct sk_buff *verbs_shim_skb_copy(struct net_device *dev, const void *frame, unsigned int len,
				    unsigned int headers);
struct sk_buff *verbs_shim_skb_keep(struct net_device *dev, const void *frame, unsigned int len,
				    unsigned int headers, unsigned int truesize);
void verbs_shim_skb_set_segments(struct sk_buff *skb, u32 type, u16 payload, u16 count);
void verbs_shim_skb_receive(struct sk_buff *skb, struct net_device *dev, u16 queue);
void verbs_shim_trace_wqe(u32 qpn, u64 wr_id, u32 opcode, u32 length);
void verbs_shim_trace_segment_sent(u32 qpn, u32 kind, u32 psn, u32 length, u32 rail);
void verbs_shim_trace_segment_received(u32 qpn, u32 kind, u32 psn, u32 length);
void verbs_shim_trace_cqe(u32 qpn, u64 wr_id, u32 opcode, u32 status, u32 length);

#endif
