/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines and macros of the verbs layer's C headers, as functions that Rust can call. */
#ifndef _USB4_ROCE_VERBS_SHIM_H
#define _USB4_ROCE_VERBS_SHIM_H

#include <linux/etherdevice.h>
#include <rdma/ib_verbs.h>

struct net_device *verbs_shim_netdev_alloc(size_t priv_size, const char *name,
					   unsigned int tx_queues);
void *verbs_shim_netdev_priv(struct net_device *dev);
bool verbs_shim_netdev_running(const struct net_device *dev);
void verbs_shim_netdev_start_queues(struct net_device *dev);
void verbs_shim_netdev_stop_queues(struct net_device *dev);
void verbs_shim_netdev_stop_queue(struct net_device *dev, u16 index);
void verbs_shim_netdev_wake_queue(struct net_device *dev, u16 index);
bool verbs_shim_netdev_queue_stopped(const struct net_device *dev, u16 index);
void verbs_shim_netdev_count_tx(struct net_device *dev, unsigned int len);
void verbs_shim_netdev_count_rx(struct net_device *dev, unsigned int len);
void verbs_shim_netdev_count_tx_dropped(struct net_device *dev);
void verbs_shim_netdev_count_rx_dropped(struct net_device *dev);
bool verbs_shim_current_is_background(void);
void verbs_shim_smp_mb(void);
void verbs_shim_skb_queue_init(struct sk_buff_head *queue);
u32 verbs_shim_skb_hash(struct sk_buff *skb);
void verbs_shim_skb_set_protocol(struct sk_buff *skb, struct net_device *dev);
struct sk_buff *verbs_shim_skb_clone(struct sk_buff *skb);
void verbs_shim_skb_consume(struct sk_buff *skb);
void verbs_shim_skb_drop(struct sk_buff *skb);
struct sk_buff *verbs_shim_skb_alloc(struct net_device *dev, unsigned int len);

#endif
