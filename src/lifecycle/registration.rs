// SPDX-License-Identifier: GPL-2.0

//! Keeps the verbs device registered as long as the module is loaded.
//!
//! `ib_unregister_driver()` takes away all devices of a driver ID, and rdma_rxe, whose ID and user
//! ABI are ours too, calls it when it is unloaded. The device is registered again then.

use kernel::device::Device;
use kernel::impl_has_delayed_work;
use kernel::new_delayed_work;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::aref::ARef;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::time::msecs_to_jiffies;
use kernel::time::Msecs;
use kernel::workqueue::DelayedWork;
use kernel::workqueue::WorkItem;

use crate::base::delayed_work;
use crate::base::notifier::Notifier;
use crate::base::notifier::Observer;
use crate::fabric::Fabric;
use crate::lifecycle::identity::HostIdentity;
use crate::lifecycle::unbind::DeviceId;
use crate::lifecycle::unbind::Unbind;
use crate::lifecycle::unbind::UnbindChain;
use crate::verbs::device::Registrant;
use crate::verbs::device::RoceDevice;
use crate::verbs::device::NODE_DESCRIPTION;
use crate::verbs::netdev::Netdev;
use crate::verbs::rdma::DeviceOptions;
use crate::verbs::rdma::Registration;
use crate::verbs::resources::Resources;

/// The device's name; udev does not change it.
const NAME: &CStr = c"usb4_roce%d";

/// Completion vectors: completions are raised by the thread that finds them, so one is enough.
const COMPLETION_VECTORS: u16 = 1;

/// When the device is registered again. Whoever has unregistered it walks a list of all devices, and would find one that
/// comes back at once.
const REGISTER_AGAIN_DELAY_MS: Msecs = 1000;

/// Whether the device is to be registered.
enum State {
    /// It is, or will be again. `None` until the first registration is done.
    Open(Option<Registration<RoceDevice>>),
    /// The module is being unloaded.
    Closed,
}

/// What it takes to register the device.
///
/// # Locking
///
/// `state` is never held while a device is registered or unregistered: that waits for
/// [`Registrant::unregistered`], which takes it. `parent` is: a controller that goes away waits until the device is
/// registered, so that it finds it. It is taken first.
#[pin_data]
pub(crate) struct DeviceRegistration {
    module: &'static ThisModule,
    node_guid: u64,
    /// The USB4 controller, until it goes away.
    #[pin]
    parent: Mutex<Option<ARef<Device>>>,
    resources: Arc<Resources>,
    fabric: Arc<Fabric>,
    netdev: Arc<Netdev>,
    #[pin]
    state: Mutex<State>,
    #[pin]
    work: DelayedWork<DeviceRegistration>,
}

impl_has_delayed_work! {
    impl HasDelayedWork<Self> for DeviceRegistration { self.work }
}

impl WorkItem for DeviceRegistration {
    type Pointer = Arc<DeviceRegistration>;

    fn run(this: Arc<DeviceRegistration>) {
        match Self::register(&this) {
            Ok(()) => pr_info!("the verbs device is registered again\n"),
            Err(error) => pr_err!(
                "the verbs device cannot be registered again ({error:?}): unload the module and load it again\n"
            ),
        }
    }
}

/// Has the device registered again when somebody else unregisters it.
struct OnUnregistered(Arc<DeviceRegistration>);

impl Registrant for OnUnregistered {
    fn unregistered(&self) {
        let this = &self.0;
        this.fabric.set_device(None);

        let state = this.state.lock();
        if matches!(*state, State::Open(_)) {
            pr_info!("the verbs device was unregistered; it will be registered again\n");
            // Under the lock, so that it does not come after `delayed_work::cancel`.
            let delay = msecs_to_jiffies(REGISTER_AGAIN_DELAY_MS);
            delayed_work::arm(delayed_work::common_queue(), this, delay);
        }
    }
}

impl DeviceRegistration {
    fn register(this: &Arc<Self>) -> Result {
        let device = RoceDevice::new(
            this.node_guid,
            this.resources.clone(),
            this.fabric.clone(),
            this.netdev.clone(),
            Arc::new(OnUnregistered(this.clone()), GFP_KERNEL)?,
        )?;
        let parent = this.parent.lock();
        let registration = Registration::new(
            this.module,
            device,
            DeviceOptions {
                name: NAME,
                node_description: NODE_DESCRIPTION,
                node_guid: this.node_guid,
                completion_vectors: COMPLETION_VECTORS,
                parent: (*parent).as_deref(),
            },
        )?;
        this.fabric.set_device(Some(registration.handle().clone()));

        let mut state = this.state.lock();
        let unused = match &mut *state {
            State::Open(slot) => slot.replace(registration),
            State::Closed => Some(registration),
        };
        drop(state);
        drop(parent);
        drop(unused);
        Ok(())
    }
}

/// A device and an interface may not stay below a controller that goes away. The verbs device is registered
/// again, without a parent: for its users that is the end, as it is with any hardware.
impl Observer<UnbindChain> for DeviceRegistration {
    fn notify(&self, event: Unbind) {
        let Unbind::Begins(device) = event else {
            return;
        };
        let mut parent = self.parent.lock();
        if parent.as_deref().map(device_id) != Some(device) {
            return;
        }
        let old_parent = parent.take();
        drop(parent);
        self.netdev.leave_parent();
        let registration = match &mut *self.state.lock() {
            State::Open(slot) => slot.take(),
            State::Closed => None,
        };
        // This calls `Registrant::unregistered`.
        drop(registration);
        drop(old_parent);
    }
}

fn device_id(device: &Device) -> DeviceId {
    DeviceId::new(core::ptr::from_ref(device).cast())
}

/// The verbs device. Dropping it unregisters the device.
pub(crate) struct VerbsDevice {
    // Declared first: once it is dropped, nobody but us changes the registration.
    _on_unbind: Pin<KBox<Notifier<UnbindChain, DeviceRegistration>>>,
    registration: Arc<DeviceRegistration>,
}

impl VerbsDevice {
    /// Registers the device, as a child of the host's USB4 controller.
    pub(crate) fn new(
        module: &'static ThisModule,
        identity: &HostIdentity,
        fabric: &Arc<Fabric>,
        netdev: &Arc<Netdev>,
    ) -> Result<Self> {
        let parent = identity.parent().map(|parent| {
            // SAFETY: The device is valid as long as `identity`, and gets a reference of its own.
            unsafe { Device::get_device(parent.as_ptr()) }
        });
        let resources = Resources::new(
            fabric.queue_pairs().clone(),
            fabric.multicast_groups().clone(),
            fabric.workers().clone(),
        )?;
        let registration = Arc::pin_init(
            pin_init!(DeviceRegistration {
                module,
                node_guid: identity.node_guid().0,
                resources,
                parent <- new_mutex!(parent),
                fabric: fabric.clone(),
                netdev: netdev.clone(),
                state <- new_mutex!(State::Open(None)),
                work <- new_delayed_work!("DeviceRegistration::work"),
            }),
            GFP_KERNEL,
        )?;
        let this = Self {
            _on_unbind: KBox::pin_init(Notifier::new(registration.clone()), GFP_KERNEL)?,
            registration,
        };
        DeviceRegistration::register(&this.registration)?;
        Ok(this)
    }
}

impl Drop for VerbsDevice {
    fn drop(&mut self) {
        let state = core::mem::replace(&mut *self.registration.state.lock(), State::Closed);
        drop(state);
        delayed_work::cancel(&self.registration);
        self.registration.fabric.set_device(None);
        // No process has a QP any more.
        self.registration.fabric.stop();
        self.registration.resources.pagers.outwait();
    }
}
