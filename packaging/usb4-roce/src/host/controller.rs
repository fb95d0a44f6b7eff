// SPDX-License-Identifier: GPL-2.0

//! USB4 controllers, as PCI functions and as domains of the thunderbolt bus.

use crate::root::Root;

/// A controller.
#[derive(Clone, Debug)]
pub struct Controller {
    /// Its PCI address.
    pub pci: String,
    /// Its driver, if it has one.
    pub driver: Option<String>,
    /// Its domain, if the driver has brought it up.
    pub domain: Option<Domain>,
}

/// A domain: a controller that works, and all that is plugged into it.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its number.
    pub number: u32,
    /// Whether the IOMMU keeps devices at its ports away from memory that is not theirs.
    pub iommu_protects: Option<bool>,
    /// The security level.
    pub security: Option<String>,
    /// Generation of the router: 4 is USB4.
    pub generation: Option<u32>,
    /// Version of the router's firmware, where it says one.
    pub firmware: Option<String>,
}

/// The PCI class of USB4 host interfaces.
const CLASS: &str = "0x0c0340";

/// Their driver, which drives older controllers of another class too.
const DRIVER: &str = "thunderbolt";

const DEVICES: &str = "/sys/bus/thunderbolt/devices";

impl Controller {
    /// All controllers.
    pub fn all(root: &Root) -> Vec<Self> {
        const FUNCTIONS: &str = "/sys/bus/pci/devices";
        let mut all = Vec::new();
        for pci in root.names(FUNCTIONS) {
            let class = root.value(&format!("{FUNCTIONS}/{pci}/class"));
            let driver = root.link_name(&format!("{FUNCTIONS}/{pci}/driver"));
            if class.as_deref() == Some(CLASS) || driver.as_deref() == Some(DRIVER) {
                let domain = Domain::of(root, &pci);
                all.push(Self {
                    pci,
                    driver,
                    domain,
                });
            }
        }
        all
    }

    /// Whether its driver has brought it up.
    pub fn works(&self) -> bool {
        self.domain.is_some()
    }
}

impl Domain {
    fn of(root: &Root, pci: &str) -> Option<Self> {
        root.names(DEVICES).into_iter().find_map(|name| {
            let number = name.strip_prefix("domain")?.parse().ok()?;
            let directory = format!("{DEVICES}/{name}");
            let place = root.link(&directory)?;
            let parent = place.parent()?.file_name()?;
            if parent != pci {
                return None;
            }
            let router = format!("{DEVICES}/{number}-0");
            Some(Self {
                number,
                iommu_protects: root
                    .parsed::<u8>(&format!("{directory}/iommu_dma_protection"))
                    .map(|value| value != 0),
                security: root.value(&format!("{directory}/security")),
                generation: root.parsed(&format!("{router}/generation")),
                firmware: root.value(&format!("{router}/nvm_version")),
            })
        })
    }
}
