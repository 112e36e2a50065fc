//! Sockets on a ring beside what an ordinary socket does.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::{Ring, Socket};
use crate::kernel::{BUFFER_LEN, BUFFERS};
use crate::table::{MAX_INPUT, MAX_QUEUED};
use proptest::prelude::*;

const SOON: Duration = Duration::from_secs(20);
const LINGER: Duration = Duration::from_millis(100);

fn run<T>(test: impl AsyncFnOnce(&Ring) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(super::turn)
        .build_local(Default::default())
        .unwrap();
    runtime.block_on(async {
        let ring = Ring::new().unwrap();
        ring.install();
        let signals = ring.clone();
        tokio::task::spawn_local(async move { signals.watch(LINGER).await });
        tokio::time::timeout(SOON, test(&ring)).await.unwrap()
    })
}

fn pair(ring: &Ring) -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_read_timeout(Some(SOON)).unwrap();
    (Socket::new(ring, ours.into()).unwrap(), theirs)
}

async fn read(socket: &mut Socket, buf: &mut [u8]) -> std::io::Result<usize> {
    std::future::poll_fn(|cx| socket.poll_read(cx, buf)).await
}

async fn write_all(socket: &mut Socket, mut data: &[u8]) -> std::io::Result<()> {
    while !data.is_empty() {
        let n = std::future::poll_fn(|cx| socket.poll_write(cx, data)).await?;
        data = &data[n..];
    }
    Ok(())
}

async fn sent(socket: &mut Socket) -> std::io::Result<()> {
    std::future::poll_fn(|cx| socket.poll_sent(cx)).await
}

/// Waits for a condition that other events than the test's own bring about.
async fn until(mut met: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !met() {
        assert!(Instant::now() < end, "never met");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn bytes_come_and_go() {
    run(async |ring| {
        let (mut ours, mut theirs) = pair(ring);
        let mut buf = [0; 100];
        assert_eq!(ours.try_read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        theirs.write_all(b"hello").unwrap();
        assert_eq!(read(&mut ours, &mut buf).await.unwrap(), 5);
        write_all(&mut ours, b"and back").await.unwrap();
        sent(&mut ours).await.unwrap();
        assert_eq!(theirs.read(&mut buf).unwrap(), 8);
        assert_eq!(&buf[..8], b"and back");
    });
}

#[test]
fn the_end_and_errors_are_told_after_what_came_before() {
    run(async |ring| {
        let (mut ours, mut theirs) = pair(ring);
        theirs.write_all(b"last words").unwrap();
        theirs.shutdown(Shutdown::Write).unwrap();
        let mut buf = [0; 4];
        assert_eq!(read(&mut ours, &mut buf).await.unwrap(), 4);
        assert_eq!(read(&mut ours, &mut buf).await.unwrap(), 4);
        assert_eq!(read(&mut ours, &mut buf).await.unwrap(), 2);
        assert_eq!(read(&mut ours, &mut buf).await.unwrap(), 0);
        assert_eq!(read(&mut ours, &mut buf).await.unwrap(), 0);
        drop(theirs);
        // The first write may be taken before its error is known.
        until(|| {
            ours.try_write(b"x")
                .is_err_and(|e| e.kind() != ErrorKind::WouldBlock)
        })
        .await;
        assert_eq!(ours.try_write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Keeps the ring busy: bytes go round between a socket of its and a thread, until the other end is dropped.
fn busy(ring: &Ring) -> (Socket, std::thread::JoinHandle<usize>) {
    let (ours, mut theirs) = pair(ring);
    let echo = std::thread::spawn(move || {
        let (mut rounds, mut byte) = (0, [0]);
        while theirs.read(&mut byte).is_ok_and(|n| n == 1) && theirs.write_all(&byte).is_ok() {
            rounds += 1;
        }
        rounds
    });
    (ours, echo)
}

async fn round(socket: &mut Socket) {
    write_all(socket, b"x").await.unwrap();
    assert_eq!(read(socket, &mut [0]).await.unwrap(), 1);
}

#[test]
fn a_busy_thread_waits_in_the_ring_and_one_at_rest_in_the_runtime() {
    run(async |ring| {
        assert!(!ring.waits());
        let (mut ours, echo) = busy(ring);
        until(|| ring.is_allowed_to_wait()).await;
        round(&mut ours).await;
        assert!(ring.waits());
        // Nothing comes any more: the ticks end.
        until(|| !ring.waits()).await;
        round(&mut ours).await;
        assert!(ring.waits());
        drop(ours);
        until(|| ring.sockets() == 0).await;
        assert_eq!(echo.join().unwrap(), 2);
    });
}

#[test]
fn timers_and_other_threads_are_heard_while_it_waits_in_the_ring() {
    run(async |ring| {
        let (mut ours, echo) = busy(ring);
        until(|| ring.is_allowed_to_wait()).await;
        let traffic = tokio::task::spawn_local(async move {
            loop {
                round(&mut ours).await;
            }
        });
        until(|| ring.waits()).await;
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            // By another thread, as a lookup of a name or a command to the thread would.
            assert_eq!(tokio::task::spawn_blocking(|| 1).await.unwrap(), 1);
            // By the runtime's own epoll.
            let (mut one, mut other) = tokio::net::UnixStream::pair().unwrap();
            let said = tokio::spawn(async move { tokio::io::AsyncWriteExt::write_all(&mut one, b"x").await });
            let mut byte = [0];
            tokio::io::AsyncReadExt::read_exact(&mut other, &mut byte)
                .await
                .unwrap();
            said.await.unwrap().unwrap();
        }
        assert!(ring.waits());
        traffic.abort();
        assert!(traffic.await.unwrap_err().is_cancelled());
        until(|| ring.sockets() == 0).await;
        assert!(echo.join().unwrap() > 20);
    });
}

#[test]
fn what_the_runtime_waits_for_wakes_a_thread_whose_ring_is_quiet() {
    run(async |ring| {
        let (mut ours, echo) = busy(ring);
        until(|| ring.is_allowed_to_wait()).await;
        for _ in 0..20 {
            // Into the ring, and nothing more from there.
            round(&mut ours).await;
            assert!(ring.waits());
            let began = Instant::now();
            assert_eq!(tokio::task::spawn_blocking(|| 1).await.unwrap(), 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(began.elapsed() < SOON / 4);
        }
        drop(ours);
        until(|| ring.sockets() == 0).await;
        assert_eq!(echo.join().unwrap(), 20);
    });
}

#[test]
fn what_was_written_is_sent_although_nobody_holds_the_socket() {
    run(async |ring| {
        let (mut ours, mut theirs) = pair(ring);
        let data = vec![7; MAX_QUEUED];
        assert_eq!(ours.try_write(&data).unwrap(), MAX_QUEUED);
        drop(ours);
        assert_eq!(ring.sockets(), 1);
        until(|| ring.sockets() == 0).await;
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).unwrap();
        assert_eq!(received, data);
    });
}

#[test]
fn who_never_reads_is_bounded_and_given_up() {
    run(async |ring| {
        let (mut ours, theirs) = pair(ring);
        let chunk = vec![1; 1 << 20];
        let mut taken = 0;
        // Full at last: in the kernel's buffers, in flight and behind it.
        loop {
            let mut pending = false;
            std::future::poll_fn(|cx| {
                match ours.poll_write(cx, &chunk) {
                    Poll::Ready(n) => taken += n.unwrap(),
                    Poll::Pending => pending = true,
                }
                Poll::Ready(())
            })
            .await;
            if pending {
                let before = taken;
                for _ in 0..5 {
                    ring.turn();
                    tokio::task::yield_now().await;
                }
                if ours.try_write(b"x").is_err() && before == taken {
                    break;
                }
                taken += 1;
            }
        }
        assert!(taken < 2 * MAX_QUEUED + (4 << 20), "{taken}");
        // Others that are busy don't keep it from being given up.
        let (mut busy, mut other) = pair(ring);
        let begun = Instant::now();
        drop(ours);
        while ring.sockets() > 1 {
            assert!(begun.elapsed() < SOON, "never given up");
            let mut byte = [0];
            other.write_all(b"x").unwrap();
            assert_eq!(read(&mut busy, &mut byte).await.unwrap(), 1);
        }
        assert!(begun.elapsed() >= LINGER, "too early");
        drop(theirs);
    });
}

#[test]
fn who_is_not_read_is_not_received_from_without_end() {
    run(async |ring| {
        let (mut ours, mut theirs) = pair(ring);
        let total = 32 << 20;
        let writer = std::thread::spawn(move || {
            let chunk: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
            for _ in 0..total / chunk.len() {
                theirs.write_all(&chunk).unwrap();
            }
        });
        std::future::poll_fn(|cx| ours.poll_read_ready(cx)).await.unwrap();
        for _ in 0..2000 {
            ring.turn();
        }
        let mut buf = vec![0; 64 << 20];
        let held = ours.try_read(&mut buf).unwrap();
        let most = MAX_INPUT + usize::from(BUFFERS) * BUFFER_LEN;
        assert!(held <= most, "{held} of {most}");
        let mut received = held;
        let mut next = buf[held - 1];
        while received < total {
            let n = read(&mut ours, &mut buf[..100_000]).await.unwrap();
            assert!(n > 0);
            for byte in &buf[..n] {
                next = next.wrapping_add(1);
                assert_eq!(*byte, next);
            }
            received += n;
        }
        writer.join().unwrap();
    });
}

#[test]
fn more_sockets_than_buffers() {
    run(async |ring| {
        let mut pairs: Vec<_> = (0..usize::from(BUFFERS) * 2).map(|_| pair(ring)).collect();
        for round in 0..3_u8 {
            for (n, (_, theirs)) in pairs.iter_mut().enumerate() {
                theirs
                    .write_all(&[round, u8::try_from(n % 251).unwrap()])
                    .unwrap();
            }
            for (n, (ours, theirs)) in pairs.iter_mut().enumerate() {
                let mut buf = [0; 8];
                assert_eq!(read(ours, &mut buf).await.unwrap(), 2);
                assert_eq!(buf[..2], [round, u8::try_from(n % 251).unwrap()]);
                write_all(ours, &buf[..2]).await.unwrap();
                sent(ours).await.unwrap();
                theirs.read_exact(&mut buf[..2]).unwrap();
            }
        }
        drop(pairs);
        until(|| ring.sockets() == 0).await;
    });
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    TheyWrite(usize),
    Read(usize),
    TheyRead,
    Turn,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..200_000_usize).prop_map(Step::Write),
        (1..100_000_usize).prop_map(Step::TheyWrite),
        (1..150_000_usize).prop_map(Step::Read),
        Just(Step::TheyRead),
        Just(Step::Turn),
    ]
}

fn counted(from: u64, len: usize) -> Vec<u8> {
    (from..)
        .take(len)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn nothing_is_lost_or_reordered(steps in prop::collection::vec(step(), 1..60)) {
        run(async |ring| {
            let (mut ours, mut theirs) = pair(ring);
            theirs.set_nonblocking(true).unwrap();
            let (mut to_them, mut they_have, mut to_us, mut we_have) = (0_u64, 0_u64, 0_u64, 0_u64);
            let mut buf = vec![0; 300_000];
            for step in steps {
                match step {
                    Step::Write(len) => {
                        if let Ok(n) = ours.try_write(&counted(to_them, len)) {
                            to_them += n as u64;
                        }
                    }
                    Step::TheyWrite(len) => {
                        if let Ok(n) = theirs.write(&counted(to_us, len)) {
                            to_us += n as u64;
                        }
                    }
                    Step::Read(len) => {
                        if let Ok(n) = ours.try_read(&mut buf[..len]) {
                            assert_eq!(buf[..n], counted(we_have, n));
                            we_have += n as u64;
                        }
                    }
                    Step::TheyRead => {
                        if let Ok(n) = theirs.read(&mut buf) {
                            assert_eq!(buf[..n], counted(they_have, n));
                            they_have += n as u64;
                        }
                    }
                    Step::Turn => ring.turn(),
                }
            }
            theirs.shutdown(Shutdown::Write).unwrap();
            loop {
                let n = read(&mut ours, &mut buf).await.unwrap();
                if n == 0 {
                    break;
                }
                assert_eq!(buf[..n], counted(we_have, n));
                we_have += n as u64;
            }
            assert_eq!(we_have, to_us);
            drop(ours);
            while they_have < to_them {
                match theirs.read(&mut buf) {
                    Ok(n) => {
                        assert!(n > 0);
                        assert_eq!(buf[..n], counted(they_have, n));
                        they_have += n as u64;
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        });
    }
}
