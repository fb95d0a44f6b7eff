// SPDX-License-Identifier: GPL-2.0

#include <linux/build_bug.h>
#include <linux/sched.h>

#include "bindings_helper.h"
#include "layout_generated.h"

struct net_device *verbs_shim_netdev_alloc(size_t priv_size, const char *name,
					   unsigned int tx_queues)
{
	struct net_device *dev;

	dev = alloc_netdev_mqs(priv_size, name, NET_NAME_PREDICTABLE, ether_setup, tx_queues, 1);
	/* Frames wait in lists, which a frame can be in only once. */
	if (dev)
		dev->priv_flags &= ~IFF_TX_SKB_SHARING;
	return dev;
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
	netif_wake_subqueue(dev, index);
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

void verbs_shim_netdev_count_rx(struct net_device *dev, unsigned int len)
{
	local_bh_disable();
	dev_sw_netstats_rx_add(dev, len);
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

void verbs_shim_skb_set_protocol(struct sk_buff *skb, struct net_device *dev)
{
	skb->protocol = eth_type_trans(skb, dev);
}

struct sk_buff *verbs_shim_skb_clone(struct sk_buff *skb)
{
	return skb_clone(skb, GFP_ATOMIC);
}

void verbs_shim_skb_consume(struct sk_buff *skb)
{
	dev_consume_skb_any(skb);
}

void verbs_shim_skb_drop(struct sk_buff *skb)
{
	dev_kfree_skb_any(skb);
}

struct sk_buff *verbs_shim_skb_alloc(struct net_device *dev, unsigned int len)
{
	return __netdev_alloc_skb_ip_align(dev, len, GFP_KERNEL);
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
