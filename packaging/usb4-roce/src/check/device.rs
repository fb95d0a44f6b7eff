// SPDX-License-Identifier: GPL-2.0

//! Is there a verbs device, and is its port active?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::module::USB4_ROCE;
use crate::host::rail::Rail;
use crate::host::Host;

const DEVICE: &str = "device";
const PORT: &str = "port";

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    let Some(device) = &host.device else {
        return vec![match host.modules.is_present(USB4_ROCE) {
            false => Finding::skipped(DEVICE, "the module is not loaded"),
            true => Finding::fault(
                DEVICE,
                "the module is loaded, but has no verbs device",
                Remedy::new("See why, and load the module again.")
                    .run(format!("sudo dmesg | grep {USB4_ROCE}"))
                    .run(format!(
                        "sudo rmmod {USB4_ROCE} && sudo modprobe {USB4_ROCE}"
                    )),
            ),
        }];
    };
    let guid = device.guid.as_deref().unwrap_or("none");
    let found = Finding::ok(DEVICE, format!("{}, GUID {guid}", device.name));
    let port = match &device.port_state {
        None => Finding::unknown(PORT, "the kernel does not say the port's state"),
        Some(_) if device.is_active() => {
            let rate = device.port_rate.as_deref().unwrap_or("of an unknown rate");
            Finding::ok(PORT, format!("active, {rate}"))
        }
        Some(state) => Finding::fault(
            PORT,
            format!("{}: no rail is up", state.to_lowercase()),
            match host.rails.iter().any(Rail::is_up) {
                true => Remedy::new("A rail has come up just now: check again."),
                false => Remedy::new(
                    "Put right what is said above of cables and rails: the port follows them.",
                ),
            },
        ),
    };
    vec![found, port]
}
