// SPDX-License-Identifier: GPL-2.0

//! Is the kernel new enough, and does it have streams?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::kernel::ConfigOption;
use crate::host::kernel::FIRST_WITH_STREAMS;
use crate::host::module::Presence;
use crate::host::module::STREAM;
use crate::host::os::Software;
use crate::host::Configfs;
use crate::host::Host;

const KERNEL: &str = "kernel";
const STREAM_DRIVER: &str = "stream-driver";
const CONFIGFS: &str = "configfs";

/// The option of the stream driver.
const OPTION: &str = "CONFIG_USB4_STREAM";

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    vec![kernel(host), stream_driver(host), configfs(host)]
}

fn kernel(host: &Host) -> Finding {
    let release = &host.kernel.release;
    let (major, minor) = FIRST_WITH_STREAMS;
    match host.kernel.version() {
        None => Finding::unknown(KERNEL, "the kernel does not say its version in /proc"),
        Some(version) if version < FIRST_WITH_STREAMS => Finding::fault(
            KERNEL,
            format!("Linux {release} is too old: streams over USB4 came with {major}.{minor}"),
            Remedy::new(format!(
                "Install Linux {major}.{minor} or later, and boot it."
            ))
            .run_if_known(host.os.install(Software::Kernel)),
        ),
        Some(_) => Finding::ok(KERNEL, format!("Linux {release}")),
    }
}

fn stream_driver(host: &Host) -> Finding {
    match host.modules.presence(STREAM) {
        Presence::Present => Finding::ok(STREAM_DRIVER, format!("{STREAM} is loaded")),
        Presence::NotLoaded => Finding::fault(
            STREAM_DRIVER,
            format!("{STREAM} is not loaded, so this host offers no streams"),
            Remedy::new("Load it.").run(format!("sudo modprobe {STREAM}")),
        ),
        Presence::NotBuilt => {
            let why = match host.kernel.option(OPTION) {
                ConfigOption::Unset => format!("it was built without {OPTION}"),
                ConfigOption::Set(_) => format!("it has {OPTION}, but its package is incomplete"),
                ConfigOption::Unknown => format!("its configuration, with {OPTION}, was not found"),
            };
            Finding::fault(
                STREAM_DRIVER,
                format!("this kernel has no module {STREAM}: {why}"),
                Remedy::new(format!("Boot a kernel that has {OPTION}."))
                    .run_if_known(host.os.install(Software::Kernel)),
            )
        }
    }
}

fn configfs(host: &Host) -> Finding {
    let place = Configfs::PLACE;
    match host.configfs {
        Configfs::Mounted => Finding::ok(CONFIGFS, format!("mounted at {place}")),
        Configfs::NotMounted => Finding::fault(
            CONFIGFS,
            format!("configfs is not mounted at {place}, where rails are made"),
            Remedy::new("Mount it.").run(format!("sudo mount -t configfs none {place}")),
        ),
    }
}
