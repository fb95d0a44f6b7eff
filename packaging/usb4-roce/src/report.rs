// SPDX-License-Identifier: GPL-2.0

//! What to attach to a bug report.

use std::fmt::Write;

use anyhow::Result;

use crate::check::Check;
use crate::host::bus::Bus;
use crate::host::kernel::SecureBoot;
use crate::host::provider::Provider;
use crate::host::rail::Rail;
use crate::host::Host;
use crate::host::Source;
use crate::root::Reading;
use crate::root::Root;
use crate::status::Status;
use crate::status::MOMENT;
use redaction::Redaction;

pub mod redaction;

/// Modules that have to do with it.
const MODULES: [&str; 9] = [
    "usb4_roce",
    "thunderbolt",
    "thunderbolt_stream",
    "thunderbolt_net",
    "ib_core",
    "ib_uverbs",
    "rdma_cm",
    "rdma_ucm",
    "rdma_rxe",
];

/// What the names of kernel options that matter begin with.
const OPTIONS: [&str; 15] = [
    "CONFIG_USB4",
    "CONFIG_INFINIBAND",
    "CONFIG_RDMA_RXE",
    "CONFIG_RUST",
    "CONFIG_CONFIGFS_FS",
    "CONFIG_XXHASH",
    "CONFIG_CRC32",
    "CONFIG_MODULE_SIG",
    "CONFIG_MODVERSIONS",
    "CONFIG_SECURITY_LOCKDOWN",
    "CONFIG_PREEMPT",
    "CONFIG_HZ",
    "CONFIG_IOMMU",
    "CONFIG_INTEL_IOMMU",
    "CONFIG_AMD_IOMMU",
];

/// Attributes of the thunderbolt bus that are shown. Not among them: the keys by which docks are recognised.
const ATTRIBUTES: [&str; 21] = [
    "uevent",
    "device",
    "device_name",
    "vendor",
    "vendor_name",
    "unique_id",
    "maxhopid",
    "rx_speed",
    "rx_lanes",
    "tx_speed",
    "tx_lanes",
    "generation",
    "authorized",
    "nvm_version",
    "security",
    "iommu_dma_protection",
    "link",
    "modalias",
    "prtcid",
    "prtcvers",
    "prtcstns",
];

/// What lines of the kernel's log have in them that matter.
const LOG: [&str; 12] = [
    "thunderbolt",
    "usb4",
    "tbstream",
    "infiniband",
    "ib_core",
    "rdma",
    "rxe",
    "tbnet",
    "DMAR",
    "AMD-Vi",
    "Lockdown",
    " is rejected",
];

/// The most lines of the log: the newest are taken.
const MOST_LINES: usize = 1000;

/// Writes the report of a host.
pub fn report(source: &Source) -> Result<String> {
    let status = Status::look(source, MOMENT);
    let host = Host::read(source);
    let check = Check::of(&host);
    let root = &source.root;
    let mut text = String::new();
    let mut section = |title: &str, body: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "== {title} ==\n{}\n", body.trim_end());
    };
    section("versions", &versions(&host));
    section("kernel options", &options(&host));
    section("modules", &modules(root));
    section("check", &serde_json::to_string_pretty(&check)?);
    section("status", &serde_json::to_string_pretty(&status)?);
    section("thunderbolt devices", &thunderbolt(root));
    section("ports", &serde_json::to_string_pretty(&host.bus.ports)?);
    section(
        "streams",
        &tree(root, "/sys/kernel/config/thunderbolt/stream", 2),
    );
    section("rails", &tree(root, Rail::DIRECTORY, 1));
    section("device counters", &device_counters(root, &host));
    section("kernel log", &log(&host));
    let mut redaction = Redaction::new(&names(root, &host));
    let body = redaction.redact(&text);
    Ok(format!("{}{body}", introduction(&host)))
}

fn introduction(host: &Host) -> String {
    let rights = match host.user.is_root {
        true => "",
        false => "Not run as root: rails and the kernel's log may be missing.\n",
    };
    format!(
        "usb4-roce report, version {}\n\
         Host names, UUIDs, GUIDs, serial numbers, MAC and IP addresses are replaced, the same thing by the same placeholder;\n\
         host-1 is the host that this is about. Words that happen to be a host's name are replaced too.\n\
         Read it before you attach it.\n{rights}\n",
        env!("CARGO_PKG_VERSION")
    )
}

fn versions(host: &Host) -> String {
    let device = host
        .device
        .as_ref()
        .and_then(|device| device.version.as_deref());
    let module = host.modules.version.as_deref().or(device);
    format!(
        "kernel {}\ndistribution {}\nmodule {}\nprovider {}\nSecure Boot {}\nDKMS {}",
        host.kernel.release,
        host.os.name,
        module.unwrap_or("unknown"),
        match host.provider {
            Provider::Installed => "installed",
            Provider::NotNamed => "installed, but named by no file",
            Provider::Missing => "missing",
        },
        match host.kernel.secure_boot {
            Some(SecureBoot::On) => "on",
            Some(SecureBoot::Off) => "off",
            None => "unknown to the firmware",
        },
        match &host.modules.dkms[..] {
            [] => "has none".to_owned(),
            versions => format!("has {}", versions.join(", ")),
        }
    )
}

fn options(host: &Host) -> String {
    let Some(config) = host.kernel.config() else {
        return "the kernel's configuration was not found".to_owned();
    };
    let lines = config
        .lines()
        .filter(|line| OPTIONS.iter().any(|option| line.starts_with(option)));
    lines.collect::<Vec<_>>().join("\n")
}

fn modules(root: &Root) -> String {
    let text = root.value("/proc/modules").unwrap_or_default();
    let lines = text.lines().filter(|line| {
        let name = line.split(' ').next().unwrap_or_default();
        MODULES.contains(&name)
    });
    // Behind the state there is an address.
    let lines = lines.map(|line| line.split(' ').take(5).collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

fn thunderbolt(root: &Root) -> String {
    let mut text = String::new();
    for name in root.names(Bus::DEVICES) {
        let directory = format!("{}/{name}", Bus::DEVICES);
        let _ = writeln!(text, "{name}");
        for attribute in ATTRIBUTES {
            if let Some(value) = root.value(&format!("{directory}/{attribute}")) {
                let _ = writeln!(text, "    {attribute}: {}", value.replace('\n', " "));
            }
        }
        // Of services, `key` is what they are; of docks, it is a secret.
        if let (Some(key), Some(_)) = (
            root.value(&format!("{directory}/key")),
            root.value(&format!("{directory}/prtcid")),
        ) {
            let _ = writeln!(text, "    key: {key}");
        }
        if let Some(driver) = root.link_name(&format!("{directory}/driver")) {
            let _ = writeln!(text, "    driver: {driver}");
        }
    }
    text
}

/// All files below `directory`, down to `depth` more directories.
fn tree(root: &Root, directory: &str, depth: u32) -> String {
    let mut text = String::new();
    for name in root.names(directory) {
        let path = format!("{directory}/{name}");
        if root.is_directory(&path) {
            let _ = writeln!(text, "{path}");
            if depth > 0 {
                text.push_str(&tree(root, &path, depth - 1));
            }
            continue;
        }
        let value = match root.reading(&path) {
            Reading::Found(value) => value.replace('\n', "; "),
            Reading::Missing => String::new(),
            Reading::NeedsRoot => "(needs root)".to_owned(),
        };
        let _ = writeln!(text, "    {name}: {value}");
    }
    text
}

fn device_counters(root: &Root, host: &Host) -> String {
    let Some(device) = &host.device else {
        return "there is no device".to_owned();
    };
    let port = format!("/sys/class/infiniband/{}/ports/1", device.name);
    let groups = ["hw_counters", "counters"];
    let groups = groups.map(|group| tree(root, &format!("{port}/{group}"), 0));
    groups.join("\n")
}

fn log(host: &Host) -> String {
    let lines = match host.log.lines() {
        Reading::Found(lines) => lines,
        Reading::Missing => return "the kernel's log was not found".to_owned(),
        Reading::NeedsRoot => return "needs root".to_owned(),
    };
    let matters = |text: &str| LOG.iter().any(|part| text.contains(part));
    let all: Vec<_> = lines.iter().filter(|line| matters(&line.text)).collect();
    let newest = &all[all.len().saturating_sub(MOST_LINES)..];
    let shown = newest
        .iter()
        .map(|line| format!("[{:12.6}] {}", line.at.as_secs_f64(), line.text));
    shown.collect::<Vec<_>>().join("\n")
}

/// Names of hosts, this one's first.
fn names(root: &Root, host: &Host) -> Vec<String> {
    let mut names = vec![host.name.clone()];
    // The part before the first dot is a name of its own.
    names.extend(host.name.split_once('.').map(|(short, _)| short.to_owned()));
    names.extend(
        host.bus
            .cables
            .iter()
            .filter_map(|cable| cable.peer.clone()),
    );
    let peers = host
        .rails
        .iter()
        .filter_map(|rail| rail.details.found()?.peer.as_ref());
    names.extend(peers.map(|peer| peer.name.clone()));
    let domain = root.value("/proc/sys/kernel/domainname");
    names.extend(domain.filter(|domain| domain != "(none)"));
    names
}
