// SPDX-License-Identifier: GPL-2.0

//! Calls that set something up, each with what takes it back.

use std::ffi::CString;
use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::libc;

use crate::uverbs::Destination;
use crate::uverbs::Handle;
use crate::uverbs::Mapping;
use crate::uverbs::QpPlan;
use crate::uverbs::QpState;
use crate::uverbs::Queue;
use crate::uverbs::Region;
use crate::uverbs::Reregistration;
use crate::uverbs::Session;
use crate::uverbs::FULL_ACCESS;

/// Something that is set up.
pub struct Step<'s> {
    /// What reports call it.
    pub name: &'static str,
    /// The call itself.
    pub call: Box<dyn FnMut() -> nix::Result<()> + 's>,
    /// Takes back what a successful call has made.
    pub undo: Box<dyn FnMut() -> nix::Result<()> + 's>,
}

/// Bytes of regions: more pages than one list of them has room for.
const MEMORY: usize = 8 << 20;
/// Depth of queues.
const DEPTH: u32 = 100;

/// What the steps of a context share.
pub struct Verbs {
    session: Session,
    pd: Handle,
    other_pd: Handle,
    cq: Handle,
    qp: Handle,
    srq: Handle,
    mr: Region,
    memory: Mapping,
    destination: Destination,
    made: std::cell::Cell<Handle>,
    send: Queue,
}

impl Verbs {
    /// Objects for the steps to lean on.
    pub fn new(node: &Path, destination: Destination) -> nix::Result<Self> {
        let session = Session::open(node)?;
        let pd = session.alloc_pd()?;
        let cq = session.create_cq(DEPTH)?.handle;
        let qp = session.create_qp(&plan(pd, cq))?;
        let memory = Mapping::anonymous(MEMORY)?;
        let range = (memory.address(), MEMORY as u64);
        Ok(Self {
            other_pd: session.alloc_pd()?,
            srq: session.create_srq(pd, DEPTH, 1)?.handle,
            mr: session.reg_mr(pd, range, FULL_ACCESS)?,
            send: Queue::map(session.uverbs().raw(), qp.send)?,
            qp: qp.handle,
            made: Default::default(),
            session,
            pd,
            cq,
            memory,
            destination: Destination {
                number: qp.number,
                ..destination
            },
        })
    }

    fn keep(&self, handle: nix::Result<Handle>) -> nix::Result<()> {
        handle.map(|handle| self.made.set(handle))
    }

    fn step<'s>(
        &'s self,
        name: &'static str,
        call: impl Fn(&'s Self) -> nix::Result<()> + 's,
        undo: impl Fn(&'s Self) -> nix::Result<()> + 's,
    ) -> Step<'s> {
        Step {
            name,
            call: Box::new(move || call(self)),
            undo: Box::new(move || undo(self)),
        }
    }

    /// All steps.
    pub fn steps(&self) -> Vec<Step<'_>> {
        let mut steps = self.creations();
        steps.extend(self.changes());
        steps
    }

    fn creations(&self) -> Vec<Step<'_>> {
        vec![
            self.step(
                "alloc-pd",
                |v| v.keep(v.session.alloc_pd()),
                |v| v.session.dealloc_pd(v.made.get()),
            ),
            self.step(
                "create-cq",
                |v| v.keep(v.session.create_cq(DEPTH).map(|cq| cq.handle)),
                |v| v.session.destroy_cq(v.made.get()),
            ),
            self.step(
                "create-srq",
                |v| v.keep(v.session.create_srq(v.pd, DEPTH, 4).map(|srq| srq.handle)),
                |v| v.session.destroy_srq(v.made.get()),
            ),
            self.step(
                "create-qp",
                |v| v.keep(v.session.create_qp(&plan(v.pd, v.cq)).map(|qp| qp.handle)),
                |v| v.session.destroy_qp(v.made.get()),
            ),
            self.step(
                "create-qp-with-srq",
                |v| {
                    let plan = QpPlan {
                        srq: Some(v.srq),
                        ..plan(v.pd, v.cq)
                    };
                    v.keep(v.session.create_qp(&plan).map(|qp| qp.handle))
                },
                |v| v.session.destroy_qp(v.made.get()),
            ),
            self.step(
                "reg-mr",
                |v| {
                    let range = (v.memory.address(), MEMORY as u64);
                    v.keep(
                        v.session
                            .reg_mr(v.pd, range, FULL_ACCESS)
                            .map(|mr| mr.handle),
                    )
                },
                |v| v.session.dereg_mr(v.made.get()),
            ),
            self.step(
                "create-ah",
                |v| v.keep(v.session.create_ah(v.pd, v.destination).map(|ah| ah.handle)),
                |v| v.session.destroy_ah(v.made.get()),
            ),
        ]
    }

    fn changes(&self) -> Vec<Step<'_>> {
        let nothing = |_: &Self| Ok(());
        vec![
            self.step(
                "map-queue",
                |v| {
                    let cq = v.session.create_cq(DEPTH)?;
                    let mapped = Queue::map(v.session.uverbs().raw(), cq.queue).map(drop);
                    let destroyed = v.session.destroy_cq(cq.handle);
                    mapped.and(destroyed)
                },
                nothing,
            ),
            self.step(
                "rereg-mr",
                |v| {
                    const PD_AND_ACCESS: u32 = 6;
                    let change = Reregistration {
                        flags: PD_AND_ACCESS,
                        memory: (v.memory.address(), MEMORY as u64),
                        pd: v.other_pd,
                        access: FULL_ACCESS,
                    };
                    v.session.rereg_mr(v.mr.handle, &change)
                },
                nothing,
            ),
            self.step(
                "resize-cq",
                |v| v.session.resize_cq(v.cq, 2 * DEPTH).map(drop),
                |v| v.session.resize_cq(v.cq, DEPTH).map(drop),
            ),
            self.step(
                "resize-srq",
                |v| v.session.resize_srq(v.srq, 2 * DEPTH).map(drop),
                |v| v.session.resize_srq(v.srq, DEPTH).map(drop),
            ),
            self.step(
                "connect",
                |v| {
                    v.session.to_state(v.qp, QpState::Reset)?;
                    v.session.to_init(v.qp)?;
                    v.session.to_rtr(v.qp, v.destination)?;
                    v.session.to_rts(v.qp)
                },
                nothing,
            ),
            self.step("query-qp", |v| v.session.query_qp(v.qp), nothing),
            self.step(
                "post-send",
                |v| {
                    // A WRITE of nothing to the queue pair itself.
                    if !v.send.produce(&[0; 64]) {
                        return Err(Errno::ENOSPC);
                    }
                    v.session.ring(v.qp)
                },
                nothing,
            ),
            self.step(
                "request-notify",
                |v| v.session.request_notify(v.cq, 0),
                nothing,
            ),
        ]
    }
}

fn plan(pd: Handle, cq: Handle) -> QpPlan {
    QpPlan {
        pd,
        send_cq: cq,
        recv_cq: cq,
        srq: None,
        depth: DEPTH,
        elements: 4,
        inline: 64,
    }
}

/// Opening the device, and a context in it.
pub fn context(node: &Path) -> Step<'_> {
    Step {
        name: "open",
        call: Box::new(|| Session::open(node).map(drop)),
        undo: Box::new(|| Ok(())),
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// A rail: its directory, and its stream.
pub fn rail(stream: &str) -> Step<'_> {
    let rail = PathBuf::from("/sys/kernel/config/usb4_roce/faults");
    let remove = rail.clone();
    Step {
        name: "rail",
        call: Box::new(move || {
            // One that was left by a failure later on.
            let _ = fs::remove_dir(&rail);
            fs::create_dir(&rail).map_err(errno)?;
            fs::write(rail.join("stream"), stream).map_err(errno)
        }),
        undo: Box::new(move || fs::remove_dir(&remove).map_err(errno)),
    }
}

/// The module.
pub fn module(file: &Path) -> std::io::Result<Step<'static>> {
    let file = File::open(file)?;
    Ok(Step {
        name: "module",
        call: Box::new(move || {
            let none = CString::default();
            // SAFETY: The descriptor is open and the parameters are a string.
            let returned = unsafe {
                libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), none.as_ptr(), 0)
            };
            Errno::result(returned).map(drop)
        }),
        undo: Box::new(|| {
            let name = CString::new("usb4_roce").unwrap_or_default();
            // SAFETY: The name is a string.
            let returned =
                unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) };
            Errno::result(returned).map(drop)
        }),
    })
}
