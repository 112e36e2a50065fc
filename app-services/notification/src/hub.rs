//! The sockets that this instance holds, by user. Knows nothing of how they are written to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use uuid::Uuid;

/// Users are spread over so many locks.
const SLOTS: usize = 64;

/// What may wait for one socket; what is more is read from the shard.
const QUEUE: usize = 16;

/// The most sockets of one user; the oldest gives way.
const PER_USER: usize = 8;

/// Something for a socket.
#[derive(Clone, Debug)]
pub(crate) enum Wake {
    /// The user's own of this sequence.
    Item(i64, Arc<str>),
    /// The broadcast of this sequence.
    Broadcast(i64, Arc<str>),
    /// There may be something on the shard.
    Look,
    /// It is to go.
    Leave(Leave),
}

/// Why a socket is to go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Leave {
    /// The instance ends: connect elsewhere.
    Draining,
    /// It has been here for long: sign in again.
    Old,
    /// The user has opened others since.
    TooMany,
}

/// A socket's place.
#[derive(Debug)]
pub(crate) struct Seat {
    user_id: Uuid,
    wakes: mpsc::Sender<Wake>,
    /// Something did not fit into the queue.
    missed: AtomicBool,
    /// It was told to go.
    leaving: AtomicBool,
    /// The last of the user's own that it has.
    sequence: AtomicI64,
}

impl Seat {
    /// Wakes the socket. If the queue is full it has to look at the shard when it has come to the end of it.
    fn wake(&self, wake: Wake) -> bool {
        if self.wakes.try_send(wake).is_ok() {
            return true;
        }
        self.missed.store(true, Ordering::SeqCst);
        // If there is room by now, the socket may already have seen the queue's end.
        self.wakes.try_send(Wake::Look).is_ok()
    }

    /// Whether something has been missed since the last time.
    pub(crate) fn has_missed(&self) -> bool {
        self.missed.swap(false, Ordering::SeqCst)
    }

    /// The socket has come this far.
    pub(crate) fn reached(&self, sequence: i64) {
        self.sequence.store(sequence, Ordering::Relaxed);
    }

    /// Whose it is.
    pub(crate) fn user_id(&self) -> Uuid {
        self.user_id
    }
}

type Slot = Mutex<HashMap<Uuid, Vec<Arc<Seat>>>>;

/// All sockets of the instance.
#[derive(Debug)]
pub(crate) struct Hub {
    slots: Vec<Slot>,
    count: AtomicUsize,
    most: usize,
}

fn lock(slot: &Slot) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Seat>>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A hub for so many sockets.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
            count: AtomicUsize::new(0),
            most,
        }
    }

    fn slot(&self, user_id: Uuid) -> MutexGuard<'_, HashMap<Uuid, Vec<Arc<Seat>>>> {
        // The last bytes of a UUIDv7 are random; there are as many slots as remainders.
        let [.., last] = *user_id.as_bytes();
        lock(&self.slots[usize::from(last) % SLOTS])
    }

    /// A place for a socket, if there is one.
    pub(crate) fn take_seat(&self, user_id: Uuid) -> Option<(Arc<Seat>, mpsc::Receiver<Wake>)> {
        let taken = self.count.fetch_add(1, Ordering::Relaxed);
        if taken >= self.most {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let (wakes, waking) = mpsc::channel(QUEUE);
        let seat = Arc::new(Seat {
            user_id,
            wakes,
            missed: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            sequence: AtomicI64::new(i64::MAX),
        });
        let mut slot = self.slot(user_id);
        let seats = slot.entry(user_id).or_default();
        if seats.len() >= PER_USER
            && let Some(oldest) = seats.first()
        {
            oldest.wake(Wake::Leave(Leave::TooMany));
        }
        seats.push(Arc::clone(&seat));
        Some((seat, waking))
    }

    /// The socket is gone.
    pub(crate) fn leave(&self, seat: &Arc<Seat>) {
        let mut slot = self.slot(seat.user_id);
        if let Some(seats) = slot.get_mut(&seat.user_id) {
            let before = seats.len();
            seats.retain(|other| !Arc::ptr_eq(other, seat));
            self.count.fetch_sub(before - seats.len(), Ordering::Relaxed);
            if seats.is_empty() {
                slot.remove(&seat.user_id);
            }
        }
    }

    /// How many sockets there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether a user has one.
    pub(crate) fn holds(&self, user_id: Uuid) -> bool {
        self.slot(user_id).contains_key(&user_id)
    }

    /// Who has one.
    pub(crate) fn users(&self) -> Vec<Uuid> {
        self.slots
            .iter()
            .flat_map(|slot| lock(slot).keys().copied().collect::<Vec<_>>())
            .collect()
    }

    /// Tells a user's sockets; how many.
    pub(crate) fn tell(&self, user_id: Uuid, wake: &Wake) -> usize {
        let slot = self.slot(user_id);
        let seats = slot.get(&user_id).map(Vec::as_slice).unwrap_or_default();
        seats.iter().filter(|seat| seat.wake(wake.clone())).count()
    }

    /// Has the user's sockets look that don't have this sequence yet.
    pub(crate) fn look_if_behind(&self, user_id: Uuid, sequence: i64) {
        let slot = self.slot(user_id);
        let seats = slot.get(&user_id).map(Vec::as_slice).unwrap_or_default();
        for seat in seats
            .iter()
            .filter(|seat| seat.sequence.load(Ordering::Relaxed) < sequence)
        {
            seat.wake(Wake::Look);
        }
    }

    /// Tells every socket.
    pub(crate) fn tell_all(&self, wake: &Wake) {
        for slot in &self.slots {
            for seat in lock(slot).values().flatten() {
                seat.wake(wake.clone());
            }
        }
    }

    /// Has so many sockets leave; how many were told.
    pub(crate) fn send_away(&self, most: usize) -> usize {
        let mut told = 0;
        for slot in &self.slots {
            for seat in lock(slot).values().flatten() {
                if told >= most {
                    return told;
                }
                if seat.leaving.swap(true, Ordering::Relaxed) {
                    continue;
                }
                let is_told = seat.wakes.try_send(Wake::Leave(Leave::Draining)).is_ok();
                seat.leaving.store(is_told, Ordering::Relaxed);
                told += usize::from(is_told);
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_bounded_and_forgotten() {
        let hub = Hub::new(2);
        let user = Uuid::now_v7();
        let (first, _waking) = hub.take_seat(user).unwrap();
        let (second, _waking_too) = hub.take_seat(user).unwrap();
        assert!(hub.take_seat(Uuid::now_v7()).is_none(), "full");
        assert_eq!(hub.tell(user, &Wake::Look), 2);
        assert_eq!(hub.tell(Uuid::now_v7(), &Wake::Look), 0);
        hub.leave(&first);
        hub.leave(&first);
        assert_eq!((hub.count(), hub.holds(user)), (1, true));
        hub.leave(&second);
        assert_eq!((hub.count(), hub.holds(user), hub.users().len()), (0, false, 0));
    }

    #[test]
    fn a_full_queue_makes_the_socket_look() {
        let hub = Hub::new(1);
        let user = Uuid::now_v7();
        let (seat, mut waking) = hub.take_seat(user).unwrap();
        for _ in 0..QUEUE {
            assert_eq!(hub.tell(user, &Wake::Look), 1);
        }
        assert!(!seat.has_missed());
        assert_eq!(hub.tell(user, &Wake::Item(1, "{}".into())), 0);
        assert!(seat.has_missed() && !seat.has_missed());
        while waking.try_recv().is_ok() {}
        assert_eq!(hub.tell(user, &Wake::Look), 1);
    }

    #[test]
    fn the_oldest_socket_of_a_user_gives_way() {
        let hub = Hub::new(100);
        let user = Uuid::now_v7();
        let mut waking: Vec<_> = (0..=PER_USER).map(|_| hub.take_seat(user).unwrap().1).collect();
        assert!(matches!(waking[0].try_recv(), Ok(Wake::Leave(Leave::TooMany))));
        assert!(waking[1].try_recv().is_err());
    }
}
