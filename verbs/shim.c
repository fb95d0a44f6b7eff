// SPDX-License-Identifier: GPL-2.0

#include <linux/bottom_half.h>
#include <linux/build_bug.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "bindings_helper.h"
#include "layout_generated.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

struct net_device *verbs_shim_netdev_alloc(size_t priv_size, const char *name,
					   unsigned int tx_queues, unsigned int rx_queues,
					   unsigned int longest_frame)
{
	struct net_device *dev;

	dev = alloc_netdev_mqs(priv_size, name, NET_NAME_PREDICTABLE, ether_setup, tx_queues,
			       rx_queues);
	if (!dev)
		return NULL;
	/* Frames wait in lists, which a frame can be in only once. */
	dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	dev->hw_features = NETIF_F_SG | NETIF_F_HW_CSUM | NETIF_F_TSO | NETIF_F_TSO_ECN |
			   NETIF_F_TSO6;
	dev->features = dev->hw_features | NETIF_F_HIGHDMA | NETIF_F_RXCSUM;
	netif_set_tso_max_size(dev, longest_frame);
	return dev;
}

/* The features without those that leave something of a frame undone. */
netdev_features_t verbs_shim_netdev_without_offloads(netdev_features_t features)
{
	return features & ~(NETIF_F_CSUM_MASK | NETIF_F_GSO_MASK);
}

void *verbs_shim_netdev_priv(struct net_device *dev)
{
	return netdev_priv(dev);
}

bool verbs_shim_netdev_running(const struct net_device *dev)
{
	return netif_running(dev);
}

void verbs_shim_netdev_start_queues(struct net_device *dev)
{
	netif_tx_start_all_queues(dev);
}

void verbs_shim_netdev_stop_queues(struct net_device *dev)
{
	netif_tx_stop_all_queues(dev);
}

void verbs_shim_netdev_stop_queue(struct net_device *dev, u16 index)
{
	netif_stop_subqueue(dev, index);
}

void verbs_shim_netdev_wake_queue(struct net_device *dev, u16 index)
{
	/* With bottom halves enabled, each wake-up would be left to a thread. */
	local_bh_disable();
	netif_wake_subqueue(dev, index);
	local_bh_enable();
}

bool verbs_shim_netdev_queue_stopped(const struct net_device *dev, u16 index)
{
	return __netif_subqueue_stopped(dev, index);
}

void verbs_shim_netdev_count_tx(struct net_device *dev, unsigned int len)
{
	/* Per-CPU counters: the caller may be a thread that could migrate. */
	local_bh_disable();
	dev_sw_netstats_tx_add(dev, 1, len);
	local_bh_enable();
}

void verbs_shim_netdev_count_tx_dropped(struct net_device *dev)
{
	dev_core_stats_tx_dropped_inc(dev);
}

void verbs_shim_netdev_count_rx_dropped(struct net_device *dev)
{
	dev_core_stats_rx_dropped_inc(dev);
}

void verbs_shim_smp_mb(void)
{
	smp_mb();
}

void verbs_shim_skb_queue_init(struct sk_buff_head *queue)
{
	skb_queue_head_init(queue);
}

u32 verbs_shim_skb_hash(struct sk_buff *skb)
{
	return skb_get_hash(skb);
}

struct sk_buff *verbs_shim_skb_clone(struct sk_buff *skb)
{
	return skb_clone(skb, GFP_ATOMIC);
}

void verbs_shim_skb_consume(struct sk_buff *skb)
{
	/* Whoever waits for the memory is told in a bottom half: see verbs_shim_netdev_wake_queue(). */
	local_bh_disable();
	dev_consume_skb_any(skb);
	local_bh_enable();
}

void verbs_shim_skb_drop(struct sk_buff *skb)
{
	dev_kfree_skb_any(skb);
}

void verbs_shim_skb_undone(const struct sk_buff *skb, struct verbs_shim_undone *undone)
{
	*undone = (struct verbs_shim_undone) {
		.checksum_due = skb->ip_summed == CHECKSUM_PARTIAL,
	};
	if (undone->checksum_due) {
		undone->checksum_start = skb_checksum_start_offset(skb);
		undone->checksum_offset = skb->csum_offset;
	}
	if (skb_is_gso(skb)) {
		/* Whoever cuts it looks at it again, wherever it is from. */
		undone->segment_type = skb_shinfo(skb)->gso_type & ~SKB_GSO_DODGY;
		undone->segment_payload = skb_shinfo(skb)->gso_size;
	}
}

/*
 * Whether a frame's memory is what the functions below say, and nobody changes it while it is sent: files and processes
 * may change theirs.
 */
bool verbs_shim_skb_may_be_sent_in_place(const struct sk_buff *skb)
{
	return !skb_has_frag_list(skb) && !skb_has_shared_frag(skb) && skb_frags_readable(skb) &&
	       !is_vmalloc_addr(skb->data);
}

unsigned int verbs_shim_skb_frag_count(const struct sk_buff *skb)
{
	return skb_shinfo(skb)->nr_frags;
}

struct page *verbs_shim_skb_frag(const struct sk_buff *skb, unsigned int index, u32 *offset,
				 u32 *len)
{
	const skb_frag_t *frag = &skb_shinfo(skb)->frags[index];

	*offset = skb_frag_off(frag);
	*len = skb_frag_size(frag);
	return skb_frag_page(frag);
}

struct page *verbs_shim_virt_to_page(const void *address, u32 *offset)
{
	*offset = offset_in_page(address);
	return virt_to_page(address);
}

/* Frames may be lost where memory is short: who receives them has others to serve. */
#define FRAME_GFP (GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

/* A socket buffer with a copy of the frame, of which the headers at least are in one piece. */
struct sk_buff *verbs_shim_skb_copy(struct net_device *dev, const void *frame, unsigned int len,
				    unsigned int headers)
{
	const unsigned int headroom = NET_SKB_PAD + NET_IP_ALIGN;
	struct sk_buff *skb;
	int error;

	/* What fits a page with the rest of the buffer need not be in pieces. */
	if (headroom + len <= SKB_WITH_OVERHEAD(PAGE_SIZE))
		headers = len;
	skb = alloc_skb_with_frags(headroom + headers, len - headers, PAGE_ALLOC_COSTLY_ORDER,
				   &error, FRAME_GFP);
	if (!skb)
		return NULL;
	skb_reserve(skb, headroom);
	skb_put(skb, headers);
	skb->len += len - headers;
	skb->data_len += len - headers;
	if (skb_store_bits(skb, 0, frame, len) < 0) {
		kfree_skb(skb);
		return NULL;
	}
	return skb;
}

/*
 * A socket buffer which refers to the frame where it is, in pages that may be kept, with a copy of the headers. It stands for so
 * much of these pages.
 */
struct sk_buff *verbs_shim_skb_keep(struct net_device *dev, const void *frame, unsigned int len,
				    unsigned int headers, unsigned int truesize)
{
	struct page *page = virt_to_head_page(frame);
	struct sk_buff *skb;

	skb = __netdev_alloc_skb_ip_align(dev, headers, FRAME_GFP);
	if (!skb)
		return NULL;
	skb_put_data(skb, frame, headers);
	get_page(page);
	skb_add_rx_frag(skb, 0, page, frame + headers - page_address(page), len - headers,
			truesize);
	return skb;
}

/* The frame came from outside: whoever cuts it looks at it again. */
void verbs_shim_skb_set_segments(struct sk_buff *skb, u32 type, u16 payload, u16 count)
{
	skb_shinfo(skb)->gso_type = type | SKB_GSO_DODGY;
	skb_shinfo(skb)->gso_size = payload;
	skb_shinfo(skb)->gso_segs = count;
}

/* Gives a frame to the stack, or drops it if the interface is down, and counts it. The caller is a thread. */
void verbs_shim_skb_receive(struct sk_buff *skb, struct net_device *dev, u16 queue)
{
	const unsigned int len = skb->len;

	skb->protocol = eth_type_trans(skb, dev);
	skb_record_rx_queue(skb, queue);
	/* The counters are each CPU's, and the stack relies on it. */
	local_bh_disable();
	/* An interface that goes down, or to another namespace, waits for who has seen it up. */
	rcu_read_lock();
	if (READ_ONCE(dev->flags) & IFF_UP) {
		dev_sw_netstats_rx_add(dev, len);
		netif_receive_skb(skb);
	} else {
		dev_core_stats_rx_dropped_inc(dev);
		kfree_skb(skb);
	}
	rcu_read_unlock();
	local_bh_enable();
}

/* What nice(1) adds if it is not told how much: a thread of that niceness has a tenth of the time of a usual one. */
#define USUAL_NICENESS 10

/* Whether others run so long before the calling thread that nobody should wait for it: it is nicer than what is usual for
 * programs that give way, or runs when nobody else wants to.
 */
bool verbs_shim_current_is_background(void)
{
	return current->policy == SCHED_IDLE || task_nice(current) > USUAL_NICENESS;
}

void verbs_shim_trace_wqe(u32 qpn, u64 wr_id, u32 opcode, u32 length)
{
	trace_usb4_roce_wqe(qpn, wr_id, opcode, length);
}

void verbs_shim_trace_segment_sent(u32 qpn, u32 kind, u32 psn, u32 length, u32 rail)
{
	trace_usb4_roce_segment_sent(qpn, kind, psn, length, rail);
}

void verbs_shim_trace_segment_received(u32 qpn, u32 kind, u32 psn, u32 length)
{
	trace_usb4_roce_segment_received(qpn, kind, psn, length);
}

void verbs_shim_trace_cqe(u32 qpn, u64 wr_id, u32 opcode, u32 status, u32 length)
{
	trace_usb4_roce_cqe(qpn, wr_id, opcode, status, length);
}
