//! Where the child leaves why it failed: memory that it shares with its parent.
//!
//! A filter may deny any system call from the moment it is in force, `write` and
//! `exit_group` too. A store into memory is none.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::{Failure, STEPS};
use crate::error::{Context, Result};

/// Zero while nothing failed; the step is stored last, one more than its number.
#[derive(Default)]
struct Slots {
    step: AtomicU32,
    index: AtomicU32,
    errno: AtomicU32,
}

/// A mapping that a fork shares.
#[derive(Debug)]
pub(super) struct Record(NonNull<Slots>);

impl Record {
    /// Maps an empty record.
    ///
    /// # Errors
    ///
    /// Any failure of `mmap`.
    pub(super) fn new() -> Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let address = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                size_of::<Slots>(),
                access,
                MapFlags::SHARED,
            )
        };
        let address = address.context("mmap", || "MAP_SHARED".into())?;
        let address = NonNull::new(address.cast());
        address
            .map(Self)
            .ok_or_else(|| crate::error::Error::new("mmap", "MAP_SHARED", Errno::NOMEM))
    }

    fn slots(&self) -> &Slots {
        // SAFETY: mapped until the drop, aligned to a page, begun as zeroes, and
        // of atomics only, which another process may change.
        unsafe { self.0.as_ref() }
    }

    /// In the child: leaves the failure.
    pub(super) fn leave(&self, failure: Failure) {
        let slots = self.slots();
        let index = u32::try_from(failure.index).unwrap_or(u32::MAX);
        slots.index.store(index, Ordering::Relaxed);
        let errno = failure.errno.raw_os_error().unsigned_abs();
        slots.errno.store(errno, Ordering::Relaxed);
        let step = failure.step as u32 + 1;
        slots.step.store(step, Ordering::Release);
    }

    /// In the parent, once the child is another program or gone: what it left.
    pub(super) fn read(&self) -> Option<Failure> {
        let slots = self.slots();
        let step = usize::try_from(slots.step.load(Ordering::Acquire)).ok()?;
        let step = *STEPS.get(step.checked_sub(1)?)?;
        let errno = slots.errno.load(Ordering::Relaxed);
        let errno = Errno::from_raw_os_error(errno.cast_signed());
        let index = usize::try_from(slots.index.load(Ordering::Relaxed)).ok()?;
        Some(Failure { step, index, errno })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        // SAFETY: this mapping, of this size; nothing refers to it any more.
        // A failure would leave a page mapped, which harms nobody.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<Slots>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Step;

    #[test]
    fn what_is_left_is_read() {
        let record = Record::new().unwrap();
        assert_eq!(record.read(), None);
        for step in STEPS {
            let failure = Failure {
                step,
                index: 7,
                errno: Errno::ACCESS,
            };
            record.leave(failure);
            assert_eq!(record.read(), Some(failure));
        }
        assert_eq!(STEPS[Step::Execute as usize], Step::Execute);
    }
}
