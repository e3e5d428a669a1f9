//! Objects that callers wait for each other with.

use core::time::Duration;

use super::super::types::Takes;
use super::{Caller, Invocation, answer, args, proxy};

/// Waits for ever.
const FOR_EVER: Duration = Duration::MAX;

/// Something that was acquired; released when it is dropped.
///
/// Whatever it guards outside the broker should refuse tokens smaller than one it has seen: then a holder
/// that was away for too long does no harm.
#[derive(Debug)]
#[must_use = "it is released when it is dropped"]
pub struct Guard<C: Caller> {
    object: C,
    token: u64,
    is_held: bool,
}

impl<C: Caller> Guard<C> {
    /// The fencing token: larger than that of every grant before it.
    #[must_use]
    pub const fn token(&self) -> u64 {
        self.token
    }

    /// Releases it and waits until the broker has done so.
    ///
    /// # Errors
    /// [`CallError::NotHeld`](crate::CallError::NotHeld) or
    /// [`CallError::StaleToken`](crate::CallError::StaleToken) if it was lost before.
    pub async fn release(mut self) -> Result<(), C::Error> {
        self.is_held = false;
        self.object.call(release(self.token)).await.map(drop)
    }
}

impl<C: Caller> Drop for Guard<C> {
    fn drop(&mut self) {
        if self.is_held {
            self.object.send(release(self.token));
        }
    }
}

fn release(token: u64) -> Invocation {
    let mut args = super::Arguments::default();
    // A number is always a value.
    let _ = args.push(&token);
    Invocation::new("release", Takes::Turn, args.finish())
}

async fn acquire<C: Caller>(object: &C, wait: Duration) -> Result<Option<Guard<C>>, C::Error> {
    let call = Invocation::waiting("acquire", wait);
    let token: Option<u64> = answer(&object.call(call).await?)?;
    Ok(token.map(|token| Guard { object: object.clone(), token, is_held: true }))
}

/// What the waiting ones have in common.
macro_rules! acquirable {
    ($name:ident) => {
        impl<C: Caller> $name<C> {
            /// Acquires it, waiting as long as it takes.
            ///
            /// # Errors
            /// [`CallError::Deadlock`](crate::CallError::Deadlock) if that would be for ever.
            ///
            /// # Cancel safety
            /// A call whose future is dropped goes on; what it acquires is released with the session.
            pub async fn acquire(&self) -> Result<Guard<C>, C::Error> {
                loop {
                    if let Some(guard) = acquire(&self.object, FOR_EVER).await? {
                        return Ok(guard);
                    }
                }
            }

            /// Acquires it unless that takes longer.
            ///
            /// # Errors
            /// As for [`acquire`](Self::acquire).
            pub async fn acquire_within(
                &self,
                wait: Duration,
            ) -> Result<Option<Guard<C>>, C::Error> {
                acquire(&self.object, wait).await
            }

            /// Acquires it if it is free.
            ///
            /// # Errors
            /// The caller's.
            pub async fn try_acquire(&self) -> Result<Option<Guard<C>>, C::Error> {
                acquire(&self.object, Duration::ZERO).await
            }
        }
    };
}

proxy! {
    /// A shared lock.
    LockProxy<>
}

proxy! {
    /// A shared semaphore.
    SemaphoreProxy<>
}

acquirable!(LockProxy);
acquirable!(SemaphoreProxy);

impl<C: Caller> SemaphoreProxy<C> {
    /// How many units are free.
    ///
    /// # Errors
    /// The caller's.
    pub async fn units(&self) -> Result<u64, C::Error> {
        super::call!(self, Nothing, "units")
    }
}

proxy! {
    /// A shared flag that callers wait for.
    EventProxy<>
}

impl<C: Caller> EventProxy<C> {
    /// Whether it is set.
    ///
    /// # Errors
    /// The caller's.
    pub async fn is_set(&self) -> Result<bool, C::Error> {
        super::call!(self, Nothing, "is_set")
    }

    /// Sets it: all who wait go on.
    ///
    /// # Errors
    /// The caller's.
    pub async fn set(&self) -> Result<(), C::Error> {
        super::call!(self, Turn, "set")
    }

    /// Clears it.
    ///
    /// # Errors
    /// The caller's.
    pub async fn clear(&self) -> Result<(), C::Error> {
        super::call!(self, Turn, "clear")
    }

    /// Waits until it is set, but not longer; says whether it is.
    ///
    /// # Errors
    /// The caller's.
    pub async fn wait(&self, wait: Duration) -> Result<bool, C::Error> {
        let call = Invocation::waiting("wait", wait);
        Ok(answer(&self.object.call(call).await?)?)
    }
}

proxy! {
    /// A shared lock whose holder can wait until another holder notifies it.
    ConditionProxy<>
}

impl<C: Caller> ConditionProxy<C> {
    /// Acquires its lock, waiting as long as it takes.
    ///
    /// # Errors
    /// [`CallError::Deadlock`](crate::CallError::Deadlock) if that would be for ever.
    pub async fn acquire(&self) -> Result<ConditionGuard<C>, C::Error> {
        loop {
            let call = Invocation::waiting("acquire", FOR_EVER);
            let token: Option<u64> = answer(&self.object.call(call).await?)?;
            if token.is_some() {
                return Ok(ConditionGuard { object: self.object.clone(), is_held: true });
            }
        }
    }
}

/// The lock of a condition; released when it is dropped.
#[derive(Debug)]
#[must_use = "it is released when it is dropped"]
pub struct ConditionGuard<C: Caller> {
    object: C,
    is_held: bool,
}

impl<C: Caller> ConditionGuard<C> {
    /// Gives the lock away, waits until it is notified, and has the lock again; says whether it was
    /// notified within that time.
    ///
    /// # Errors
    /// [`CallError::NotHeld`](crate::CallError::NotHeld) if the lock was lost.
    pub async fn wait(&self, wait: Duration) -> Result<bool, C::Error> {
        let call = Invocation::waiting("wait", wait);
        Ok(answer(&self.object.call(call).await?)?)
    }

    /// Has so many of those who wait go on, once they have the lock; returns how many there were.
    ///
    /// # Errors
    /// [`CallError::NotHeld`](crate::CallError::NotHeld) if the lock was lost.
    pub async fn notify(&self, count: u64) -> Result<u64, C::Error> {
        super::call!(self, Turn, "notify", count)
    }

    /// Releases the lock and waits until the broker has done so.
    ///
    /// # Errors
    /// [`CallError::NotHeld`](crate::CallError::NotHeld) if it was lost before.
    pub async fn release(mut self) -> Result<(), C::Error> {
        self.is_held = false;
        self.object.call(Invocation::new("release", Takes::Turn, args!())).await.map(drop)
    }
}

impl<C: Caller> Drop for ConditionGuard<C> {
    fn drop(&mut self) {
        if self.is_held {
            let args = super::Arguments::default().finish();
            self.object.send(Invocation::new("release", Takes::Turn, args));
        }
    }
}

proxy! {
    /// A shared barrier.
    BarrierProxy<>
}

impl<C: Caller> BarrierProxy<C> {
    /// Waits until as many have come as it was made for; returns 0 for the first that came. Who gives
    /// up breaks it for all.
    ///
    /// # Errors
    /// [`CallError::Broken`](crate::CallError::Broken).
    pub async fn wait(&self, wait: Duration) -> Result<u64, C::Error> {
        let call = Invocation::waiting("wait", wait);
        Ok(answer(&self.object.call(call).await?)?)
    }

    /// Sends away who waits and mends it.
    ///
    /// # Errors
    /// The caller's.
    pub async fn reset(&self) -> Result<(), C::Error> {
        super::call!(self, Turn, "reset")
    }
}
