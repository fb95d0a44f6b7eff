// SPDX-License-Identifier: GPL-2.0

//! Performance management (IBTA 16.1): what `/sys/class/infiniband/*/ports/*/counters` and monitors ask by management
//! datagrams.

use super::{
    device::Device,
    driver::Driver,
    port::PortNumber, //
};
use crate::verbs::bindings;
use kernel::{
    ffi::c_int,
    prelude::*, //
};

/// What has gone through a port.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PortTraffic {
    /// Bytes of payload sent.
    pub sent_bytes: u64,
    /// Bytes of payload received.
    pub received_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Packets received.
    pub received_packets: u64,
}

/// Where attributes begin, in `ib_mad.data`.
const ATTRIBUTE: usize = 40;
/// Bytes of an attribute.
const ATTRIBUTE_SIZE: usize = 192;

/// `IB_PMA_CLASS_PORT_INFO`.
const CLASS_PORT_INFO: u16 = 0x0001;
/// `IB_PMA_PORT_COUNTERS`.
const PORT_COUNTERS: u16 = 0x0012;
/// `IB_PMA_PORT_COUNTERS_EXT`.
const PORT_COUNTERS_EXT: u16 = 0x001d;

/// `IB_PMA_CLASS_CAP_EXT_WIDTH`: there are counters of 64 bits, of packets too.
const EXTENDED_WIDTH: u16 = 1 << 9;
/// Version of the class, and of its base.
const VERSION: u8 = 1;
/// Status of a request for an attribute that there is not (IBTA 13.4.7).
const UNSUPPORTED_ATTRIBUTE: u16 = 0x000c;

/// Data counters count words of four bytes.
const WORD: u64 = 4;

type Attribute = [u8; ATTRIBUTE_SIZE];

fn put<const N: usize>(attribute: &mut Attribute, at: usize, bytes: [u8; N]) {
    attribute[at..at + N].copy_from_slice(&bytes);
}

/// As much of it as the counter can show: it stops at its end.
fn saturated(value: u64) -> u32 {
    value.try_into().unwrap_or(u32::MAX)
}

impl PortTraffic {
    /// The words and packets, sent and received, in the order of attributes.
    fn values(self) -> [u64; 4] {
        [
            self.sent_bytes / WORD,
            self.received_bytes / WORD,
            self.sent_packets,
            self.received_packets,
        ]
    }

    /// `struct ib_pma_portcounters`: what it has about errors stays zero, since rails have none that they do not mend.
    fn counters(self, port: u8) -> Attribute {
        const FIRST: usize = 24;
        let mut attribute = [0; ATTRIBUTE_SIZE];
        attribute[1] = port;
        for (place, value) in self.values().into_iter().enumerate() {
            let at = FIRST + place * size_of::<u32>();
            put(&mut attribute, at, saturated(value).to_be_bytes());
        }
        attribute
    }

    /// `struct ib_pma_portcounters_ext`. All packets go to one host.
    fn extended_counters(self, port: u8) -> Attribute {
        const FIRST: usize = 8;
        const UNICAST: usize = 40;
        let mut attribute = [0; ATTRIBUTE_SIZE];
        attribute[1] = port;
        for (place, value) in self.values().into_iter().enumerate() {
            let at = FIRST + place * size_of::<u64>();
            put(&mut attribute, at, value.to_be_bytes());
        }
        put(&mut attribute, UNICAST, self.sent_packets.to_be_bytes());
        let received = UNICAST + size_of::<u64>();
        put(
            &mut attribute,
            received,
            self.received_packets.to_be_bytes(),
        );
        attribute
    }

    /// The attribute that is asked for, of the port with that number.
    fn attribute(self, id: u16, port: u8) -> Option<Attribute> {
        match id {
            CLASS_PORT_INFO => {
                let mut attribute = [0; ATTRIBUTE_SIZE];
                // `struct ib_class_port_info`.
                attribute[0] = VERSION;
                attribute[1] = VERSION;
                put(&mut attribute, 2, EXTENDED_WIDTH.to_be_bytes());
                Some(attribute)
            }
            PORT_COUNTERS => Some(self.counters(port)),
            PORT_COUNTERS_EXT => Some(self.extended_counters(port)),
            _ => None,
        }
    }
}

/// Answers a management datagram, if it is one that the device answers itself.
///
/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.process_mad` of a device of `D`.
pub(super) unsafe extern "C" fn process_mad<D: Driver>(
    device: *mut bindings::ib_device,
    _flags: c_int,
    port: u32,
    _in_wc: *const bindings::ib_wc,
    _in_grh: *const bindings::ib_grh,
    in_mad: *const bindings::ib_mad,
    out_mad: *mut bindings::ib_mad,
    _out_mad_size: *mut usize,
    _out_mad_pkey_index: *mut u16,
) -> c_int {
    /// Taken note of: others may answer.
    const SUCCESS: c_int = bindings::ib_mad_result_IB_MAD_RESULT_SUCCESS as c_int;
    const REPLY: c_int = bindings::ib_mad_result_IB_MAD_RESULT_REPLY as c_int;

    // SAFETY: `ib_core` passes a device of `D`, a datagram, and room for the answer.
    let (device, asked, answer) =
        unsafe { (Device::<D>::from_raw(&device), &*in_mad, &mut *out_mad) };
    let header = &asked.mad_hdr;
    let is_asked = u32::from(header.mgmt_class) == bindings::IB_MGMT_CLASS_PERF_MGMT
        && u32::from(header.method) == bindings::IB_MGMT_METHOD_GET;
    if !is_asked {
        return SUCCESS;
    }
    let traffic = device.driver().port_traffic(PortNumber::from_raw(port));
    let attribute = traffic.attribute(u16::from_be(header.attr_id), port as u8);
    answer.mad_hdr = *header;
    answer.mad_hdr.method = bindings::IB_MGMT_METHOD_GET_RESP as u8;
    answer.mad_hdr.status = match attribute {
        Some(_) => 0,
        None => UNSUPPORTED_ATTRIBUTE.to_be(),
    };
    answer.data.fill(0);
    let attribute = attribute.unwrap_or([0; ATTRIBUTE_SIZE]);
    answer.data[ATTRIBUTE..].copy_from_slice(&attribute);
    SUCCESS | REPLY
}
