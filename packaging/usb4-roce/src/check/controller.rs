// SPDX-License-Identifier: GPL-2.0

//! Are there USB4 controllers, do they work, and what do they let through?

use super::finding::Finding;
use super::finding::Remedy;
use crate::host::controller::Controller;
use crate::host::controller::Domain;
use crate::host::module::Presence;
use crate::host::module::THUNDERBOLT;
use crate::host::Host;

const CONTROLLER: &str = "controller";
const IOMMU: &str = "iommu";

/// What was found.
pub fn findings(host: &Host) -> Vec<Finding> {
    if host.controllers.is_empty() {
        return vec![none()];
    }
    let mut findings = Vec::new();
    for controller in &host.controllers {
        findings.push(works(host, controller).about(&controller.pci));
        if let Some(domain) = &controller.domain {
            findings.push(iommu(domain).about(&controller.pci));
        }
    }
    findings
}

fn none() -> Finding {
    Finding::fault(
        CONTROLLER,
        "no USB4 controller is on the PCI bus",
        Remedy::new(
            "Enable USB4 or Thunderbolt in the firmware's setup. Some older Thunderbolt controllers show only when something \
             is plugged in: plug the cable, and check again.",
        )
        .run("lspci -nn -d ::0c03"),
    )
}

fn works(host: &Host, controller: &Controller) -> Finding {
    let driver = match &controller.driver {
        Some(driver) => driver,
        None => {
            let remedy = match host.modules.presence(THUNDERBOLT) {
                Presence::Present => Remedy::new(
                    "Have the driver try again, and look at what the kernel says to that.",
                )
                .run(format!(
                    "echo {} | sudo tee /sys/bus/pci/drivers_probe",
                    controller.pci
                ))
                .run("sudo dmesg | grep -i thunderbolt"),
                Presence::NotLoaded | Presence::NotBuilt => {
                    Remedy::new("Load the driver.").run(format!("sudo modprobe {THUNDERBOLT}"))
                }
            };
            return Finding::fault(CONTROLLER, "the controller has no driver", remedy);
        }
    };
    let Some(domain) = &controller.domain else {
        return Finding::fault(
            CONTROLLER,
            format!("the driver {driver} has not brought the controller up"),
            Remedy::new(
                "See what the kernel says. A firmware update of the machine helps in some cases.",
            )
            .run("sudo dmesg | grep -i thunderbolt"),
        );
    };
    let mut says = format!("domain {}", domain.number);
    match domain.generation {
        Some(4) => says.push_str(", USB4"),
        Some(generation) => says.push_str(&format!(", Thunderbolt {generation}")),
        None => {}
    }
    if let Some(firmware) = &domain.firmware {
        says.push_str(&format!(", firmware {firmware}"));
    }
    if let Some(security) = &domain.security {
        // It is about PCIe tunnels: cables to other hosts need no permission.
        says.push_str(&format!(", security level {security}"));
    }
    Finding::ok(CONTROLLER, says)
}

fn iommu(domain: &Domain) -> Finding {
    match domain.iommu_protects {
        Some(true) => Finding::ok(IOMMU, "keeps devices at the ports away from other memory"),
        Some(false) => Finding::warning(
            IOMMU,
            "does not protect this host's memory from devices at its ports",
            Remedy::new(
                "It works without. For protection, enable the IOMMU (VT-d, AMD-Vi) and \"Kernel DMA protection\" in the \
                 firmware's setup.",
            ),
        ),
        None => Finding::unknown(IOMMU, "the kernel does not say whether the IOMMU protects"),
    }
}
