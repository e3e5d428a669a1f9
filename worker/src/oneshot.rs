//! One value, handed over once: the answer of one call.
//!
//! Written by hand because every call makes one: it is one allocation and one short lock.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
enum State<T> {
    Empty(Option<Waker>),
    Full(T),
    Over,
}

type Slot<T> = Arc<Mutex<State<T>>>;

/// Gives the value; dropping it unused tells the receiver so.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    slot: Slot<T>,
}

/// Waits for the value: `None` if the sender is gone.
#[derive(Debug)]
pub(crate) struct Receiver<T> {
    slot: Slot<T>,
}

pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Mutex::new(State::Empty(None)));
    (Sender { slot: Arc::clone(&slot) }, Receiver { slot })
}

fn lock<T>(slot: &Slot<T>) -> MutexGuard<'_, State<T>> {
    slot.lock().expect("nothing that runs under this lock panics")
}

impl<T> Sender<T> {
    pub(crate) fn send(self, value: T) {
        self.end(State::Full(value));
    }

    fn end(&self, end: State<T>) {
        let mut state = lock(&self.slot);
        if let State::Empty(waker) = &mut *state {
            let waker = waker.take();
            *state = end;
            drop(state);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.end(State::Over);
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.slot);
        match &mut *state {
            State::Empty(waker) => {
                waker.replace(cx.waker().clone());
                Poll::Pending
            }
            State::Full(_) => match std::mem::replace(&mut *state, State::Over) {
                State::Full(value) => Poll::Ready(Some(value)),
                State::Empty(_) | State::Over => Poll::Ready(None),
            },
            State::Over => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_arrives_whether_sent_before_or_while_waiting() {
        let (sender, receiver) = channel();
        sender.send(1);
        assert_eq!(ganger_rt::block_on(receiver), Some(1));

        let (sender, receiver) = channel();
        let waiting = ganger_rt::thread("receiver", || ganger_rt::block_on(receiver)).unwrap();
        sender.send(2);
        assert_eq!(waiting.join().unwrap(), Some(2));
    }

    #[test]
    fn dropped_sender_ends_the_wait() {
        let (sender, receiver) = channel::<()>();
        drop(sender);
        assert_eq!(ganger_rt::block_on(receiver), None);
    }
}
