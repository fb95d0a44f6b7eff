// SPDX-License-Identifier: GPL-2.0

//! The regions and interrupts that a vfio-user client is told of.

use std::os::fd::RawFd;

use vfio_bindings::bindings::vfio::vfio_region_info;
use vfio_bindings::bindings::vfio::vfio_region_sparse_mmap_area;
use vfio_bindings::bindings::vfio::VFIO_IRQ_INFO_EVENTFD;
use vfio_bindings::bindings::vfio::VFIO_PCI_BAR0_REGION_INDEX;
use vfio_bindings::bindings::vfio::VFIO_PCI_BAR2_REGION_INDEX;
use vfio_bindings::bindings::vfio::VFIO_PCI_CONFIG_REGION_INDEX;
use vfio_bindings::bindings::vfio::VFIO_PCI_MSIX_IRQ_INDEX;
use vfio_bindings::bindings::vfio::VFIO_PCI_NUM_IRQS;
use vfio_bindings::bindings::vfio::VFIO_PCI_NUM_REGIONS;
use vfio_bindings::bindings::vfio::VFIO_REGION_INFO_FLAG_MMAP;
use vfio_bindings::bindings::vfio::VFIO_REGION_INFO_FLAG_READ;
use vfio_bindings::bindings::vfio::VFIO_REGION_INFO_FLAG_WRITE;
use vfio_user::IrqInfo;
use vfio_user::ServerRegion;
use vfio_user::SparseArea;

use crate::msix::MSIX_BAR_SIZE;
use crate::nhi::register;
use crate::nhi::VECTORS;
use crate::pci_config::CONFIG_SIZE;
use crate::pci_config::MSIX_BAR;
use crate::pci_config::REGISTER_BAR;

/// Region of the registers.
pub(super) const REGISTERS: u32 = VFIO_PCI_BAR0_REGION_INDEX;
/// Region of the PCI config space.
pub(super) const CONFIG: u32 = VFIO_PCI_CONFIG_REGION_INDEX;
/// Interrupt index of MSI-X.
pub(super) const MSIX: u32 = VFIO_PCI_MSIX_IRQ_INDEX;

const _: () = assert!(REGISTER_BAR == VFIO_PCI_BAR0_REGION_INDEX);
const _: () = assert!(MSIX_BAR == VFIO_PCI_BAR2_REGION_INDEX);

/// All regions; `registers` is the memory file of the register file.
pub(super) fn regions(registers: RawFd) -> Vec<ServerRegion> {
    (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| match index {
            REGISTERS => ServerRegion {
                sparse_areas: register::PLAIN_PAGES.map(plain_page).to_vec(),
                mmap_fd: Some(registers),
                ..region(
                    index,
                    register::REGISTER_FILE_SIZE as u64,
                    VFIO_REGION_INFO_FLAG_MMAP,
                )
            },
            MSIX_BAR => region(index, MSIX_BAR_SIZE as u64, 0),
            CONFIG => region(index, CONFIG_SIZE as u64, 0),
            _ => ServerRegion {
                region_info: vfio_region_info {
                    argsz: size_of::<vfio_region_info>() as u32,
                    index,
                    ..Default::default()
                },
                sparse_areas: Vec::new(),
                mmap_fd: None,
            },
        })
        .collect()
}

/// All interrupts: only MSI-X has any.
pub(super) fn interrupts() -> Vec<IrqInfo> {
    (0..VFIO_PCI_NUM_IRQS)
        .map(|index| IrqInfo {
            index,
            flags: VFIO_IRQ_INFO_EVENTFD,
            count: if index == MSIX { VECTORS as u32 } else { 0 },
        })
        .collect()
}

fn region(index: u32, size: u64, flags: u32) -> ServerRegion {
    ServerRegion {
        region_info: vfio_region_info {
            argsz: size_of::<vfio_region_info>() as u32,
            index,
            size,
            flags: flags | VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
            ..Default::default()
        },
        sparse_areas: Vec::new(),
        mmap_fd: None,
    }
}

fn plain_page(offset: usize) -> SparseArea {
    SparseArea {
        area: vfio_region_sparse_mmap_area {
            offset: offset as u64,
            size: register::PAGE_SIZE as u64,
        },
    }
}
