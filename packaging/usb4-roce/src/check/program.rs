// SPDX-License-Identifier: GPL-2.0

//! Can programs of this user use the device?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::device::Access;
use crate::host::module::RDMA_UCM;
use crate::host::os::Software;
use crate::host::provider::Provider;
use crate::host::user::Limit;
use crate::host::Host;
use crate::units::Bytes;

const PROVIDER: &str = "provider";
const NODE: &str = "access";
const MEMLOCK: &str = "memlock";
const CONNECTIONS: &str = "rdma-cm";

/// What programs can be expected to register at once.
const ENOUGH: u64 = 64 << 20;

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    vec![
        provider(host),
        access(host),
        memlock(host),
        connections(host),
    ]
}

fn provider(host: &Host) -> Finding {
    let install = host.os.install(Software::Provider);
    match host.provider {
        Provider::Installed => Finding::ok(PROVIDER, "rdma-core's provider librxe is installed"),
        Provider::Missing => Finding::fault(
            PROVIDER,
            "rdma-core's provider librxe, which drives the device, is not installed",
            Remedy::new("Install it, in containers too.").run_if_known(install),
        ),
        Provider::NotNamed => Finding::fault(
            PROVIDER,
            "librxe is there, but libibverbs is not told of it: rxe.driver is missing",
            Remedy::new("Write that file, or install the package again.")
                .run("echo 'driver rxe' | sudo tee /etc/libibverbs.d/rxe.driver"),
        ),
    }
}

fn access(host: &Host) -> Finding {
    let Some(device) = &host.device else {
        return Finding::skipped(NODE, "there is no verbs device");
    };
    let Some(node) = &device.node else {
        return Finding::fault(
            NODE,
            format!("{} has no node in /dev/infiniband, by which programs reach it", device.name),
            Remedy::new("Load ib_uverbs. In a container, pass the host's devices (docker, podman: --device=/dev/infiniband).")
                .run("sudo modprobe ib_uverbs"),
        );
    };
    let path = &node.path;
    let open = || {
        Remedy::new("rdma-core's udev rules give it to all users: install rdma-core, and have the rules applied; or, until the next boot:")
            .run_if_known(host.os.install(Software::Provider))
            .run("sudo udevadm trigger --subsystem-match=infiniband_verbs")
            .run(format!("sudo chmod a+rw {path}"))
    };
    match node.access {
        Access::Everybody => Finding::ok(NODE, format!("everybody may open {path}")),
        Access::ThisUser if host.user.is_root => {
            Finding::warning(NODE, format!("not all users may open {path}"), open())
        }
        Access::ThisUser => Finding::ok(NODE, format!("you may open {path}")),
        Access::Others => Finding::fault(NODE, format!("you may not open {path}"), open()),
    }
}

fn memlock(host: &Host) -> Finding {
    let show = |limit| match limit {
        Limit::Bytes(bytes) => Bytes(bytes).to_string(),
        Limit::Unlimited => "unlimited".to_owned(),
        Limit::Unknown => "unknown".to_owned(),
    };
    let user = &host.user;
    let (soft, hard) = (user.memlock, user.memlock_most);
    if soft == Limit::Unknown {
        return Finding::unknown(
            MEMLOCK,
            "the kernel does not say how much memory may be locked",
        );
    }
    let says = format!("programs of yours may lock {}", show(soft));
    let enough = Limit::Bytes(ENOUGH);
    if soft >= enough {
        Finding::ok(MEMLOCK, says)
    } else if user.is_root {
        Finding::ok(
            MEMLOCK,
            "root may lock all memory; run this as another user for that one's limit",
        )
    } else if hard >= enough {
        Finding::warning(
            MEMLOCK,
            format!("{says}, and could up to {}", show(hard)),
            Remedy::new("Registering more memory fails (ENOMEM). Raise the limit in the shell that starts the program.")
                .run("ulimit -l hard"),
        )
    } else {
        Finding::warning(
            MEMLOCK,
            format!("{says}: registering more fails (ENOMEM)"),
            Remedy::new(
                "Raise the limit, and log in anew. For services: LimitMEMLOCK=infinity; for containers: --ulimit memlock=-1.",
            )
            .run("echo '* - memlock unlimited' | sudo tee /etc/security/limits.d/90-usb4-roce.conf"),
        )
    }
}

fn connections(host: &Host) -> Finding {
    match host.modules.is_present(RDMA_UCM) {
        true => Finding::ok(CONNECTIONS, format!("{RDMA_UCM} is loaded")),
        false => Finding::warning(
            CONNECTIONS,
            format!("{RDMA_UCM} is not loaded: rping, UCX and others cannot connect by address"),
            Remedy::new("Load it; rdma-core's udev rules do so at boot.")
                .run(format!("sudo modprobe {RDMA_UCM}")),
        ),
    }
}
