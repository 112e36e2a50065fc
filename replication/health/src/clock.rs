//! The proxy's own clock.

use rustix::time::{ClockId, clock_gettime};
use topology::Mono;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Reads `CLOCK_BOOTTIME`: monotonic, and it goes on while the host sleeps.
///
/// `CLOCK_MONOTONIC` would not do: a host that slept for an hour would take its samples for fresh.
pub fn boot_time() -> Mono {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Mono(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(nanos))
}

#[cfg(test)]
mod tests {
    use super::boot_time;

    #[test]
    fn it_never_goes_back() {
        let mut last = boot_time();
        for _ in 0..10_000 {
            let next = boot_time();
            assert!(next >= last);
            last = next;
        }
        assert!(last.0 > 0);
    }
}
