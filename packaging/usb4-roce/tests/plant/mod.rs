// SPDX-License-Identifier: GPL-2.0

//! What can be wrong with a host.

use usb4_roce_tool::check::finding::Verdict;

use crate::fixture::Fixture;
use crate::fixture::DEVICE;
use crate::fixture::RELEASE;

/// Something that is wrong with a host of two cables, and what is to be said of it.
pub struct Plant {
    /// What it is.
    pub name: &'static str,
    /// Does it.
    pub plant: fn(&mut Fixture),
    /// The check that is to find it.
    pub check: &'static str,
    /// What it is to say.
    pub verdict: Verdict,
    /// Parts of what is said, and of the remedy's text and commands.
    pub says: &'static [&'static str],
}

const RAIL: &str = "/sys/kernel/config/usb4_roce/0-3.0";
const CABLE: &str = "/sys/bus/thunderbolt/devices/0-3";

/// One of each kind.
pub const PLANTS: &[Plant] = &[
    Plant {
        name: "an old kernel",
        plant: |host| host.write("/proc/sys/kernel/osrelease", "6.12.9-amd64"),
        check: "kernel",
        verdict: Verdict::Fault,
        says: &["6.12.9-amd64 is too old", "7.2", "sudo apt install -t"],
    },
    Plant {
        name: "a kernel without streams",
        plant: |host| {
            host.remove("/sys/module/thunderbolt_stream");
            host.replace(
                &format!("/lib/modules/{RELEASE}/modules.dep"),
                "thunderbolt_stream",
                "x",
            );
            host.write(&format!("/boot/config-{RELEASE}"), "CONFIG_USB4=m");
        },
        check: "stream-driver",
        verdict: Verdict::Fault,
        says: &["without CONFIG_USB4_STREAM"],
    },
    Plant {
        name: "the stream driver is not loaded",
        plant: |host| host.remove("/sys/module/thunderbolt_stream"),
        check: "stream-driver",
        verdict: Verdict::Fault,
        says: &["not loaded", "sudo modprobe thunderbolt_stream"],
    },
    Plant {
        name: "no configfs",
        plant: |host| host.write("/proc/mounts", "sysfs /sys sysfs rw 0 0"),
        check: "configfs",
        verdict: Verdict::Fault,
        says: &[
            "not mounted",
            "sudo mount -t configfs none /sys/kernel/config",
        ],
    },
    Plant {
        name: "no controller",
        plant: |host| {
            host.remove("/sys/bus/pci");
            host.remove("/sys/bus/thunderbolt");
        },
        check: "controller",
        verdict: Verdict::Fault,
        says: &["no USB4 controller", "firmware's setup"],
    },
    Plant {
        name: "a controller without driver",
        plant: |host| {
            host.remove("/sys/bus/pci/devices/0000:00:0d.2/driver");
            host.remove("/sys/bus/thunderbolt");
            host.remove("/sys/module/thunderbolt");
        },
        check: "controller",
        verdict: Verdict::Fault,
        says: &["no driver", "sudo modprobe thunderbolt"],
    },
    Plant {
        name: "a controller that is not up",
        plant: |host| host.remove("/sys/bus/thunderbolt"),
        check: "controller",
        verdict: Verdict::Fault,
        says: &["has not brought the controller up"],
    },
    Plant {
        name: "no protection",
        plant: |host| {
            host.write(
                "/sys/bus/thunderbolt/devices/domain0/iommu_dma_protection",
                "0",
            )
        },
        check: "iommu",
        verdict: Verdict::Warning,
        says: &["does not protect", "Kernel DMA protection"],
    },
    Plant {
        name: "the module is not loaded",
        plant: |host| host.remove("/sys/module/usb4_roce"),
        check: "module",
        verdict: Verdict::Fault,
        says: &["not loaded", "sudo modprobe usb4_roce"],
    },
    Plant {
        name: "the module is not built",
        plant: |host| {
            host.remove("/sys/module/usb4_roce");
            host.write("/proc/sys/kernel/osrelease", "7.3.9+deb13-amd64");
            host.write("/var/lib/dkms/usb4_roce/0.1.0/source", "");
        },
        check: "module",
        verdict: Verdict::Fault,
        says: &[
            "was not built for Linux 7.3.9+deb13-amd64",
            "sudo dkms install --force usb4_roce/0.1.0 -k 7.3.9+deb13-amd64",
            "sudo apt install linux-headers-$(uname -r)",
        ],
    },
    Plant {
        name: "the module is not installed",
        plant: |host| {
            host.remove("/sys/module/usb4_roce");
            host.replace(
                &format!("/lib/modules/{RELEASE}/modules.dep"),
                "usb4_roce",
                "x",
            );
        },
        check: "module",
        verdict: Verdict::Fault,
        says: &["there is no usb4_roce for Linux", "package"],
    },
    Plant {
        name: "the key is rejected",
        plant: |host| {
            host.remove("/sys/module/usb4_roce");
            host.append(
                "/dev/kmsg",
                "5,9,50000000,-;Loading of module with unavailable key is rejected",
            );
        },
        check: "module",
        verdict: Verdict::Fault,
        says: &[
            "\"Key was rejected by service\"",
            "sudo mokutil --import /var/lib/dkms/mok.pub",
            "Enroll MOK",
        ],
    },
    Plant {
        name: "Ubuntu's key is rejected",
        plant: |host| {
            host.remove("/sys/module/usb4_roce");
            host.write("/var/lib/shim-signed/mok/MOK.der", "");
            host.append(
                "/dev/kmsg",
                "5,9,50000000,-;Loading of module with unavailable key is rejected",
            );
        },
        check: "module",
        verdict: Verdict::Fault,
        says: &["sudo mokutil --import /var/lib/shim-signed/mok/MOK.der"],
    },
    Plant {
        name: "Secure Boot, and nobody has tried",
        plant: |host| {
            host.remove("/sys/module/usb4_roce");
            host.write(
                "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
                "\u{1}",
            );
            let path = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
            host.replace(path, "\n", "");
        },
        check: "module",
        verdict: Verdict::Fault,
        says: &[
            "Secure Boot is on",
            "If that says \"Key was rejected by service\"",
        ],
    },
    Plant {
        name: "built for another kernel",
        plant: |host| {
            host.remove("/sys/module/usb4_roce");
            host.append(
                "/dev/kmsg",
                "3,9,50000000,-;usb4_roce: version magic '7.3.3 SMP' should be '7.3.4 SMP'",
            );
        },
        check: "module",
        verdict: Verdict::Fault,
        says: &["built for another kernel", "sudo dkms install"],
    },
    Plant {
        name: "another version",
        plant: |host| host.write(&format!("{DEVICE}/fw_ver"), "0.0.9"),
        check: "version",
        verdict: Verdict::Warning,
        says: &["the loaded module is 0.0.9", "rmmod usb4_roce"],
    },
    Plant {
        name: "thunderbolt_net is loaded",
        plant: |host| host.write("/sys/module/thunderbolt_net/initstate", "live"),
        check: "thunderbolt-net",
        verdict: Verdict::Warning,
        says: &[
            "as soon as its interface is set up",
            "sudo rmmod thunderbolt_net",
            "blacklist thunderbolt_net",
        ],
    },
    Plant {
        name: "thunderbolt_net has a ring",
        plant: |host| {
            host.write("/sys/module/thunderbolt_net/initstate", "live");
            host.write("/sys/class/net/thunderbolt0/flags", "0x1003");
            host.link(
                "/sys/class/net/thunderbolt0/device/driver",
                "../../../bus/thunderbolt/drivers/thunderbolt-net",
            );
        },
        check: "thunderbolt-net",
        verdict: Verdict::Warning,
        says: &["takes a ring of a controller for thunderbolt0"],
    },
    Plant {
        name: "no other host",
        plant: |host| {
            for cable in [1, 3] {
                host.remove(&format!("/sys/bus/thunderbolt/devices/0-{cable}"));
                host.remove(&format!("/sys/bus/thunderbolt/devices/0-{cable}.0"));
                host.write(
                    &format!("/sys/bus/thunderbolt/devices/0-0/usb4_port{cable}/link"),
                    "none",
                );
            }
        },
        check: "cable",
        verdict: Verdict::Fault,
        says: &["no other host is connected", "USB4 or Thunderbolt cable"],
    },
    Plant {
        name: "a cable to a host that does not answer",
        plant: |host| {
            for cable in [1, 3] {
                host.remove(&format!("/sys/bus/thunderbolt/devices/0-{cable}"));
                host.remove(&format!("/sys/bus/thunderbolt/devices/0-{cable}.0"));
            }
        },
        check: "cable",
        verdict: Verdict::Fault,
        says: &["plugged into port 1 (usb4)", "sudo modprobe thunderbolt"],
    },
    Plant {
        name: "discovery is off",
        plant: |host| {
            host.write("/sys/module/thunderbolt/parameters/xdomain", "N");
            for cable in [1, 3] {
                host.remove(&format!("/sys/bus/thunderbolt/devices/0-{cable}"));
            }
        },
        check: "cable",
        verdict: Verdict::Fault,
        says: &["thunderbolt.xdomain=0"],
    },
    Plant {
        name: "one lane",
        plant: |host| {
            host.write(&format!("{CABLE}/rx_lanes"), "1");
            host.write(&format!("{CABLE}/tx_lanes"), "1");
            host.remove("/sys/kernel/debug");
        },
        check: "cable-speed",
        verdict: Verdict::Warning,
        says: &[
            "1 x 20 Gb/s",
            "one of its two lanes",
            "Unplug it at one end",
        ],
    },
    Plant {
        name: "slower than the port",
        plant: |host| host.port_can(0, 3, "0x003e0110"),
        check: "cable-speed",
        verdict: Verdict::Warning,
        says: &["2 x 20 Gb/s, where this host's port can 2 x 40 Gb/s"],
    },
    Plant {
        name: "slower than the other cable",
        plant: |host| {
            host.write(&format!("{CABLE}/rx_speed"), "10.0 Gb/s");
            host.remove("/sys/kernel/debug");
        },
        check: "cable-speed",
        verdict: Verdict::Warning,
        says: &["2 x 10 Gb/s, less than another cable"],
    },
    Plant {
        name: "no stream service",
        plant: |host| host.remove(&format!("{CABLE}.0")),
        check: "stream-service",
        verdict: Verdict::Fault,
        says: &[
            "offers no streams",
            "On the other host",
            "modprobe thunderbolt_stream",
        ],
    },
    Plant {
        name: "nobody drives the stream service",
        plant: |host| host.remove(&format!("{CABLE}.0/driver")),
        check: "stream-service",
        verdict: Verdict::Fault,
        says: &["does not drive the service 0-3.0", "Unplug the cable"],
    },
    Plant {
        name: "no rail",
        plant: |host| host.remove(RAIL),
        check: "rail",
        verdict: Verdict::Fault,
        says: &["has no rail", "usb4-roce-setup start 0-3.0"],
    },
    Plant {
        name: "no rail, on a distribution without libexec",
        plant: |host| {
            host.remove(RAIL);
            host.write(
                "/usr/lib/systemd/system/usb4-roce@.service",
                "[Service]\nExecStart=/usr/lib/usb4-roce/usb4-roce-setup keep %i\n",
            );
        },
        check: "rail",
        verdict: Verdict::Fault,
        says: &["sudo /usr/lib/usb4-roce/usb4-roce-setup start 0-3.0"],
    },
    Plant {
        name: "the other host has no rail",
        plant: |host| host.write(&format!("{RAIL}/state"), "greeting"),
        check: "rail",
        verdict: Verdict::Fault,
        says: &["does not answer", "usb4-roce-setup announce 0-3.0"],
    },
    Plant {
        name: "the other host has no stream",
        plant: |host| host.write(&format!("{RAIL}/state"), "detached"),
        check: "rail",
        verdict: Verdict::Fault,
        says: &["no stream of the other host", "announce"],
    },
    Plant {
        name: "the stream is gone",
        plant: |host| host.write(&format!("{RAIL}/state"), "removed"),
        check: "rail",
        verdict: Verdict::Fault,
        says: &[
            "taken away",
            "usb4-roce-setup stop 0-3.0",
            "usb4-roce-setup start 0-3.0",
        ],
    },
    Plant {
        name: "no ring, as thunderbolt_net has it",
        plant: |host| {
            host.write("/sys/module/thunderbolt_net/initstate", "live");
            host.write(&format!("{RAIL}/state"), "failed ENOMEM");
        },
        check: "rail",
        verdict: Verdict::Fault,
        says: &[
            "no ring or no path left",
            "thunderbolt_net has one",
            "sudo rmmod thunderbolt_net",
        ],
    },
    Plant {
        name: "no ring, by an error without a name",
        plant: |host| host.write(&format!("{RAIL}/state"), "failed Error(12)"),
        check: "rail",
        verdict: Verdict::Fault,
        says: &["no ring or no path left", "fewer streams"],
    },
    Plant {
        name: "no path numbers",
        plant: |host| host.write(&format!("{RAIL}/state"), "failed EINVAL"),
        check: "rail",
        verdict: Verdict::Fault,
        says: &["HopIDs", "start 0-3.0"],
    },
    Plant {
        name: "another error",
        plant: |host| host.write(&format!("{RAIL}/state"), "failed EIO"),
        check: "rail",
        verdict: Verdict::Fault,
        says: &["cannot be opened (EIO)", "dmesg"],
    },
    Plant {
        name: "a rail without cable",
        plant: |host| {
            host.remove(CABLE);
            host.remove(&format!("{CABLE}.0"));
        },
        check: "rail",
        verdict: Verdict::Warning,
        says: &["waits for its cable", "stop 0-3.0"],
    },
    Plant {
        name: "damage",
        plant: |host| {
            host.replace(
                &format!("{RAIL}/counters"),
                "rx_checksum_errors 0",
                "rx_checksum_errors 7",
            )
        },
        check: "rail-data",
        verdict: Verdict::Warning,
        says: &["7 times", "another cable"],
    },
    Plant {
        name: "no device",
        plant: |host| host.remove(DEVICE),
        check: "device",
        verdict: Verdict::Fault,
        says: &["no verbs device"],
    },
    Plant {
        name: "the port is down",
        plant: |host| {
            host.write(&format!("{DEVICE}/ports/1/state"), "1: DOWN");
            host.write(&format!("{RAIL}/state"), "detached");
            host.write("/sys/kernel/config/usb4_roce/0-1.0/state", "detached");
        },
        check: "port",
        verdict: Verdict::Fault,
        says: &["down: no rail is up"],
    },
    Plant {
        name: "no interface",
        plant: |host| host.remove("/sys/class/net/usb4r0"),
        check: "interface",
        verdict: Verdict::Fault,
        says: &["no interface usb4r0", "container"],
    },
    Plant {
        name: "the interface is down",
        plant: |host| host.write("/sys/class/net/usb4r0/flags", "0x1002"),
        check: "interface",
        verdict: Verdict::Fault,
        says: &["not set up", "sudo ip link set usb4r0 up"],
    },
    Plant {
        name: "no address",
        plant: |host| {
            host.remove_ipv4("usb4r0");
            host.remove(&format!("{DEVICE}/ports/1/gids/1"));
        },
        check: "address",
        verdict: Verdict::Fault,
        says: &[
            "no IPv4 address",
            "sudo ip address add 10.55.0.1/24 dev usb4r0",
        ],
    },
    Plant {
        name: "no GID",
        plant: |host| host.remove(&format!("{DEVICE}/ports/1/gids/1")),
        check: "gid",
        verdict: Verdict::Fault,
        says: &["no RoCE v2 GID", "sudo ip link set usb4r0 down"],
    },
    Plant {
        name: "a GID of another kind",
        plant: |host| host.write(&format!("{DEVICE}/ports/1/gid_attrs/types/1"), "IB/RoCE v1"),
        check: "gid",
        verdict: Verdict::Fault,
        says: &["no RoCE v2 GID"],
    },
    Plant {
        name: "two managers",
        plant: |host| {
            host.write("/run/NetworkManager/devices/3", "[device]\nmanaged=true");
            host.write("/run/systemd/netif/links/3", "ADMIN_STATE=configured");
        },
        check: "network-managers",
        verdict: Verdict::Warning,
        says: &[
            "NetworkManager and systemd-networkd manage usb4r0",
            "managed no",
        ],
    },
    Plant {
        name: "two ways to a network",
        plant: |host| host.add_address("enp1s0", "10.55.0.200", 16),
        check: "networks",
        verdict: Verdict::Warning,
        says: &["enp1s0 has 10.55.0.200/16", "10.55.0.1/24"],
    },
    Plant {
        name: "little memory may be locked",
        plant: |host| {
            host.write(
                "/proc/self/limits",
                "Max locked memory         8388608              8388608              bytes",
            )
        },
        check: "memlock",
        verdict: Verdict::Warning,
        says: &[
            "may lock 8 MiB",
            "memlock unlimited' | sudo tee /etc/security/limits.d/",
            "LimitMEMLOCK=infinity",
        ],
    },
    Plant {
        name: "more memory could be locked",
        plant: |host| {
            host.write(
                "/proc/self/limits",
                "Max locked memory         8388608              unlimited            bytes",
            )
        },
        check: "memlock",
        verdict: Verdict::Warning,
        says: &["could up to unlimited", "ulimit -l hard"],
    },
    Plant {
        name: "no node",
        plant: |host| host.remove("/sys/class/infiniband_verbs"),
        check: "access",
        verdict: Verdict::Fault,
        says: &["no node in /dev/infiniband", "sudo modprobe ib_uverbs"],
    },
    Plant {
        name: "no provider",
        plant: |host| host.remove("/usr/lib/x86_64-linux-gnu/libibverbs/librxe-rdmav34.so"),
        check: "provider",
        verdict: Verdict::Fault,
        says: &["librxe", "sudo apt install ibverbs-providers"],
    },
    Plant {
        name: "a provider that nobody names",
        plant: |host| host.remove("/etc/libibverbs.d/rxe.driver"),
        check: "provider",
        verdict: Verdict::Fault,
        says: &["rxe.driver is missing", "driver rxe"],
    },
    Plant {
        name: "no rdma_ucm",
        plant: |host| host.remove("/sys/module/rdma_ucm"),
        check: "rdma-cm",
        verdict: Verdict::Warning,
        says: &["cannot connect by address", "sudo modprobe rdma_ucm"],
    },
];
